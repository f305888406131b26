/**
 * gpt-oss in Harmony: every message of the assistant goes to a channel, reasoning to `analysis`, calls to `commentary`, the
 * answer to `final`.
 *
 * @internal
 */
import { type Piece, said } from "../chunk.js"
import { type Format, onlyText, refuse, type Rendered, textAndThinking, type Turn } from "../format.js"
import { harmonyReader } from "../harmonyReader.js"
import { harmonyTypes } from "./harmonyTypes.js"

/** The role of the format's own system message; that of a conversation becomes a developer's. */
const ownSystem = "\u0000system"

const systemText = (effort: string, date: string): string =>
  `You are ChatGPT, a large language model trained by OpenAI.
Knowledge cutoff: 2024-06
Current date: ${date}

Reasoning: ${effort}

# Valid channels: analysis, commentary, final. Channel must be included for every message.`

const assistantTurn = (turn: Turn, name: string, index: number, isLast: boolean): Rendered => {
  const { text, thinking } = textAndThinking(turn, name, index)
  const calls = turn.toolCalls ?? []
  const output: Array<Piece> = []
  if (thinking !== undefined && thinking !== "") {
    output.push("<|channel|>analysis<|message|>", said(thinking), "<|end|><|start|>assistant")
  }
  if (calls.length === 0) {
    output.push("<|channel|>final<|message|>", said(text), isLast ? "<|return|>" : "<|end|>")
  } else if (text !== "") {
    output.push("<|channel|>commentary<|message|>", said(text), "<|end|><|start|>assistant")
  }
  calls.forEach((call, i) => {
    output.push(
      `${i > 0 ? "<|start|>assistant" : ""} to=functions.`,
      said(call.name),
      "<|channel|>commentary <|constrain|>json<|message|>",
      said(call.arguments),
      "<|call|>"
    )
  })
  return { header: ["<|start|>assistant"], output: [output] }
}

/** @internal */
export const gptOss = (
  { date, effort, name }: {
    readonly name: string
    readonly effort?: string | undefined
    readonly date?: string | undefined
  }
): Format => ({
  name,
  stop: ["<|return|>", "<|call|>"],
  controls: ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>", "<|call|>"],
  extension: false,
  markup: { reader: harmonyReader },
  ...(effort === undefined ? {} : {
    prepare: (turns: ReadonlyArray<Turn>) => [{ role: ownSystem, content: systemText(effort, date ?? "") }, ...turns]
  }),
  tools: (tools, system) => [
    { role: ownSystem, content: "Calls to these tools must go to the commentary channel: 'functions'." },
    {
      role: "developer",
      content: `${
        system === "" ? "" : `# Instructions\n\n${system}\n\n`
      }# Tools\n\n## functions\n\nnamespace functions {\n\n${harmonyTypes(tools)}\n\n} // namespace functions`
    }
  ],
  render: (turn, { index, isLast }) => {
    if (turn.role === "assistant") return assistantTurn(turn, name, index, isLast)
    const text = onlyText(turn, name, index)
    if (turn.role === "tool") {
      if (turn.name === undefined || turn.name === "") {
        throw refuse("the name of the tool that answers, as name", "none", index, "name")
      }
      const tool = turn.name.startsWith("functions.") ? turn.name : `functions.${turn.name}`
      return {
        header: ["<|start|>", said(tool), " to=assistant"],
        output: [["<|channel|>commentary<|message|>", said(text), "<|end|>"]]
      }
    }
    if (turn.role === "system") {
      return { header: ["<|start|>developer"], output: [["<|message|># Instructions\n\n", said(text), "\n\n<|end|>"]] }
    }
    return {
      header: ["<|start|>", said(turn.role === ownSystem ? "system" : turn.role)],
      output: [["<|message|>", said(text), "<|end|>"]]
    }
  }
})
