/**
 * DeepSeek V4.1: an effort in front of everything, answers of tools as part of the user's turn, calls as DSML.
 *
 * @internal
 */
import { type Piece, said } from "../chunk.js"
import {
  body,
  type Context,
  type Format,
  lastIndex,
  onlyText,
  refuse,
  type Rendered,
  textAndThinking,
  type Turn
} from "../format.js"
import type { Call, CallBlock } from "../markup.js"
import type { ToolCall } from "../Message.js"
import { isObject, isProblem, type Json, of, parse, write } from "../pythonJson.js"
import type { ToolSpec } from "../Tool.js"

const bos = "<｜begin▁of▁sentence｜>"
const eos = "<｜end▁of▁sentence｜>"
const system = "<｜System｜>"
const user = "<｜User｜>"
const assistant = "<｜Assistant｜>"
const dsml = "｜DSML｜"
const callsOpen = `<${dsml} calls>`
const callsClose = `</${dsml} calls>`
const invokeClose = `</${dsml} invoke>`
const parameterClose = `</${dsml} parameter>`

const toolsPieces = (tools: ReadonlyArray<ToolSpec>): ReadonlyArray<Piece> => [
  `## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a "${callsOpen}" block like the following:

${callsOpen}
<${dsml} invoke name="$TOOL_NAME">
<${dsml} parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE${parameterClose}
...
${invokeClose}
<${dsml} invoke name="$TOOL_NAME2">
...
${invokeClose}
${callsClose}

String parameters should be specified as is and set \`string="true"\`. For all other types (numbers, booleans, arrays, objects), pass the value in JSON format and set \`string="false"\`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside <think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

`,
  said(tools.map((tool) => write(of(tool))).join("\n")),
  "\n\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.\n"
]

/** Arguments that are no object go whole, as one parameter; a JSON text in a JSON text is read. */
const fieldsOf = (call: ToolCall): ReadonlyMap<string, Json> => {
  let value: Json = call.arguments
  for (let i = 0; i < 2 && typeof value === "string"; i++) {
    const read = parse(value)
    if (isProblem(read)) break
    value = read
  }
  return isObject(value) ? value : new Map([["arguments", call.arguments]])
}

const writeCalls = (calls: ReadonlyArray<ToolCall>): ReadonlyArray<Piece> => {
  const out: Array<Piece> = [`\n\n${callsOpen}\n`]
  calls.forEach((call, index) => {
    out.push(`${index > 0 ? "\n" : ""}<${dsml} invoke name="`, said(call.name), "\">\n")
    Array.from(fieldsOf(call)).forEach(([key, value], at) => {
      const isText = typeof value === "string"
      out.push(
        `${at > 0 ? "\n" : ""}<${dsml} parameter name="`,
        said(key),
        `" string="${isText}">`,
        said(isText ? value : write(value)),
        parameterClose
      )
    })
    out.push(`\n${invokeClose}`)
  })
  return [...out, `\n${callsClose}`]
}

const invoke = new RegExp(`<${dsml} invoke name="(.*?)">\\n([\\s\\S]*?)${invokeClose}`, "g")
const parameter = new RegExp(`<${dsml} parameter name="(.*?)" string="(true|false)">([\\s\\S]*?)${parameterClose}`, "g")

const readInvoke = (rawText: string, name: string, text: string): Call => {
  const broken = (error: string): Call => ({ rawText, error: `Invalid DSML: ${error}` })
  if (name.trim() === "") return broken("empty function name")
  if (text.replace(parameter, "").trim() !== "") return broken("text outside parameters")
  const values = new Map<string, Json>()
  for (const [, key = "", isText, value = ""] of text.matchAll(parameter)) {
    if (key.trim() === "") return broken("empty parameter name")
    if (values.has(key)) return broken("a parameter twice")
    const read = isText === "true" ? value : parse(value)
    if (isProblem(read)) return broken(`a parameter that is not JSON: ${read.problem}`)
    values.set(key, read)
  }
  return { name, arguments: write(values) }
}

const calls: CallBlock = {
  open: callsOpen,
  close: callsClose,
  before: "\n\n",
  read: (inner, raw) => {
    const found = Array.from(inner.matchAll(invoke))
    if (found.length === 0 || inner.replace(invoke, "").trim() !== "") {
      return [{ rawText: raw, error: "Invalid DSML: malformed invoke" }]
    }
    return found.map(([whole, name = "", text = ""]) => readInvoke(whole, name, text))
  }
}

const isUserTurn = (turn: Turn | undefined): boolean => turn?.role === "user" || turn?.role === "tool"

