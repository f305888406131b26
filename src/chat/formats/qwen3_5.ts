/**
 * Qwen3.5, 3.6 and 3.8: the prompt opens the reasoning, calls are XML, answers of tools share a message.
 *
 * @internal
 */
import { type Format, hasThinking, strip, type Turn } from "../format.js"
import { text as textOf } from "../Message.js"
import { isObject, type Json, of, pythonText, write } from "../pythonJson.js"
import type { ToolSpec } from "../Tool.js"
import { qwenFormat, type QwenStyle, visionMarks } from "./qwenFamily.js"
import { writeXmlCall, xmlCallBlock, xmlCallInstructions } from "./xmlCalls.js"

const emptyBlock = "<think>\n\n</think>\n\n"

const toolsText = (tools: ReadonlyArray<ToolSpec>): string =>
  `# Tools\n\nYou have access to the following functions:\n\n<tools>\n${
    tools.map((tool) => write(of(tool))).join("\n")
  }\n</tools>\n\n${xmlCallInstructions}`

/** The tools come before the system message. */
const toolsTurn = (tools: ReadonlyArray<ToolSpec>, system: string): Turn => ({
  role: "system",
  content: toolsText(tools) + (system === "" ? "" : `\n\n${system}`)
})

/** Scalars as Python's `str` gives them. @internal */
export const pythonValue = (json: Json): string =>
  json !== null && typeof json === "object" && (Array.isArray(json) || isObject(json)) ? write(json) : pythonText(json)

/** Everything but text as JSON. */
const jsonValue = (json: Json): string => typeof json === "string" ? json : write(json)

const hasVisible = ({ content }: Turn): boolean =>
  typeof content === "string"
    ? strip(content) !== ""
    : content.some((part) => part.type === "image" || (part.type === "text" && strip(part.text) !== ""))

/** @internal */
export interface Qwen35Options {
  readonly name: string
  readonly disabled?: boolean | undefined
  /** Reasoning of earlier turns stays. */
  readonly preserve?: boolean | undefined
  readonly value?: "python" | "json" | undefined
}

const styleOf = ({ disabled = false, name, preserve = false, value = "python" }: Qwen35Options): QwenStyle => ({
  name,
  trim: "all",
  thinking: (text) => `<think>\n${text}\n</think>\n\n`,
  // As the template: what comes after the last user message keeps its reasoning
  strips: (turn, { index, lastUser }) => !preserve && turn.role === "assistant" && index <= lastUser,
  opening: (turn, { index, lastUser }) => index <= lastUser || hasThinking(turn.content) ? "" : emptyBlock,
  prefill: disabled ? emptyBlock : "<think>\n",
  calls: (turn, index) =>
    (hasVisible(turn) ? "\n\n" : "") +
    (turn.toolCalls ?? []).map((call) => writeXmlCall(call, index, value === "json" ? jsonValue : pythonValue)).join(
      "\n"
    ),
  groups: true,
  toolEnd: "",
  toolNext: "\n",
  image: visionMarks
})

const rest = (disabled: boolean, python: boolean): Pick<Format, "extension" | "disablesThinking" | "markup"> => ({
  // The tokenizer joins the two line breaks of an empty block, which a sampled one has apart
  extension: false,
  disablesThinking: disabled,
  markup: {
    thinking: { open: "<think>", close: "</think>", trim: "blanks", after: 2 },
    calls: [xmlCallBlock("\n\n", python)],
    opened: !disabled
  }
})

/** @internal */
export const qwen35 = (options: Qwen35Options): Format =>
  qwenFormat(styleOf(options), {
    ...rest(options.disabled === true, options.value !== "json"),
    tools: (tools, system) => [toolsTurn(tools, system)]
  })

const efforts = {
  xhigh:
    "Reasoning effort is set to xhigh. Please think carefully through the task, validate key assumptions, consider plausible alternatives, and prioritize correctness, consistency, and clarity in the final answer.",
  medium: "",
  low:
    "Reasoning effort is set to low. Keep your thinking brief and focused, moving directly to the conclusion without unnecessary elaboration."
}

/** The effort is told in the system message; a system message of nothing is none. */
const withEffort = (instructions: string) => (turns: ReadonlyArray<Turn>): ReadonlyArray<Turn> => {
  const [first, ...later] = turns
  if (first?.role !== "system") {
    return instructions === ""
      ? turns
      : [{ role: "system", content: instructions }, ...turns]
  }
  const text = strip(textOf(first))
  if (text === "" && instructions === "") return later
  const content = text === "" ? instructions : instructions === "" ? text : `${instructions}\n\n${text}`
  return [{ ...first, content }, ...later]
}

/** @internal */
export const qwen38 = (
  { effort, name }: { readonly name: string; readonly effort: keyof typeof efforts | "none" }
): Format => {
  const disabled = effort === "none"
  const style: QwenStyle = {
    ...styleOf({ name, disabled, preserve: true, value: "json" }),
    // Tags in a plain string are text here
    opening: ({ content }) =>
      typeof content !== "string" && content.some(({ type }) => type === "thinking") ? "" : emptyBlock
  }
  return qwenFormat(style, {
    ...rest(disabled, false),
    prepare: withEffort(disabled ? "" : efforts[effort]),
    tools: (tools, system) => [toolsTurn(tools, system)]
  })
}
