/**
 * Nemotron 3 and 3.5: as Qwen3.5, with a system message always, tools as XML, and an empty block in front of every message
 * whose reasoning is not written.
 *
 * @internal
 */
import { type Context, type Format, hasThinking, onlyText, strip, type Turn } from "../format.js"
import { isObject, type Json, of, pythonText, write } from "../pythonJson.js"
import type { ToolSpec } from "../Tool.js"
import { pythonValue } from "./qwen3_5.js"
import { qwenFormat, type QwenStyle } from "./qwenFamily.js"
import { writeXmlCall, xmlCallBlock, xmlCallInstructions } from "./xmlCalls.js"

type Fields = ReadonlyMap<string, Json>

const fieldsOf = (json: Json | undefined): Fields =>
  json !== undefined && isObject(json) ? json : new Map<string, Json>()

const tag = (name: string, text: string): string => `<${name}>${text}</${name}>`

const others = (fields: Fields, handled: ReadonlyArray<string>): ReadonlyArray<string> =>
  Array.from(fields).filter(([key]) => !handled.includes(key)).map(([key, value]) => tag(key, pythonValue(value)))

const trimmedText = (json: Json | undefined): string => typeof json === "string" ? strip(json) : ""

const declaration = (tool: ToolSpec): string => {
  const parameters = fieldsOf(of(tool.parameters))
  const required = parameters.get("required")
  return [
    "<function>",
    tag("name", tool.name),
    ...(strip(tool.description) === "" ? [] : [tag("description", strip(tool.description))]),
    "<parameters>",
    ...Array.from(fieldsOf(parameters.get("properties"))).flatMap(([name, value]) => {
      const field = fieldsOf(value)
      return [
        "<parameter>",
        tag("name", name),
        ...(field.has("type") ? [tag("type", pythonText(field.get("type")!))] : []),
        ...(field.has("description") ? [tag("description", trimmedText(field.get("description")))] : []),
        ...(field.has("enum") ? [tag("enum", write(field.get("enum")!))] : []),
        ...others(field, ["name", "type", "description", "enum"]),
        "</parameter>"
      ]
    }),
    ...others(parameters, ["type", "properties", "required"]),
    ...(required === undefined ? [] : [tag("required", write(required))]),
    "</parameters>",
    "</function>"
  ].join("\n")
}

const toolsTurn = (tools: ReadonlyArray<ToolSpec>, system: string): Turn => ({
  role: "system",
  content: `${system === "" ? "" : `${system}\n\n`}# Tools\n\nYou have access to the following functions:\n\n<tools>\n${
    tools.map(declaration).join("\n")
  }\n</tools>\n\n${xmlCallInstructions}`
})

/** @internal */
export interface Nemotron3Options {
  readonly name: string
  /** Ultra and the 3.5 models: no line breaks around the reasoning's end. */
  readonly ultra?: boolean | undefined
  readonly disabled?: boolean | undefined
  readonly preserve?: boolean | undefined
  /** What the last user message ends with. */
  readonly effort?: string | undefined
}

const hasText = ({ content }: Turn): boolean =>
  typeof content !== "string" && content.some((part) => part.type === "text" && part.text !== "")

const hasBlock = ({ content }: Turn): boolean =>
  typeof content !== "string" && content.some((part) => part.type === "thinking")

const styleOf = ({ disabled = false, name, preserve = false, ultra = false }: Nemotron3Options): QwenStyle => {
  const isStripped = ({ index, lastUser }: Context) => !preserve && index < lastUser
  const call = (index: number) => (one: Parameters<typeof writeXmlCall>[0]) =>
    `${writeXmlCall(one, index, pythonValue)}\n`
  return {
    name,
    trim: "strings",
    thinking: (text) => ultra ? `<think>\n${text}</think>` : `<think>\n${text}\n</think>\n`,
    strips: (turn, context) => turn.role === "assistant" && isStripped(context),
    opening: (turn, context) => {
      const thinks = hasThinking(turn.content)
      if (thinks && !isStripped(context)) return ""
      const apart = !ultra && context.index < context.lastUser && thinks && hasText(turn) &&
        (turn.toolCalls ?? []).length === 0
      return apart ? "<think></think>\n" : "<think></think>"
    },
    prefill: disabled ? "<think></think>" : "<think>\n",
    calls: (turn, index) =>
      (ultra || !hasBlock(turn) || hasText(turn) ? "\n" : "") + (turn.toolCalls ?? []).map(call(index)).join(""),
    groups: true,
    toolEnd: "\n",
    toolNext: "",
    image: (at, count, before) => [
      `${before !== "" && !before.endsWith("\n") ? "\n" : ""}${count > 1 ? `<image ${at}>` : ""}<img>`,
      "</img>"
    ]
  }
}

/** @internal */
export const nemotron3 = (options: Nemotron3Options): Format => {
  const { disabled = false, effort, name, preserve = false, ultra = false } = options
  const style = styleOf(options)
  const base = qwenFormat(style, {
    extension: preserve,
    disablesThinking: disabled,
    markup: {
      thinking: { open: "<think>", close: "</think>", trim: "blanks", after: ultra ? 0 : 1 },
      calls: [xmlCallBlock("\n", true)],
      opened: !disabled
    },
    prepare: (turns) => turns[0]?.role === "system" ? turns : [{ role: "system", content: "" }, ...turns],
    tools: (tools, system) => [toolsTurn(tools, system)]
  })
  if (effort === undefined) return base
  return {
    ...base,
    render: (turn, context) =>
      base.render(
        turn.role === "user" && context.index === context.lastUser
          ? { ...turn, content: `${onlyText(turn, name, context.index)}\n\n{reasoning effort: ${effort}}` }
          : turn,
        context
      )
  }
}