/** Answers in the order of the calls, in the places that answers hold; an unknown id stands with the first call. */
const inCallOrder = (turns: ReadonlyArray<Turn>, order: ReadonlyMap<string, number>): ReadonlyArray<Turn> => {
  const place = ({ toolCallId = "" }: Turn) => order.get(toolCallId) ?? 0
  const answers = turns.filter(({ role }) => role === "tool").toSorted((a, b) => place(a) - place(b))
  return turns.map((turn) => turn.role === "tool" ? answers.shift() ?? turn : turn)
}

/** A turn with what the conversation decides: whether its reasoning is written. */
interface Noted extends Turn {
  readonly keepsThinking?: boolean
}

/** User messages and answers of tools in a row are one turn; the first of them carries it, the others are written as nothing. */
const prepare =
  (name: string, strip: boolean) => (turns: ReadonlyArray<Turn>, hasTools: boolean): ReadonlyArray<Turn> => {
    const out: Array<Noted> = []
    let order: ReadonlyMap<string, number> = new Map()
    const through = strip && !hasTools
      ? lastIndex(turns, (turn, index) => isUserTurn(turn) || (turn.role === "system" && index > 0))
      : -1
    for (let at = 0; at < turns.length;) {
      const turn = turns[at]!
      if (turn.toolCalls !== undefined) {
        order = new Map(turn.toolCalls.flatMap(({ id }, index) => id === undefined ? [] : [[id, index] as const]))
      }
      if (!isUserTurn(turn)) {
        out.push({ ...turn, keepsThinking: at > through })
        at++
        continue
      }
      let end = at
      while (isUserTurn(turns[end])) end++
      const pieces = inCallOrder(turns.slice(at, end), order).flatMap((one, index): ReadonlyArray<Piece> => {
        const text = said(onlyText(one, name, at + index))
        return [index > 0 ? "\n\n" : "", ...(one.role === "tool" ? ["<tool_result>", text, "</tool_result>"] : [text])]
      })
      out.push({ ...turn, pieces })
      for (let rest = at + 1; rest < end; rest++) out.push({ ...turns[rest]!, pieces: [] })
      at = end
    }
    return out
  }

/** @internal */
export interface DeepseekV4Options {
  readonly name: string
  /** From 1 to 100; without it the model is told not to reason. */
  readonly effort?: number | undefined
  readonly preserve?: boolean | undefined
}

/** @internal */
export const deepseekV4 = ({ effort, name, preserve = false }: DeepseekV4Options): Format => {
  const thinks = effort !== undefined
  const told =
    `${system}Reasoning Effort: ${effort} (range 1-100, the higher the value, the more thorough the reasoning)\n\n`
  const opening = (role: string): string => thinks ? told : role === "system" ? system : ""
  const assistantTurn = (turn: Noted, { index, previous }: Context, start: string): Rendered => {
    const keeps = thinks && turn.keepsThinking !== false
    const follows = isUserTurn(previous) || (previous?.role === "system" && index > 1)
    const { text, thinking = "" } = textAndThinking(turn, name, index)
    return {
      header: [start + (follows ? assistant + (keeps ? "<think>" : "</think>") : "")],
      output: [[
        ...(keeps ? [said(thinking), "</think>"] : []),
        said(text),
        ...((turn.toolCalls ?? []).length > 0 ? writeCalls(turn.toolCalls ?? []) : []),
        eos
      ]]
    }
  }
  return {
    name,
    bos: [bos],
    stop: [eos],
    controls: [bos, eos, system, user, assistant, dsml],
    extension: !thinks || preserve,
    markup: {
      thinking: { open: "<think>", close: "</think>", trim: "none", after: 0 },
      calls: [calls],
      stray: [`<${dsml}`, `</${dsml}`, dsml],
      opened: thinks
    },
    prepare: prepare(name, !preserve),
    tools: (tools, given) => [
      { role: "system", content: given, pieces: [said(given), "\n\n", ...toolsPieces(tools)] }
    ],
    turnStart: (turns) =>
      lastIndex(turns, (turn, index) => turn.role === "user" || (turn.role === "system" && index > 0)) + 1,
    render: (turn, context) => {
      const { index, previous } = context
      const start = index === 0 ? opening(turn.role) : ""
      if (turn.role === "system") {
        return { header: [index === 0 ? start : system], output: [body(turn, name, index)], joined: true }
      }
      if (isUserTurn(turn)) {
        if (isUserTurn(previous)) return { output: [] }
        return { header: [`${start}${user}`], output: [body(turn, name, index)] }
      }
      if (turn.role !== "assistant") {
        throw refuse("a role of system, user, assistant or tool", "another role", index, "role")
      }
      return assistantTurn(turn, context, start)
    }
  }
}
