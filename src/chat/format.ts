/**
 * What a chat format is: data and a few functions, over the machine of `render.ts` and `parse.ts`.
 *
 * @internal
 */
import { InvalidInput } from "../protocol/InvalidInput.js"
import type { Chunk, Piece } from "./chunk.js"
import { said } from "./chunk.js"
import type { Markup } from "./markup.js"
import type { Content, ImagePart, Message } from "./Message.js"
import type { ToolSpec } from "./Tool.js"

/** Where a message stands. @internal */
export interface Context {
  readonly index: number
  readonly isLast: boolean
  readonly previous: Turn | undefined
  readonly next: Turn | undefined
  /** Of the last user message; -1 when there is none. */
  readonly lastUser: number
  /** Whether the message belongs to the turn that the model is asked for. */
  readonly inLastTurn: boolean
}

/** A message on its way through a format: its content may hold text of the template, and it may carry what the format noted. @internal */
export interface Turn extends Omit<Message, "content"> {
  readonly content: Content
  /** Instead of the content: pieces that are rendered as they are. */
  readonly pieces?: Chunk | undefined
}

/** @internal */
export type Output = Chunk | ImagePart

/**
 * A message in parts: the header, which a sampler is given; the output, which it produces; and what ends the output and would
 * begin the next message, written only after the last one.
 *
 * @internal
 */
export interface Rendered {
  readonly header?: Chunk | undefined
  readonly output: ReadonlyArray<Output>
  readonly overlap?: Chunk | undefined
  /** Header and output are tokenised as one text; a token that crosses between them counts to the header. */
  readonly joined?: boolean | undefined
}

/** @internal */
export interface Format {
  readonly name: string
  /** Written before everything. */
  readonly bos?: Chunk | undefined
  /** What a sampler is to stop at: names of tokens, or a text. */
  readonly stop: ReadonlyArray<string> | { readonly text: string }
  /** Stops that say the text is over rather than the turn. The tokenizer's end token is one anyway. */
  readonly eos?: ReadonlyArray<string> | undefined
  /** Names that the tokenizer must have as one token each. Text of messages never becomes one of them. */
  readonly controls: ReadonlyArray<string>
  /** Whether the prompt of a later turn begins with the prompt and the output of each earlier one. */
  readonly extension: boolean
  /** The prompt closes the reasoning block: the model is told not to reason. */
  readonly disablesThinking?: boolean | undefined
  /** `turn`: examples end at user messages and train the last turn, instead of ending at each assistant message. */
  readonly split?: "message" | "turn" | undefined
  readonly render: (turn: Turn, context: Context) => Rendered
  /** What the prompt ends with. The header of an empty message of the role unless given. */
  readonly suffix?: ((role: string, context: Context) => Chunk) | undefined
  /** What the prompt ends with after the suffix, tokenised apart. */
  readonly prefill?: ((turns: ReadonlyArray<Turn>) => string) | undefined
  /** The conversation as the format writes it: reordered, completed. */
  readonly prepare?: ((turns: ReadonlyArray<Turn>, hasTools: boolean) => ReadonlyArray<Turn>) | undefined
  /** The messages that tell of the tools, and of the system message `system`, which they replace. */
  readonly tools?: ((tools: ReadonlyArray<ToolSpec>, system: string) => ReadonlyArray<Turn>) | undefined
  /** Where the turn that the model is asked for starts. After the last user message unless given. */
  readonly turnStart?: ((turns: ReadonlyArray<Turn>) => number) | undefined
  readonly markup: Markup
}

/** @internal */
export const refuse = (expected: string, actual: string, index?: number, field = "content"): InvalidInput =>
  new InvalidInput({ field: index === undefined ? "messages" : `messages[${index}].${field}`, expected, actual })

/** The text of a message that may hold nothing else. Throws `InvalidInput`. @internal */
export const onlyText = (turn: Turn, format: string, index: number): string => {
  if (typeof turn.content === "string") return turn.content
  let out = ""
  for (const part of turn.content) {
    if (part.type !== "text") {
      throw refuse(
        `text: ${format} has no form for other content in a ${turn.role} message`,
        `a part of type ${part.type}`,
        index
      )
    }
    out += part.text
  }
  return out
}

/** Text and reasoning, for formats without images. Throws `InvalidInput`. @internal */
export const textAndThinking = (
  turn: Turn,
  format: string,
  index: number
): { readonly thinking: string | undefined; readonly text: string } => {
  if (typeof turn.content === "string") return { thinking: undefined, text: turn.content }
  let thinking: string | undefined
  let text = ""
  for (const part of turn.content) {
    if (part.type === "image") {
      throw refuse(`text and reasoning: ${format} has no form for images`, "a part of type image", index)
    }
    if (part.type === "thinking") thinking = (thinking ?? "") + part.thinking
    else text += part.text
  }
  return { thinking, text }
}

/** Whether a message carries reasoning: as a part, or as a tag in a plain string. @internal */
export const hasThinking = (content: Content): boolean =>
  typeof content === "string" ? content.includes("<think>") : content.some((part) => part.type === "thinking")

/** What a message says as a piece of a chunk: its text, or what the format put there. @internal */
export const body = (turn: Turn, format: string, index: number): ReadonlyArray<Piece> =>
  turn.pieces ?? [said(onlyText(turn, format, index))]

/** The last index of a list for which something holds; -1 when for none. @internal */
export const lastIndex = <A>(list: ReadonlyArray<A>, is: (a: A, index: number) => boolean): number => {
  for (let i = list.length - 1; i >= 0; i--) if (is(list[i]!, i)) return i
  return -1
}

/** Text without the line breaks it begins and ends with. @internal */
export const stripBreaks = (text: string): string => {
  let to = text.length
  while (to > 0 && text[to - 1] === "\n") to--
  return stripLeadingBreaks(text.slice(0, to))
}

/** Text without the line breaks it begins with. @internal */
export const stripLeadingBreaks = (text: string): string => text.replace(/^\n+/, "")

/** What Python calls a blank: U+001C to U+001F and U+0085 are, U+FEFF is not. */
const isBlank = (text: string, at: number): boolean => {
  const code = text.charCodeAt(at)
  return code === 0x85 || (code >= 0x1c && code <= 0x1f) || (code !== 0xfeff && /\s/.test(text[at]!))
}

/** @internal */
export const stripStart = (text: string): string => {
  let from = 0
  while (from < text.length && isBlank(text, from)) from++
  return text.slice(from)
}

/** @internal */
export const stripEnd = (text: string): string => {
  let to = text.length
  while (to > 0 && isBlank(text, to - 1)) to--
  return text.slice(0, to)
}

/** Text without the blanks around it, by what Python calls a blank. @internal */
export const strip = (text: string): string => stripEnd(stripStart(text))
