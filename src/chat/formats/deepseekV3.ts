/**
 * DeepSeek V3 and V3.1: no line breaks between turns, the system text bare at the beginning, `</think>` in front of turns that
 * did not reason.
 *
 * @internal
 */
import { type Piece, said } from "../chunk.js"
import { body, type Context, type Format, hasThinking, onlyText, refuse, type Rendered, type Turn } from "../format.js"
import type { CallBlock } from "../markup.js"
import { isProblem, of, parse, write } from "../pythonJson.js"
import type { ToolSpec } from "../Tool.js"

const mark = (name: string): string => `<｜${name}｜>`
const bos = mark("begin▁of▁sentence")
const eos = mark("end▁of▁sentence")
const user = mark("User")
const assistant = mark("Assistant")
const callsBegin = mark("tool▁calls▁begin")
const callsEnd = mark("tool▁calls▁end")
const callBegin = mark("tool▁call▁begin")
const callEnd = mark("tool▁call▁end")
const separator = mark("tool▁sep")
const outputBegin = mark("tool▁output▁begin")
const outputEnd = mark("tool▁output▁end")

const calls: CallBlock = {
  open: callsBegin,
  close: callsEnd,
  read: (inner) => {
    const found = inner.split(callBegin).slice(1)
    return found.map((part) => {
      const rawText = callBegin + part
      const end = part.indexOf(callEnd)
      if (end === -1) {
        return { rawText, error: `unterminated tool block: '${callBegin}' opened without a matching '${callEnd}'` }
      }
      const at = part.indexOf(separator)
      const name = at === -1 ? "" : part.slice(0, at).trim()
      if (name === "" || at > end) return { rawText, error: `a call without a name before '${separator}'` }
      const text = part.slice(at + separator.length, end).trim()
      const value = parse(text)
      return isProblem(value) ? { rawText, error: `Invalid JSON: ${value.problem}` } : { name, arguments: text }
    })
  }
}

const toolsTurn = (tools: ReadonlyArray<ToolSpec>, system: string): Turn => {
  const pieces: Array<Piece> = [said(system), "\n\n## Tools\nYou have access to the following tools:\n\n"]
  tools.forEach((tool, index) => {
    pieces.push(
      index > 0 ? "\n" : "",
      said(`### ${tool.name}\nDescription: ${tool.description}\n\nParameters: ${write(of(tool.parameters))}`)
    )
  })
  pieces.push(`

IMPORTANT: ALWAYS adhere to this exact format for tool use:
${callsBegin}${callBegin}tool_call_name${separator}tool_call_arguments${callEnd}${callsEnd}

Where:
- \`tool_call_name\` must be an exact match to one of the available tools
- \`tool_call_arguments\` must be valid JSON that strictly follows the tool's Parameters Schema
- For multiple tool calls, chain them directly without separators or spaces`)
  return { role: "system", content: system, pieces }
}

const contentOf = (turn: Turn, name: string, index: number, dropThinking: boolean): string => {
  if (typeof turn.content === "string") return turn.content
  let out = ""
  for (const part of turn.content) {
    if (part.type === "image") {
      throw refuse(`text and reasoning: ${name} has no form for images`, "a part of type image", index)
    }
    if (part.type === "text") out += part.text
    else if (!dropThinking) out += `<think>${part.thinking}</think>`
  }
  return out
}

/** @internal */
export const deepseekV3 = (
  { name, strip = true, thinking }: {
    readonly name: string
    readonly thinking: boolean
    readonly strip?: boolean | undefined
  }
): Format => {
  const assistantTurn = (turn: Turn, { index, isLast, previous }: Context): Rendered => {
    const followsTool = previous?.role === "tool"
    const toolCalls = turn.toolCalls ?? []
    const isHistory = strip && !isLast
    const drop = thinking ? isHistory && toolCalls.length === 0 : !followsTool
    let text = contentOf(turn, name, index, drop)
    if (!thinking && !followsTool) text = text.replace(/<think>[\s\S]*?<\/think>/g, "")
    const header = followsTool ? "" : thinking && !isHistory ? assistant : `${assistant}</think>`
    // A turn that did not reason says so, where the prompt leaves the reasoning open
    const empty = thinking && !followsTool && isLast && turn.content.length > 0 && !hasThinking(turn.content)
    const output: Array<Piece> = [empty ? "<think></think>" : "", said(text)]
    if (toolCalls.length > 0) {
      output.push(callsBegin)
      for (const call of toolCalls) output.push(callBegin, said(call.name), separator, said(call.arguments), callEnd)
      output.push(callsEnd)
    }
    return { header: [header], output: [[...output, eos]] }
  }
  const render = (turn: Turn, context: Context): Rendered => {
    const { index } = context
    switch (turn.role) {
      case "system":
        if (index > 0) {
          throw refuse(
            `a system message at the beginning only: ${name} has no form for later ones`,
            "a later one",
            index,
            "role"
          )
        }
        return { output: [body(turn, name, index)] }
      case "user":
        return { header: [user], output: [[said(onlyText(turn, name, index))]] }
      case "tool":
        return { header: [outputBegin], output: [[said(onlyText(turn, name, index)), outputEnd]] }
      case "assistant":
        return assistantTurn(turn, context)
      default:
        throw refuse("a role of system, user, assistant or tool", "another role", index, "role")
    }
  }
  return {
    name,
    bos: [bos],
    stop: [eos],
    controls: [bos, eos, user, assistant, callsBegin, callsEnd, callBegin, callEnd, separator, outputBegin, outputEnd],
    extension: !thinking || !strip,
    markup: {
      thinking: { open: "<think>", close: "</think>", trim: "none", after: 0 },
      calls: [calls],
      ...(thinking ? { opened: { notAfter: "tool" } } : {})
    },
    tools: (tools, system) => [toolsTurn(tools, system)],
    ...(thinking ? { prefill: (turns: ReadonlyArray<Turn>) => turns.at(-1)?.role === "tool" ? "" : "<think>" } : {}),
    render
  }
}
