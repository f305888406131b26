/**
 * What Qwen3-VL, Qwen3.5 to 3.8 and Nemotron 3 share: ChatML whose messages are one stretch of text around images, with
 * reasoning in `<think>` tags. Their differences are the fields of `QwenStyle`.
 *
 * @internal
 */
import { type Piece, said } from "../chunk.js"
import {
  type Context,
  type Format,
  type Output,
  type Rendered,
  strip,
  stripEnd,
  stripStart,
  type Turn
} from "../format.js"
import type { Content, ImagePart, Part } from "../Message.js"

/** @internal */
export interface QwenStyle {
  readonly name: string
  /** Blanks around the content go: of texts and of parts, of texts only, or of none. */
  readonly trim: "all" | "strings" | "none"
  readonly thinking: (text: string) => string
  /** Whether the reasoning of the message is taken out. */
  readonly strips: (turn: Turn, context: Context) => boolean
  /** What stands in the header of an assistant's message after its role. */
  readonly opening: (turn: Turn, context: Context) => string
  /** What the prompt ends with after the role. */
  readonly prefill: string
  /** The calls of a message, with what is between them and its text. */
  readonly calls: (turn: Turn, index: number) => string
  /** Whether answers of tools that follow each other share a message, and what ends each of them. */
  readonly groups: boolean
  readonly toolEnd: string
  readonly toolNext: string
  /** Marks around an image; `count` images are in the message, and text is before this one. */
  readonly image: (at: number, count: number, before: string) => readonly [string, string]
}

/** Content without blanks around what is visible; reasoning is passed over. */
const trimmed = (content: Content, trim: QwenStyle["trim"]): Content => {
  if (trim === "none") return content
  if (typeof content === "string") return strip(content)
  if (trim === "strings") return content
  const parts = [...content]
  const visible = parts.flatMap((part, index) => part.type === "thinking" ? [] : [index])
  for (const [order, cut] of [[visible, stripStart], [visible.toReversed(), stripEnd]] as const) {
    for (const index of order) {
      const part = parts[index]
      if (part?.type !== "text") break
      const text = cut(part.text)
      parts[index] = { type: "text", text }
      if (text !== "") break
    }
  }
  return parts
}

type Stretch = Piece | ImagePart

const contentOf = (style: QwenStyle, content: Content, strips: boolean): ReadonlyArray<Stretch> => {
  if (typeof content === "string") return [said(content)]
  const out: Array<Stretch> = []
  const count = content.filter(({ type }) => type === "image").length
  let image = 0
  let before = ""
  content.forEach((part: Part) => {
    if (part.type === "text") {
      out.push(said(part.text))
      before = part.text === "" ? before : part.text
    } else if (part.type === "thinking") {
      if (!strips) out.push(said(style.thinking(part.thinking)))
    } else {
      const [open, close] = style.image(++image, count, before)
      out.push(open, part, close)
      before = ""
    }
  })
  return out
}

/** Pieces between images are tokenised as one text. */
const chunksOf = (stretches: ReadonlyArray<Stretch>): ReadonlyArray<Output> => {
  const out: Array<Output> = []
  let run: Array<Piece> = []
  const flush = () => {
    if (run.length > 0) out.push(run)
    run = []
  }
  for (const stretch of stretches) {
    if (typeof stretch === "object" && "type" in stretch) {
      flush()
      out.push(stretch)
    } else {
      run.push(stretch)
    }
  }
  flush()
  return out
}

/** @internal */
const renderQwen = (style: QwenStyle, given: Turn, context: Context): Rendered => {
  const { index, isLast, next, previous } = context
  const turn: Turn = { ...given, content: trimmed(given.content, style.trim) }
  const isTool = turn.role === "tool"
  const follows = style.groups && previous?.role === "tool"
  const role = isTool ? "user" : turn.role
  const start = `${index > 0 ? "\n" : ""}<|im_start|>`
  const body = contentOf(style, turn.content, style.strips(turn, context))
  const output: Array<Stretch> = isTool
    ? ["<tool_response>\n", ...body, `\n</tool_response>${style.toolEnd}`]
    : [...body]
  if ((turn.toolCalls ?? []).length > 0) output.push(said(style.calls(turn, index)))
  if (!(isTool && style.groups && next?.role === "tool")) output.push("<|im_end|>")
  if (isTool && follows) return { header: [style.toolNext], output: chunksOf(output) }
  if (turn.role !== "assistant") return { header: [start, said(role), "\n"], output: chunksOf(output) }
  // The header ends where the prompt does: what the model has to write itself is output
  const opening = style.opening(turn, context)
  const isPrompted = isLast && style.prefill !== "" && opening.startsWith(style.prefill)
  const rest = isPrompted ? opening.slice(style.prefill.length) : ""
  return {
    header: [`${start}assistant\n${isPrompted ? style.prefill : opening}`],
    output: [...(rest === "" ? [] : [[rest]]), ...chunksOf(output)]
  }
}

/** The parts of a format that are the same in the family. @internal */
export const qwenFormat = (
  style: QwenStyle,
  rest: Pick<Format, "extension" | "markup"> & Partial<Format>
): Format => ({
  name: style.name,
  stop: ["<|im_end|>"],
  eos: ["<|endoftext|>"],
  controls: ["<|im_start|>", "<|im_end|>"],
  suffix: (
    role,
    { index }
  ) => [`${index > 0 ? "\n" : ""}<|im_start|>${role}\n${role === "assistant" ? style.prefill : ""}`],
  render: (turn, context) => renderQwen(style, turn, context),
  ...rest
})

/** @internal */
export const visionMarks = (): readonly [string, string] => ["<|vision_start|>", "<|vision_end|>"]
