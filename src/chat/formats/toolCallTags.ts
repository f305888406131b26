/**
 * `<tool_call>` tags around JSON, of Hermes, Qwen2.5 and Qwen3.
 *
 * @internal
 */
import { refuse } from "../format.js"
import type { Call, CallBlock } from "../markup.js"
import type { ToolCall } from "../Message.js"
import { argumentsOf, isObject, isProblem, type Json, parse, write } from "../pythonJson.js"

/** The arguments of a call of a message; refused when they are no JSON object. @internal */
export const argumentsOrRefuse = (call: ToolCall, index: number) => {
  const value = argumentsOf(call.arguments)
  if (value !== undefined) return value
  throw refuse("arguments that are a JSON object", "arguments that are not", index, "toolCalls")
}

/** @internal */
export const writeCalls = (calls: ReadonlyArray<ToolCall>, index: number): string =>
  calls
    .map((call) => {
      const payload = new Map<string, Json>([["name", call.name], ["arguments", argumentsOrRefuse(call, index)]])
      return `<tool_call>\n${write(payload)}\n</tool_call>`
    })
    .join("\n")

/** The call of a JSON object with `name` and `arguments`. @internal */
const readJsonCall = (inner: string, raw: string): Call => {
  const value = parse(inner.trim())
  const broken = (error: string): Call => ({ rawText: raw, error })
  if (isProblem(value)) return broken(`Invalid JSON: ${value.problem}`)
  if (value === null || typeof value !== "object" || !(value instanceof Map)) {
    return broken("Tool call is not a JSON object")
  }
  const name = value.get("name")
  const parameters = value.get("arguments")
  const id = value.get("id")
  if (typeof name !== "string") return broken("Missing or invalid 'name' field")
  if (parameters === undefined || !isObject(parameters)) return broken("Missing or invalid 'arguments' field")
  return { ...(typeof id === "string" ? { id } : {}), name, arguments: write(parameters) }
}

/** @internal */
export const toolCallBlock: CallBlock = {
  open: "<tool_call>",
  close: "</tool_call>",
  before: "\n",
  read: (inner, raw) => [readJsonCall(inner, raw)]
}
