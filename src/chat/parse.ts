/**
 * Tokens of a model to a message: bytes that are not whole yet are waited for, the end is told from the tokens, and what
 * stands between is read by the format's markup. A whole response is a stream that arrives at once.
 *
 * @internal
 */
import type { Tokenizer } from "../tokenizer/Tokenizer.js"
import { blockReader } from "./blockReader.js"
import type { Encoder } from "./chunk.js"
import type { Format, Turn } from "./format.js"
import type { Found, Markup, Reader } from "./markup.js"
import type { Message, Part, ToolCall, UnparsedToolCall } from "./Message.js"

/** How a response ended. @internal */
export type Ending = "stop" | "eos" | "malformed"

/** @internal */
export interface Parsed {
  readonly message: Message
  readonly ending: Ending
  readonly reason?: string | undefined
}

/** @internal */
export type Event =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "thinking"; readonly thinking: string }
  | { readonly type: "toolCall"; readonly call: ToolCall }
  | { readonly type: "unparsedToolCall"; readonly call: UnparsedToolCall }

/** @internal */
export interface Parser {
  readonly push: (tokens: ArrayLike<number>) => ReadonlyArray<Event>
  readonly end: () => { readonly events: ReadonlyArray<Event>; readonly parsed: Parsed }
}

const replacement = "\uFFFD"

/** More tokens than any character has bytes: what is still broken then stays so. */
const maxHeld = 8

/**
 * The text of tokens one by one. Texts are decoded with the tokens before them, since some tokenizers write a blank by what
 * comes before, and held while they end within a character.
 */
const decoder = (tokenizer: Tokenizer): { readonly push: (token: number) => string; readonly flush: () => string } => {
  let context: Array<number> = []
  let held: Array<number> = []
  const decoded = (): string => tokenizer.decode([...context, ...held]).slice(tokenizer.decode(context).length)
  const release = (text: string): string => {
    context = held
    held = []
    return text
  }
  return {
    push: (token) => {
      held.push(token)
      const text = decoded()
      return text.endsWith(replacement) && held.length < maxHeld ? "" : release(text)
    },
    flush: () => held.length === 0 ? "" : release(decoded())
  }
}

/** A text stop among the tokens' text: what comes before it goes on, what might begin it is held. */
const textStop = (stop: string, onText: (text: string) => void) => {
  let pending = ""
  let count = 0
  return {
    push: (text: string): void => {
      pending += text
      let from = 0
      for (let at = pending.indexOf(stop, from); at !== -1; at = pending.indexOf(stop, from)) {
        if (count === 0) onText(pending.slice(0, at))
        count++
        from = at + stop.length
      }
      const keep = Math.max(from, pending.length - stop.length + 1)
      if (count === 0) onText(pending.slice(0, Math.max(keep, 0)))
      pending = pending.slice(keep)
    },
    end: (): void => {
      if (count === 0) onText(pending)
      pending = ""
    },
    count: () => count
  }
}

const collect = () => {
  const parts: Array<Part> = []
  const toolCalls: Array<ToolCall> = []
  const unparsed: Array<UnparsedToolCall> = []
  let events: Array<Event> = []
  const add = (part: Exclude<Part, { readonly type: "image" }>): void => {
    const last = parts.at(-1)
    if (part.type === "text" && last?.type === "text") {
      parts[parts.length - 1] = { type: "text", text: last.text + part.text }
    } else if (part.type === "thinking" && last?.type === "thinking") {
      parts[parts.length - 1] = { type: "thinking", thinking: last.thinking + part.thinking }
    } else parts.push(part)
  }
  return {
    found: (found: Found): void => {
      if (found.type === "call") {
        const { call } = found
        if ("rawText" in call) {
          unparsed.push(call)
          events.push({ type: "unparsedToolCall", call })
        } else {
          toolCalls.push(call)
          events.push({ type: "toolCall", call })
        }
        return
      }
      events.push(found)
      add(found)
    },
    take: (): ReadonlyArray<Event> => {
      const taken = events
      events = []
      return taken
    },
    message: (): Message => ({
      role: "assistant",
      content: parts.some((part) => part.type !== "text")
        ? parts
        : parts.map((part) => part.type === "text" ? part.text : "").join(""),
      ...(toolCalls.length === 0 ? {} : { toolCalls }),
      ...(unparsed.length === 0 ? {} : { unparsedToolCalls: unparsed })
    })
  }
}

/** Whether the prompt of the conversation leaves the reasoning open. @internal */
export const isOpened = ({ opened = false }: Markup, turns: ReadonlyArray<Turn> | undefined): boolean =>
  typeof opened === "boolean" ? opened : turns?.at(-1)?.role !== opened.notAfter

/** What there is to know of a format to read its responses. @internal */
export type Reading = Pick<Format, "stop" | "eos" | "markup">

/** @internal */
export const parser = (
  format: Reading,
  encoder: Encoder,
  tokenizer: Tokenizer,
  turns?: ReadonlyArray<Turn>
): Parser => {
  const names: ReadonlyArray<string> = "text" in format.stop ? [] : format.stop
  const tokens = (names: ReadonlyArray<string>) =>
    new Set(names.map(encoder.token).filter((token) => token !== undefined))
  const stops = tokens(names)
  const eos = tokens(format.eos ?? [])
  const endingOf = (token: number): "stop" | "eos" | undefined =>
    eos.has(token) ? "eos" : stops.has(token) ? "stop" : token === tokenizer.eosToken ? "eos" : undefined
  const out = collect()
  const reader: Reader = format.markup.reader?.(out.found) ??
    blockReader(format.markup, isOpened(format.markup, turns), out.found)
  const stop = "text" in format.stop ? textStop(format.stop.text, reader.push) : undefined
  const text = decoder(tokenizer)
  const read = (piece: string): void => {
    if (piece !== "") (stop ?? reader).push(piece)
  }
  let ended: "stop" | "eos" | undefined
  const seen = new Set<number>()
  let twice = false
  return {
    push: (tokens) => {
      for (let i = 0; i < tokens.length; i++) {
        const token = tokens[i]!
        const ends = endingOf(token)
        if (ended === undefined && ends === undefined) read(text.push(token))
        if (ends === undefined) continue
        twice ||= seen.has(token)
        seen.add(token)
        ended ??= ends
      }
      return out.take()
    },
    end: () => {
      read(text.flush())
      stop?.end()
      reader.end()
      const count = stop?.count() ?? 0
      const ending = twice || count > 1 || (count === 1 && ended === "eos")
        ? "malformed"
        : count === 1
        ? "stop"
        : ended ?? "malformed"
      const reason = ending !== "malformed" ? undefined : ended === undefined && count === 0
        ? "the response does not end: it was cut off, or the sampler stopped at something else"
        : "more than one stop: the sampler was given other stops than the renderer's"
      return {
        events: out.take(),
        parsed: { message: out.message(), ending, ...(reason === undefined ? {} : { reason }) }
      }
    }
  }
}
