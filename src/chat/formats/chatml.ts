/**
 * ChatML: `<|im_start|>role`, a line break, the text, `<|im_end|>` and a line break. Qwen2.5 and SmolLM2 speak it, each with a
 * system message of its own where the conversation has none.
 *
 * @internal
 */
import { said } from "../chunk.js"
import { type Format, onlyText } from "../format.js"
import type { Turn } from "../format.js"
import { qwenTools } from "./qwenTools.js"
import { toolCallBlock, writeCalls } from "./toolCallTags.js"

/** @internal */
export interface ChatmlOptions {
  readonly name?: string | undefined
  /** The system message of a conversation that has none; none unless given. */
  readonly system?: string | undefined
  /** Whether there are tools, written as Qwen2.5 and Qwen3 do. */
  readonly tools?: boolean | undefined
}

/** @internal */
export const chatml = (options: ChatmlOptions = {}): Format => {
  const name = options.name ?? "chatml"
  const { system } = options
  const hasTools = options.tools !== false
  return {
    name,
    stop: ["<|im_end|>"],
    eos: ["<|endoftext|>"],
    controls: ["<|im_start|>", "<|im_end|>"],
    extension: true,
    markup: hasTools ? { calls: [toolCallBlock] } : {},
    ...(system === undefined ? {} : {
      prepare: (turns: ReadonlyArray<Turn>) =>
        turns[0]?.role === "system" ? turns : [{ role: "system", content: system }, ...turns]
    }),
    ...(hasTools ? { tools: (tools, given) => [qwenTools(tools, given === "" ? system ?? "" : given)] } : {}),
    render: (turn, { index, next, previous }) => {
      const text = onlyText(turn, name, index)
      const start = index > 0 ? "\n" : ""
      if (turn.role === "tool") {
        const grouped = previous?.role === "tool"
        const end = next?.role === "tool" ? "" : "<|im_end|>"
        return {
          header: [grouped ? "" : `${start}<|im_start|>user\n`],
          output: [[`${grouped ? "\n" : ""}<tool_response>\n`, said(text), `\n</tool_response>${end}`]]
        }
      }
      const calls = turn.toolCalls ?? []
      return {
        header: [`${start}<|im_start|>`, said(turn.role), "\n"],
        output: [[
          said(text),
          ...(calls.length > 0 && hasTools ? [text === "" ? "" : "\n", said(writeCalls(calls, index))] : []),
          "<|im_end|>"
        ]]
      }
    }
  }
}
