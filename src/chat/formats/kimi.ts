/**
 * Kimi K2, K2.5 and K2.6: roles are tokens, every message of the assistant begins with a block of reasoning, empty in the
 * history, and a conversation without a system message gets Moonshot's.
 *
 * @internal
 */
import { type Piece, said } from "../chunk.js"
import {
  type Context,
  type Format,
  lastIndex,
  onlyText,
  type Output,
  refuse,
  type Rendered,
  type Turn
} from "../format.js"
import type { Call, CallBlock } from "../markup.js"
import { type Part, parts } from "../Message.js"
import { isProblem, of, parse, write } from "../pythonJson.js"
import type { ToolSpec } from "../Tool.js"
import { typeScriptOf } from "./kimiTypes.js"

const systemText = "You are Kimi, an AI assistant created by Moonshot AI."
const callBegin = "<|tool_call_begin|>"
const callArguments = "<|tool_call_argument_begin|>"
const callEnd = "<|tool_call_end|>"

/** `functions.get_weather:0` to `get_weather`. */
const nameOf = (id: string): string => {
  const name = id.split(":")[0] ?? ""
  return name.includes(".") ? name.slice(name.indexOf(".") + 1) : name
}

const read = (inner: string): ReadonlyArray<Call> =>
  inner.split(callBegin).slice(1).map((part): Call => {
    const rawText = callBegin + part
    const broken = (error: string): Call => ({ rawText, error })
    const end = part.indexOf(callEnd)
    if (end === -1) return broken(`unterminated tool block: '${callBegin}' opened without a matching '${callEnd}'`)
    const at = part.indexOf(callArguments)
    const id = at === -1 || at > end ? "" : part.slice(0, at).trim()
    if (!/^[^<]+:\d+$/.test(id)) return broken("Expected functions.name:index before the arguments")
    const text = part.slice(at + callArguments.length, end).trim()
    const value = parse(text)
    return isProblem(value) ? broken(`Invalid JSON: ${value.problem}`) : { id, name: nameOf(id), arguments: text }
  })

/** Models write the section with either spelling. */
const blocks: ReadonlyArray<CallBlock> = ["tool_calls_section", "tool_call_section"].map((section) => ({
  open: `<|${section}_begin|>`,
  close: `<|${section}_end|>`,
  read
}))

const withSystem = (turns: ReadonlyArray<Turn>): ReadonlyArray<Turn> => {
  const at = turns[0]?.role === "tool_declare" ? 1 : 0
  if (turns[at]?.role === "system" || (at === 0 && turns[0]?.role === "system")) return turns
  return [...turns.slice(0, at), { role: "system", content: systemText }, ...turns.slice(at)]
}

/** Reasoning stays from the message after the last that called no tool. */
const turnStart = (turns: ReadonlyArray<Turn>): number =>
  lastIndex(turns, ({ role, toolCalls = [] }) => role === "assistant" && toolCalls.length === 0) + 1

/** @internal */
export interface KimiOptions {
  readonly name: string
  /** What the prompt ends with: nothing (K2), an open block, or a closed one. */
  readonly prefill?: "<think>" | "<think></think>" | undefined
  readonly preserve?: boolean | undefined
  /** How tools are told: as JSON (K2) or as TypeScript. */
  readonly types: "json" | "typescript"
}

const toolsText = (tools: ReadonlyArray<ToolSpec>, types: KimiOptions["types"]): string =>
  types === "typescript"
    ? typeScriptOf(tools)
    : write(of(tools.map((tool) => ({ type: "function", function: tool }))), { separators: [",", ":"], sortKeys: true })

const assistantTurn = (
  turn: Turn,
  { inLastTurn }: Context,
  name: string,
  index: number,
  preserve: boolean
): Rendered => {
  let thinking = ""
  let text = ""
  for (const part of parts(turn)) {
    if (part.type === "image") {
      throw refuse(`text and reasoning: ${name} has no form for images of the assistant`, "an image", index)
    }
    if (part.type === "thinking") thinking += part.thinking
    else text += part.text
  }
  const calls = turn.toolCalls ?? []
  const output: Array<Piece> = ["<think>", said(inLastTurn || preserve ? thinking : ""), "</think>", said(text)]
  if (calls.length > 0) {
    output.push("<|tool_calls_section_begin|>")
    calls.forEach((call, i) => {
      const id = call.id === undefined || call.id === "" ? `functions.${call.name}:${i}` : call.id
      output.push(callBegin, said(id), callArguments, said(call.arguments), callEnd)
    })
    output.push("<|tool_calls_section_end|>")
  }
  return { header: ["<|im_assistant|>assistant<|im_middle|>"], output: [[...output, "<|im_end|>"]] }
}

const partChunks = (part: Part): ReadonlyArray<Output> =>
  part.type === "text"
    ? [[said(part.text)]]
    : part.type === "image"
    ? [["<|media_begin|>image<|media_content|>"], part, ["<|media_end|>\n"]]
    : []

/** @internal */
export const kimi = ({ name, prefill, preserve = false, types }: KimiOptions): Format => ({
  name,
  stop: ["<|im_end|>"],
  controls: ["<|im_user|>", "<|im_assistant|>", "<|im_system|>", "<|im_middle|>", "<|im_end|>"],
  extension: false,
  split: "turn",
  disablesThinking: prefill === "<think></think>",
  markup: {
    thinking: { open: "<think>", close: "</think>", trim: "none", after: 0 },
    calls: blocks,
    opened: prefill === "<think>"
  },
  prepare: withSystem,
  tools: (tools, system) => [
    { role: "tool_declare", content: toolsText(tools, types) },
    { role: "system", content: system === "" ? systemText : system }
  ],
  turnStart,
  ...(prefill === undefined ? {} : { prefill: () => prefill }),
  render: (turn, context) => {
    const { index } = context
    if (turn.role === "assistant") return assistantTurn(turn, context, name, index, preserve)
    const output: ReadonlyArray<Output> = typeof turn.content !== "string" && types === "typescript"
      ? [...turn.content.flatMap(partChunks), ["<|im_end|>"]]
      : [[said(onlyText(turn, name, index)), "<|im_end|>"]]
    if (turn.role === "user") return { header: ["<|im_user|>user<|im_middle|>"], output }
    if (turn.role !== "tool") return { header: ["<|im_system|>", said(turn.role), "<|im_middle|>"], output }
    const answering = turn.name === undefined || turn.name === "" ? turn.role : turn.name
    return {
      header: ["<|im_system|>", said(answering), "<|im_middle|>", said(`## Return of ${turn.toolCallId ?? ""}\n`)],
      output
    }
  }
})
