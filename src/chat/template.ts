/**
 * A renderer out of a chat template in Jinja, as model repositories and GGUF files carry it. What a template writes cannot be
 * seen from outside: what belongs to a message is found by rendering the conversation up to it, with and without the prompt
 * for the next message, and comparing.
 *
 * @internal
 */
import type { Template } from "@huggingface/jinja"
import type { Segment } from "../protocol/Datum.js"
import { InvalidInput } from "../protocol/InvalidInput.js"
import type * as ModelInput from "../protocol/ModelInput.js"
import type { Tokenizer } from "../tokenizer/Tokenizer.js"
import { type Chunk, encoder, type Piece, said } from "./chunk.js"
import { refuse } from "./format.js"
import { toolCallBlock } from "./formats/toolCallTags.js"
import { xmlCallBlock } from "./formats/xmlCalls.js"
import type { Markup } from "./markup.js"
import { type Message, text, thinking } from "./Message.js"
import type { ToolSpec } from "./Tool.js"
import type { TrainOn } from "./TrainOn.js"

/** @internal */
export interface TemplateOptions {
  readonly tokenizer: Tokenizer
  readonly name: string
  readonly template: Template
  /** Settings of the template: `{ enable_thinking: false }`. */
  readonly variables: Readonly<Record<string, unknown>>
  readonly allowControlTokens: boolean
}

/** What a template does by itself, found by trying. @internal */
export interface TemplateFormat {
  readonly stop: ReadonlyArray<string>
  readonly extension: boolean
  readonly markup: Markup
  readonly prompt: (
    messages: ReadonlyArray<Message>,
    tools: ReadonlyArray<ToolSpec>,
    prefill: string
  ) => ModelInput.ModelInput
  readonly example: (
    messages: ReadonlyArray<Message>,
    tools: ReadonlyArray<ToolSpec>,
    train: TrainOn
  ) => ReadonlyArray<Segment>
}

interface Rendered {
  readonly text: string
  /** What is put into names of control tokens in messages, to know them again. */
  readonly mark: string
}

type Render = (
  messages: ReadonlyArray<Message>,
  tools: ReadonlyArray<ToolSpec>,
  prompted: boolean,
  mark?: string
) => Rendered

/** A character that no message holds: of those for private use. */
const unusedMark = (messages: ReadonlyArray<Message>): string => {
  const all = JSON.stringify(messages)
  for (let code = 0xe000; code < 0xf8ff; code++) {
    const mark = String.fromCharCode(code)
    if (!all.includes(mark)) return mark
  }
  return "\u0000"
}

const argumentsOf = (call: string): unknown => {
  try {
    return JSON.parse(call === "" ? "{}" : call)
  } catch {
    return call
  }
}

/** A message as templates know it, with the mark in every control name. */
const toTemplate = (message: Message, index: number, guard: (text: string) => string) => {
  if (typeof message.content !== "string" && message.content.some(({ type }) => type === "image")) {
    throw refuse("text and reasoning: a template has no form for images here", "a part of type image", index)
  }
  const reasoning = thinking(message)
  return {
    role: message.role,
    content: guard(text(message)),
    ...(reasoning === "" ? {} : { reasoning_content: guard(reasoning) }),
    ...(message.toolCalls === undefined || message.toolCalls.length === 0 ? {} : {
      tool_calls: message.toolCalls.map((call) => ({
        ...(call.id === undefined ? {} : { id: call.id }),
        type: "function",
        function: { name: guard(call.name), arguments: argumentsOf(guard(call.arguments)) }
      }))
    }),
    ...(message.toolCallId === undefined ? {} : { tool_call_id: message.toolCallId }),
    ...(message.name === undefined ? {} : { name: guard(message.name) })
  }
}

/** What the template says against the conversation, without what it quotes of it. */
const refusal = (name: string, cause: unknown): InvalidInput =>
  new InvalidInput({
    field: "messages",
    expected: `a conversation that the chat template of ${name} takes`,
    actual: `one that it refuses (${cause instanceof Error ? cause.message.slice(0, 200) : "an error"})`
  })

