/**
 * A reader of Harmony, the format of gpt-oss: a response is a row of messages, each with a channel and perhaps a recipient.
 *
 * @internal
 */
import { type Found, heldBack, type Reader, unterminated } from "./markup.js"
import { isProblem, parse } from "./pythonJson.js"

const message = "<|message|>"
const ends = ["<|end|>", "<|call|>", "<|return|>"]

type Kind = "thinking" | "text" | "none" | { readonly tool: string; readonly header: string }

const kindOf = (header: string): Kind => {
  const recipient = /to=([^\s<]+)/.exec(header)?.[1]
  if (recipient !== undefined && recipient.startsWith("functions.")) {
    return { tool: recipient.slice("functions.".length), header }
  }
  const channel = /<\|channel\|>([^<\s]+)/.exec(header)?.[1]
  return channel === "analysis" ? "thinking" : channel === "final" || channel === "commentary" ? "text" : "none"
}

/** @internal */
export const harmonyReader = (found: (found: Found) => void): Reader => {
  let pending = ""
  let kind: Kind | undefined
  /** Blanks that begin a body: a body of nothing else is no message. */
  let blanks = ""
  let said = false
  let any = false

  const call = (name: string, header: string, body: string): void => {
    const value = parse(body)
    const text = body.trim()
    if (text === "") {
      found({
        type: "call",
        call: { rawText: header + message, error: `${unterminated}: a call of a function without arguments` }
      })
    } else if (isProblem(value)) {
      found({ type: "call", call: { rawText: header + message + body, error: `Invalid JSON: ${value.problem}` } })
    } else {
      found({ type: "call", call: { name, arguments: text } })
    }
  }

  const say = (piece: string): void => {
    if (piece === "" || (kind !== "thinking" && kind !== "text")) return
    if (!said && piece.trim() === "") {
      blanks += piece
      return
    }
    const all = blanks + piece
    blanks = ""
    said = true
    found(kind === "thinking" ? { type: "thinking", thinking: all } : { type: "text", text: all })
  }

  const step = (): boolean => {
    if (kind === undefined) {
      const at = pending.indexOf(message)
      if (at === -1) return false
      const start = pending.lastIndexOf("<|start|>", at)
      kind = kindOf(pending.slice(Math.max(start, 0), at))
      pending = pending.slice(at + message.length)
      blanks = ""
      said = false
      any = true
      return true
    }
    let end = -1
    let mark = ""
    for (const one of ends) {
      const at = pending.indexOf(one)
      if (at !== -1 && (end === -1 || at < end)) [end, mark] = [at, one]
    }
    if (typeof kind === "object") {
      if (end === -1) return false
      call(kind.tool, kind.header, pending.slice(0, end))
    } else {
      const length = end === -1 ? pending.length - heldBack(pending, ends) : end
      say(pending.slice(0, length))
      if (end === -1) {
        pending = pending.slice(length)
        return false
      }
    }
    pending = pending.slice(end + mark.length)
    kind = undefined
    return true
  }

  return {
    push: (text) => {
      pending += text
      while (step());
    },
    end: () => {
      if (typeof kind === "object") {
        call(kind.tool, kind.header, pending)
      } else if (kind !== undefined) {
        say(pending)
      } else if (pending.includes("to=functions.")) {
        found({
          type: "call",
          call: { rawText: pending, error: `${unterminated}: a call of a function without arguments` }
        })
      } else if (!any && pending !== "") {
        found({ type: "text", text: pending }) // no message at all
      }
      pending = ""
    }
  }
}
