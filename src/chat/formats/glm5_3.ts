/**
 * GLM-5.3: a message has no end of its own, the next role's token ends it, and the assistant writes that token.
 *
 * @internal
 */
import { type Chunk, type Piece, said } from "../chunk.js"
import { type Context, type Format, onlyText, refuse, strip, textAndThinking, type Turn } from "../format.js"
import type { Call } from "../markup.js"
import type { ToolCall } from "../Message.js"
import { isProblem, type Json, of, parse, write } from "../pythonJson.js"
import type { ToolSpec } from "../Tool.js"
import { argumentsOrRefuse } from "./toolCallTags.js"

const system = "<|system|>"
const user = "<|user|>"
const assistant = "<|assistant|>"
const observation = "<|observation|>"
const endOfText = "<|endoftext|>"

const toolsTurn = (tools: ReadonlyArray<ToolSpec>): Turn => {
  const lines = tools.map((tool) => {
    const fields = Object.entries(tool).filter(([key]) => key !== "strict" && key !== "defer_loading")
    return `${write(of(Object.fromEntries(fields)))}\n`
  })
  return {
    role: "system",
    content: `
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
${lines.join("")}</tools>

For each function call, output the function name and arguments within the following XML format:
<tool_call>{function-name}<arg_key>{arg-key-1}</arg_key><arg_value>{arg-value-1}</arg_value><arg_key>{arg-key-2}</arg_key><arg_value>{arg-value-2}</arg_value>...</tool_call>`
  }
}

const writeCall = (call: ToolCall, index: number): string => {
  const value = (json: Json) => typeof json === "string" ? json : write(json)
  const fields = Array.from(
    argumentsOrRefuse(call, index),
    ([key, json]) => `<arg_key>${key}</arg_key><arg_value>${value(json)}</arg_value>`
  )
  return `<tool_call>${call.name}${fields.join("")}</tool_call>`
}

const head = /^\s*([\w.-]+)\s*([\s\S]*?)\s*$/
const pair = /<arg_key>([\s\S]*?)<\/arg_key>\s*<arg_value>([\s\S]*?)<\/arg_value>/g

const readCall = (inner: string, raw: string): Call => {
  const broken = (error: string): Call => ({ rawText: raw, error })
  const [, name = "", body = ""] = head.exec(inner) ?? []
  if (name === "") return broken("Malformed tool call: expected the name of a function first")
  const values = new Map<string, Json>()
  let at = 0
  for (const found of body.matchAll(pair)) {
    const [whole, key = "", text = ""] = found
    if (body.slice(at, found.index).trim() !== "") return broken("Unexpected content between arguments")
    if (key.trim() === "") return broken("Empty argument key")
    const value = parse(text)
    values.set(key.trim(), isProblem(value) ? text : value)
    at = found.index + whole.length
  }
  if (body.slice(at).trim() !== "") return broken("Unexpected content after the arguments")
  return { name, arguments: write(values) }
}

const isUnique = (ids: ReadonlyArray<string | undefined>): ids is ReadonlyArray<string> =>
  ids.every((id) => id !== undefined && id !== "") && new Set(ids).size === ids.length

/** Answers in the order of the calls, where ids say which belongs to which beyond doubt. */
const inCallOrder = (answers: ReadonlyArray<Turn>, before: Turn | undefined): ReadonlyArray<Turn> => {
  const calls = (before?.toolCalls ?? []).map(({ id }) => id)
  const ids = answers.map(({ toolCallId }) => toolCallId)
  if (calls.length === 0 || !isUnique(calls) || !isUnique(ids) || !ids.every((id) => calls.includes(id))) return answers
  return calls.flatMap((id) => answers.filter(({ toolCallId }) => toolCallId === id))
}

const prepare = (turns: ReadonlyArray<Turn>): ReadonlyArray<Turn> => {
  const out: Array<Turn> = []
  for (let at = 0; at < turns.length;) {
    let end = at
    while (turns[end]?.role === "tool") end++
    if (end === at) out.push(turns[at++]!)
    else out.push(...inCallOrder(turns.slice(at, end), out.at(-1)))
    at = Math.max(at, end)
  }
  return out
}

/** The token that ends an assistant's message; none when the next message begins with another. */
const terminator = (turn: Turn, next: Turn | undefined): string | undefined => {
  const expected = (turn.toolCalls ?? []).length > 0 ? observation : user
  const given = next?.role === "user" ? user : next?.role === "tool" ? observation : undefined
  return next === undefined || given === expected ? expected : undefined
}

/** Whether the assistant's message before has written the token of this one. */
const isSupplied = (turn: Turn, { previous }: Context): boolean =>
  previous?.role === "assistant" && terminator(previous, turn) !== undefined

/** Reasoning in tags of a plain string counts too. */
const split = (turn: Turn, name: string, index: number): { readonly thinking: string; readonly text: string } => {
  const { text, thinking } = textAndThinking(turn, name, index)
  if (typeof turn.content !== "string" || !text.includes("</think>")) return { thinking: thinking ?? "", text }
  const parts = text.split("</think>")
  return { thinking: parts[0]?.split("<think>").at(-1) ?? "", text: parts.at(-1) ?? "" }
}

/** @internal */
export const glm53 = (
  { effort, name }: { readonly name: string; readonly effort: "Max" | "High" | "Low" }
): Format => ({
  name,
  bos: [`[gMASK]<sop>${system}Reasoning Effort: ${effort}`],
  stop: [user, observation, endOfText],
  eos: [endOfText],
  controls: ["[gMASK]", "<sop>", system, user, assistant, observation],
  extension: true,
  markup: {
    thinking: { open: "<think>", close: "</think>", trim: "none", after: 0 },
    calls: [{ open: "<tool_call>", close: "</tool_call>", read: (inner, raw) => [readCall(inner, raw)] }],
    opened: true
  },
  prepare,
  tools: (tools, given) => [toolsTurn(tools), ...(given === "" ? [] : [{ role: "system", content: given }])],
  suffix: (role) => {
    const tokens: Readonly<Record<string, string>> = {
      system,
      user,
      assistant: `${assistant}<think>`,
      tool: observation
    }
    const token = tokens[role]
    if (token === undefined) throw refuse("a role of system, user, assistant or tool", "another role", undefined)
    return [token]
  },
  render: (turn, context) => {
    const { index, isLast, next, previous } = context
    const supplied = isSupplied(turn, context)
    const text = (): Chunk => [said(onlyText(turn, name, index))]
    switch (turn.role) {
      case "system":
        return { header: [system], output: [text()] }
      case "user":
        return { header: [supplied ? "" : user], output: [text()] }
      case "tool": {
        const grouped = supplied || previous?.role === "tool"
        return { header: [grouped ? "" : observation], output: [["<tool_response>", ...text(), "</tool_response>"]] }
      }
      case "assistant": {
        const { text, thinking } = split(turn, name, index)
        const calls = (turn.toolCalls ?? []).map((call) => writeCall(call, index)).join("")
        const end = terminator(turn, next)
        const output: Array<Piece> = [said(thinking), "</think>", said(strip(text) + calls)]
        if (end !== undefined && !isLast) output.push(end)
        return {
          header: [`${assistant}<think>`],
          output: [output],
          ...(isLast && end !== undefined ? { overlap: [end] } : {})
        }
      }
      default:
        throw refuse("a role of system, user, assistant or tool", "another role", index, "role")
    }
  }
})