const renderer = ({ name, template, tokenizer, variables }: TemplateOptions, names: ReadonlyArray<string>): Render => {
  const tokenText = (token: number | undefined) => token === undefined ? undefined : tokenizer.decode([token])
  const bos = tokenText(tokenizer.bosToken)
  const eos = tokenText(tokenizer.eosToken)
  const longestFirst = names.toSorted((a, b) => b.length - a.length)
  return (messages, tools, prompted, mark = unusedMark(messages)) => {
    const guard = (given: string) => {
      let out = given
      for (const control of longestFirst) {
        if (out.includes(control)) out = out.replaceAll(control, control[0] + mark + control.slice(1))
      }
      return out
    }
    const given = messages.map((message, index) => toTemplate(message, index, guard))
    try {
      const rendered = template.render({
        ...(bos === undefined ? {} : { bos_token: bos }),
        ...(eos === undefined ? {} : { eos_token: eos }),
        ...variables,
        messages: given,
        ...(tools.length === 0 ? {} : { tools: tools.map((tool) => ({ type: "function", function: tool })) }),
        add_generation_prompt: prompted
      })
      return { text: rendered, mark }
    } catch (cause) {
      throw refusal(name, cause)
    }
  }
}

/** The text with marked names as text of messages. */
const piecesOf = ({ mark, text }: Rendered, from: number, to: number, names: ReadonlyArray<string>): Chunk => {
  const parts = text.slice(from, to).split(mark)
  const out: Array<Piece> = []
  let carried = ""
  parts.forEach((part, index) => {
    // The mark stands behind the first character of a name
    const whole = carried + part
    const name = index === 0 ? undefined : names.find((one) => whole.startsWith(one))
    const rest = name === undefined ? whole : whole.slice(name.length)
    if (name !== undefined) out.push(said(name))
    carried = index < parts.length - 1 ? rest.slice(-1) : ""
    const plain = index < parts.length - 1 ? rest.slice(0, -1) : rest
    if (plain !== "") out.push(plain)
  })
  return out
}

/** A part of the rendered conversation: what message `message` has the model write, or what stands before it. */
interface Stretch {
  readonly from: number
  readonly to: number
  readonly message: number | undefined
}

/** @internal */
export const templateFormat = (options: TemplateOptions): TemplateFormat => {
  const { allowControlTokens, name, tokenizer } = options
  const names = Array.from(tokenizer.specialTokens.keys()).filter((one) => one.length > 1)
  const { encode } = encoder(tokenizer, [], allowControlTokens)
  const render = renderer(options, allowControlTokens ? [] : names)
  const tokensOf = (rendered: Rendered, from: number, to: number) => encode(piecesOf(rendered, from, to, names))

  /** Where the output ends: behind its last control token, if it has one. What follows is the template's. */
  const outputEnd = (text: string, from: number, to: number): number => {
    let end = -1
    for (const one of names) {
      const at = text.lastIndexOf(one, to - one.length)
      if (at >= from) end = Math.max(end, at + one.length)
    }
    return end === -1 ? to : end
  }

  /** What each assistant message has the model write, where the whole goes on from the prompt of the message. */
  const stretchesOf = (
    whole: Rendered,
    messages: ReadonlyArray<Message>,
    tools: ReadonlyArray<ToolSpec>
  ): ReadonlyArray<Stretch> => {
    const out: Array<Stretch> = []
    let at = 0
    messages.forEach(({ role }, index) => {
      if (role !== "assistant") return
      const before = render(messages.slice(0, index), tools, true, whole.mark).text
      const upTo = index === messages.length - 1
        ? whole.text
        : render(messages.slice(0, index + 1), tools, false, whole.mark).text
      if (!upTo.startsWith(before) || before.length < at) return
      const end = outputEnd(upTo, before.length, upTo.length)
      if (!whole.text.startsWith(upTo.slice(0, end))) return
      out.push({ from: at, to: before.length, message: undefined }, { from: before.length, to: end, message: index })
      at = end
    })
    out.push({ from: at, to: whole.text.length, message: undefined })
    return out.filter(({ from, to }) => to > from)
  }

  const prompt: TemplateFormat["prompt"] = (messages, tools, prefill) => {
    const whole = render(messages, tools, true)
    const chunks = stretchesOf(whole, messages, tools).map(({ from, to }) => tokensOf(whole, from, to))
    const all = prefill === "" ? chunks : [...chunks, encode([prefill])]
    return { chunks: all.map((tokens) => ({ type: "encoded_text", tokens })) }
  }

  const example: TemplateFormat["example"] = (messages, tools, train) => {
    if (train === "all_messages" || train === "all_user_and_system_messages") {
      throw refuse(
        "train of assistant messages, of customized ones or of all_tokens: a template does not tell what the header of another's message is",
        train
      )
    }
    const whole = render(messages, tools, false)
    const stretches = stretchesOf(whole, messages, tools)
    const lastUser = messages.findLastIndex(({ role }) => role === "user")
    const isTrained = (index: number): boolean =>
      train === "all_assistant_messages" || (train === "last_assistant_message" && index === messages.length - 1) ||
      (train === "last_assistant_turn" && index > lastUser) ||
      (train === "customized" && messages[index]?.trainable === true)
    messages.forEach(({ role, trainable }, index) => {
      const wanted = train === "customized" ? trainable === true : role === "assistant" && isTrained(index)
      if (train !== "all_tokens" && wanted && !stretches.some(({ message }) => message === index)) {
        throw refuse(
          `a message that goes on from its prompt: the template of ${name} writes this one otherwise, so that it cannot be told what the model has to write`,
          `${role}'s message`,
          index
        )
      }
    })
    return stretches.map(({ from, message, to }) => ({
      tokens: tokensOf(whole, from, to),
      weight: train === "all_tokens" || (message !== undefined && isTrained(message)) ? 1 : 0,
      ...(message === undefined ? {} : { label: "assistant" })
    }))
  }

  return { ...probe(render, outputEnd, names, tokenizer), prompt, example }
}

