/**
 * Texts that end an answer besides the model's own stops. The service takes either tokens or texts, so where the model stops at
 * tokens, the texts are looked for here.
 *
 * @internal
 */
import type { ParseEvent } from "../../chat/Renderer.js"
import type { Stop } from "../../protocol/Sampling.js"

/** What the service is to stop at, and what is left to be looked for here. */
export const stopsOf = (
  own: Stop,
  texts: ReadonlyArray<string>
): { readonly sampled: Stop; readonly texts: ReadonlyArray<string> } => {
  if (texts.length === 0) return { sampled: own, texts }
  const first: unknown = typeof own === "string" ? own : own[0]
  return typeof first === "string"
    // texts, all of them
    ? { sampled: [...new Set([...(typeof own === "string" ? [own] : own as ReadonlyArray<string>), ...texts])], texts }
    : { sampled: own, texts }
}

/** The text before the first stop in it, and that stop. */
export const cutAt = (
  text: string,
  stops: ReadonlyArray<string>
): { readonly before: string; readonly stop: string } | undefined => {
  let best: { at: number; stop: string } | undefined
  for (const stop of stops) {
    const at = stop === "" ? -1 : text.indexOf(stop)
    if (at !== -1 && (best === undefined || at < best.at)) best = { at, stop }
  }
  return best === undefined ? undefined : { before: text.slice(0, best.at), stop: best.stop }
}

/** Lets events through up to the first stop in their text; what might begin one is held until it is known. */
export const textStops = (stops: ReadonlyArray<string>) => {
  const longest = Math.max(0, ...stops.map(({ length }) => length))
  let held = ""
  let stopped = false
  const text = (piece: string): ReadonlyArray<ParseEvent> => piece === "" ? [] : [{ type: "text", text: piece }]
  return {
    stopped: () => stopped,
    push: (event: ParseEvent): ReadonlyArray<ParseEvent> => {
      if (stopped) return []
      if (longest === 0) return [event]
      if (event.type !== "text") {
        const before = text(held)
        held = ""
        return [...before, event]
      }
      held += event.text
      const cut = cutAt(held, stops)
      if (cut !== undefined) {
        stopped = true
        held = ""
        return text(cut.before)
      }
      const free = Math.max(0, held.length - longest + 1)
      const piece = held.slice(0, free)
      held = held.slice(free)
      return text(piece)
    },
    end: (): ReadonlyArray<ParseEvent> => {
      const rest = text(held)
      held = ""
      return rest
    }
  }
}
