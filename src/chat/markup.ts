/**
 * Reading what a model wrote: reasoning, text and tool calls, from text that arrives in pieces. The result does not depend on
 * where the pieces were cut.
 *
 * @internal
 */
import type { ToolCall, UnparsedToolCall } from "./Message.js"

/** @internal */
export type Call = ToolCall | UnparsedToolCall

/** What a reader found. Texts and reasoning come in pieces. @internal */
export type Found =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "thinking"; readonly thinking: string }
  | { readonly type: "call"; readonly call: Call }

/** Takes the text in pieces; `end` says that there is no more. @internal */
export interface Reader {
  readonly push: (text: string) => void
  readonly end: () => void
}

/** How calls stand in the text: from `open` to `close`. @internal */
export interface CallBlock {
  readonly open: string
  readonly close: string
  /** What is between text and the first call, and belongs to neither. */
  readonly before?: string | undefined
  readonly read: (inner: string, raw: string) => ReadonlyArray<Call>
}

/** @internal */
export interface Thinking {
  readonly open: string
  readonly close: string
  /** Whether blanks around the reasoning are framing: line breaks, every blank, or none. */
  readonly trim: "breaks" | "blanks" | "none"
  /** How many line breaks after the block are framing. */
  readonly after: number
}

/** @internal */
export interface Markup {
  readonly thinking?: Thinking | undefined
  readonly calls?: ReadonlyArray<CallBlock> | undefined
  /** Text that is framing at the beginning and at the end. */
  readonly prefix?: string | undefined
  readonly suffix?: string | undefined
  /** Whether the prompt leaves the reasoning open, after the given roles or always. */
  readonly opened?: boolean | { readonly notAfter: string } | undefined
  /** Marks that stand in calls only: text from one on is a call gone wrong, and so is text after the last call. */
  readonly stray?: ReadonlyArray<string> | undefined
  /** A reader of its own, for a format whose text is not blocks in text. */
  readonly reader?: ((found: (found: Found) => void) => Reader) | undefined
}

/** The beginning of the message that says a block was not closed, by which callers tell it from a broken one. @internal */
export const unterminated = "unterminated tool block"

/** Of a text, how many characters at its end could begin one of the marks. @internal */
export const heldBack = (text: string, marks: ReadonlyArray<string>): number => {
  let held = 0
  for (const mark of marks) {
    for (let length = Math.min(mark.length - 1, text.length); length > held; length--) {
      if (text.endsWith(mark.slice(0, length))) {
        held = length
        break
      }
    }
  }
  return held
}

/** The first of the marks in the text; of those at the same place, the longest. @internal */
export const firstMark = <A extends { readonly mark: string }>(
  text: string,
  marks: ReadonlyArray<A>
): { readonly at: number; readonly found: A } | undefined => {
  let best: { readonly at: number; readonly found: A } | undefined
  for (const found of marks) {
    const at = text.indexOf(found.mark)
    if (at === -1) continue
    if (best === undefined || at < best.at || (at === best.at && found.mark.length > best.found.mark.length)) {
      best = { at, found }
    }
  }
  return best
}
