/**
 * Calls as XML, of Qwen3.5 and those after it and of Nemotron: a function with its parameters, strings as they are.
 *
 * @internal
 */
import type { Call, CallBlock } from "../markup.js"
import type { ToolCall } from "../Message.js"
import { isProblem, type Json, parse, write } from "../pythonJson.js"
import { argumentsOrRefuse } from "./toolCallTags.js"

/** @internal */
export const writeXmlCall = (call: ToolCall, index: number, value: (json: Json) => string): string =>
  [
    `<tool_call>\n<function=${call.name}>`,
    ...Array.from(
      argumentsOrRefuse(call, index),
      ([name, json]) => `<parameter=${name}>\n${value(json)}\n</parameter>`
    ),
    "</function>\n</tool_call>"
  ].join("\n")

const fn = /^\s*<function=([^>\n]+)>\s*([\s\S]*?)\s*<\/function>\s*$/
const parameter = /<parameter=([^>\n]+)>\s*([\s\S]*?)\s*<\/parameter>/g

/** Scalars as Python writes them, which some templates do. */
const pythonScalars: ReadonlyMap<string, Json> = new Map<string, Json>([["True", true], ["False", false], [
  "None",
  null
]])

const readXmlCall = (inner: string, raw: string, python: boolean): Call => {
  const broken = (error: string): Call => ({ rawText: raw, error })
  const [, name = "", body = ""] = fn.exec(inner) ?? []
  if (name.trim() === "") return broken("Malformed tool call: expected <function=name> … </function>")
  const values = new Map<string, Json>()
  let at = 0
  for (const found of body.matchAll(parameter)) {
    const [whole, key = "", text = ""] = found
    if (body.slice(at, found.index).trim() !== "") return broken("Unexpected content between parameters")
    if (key.trim() === "") return broken("Empty parameter name")
    const value = python && pythonScalars.has(text) ? pythonScalars.get(text) ?? null : parse(text)
    values.set(key.trim(), isProblem(value) ? text : value)
    at = found.index + whole.length
  }
  if (body.slice(at).trim() !== "") return broken("Unexpected content after the parameters")
  return { name: name.trim(), arguments: write(values) }
}

/** `before`: what stands between text and the first call; `python`: whether scalars are written as Python does. @internal */
export const xmlCallBlock = (before: string, python: boolean): CallBlock => ({
  open: "<tool_call>",
  close: "</tool_call>",
  ...(before === "" ? {} : { before }),
  read: (inner, raw) => [readXmlCall(inner, raw, python)]
})

/** What the model is told of the form of calls. @internal */
export const xmlCallInstructions = `If you choose to call a function ONLY reply in the following format with NO suffix:

<tool_call>
<function=example_function_name>
<parameter=example_parameter_1>
value_1
</parameter>
<parameter=example_parameter_2>
This is the value for the second parameter
that can span
multiple lines
</parameter>
</function>
</tool_call>

<IMPORTANT>
Reminder:
- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within <tool_call></tool_call> XML tags
- Required parameters MUST be specified
- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT after
- If there is no function call available, answer the question like normal with your current knowledge and do not tell the user about function calls
</IMPORTANT>`
