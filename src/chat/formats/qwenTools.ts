/**
 * How Qwen2.5 and Qwen3 are told of tools: one JSON object a line, after the system message.
 *
 * @internal
 */
import type { Turn } from "../format.js"
import { of, write } from "../pythonJson.js"
import type { ToolSpec } from "../Tool.js"

/** @internal */
export const qwenTools = (tools: ReadonlyArray<ToolSpec>, system: string): Turn => {
  const lines = tools.map((tool) => write(of({ type: "function", function: tool }))).join("\n")
  return {
    role: "system",
    content: `${system === "" ? "" : `${system}\n\n`}# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
${lines}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>`
  }
}