const user = (content: string): Message => ({ role: "user", content })

/** Tries what the template does with short conversations. */
const probe = (
  render: Render,
  outputEnd: (text: string, from: number, to: number) => number,
  names: ReadonlyArray<string>,
  tokenizer: Tokenizer
): Pick<TemplateFormat, "stop" | "extension" | "markup"> => {
  const attempt = <A>(make: () => A): A | undefined => {
    try {
      return make()
    } catch (cause) {
      if (cause instanceof InvalidInput) return undefined
      throw cause
    }
  }
  const asked = [user("hello")]
  const answer = "ANSWER"
  const before = render(asked, [], true).text
  const upTo = render([...asked, { role: "assistant", content: answer }], [], false).text
  const end = upTo.slice(upTo.lastIndexOf(answer) + answer.length)
  const stop = names
    .filter((name) => end.includes(name))
    .toSorted((a, b) => end.indexOf(a) - end.indexOf(b))[0] ??
    (tokenizer.eosToken === undefined ? undefined : tokenizer.decode([tokenizer.eosToken]))
  const reasoned: ReadonlyArray<Message> = [
    ...asked,
    { role: "assistant", content: [{ type: "thinking", thinking: "REASON" }, { type: "text", text: answer }] }
  ]
  const later = attempt(() => render([...reasoned, user("more")], [], true).text)
  const first = attempt(() => render(reasoned, [], false).text)
  const kept = first === undefined ? undefined : first.slice(0, outputEnd(first, before.length, first.length))
  const calling = attempt(() =>
    render(
      [...asked, { role: "assistant", content: "", toolCalls: [{ name: "lookup", arguments: "{\"q\": \"x\"}" }] }],
      [],
      false
    ).text
  ) ?? ""
  const calls = !calling.includes("<tool_call>")
    ? undefined
    : calling.includes("<function=lookup>")
    ? xmlCallBlock("\n", false)
    : calling.includes("\"name\": \"lookup\"")
    ? toolCallBlock
    : undefined
  return {
    stop: stop === undefined ? [] : [stop],
    extension: kept !== undefined && later !== undefined && first?.startsWith(before) === true &&
      later.startsWith(kept) &&
      upTo.startsWith(before),
    markup: {
      thinking: { open: "<think>", close: "</think>", trim: "breaks", after: Infinity },
      ...(calls === undefined ? {} : { calls: [calls] }),
      opened: /<think>\s*$/.test(before)
    }
  }
}
