/**
 * Qwen3: ChatML with reasoning in `<think>` tags, which the template frames in the turn that the model is asked for and takes
 * out of the history. The instruct models of 2507 do not reason.
 *
 * @internal
 */
import { said } from "../chunk.js"
import {
  type Context,
  type Format,
  hasThinking,
  onlyText,
  refuse,
  type Rendered,
  stripBreaks,
  stripLeadingBreaks,
  type Turn
} from "../format.js"
import type { Markup } from "../markup.js"
import type { Content } from "../Message.js"
import { qwenTools } from "./qwenTools.js"
import { toolCallBlock, writeCalls } from "./toolCallTags.js"

/** @internal */
export interface Qwen3Options {
  readonly name: string
  /** `framed`: the reasoning of the last turn is framed by line breaks, and an empty block stands for none. */
  readonly thinking: "framed" | "disabled" | "none"
  /** Reasoning of earlier turns is taken out. */
  readonly strip?: boolean | undefined
}

const frame = (reasoning: string): string => `<think>\n${stripBreaks(reasoning)}\n</think>\n\n`

/** Where a plain string holds reasoning in tags, the reasoning and what comes after it. */
const inline = (content: string): { readonly reasoning: string; readonly rest: string } | undefined => {
  const close = content.indexOf("</think>")
  if (close === -1) return undefined
  const reasoning = content.slice(0, close)
  const open = reasoning.lastIndexOf("<think>")
  return {
    reasoning: open === -1 ? reasoning : reasoning.slice(open + "<think>".length),
    rest: stripLeadingBreaks(content.slice(close + "</think>".length))
  }
}

const reasons = (content: Content): boolean =>
  typeof content === "string" ? content.includes("</think>") : content.some(({ type }) => type === "thinking")

const visible = (content: Content): string =>
  typeof content === "string"
    ? inline(content)?.rest ?? content
    : content.map((part) => part.type === "text" ? part.text : "").join("")

type Style = "framed" | "stripped" | "plain"

const contentOf = (turn: Turn, name: string, index: number, style: Style, frames: boolean): string => {
  const { content } = turn
  if (typeof content === "string") {
    const found = style === "plain" || !frames ? undefined : inline(content)
    if (found === undefined) return content
    return (style === "framed" ? frame(found.reasoning) : "") + found.rest
  }
  let out = ""
  let afterBlock = false
  for (const part of content) {
    if (part.type === "image") {
      throw refuse(`text and reasoning: ${name} has no form for images`, "a part of type image", index)
    }
    if (part.type === "thinking") {
      if (style === "stripped") continue
      out += style === "framed" ? frame(part.thinking) : `<think>${part.thinking}</think>`
      afterBlock = style === "framed"
    } else {
      out += afterBlock ? stripLeadingBreaks(part.text) : part.text
      afterBlock = false
    }
  }
  return out
}

const markup = (framed: boolean): Markup => ({
  thinking: { open: "<think>", close: "</think>", trim: framed ? "breaks" : "none", after: framed ? Infinity : 0 },
  calls: [toolCallBlock]
})

/** @internal */
export const qwen3 = ({ name, strip = true, thinking }: Qwen3Options): Format => {
  const frames = thinking !== "none"
  /** As the template: reasoning stands after the last user message only, and the last message has a block in any case. */
  const styleOf = (turn: Turn, { index, isLast, lastUser }: Context): Style => {
    if (turn.role !== "assistant") return "plain"
    const isTurn = lastUser >= 0 && (!strip || (index > lastUser && (isLast || reasons(turn.content))))
    if (frames && isTurn) return "framed"
    return strip && !(isLast && (lastUser < 0 || !frames)) ? "stripped" : "plain"
  }
  const render = (turn: Turn, context: Context): Rendered => {
    const { index, isLast, lastUser, next, previous } = context
    const start = index > 0 ? "\n" : ""
    const end = ["<|im_end|>"]
    if (turn.role === "tool") {
      const grouped = previous?.role === "tool"
      return {
        header: [grouped ? "" : `${start}<|im_start|>user\n`],
        output: [
          [`${grouped ? "\n" : ""}<tool_response>\n`, said(onlyText(turn, name, index)), "\n</tool_response>"],
          ...(next?.role === "tool" ? [] : [end])
        ]
      }
    }
    if (thinking === "disabled" && turn.role === "assistant" && isLast && turn.content !== "" && lastUser < 0) {
      throw refuse(
        "a user message before it: without one the template writes no empty block of reasoning, which the prompt opens",
        "a conversation without a user message",
        index
      )
    }
    const style = styleOf(turn, context)
    let text = contentOf(turn, name, index, style, frames)
    // What comes before a call is asked of the message's own text, not of the block
    const hasText = text !== "" && (style !== "framed" || visible(turn.content) !== "")
    if (style === "framed" && !hasThinking(turn.content)) text = frame("") + stripLeadingBreaks(text)
    const calls = turn.toolCalls ?? []
    return {
      header: [`${start}<|im_start|>`, said(turn.role), "\n"],
      output: [[said(text), ...(calls.length === 0 ? [] : [hasText ? "\n" : "", said(writeCalls(calls, index))])], end]
    }
  }
  return {
    name,
    stop: ["<|im_end|>"],
    eos: ["<|endoftext|>"],
    controls: ["<|im_start|>", "<|im_end|>"],
    extension: thinking === "none" || !strip,
    disablesThinking: thinking === "disabled",
    markup: markup(frames),
    tools: (tools, system) => [qwenTools(tools, system)],
    render,
    ...(thinking === "disabled"
      ? {
        suffix: (
          role: string,
          { index }: Context
        ) => [`${index > 0 ? "\n" : ""}<|im_start|>${role}\n<think>\n\n</think>\n\n`]
      }
      : {})
  }
}
