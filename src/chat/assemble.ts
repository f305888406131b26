/**
 * A renderer out of what makes prompts and examples: a format, or a chat template.
 *
 * @internal
 */
import * as Inspectable from "effect/Inspectable"
import { known } from "../protocol/options.js"
import type { Tokenizer } from "../tokenizer/Tokenizer.js"
import type { Encoder } from "./chunk.js"
import { type Format, refuse, type Turn } from "./format.js"
import { type Message, text } from "./Message.js"
import * as Parse from "./parse.js"
import * as Render from "./render.js"
import type { ExampleOptions, PromptOptions, Renderer, TypeId } from "./Renderer.js"
import type { TemplateFormat } from "./template.js"
import type { ToolSpec } from "./Tool.js"
import type { TrainOn } from "./TrainOn.js"

const promptNames = known<PromptOptions>("Renderer.prompt", { prefill: true, role: true, tools: true })
const exampleNames = known<ExampleOptions>("Renderer.example", { tools: true, train: true })

const checkTrainable = (messages: ReadonlyArray<Message>, train: TrainOn): void => {
  messages.forEach(({ trainable }, index) => {
    if (train === "customized" && trainable === undefined) {
      throw refuse("true or false, since train is customized", "nothing", index, "trainable")
    }
    if (train !== "customized" && trainable !== undefined) {
      throw refuse("nothing, unless train is customized", String(trainable), index, "trainable")
    }
  })
}

/** The messages with what tells of the tools, as the format writes it. */
const turnsOf = (
  format: Format,
  messages: ReadonlyArray<Message>,
  tools: ReadonlyArray<ToolSpec>
): ReadonlyArray<Turn> => {
  const prepare = format.prepare ?? ((turns) => turns)
  if (format.tools === undefined) {
    const calling = messages.findIndex(({ toolCalls = [] }) => toolCalls.length > 0)
    if (calling !== -1) {
      throw refuse(`no calls of tools: ${format.name} has no form for them`, "some", calling, "toolCalls")
    }
  }
  if (tools.length === 0) return prepare(messages, false)
  if (format.tools === undefined) throw refuse(`no tools: ${format.name} has no form for them`, `${tools.length}`)
  const [first] = messages
  const isSystem = first?.role === "system"
  const told = format.tools(tools, isSystem ? text(first) : "")
  const trainable = isSystem ? first.trainable : undefined
  const marked = trainable === undefined ? told : told.map((turn) => ({ ...turn, trainable }))
  return prepare([...marked, ...messages.slice(isSystem ? 1 : 0)], true)
}

type Splitting = Pick<Format, "name" | "extension" | "split" | "turnStart">

/** Where the examples of a conversation end, and what each trains. */
const endsOf = (
  format: Splitting,
  messages: ReadonlyArray<Message>,
  train: TrainOn
): ReadonlyArray<readonly [end: number, train: TrainOn]> => {
  if (format.extension || train === "last_assistant_message") return [[messages.length, train]]
  const indices = messages.map((_, index) => index)
  if (format.split === "turn") {
    if (train === "last_assistant_turn") return [[messages.length, train]]
    const users = indices.filter((index) => messages[index]?.role === "user").slice(1)
    if (train === "all_assistant_messages") {
      return [...users, messages.length].map((end) => [end, "last_assistant_turn"])
    }
  } else if (train === "all_assistant_messages" || train === "last_assistant_turn") {
    const lastUser = messages.findLastIndex(({ role }) => role === "user")
    const start = train === "all_assistant_messages" ? 0 : format.turnStart?.(messages) ?? lastUser + 1
    return indices
      .filter((index) => index >= start && messages[index]?.role === "assistant")
      .map((index) => [index + 1, "last_assistant_message"])
  }
  throw refuse(
    `train of last_assistant_message, last_assistant_turn or all_assistant_messages: ${format.name} writes a message otherwise ` +
      "once it is history, so that others have no example of their own",
    train
  )
}

interface Parts extends Splitting {
  readonly tokenizer: Tokenizer
  readonly encoder: Encoder
  readonly reading: Parse.Reading
  readonly prompt: Renderer["prompt"]
  readonly example: (
    messages: ReadonlyArray<Message>,
    tools: ReadonlyArray<ToolSpec>,
    train: TrainOn
  ) => ReturnType<Renderer["example"]>
}

/** A renderer but for its mark, which is its module's. @internal */
export type Unmarked = Omit<Renderer, TypeId>

const assemble = (parts: Parts): Unmarked => {
  const { encoder, name, reading, tokenizer } = parts
  const example: Renderer["example"] = (messages, options = {}) => {
    exampleNames(options)
    const { tools = [], train = "all_assistant_messages" } = options
    checkTrainable(messages, train)
    return parts.example(messages, tools, train)
  }
  const parser: Renderer["parser"] = (messages) => Parse.parser(reading, encoder, tokenizer, messages)
  const toJSON = () => ({ _id: "tinkex/Renderer", name, tokenizer: tokenizer.id })
  return {
    name,
    tokenizer,
    stop: "text" in reading.stop
      ? [reading.stop.text]
      : reading.stop.map(encoder.token).filter((token) => token !== undefined),
    extension: parts.extension,
    opensThinking: (messages) => Parse.isOpened(reading.markup, messages),
    prompt: (messages, options) => {
      promptNames(options)
      return parts.prompt(messages, options)
    },
    example,
    examples: (messages, options = {}) => {
      exampleNames(options)
      const train = options.train ?? "all_assistant_messages"
      checkTrainable(messages, train)
      return endsOf(parts, messages, train).map(([end, train]) =>
        example(messages.slice(0, end), { tools: options.tools, train })
      )
    },
    parser,
    parse: (tokens, messages) => {
      const one = parser(messages)
      one.push(tokens)
      return one.end().parsed
    },
    toJSON,
    toString: () => `Renderer(${name}, ${tokenizer.id})`,
    [Inspectable.NodeInspectSymbol]: toJSON
  }
}

/** @internal */
export const ofFormat = (format: Format, tokenizer: Tokenizer, encoder: Encoder): Unmarked => {
  const rendering: Render.Rendering = { format, encoder, decode: tokenizer.decode }
  return assemble({
    name: format.name,
    extension: format.extension,
    split: format.split,
    turnStart: format.turnStart,
    tokenizer,
    encoder,
    reading: format,
    prompt: (messages, { prefill = "", role = "assistant", tools = [] } = {}) =>
      Render.prompt(rendering, turnsOf(format, messages, tools), { prefill, role }),
    example: (messages, tools, train) => Render.example(rendering, turnsOf(format, messages, tools), train)
  })
}

/** @internal */
export const ofTemplate = (name: string, format: TemplateFormat, tokenizer: Tokenizer, encoder: Encoder): Unmarked =>
  assemble({
    name,
    extension: format.extension,
    tokenizer,
    encoder,
    reading: format,
    prompt: (messages, { prefill = "", role = "assistant", tools = [] } = {}) => {
      if (role !== "assistant") throw refuse("a prompt for the assistant: a template knows no other", `one for ${role}`)
      return format.prompt(messages, tools, prefill)
    },
    example: format.example
  })
