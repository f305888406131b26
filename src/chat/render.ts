/**
 * A conversation to tokens: the prompt to sample from, and the example to learn from with the weight of each token.
 *
 * @internal
 */
import type { Segment } from "../protocol/Datum.js"
import type * as ModelInput from "../protocol/ModelInput.js"
import type { Chunk, Encoder } from "./chunk.js"
import { textOf } from "./chunk.js"
import type { Context, Format, Turn } from "./format.js"
import { lastIndex, refuse } from "./format.js"
import type { ImagePart } from "./Message.js"
import type { TrainOn } from "./TrainOn.js"

/** A piece of the rendered conversation, and of which message it is which part. */
interface Stretch {
  readonly message: number
  readonly part: "bos" | "header" | "output" | "overlap" | "suffix"
  readonly content: Int32Array | ImagePart
}

/** An encoder that encodes equal chunks of one conversation once: the prompt of its beginning is made of the same ones. */
const once = (encoder: Encoder): (chunk: Chunk) => Int32Array => {
  const known = new Map<string, Int32Array>()
  return (chunk) => {
    const key = chunk.map((piece) => typeof piece === "string" ? piece : `\u0001${piece.said}\u0002`).join("")
    const found = known.get(key)
    if (found !== undefined) return found
    const tokens = encoder.encode(chunk)
    known.set(key, tokens)
    return tokens
  }
}

type Encode = (chunk: Chunk) => Int32Array

const lastUserOf = (turns: ReadonlyArray<Turn>): number => lastIndex(turns, ({ role }) => role === "user")

const turnStartOf = (format: Format, turns: ReadonlyArray<Turn>): number =>
  format.turnStart?.(turns) ?? lastUserOf(turns) + 1

const contextOf = (turns: ReadonlyArray<Turn>, index: number, lastUser: number, turnStart: number): Context => ({
  index,
  isLast: index === turns.length - 1,
  previous: turns[index - 1],
  next: turns[index + 1],
  lastUser,
  inLastTurn: index >= turnStart
})

/** Header and output tokenised as one; a token that crosses between them counts to the header. */
const joined = (encode: Encode, decode: (tokens: Int32Array) => string, header: Chunk, output: Chunk) => {
  const tokens = encode([...header, ...output])
  const length = textOf(header).length
  let split = 0
  while (split < tokens.length && decode(tokens.subarray(0, split)).length < length) split++
  return [tokens.subarray(0, split), tokens.subarray(split)] as const
}

const messages = (
  format: Format,
  encode: Encode,
  decode: (tokens: Int32Array) => string,
  turns: ReadonlyArray<Turn>,
  turnStart: number
): ReadonlyArray<Stretch> => {
  const out: Array<Stretch> = []
  const add = (message: number, part: Stretch["part"], content: Stretch["content"]): void => {
    if (!(content instanceof Int32Array) || content.length > 0) out.push({ message, part, content })
  }
  if (format.bos !== undefined) add(-1, "bos", encode(format.bos))
  const lastUser = lastUserOf(turns)
  turns.forEach((turn, index) => {
    const context = contextOf(turns, index, lastUser, turnStart)
    const rendered = format.render(turn, context)
    const [only] = rendered.output
    if (rendered.joined === true && rendered.header !== undefined && only !== undefined && !("type" in only)) {
      const [header, output] = joined(encode, decode, rendered.header, only)
      add(index, "header", header)
      add(index, "output", output)
    } else {
      if (rendered.header !== undefined) add(index, "header", encode(rendered.header))
      for (const output of rendered.output) add(index, "output", "type" in output ? output : encode(output))
    }
    if (context.isLast && rendered.overlap !== undefined) add(index, "overlap", encode(rendered.overlap))
  })
  return out
}

/** What the prompt ends with, for the message that would come at `turns.length`. */
const suffixOf = (
  format: Format,
  encode: Encode,
  turns: ReadonlyArray<Turn>,
  role: string,
  prefill: string
): ReadonlyArray<Int32Array> => {
  const context: Context = {
    index: turns.length,
    isLast: true,
    previous: turns.at(-1),
    next: undefined,
    lastUser: lastUserOf(turns),
    inLastTurn: true
  }
  const suffix = format.suffix?.(role, context) ?? format.render({ role, content: "" }, context).header ?? []
  const after = (role === "assistant" ? format.prefill?.(turns) ?? "" : "") + prefill
  return [encode(suffix), encode(after === "" ? [] : [after])].filter((tokens) => tokens.length > 0)
}

const chunkOf = (content: Int32Array | ImagePart): ModelInput.Chunk =>
  content instanceof Int32Array
    ? { type: "encoded_text", tokens: content }
    : { type: "image", data: content.data, format: content.format, expectedTokens: content.tokens }

/** What a conversation is rendered with. @internal */
export interface Rendering {
  readonly format: Format
  readonly encoder: Encoder
  readonly decode: (tokens: Int32Array) => string
}

/** @internal */
export const prompt = (
  { decode, encoder, format }: Rendering,
  turns: ReadonlyArray<Turn>,
  options: { readonly role: string; readonly prefill: string }
): ModelInput.ModelInput => {
  const encode = once(encoder)
  const all = messages(format, encode, decode, turns, turnStartOf(format, turns)).filter(({ part }) =>
    part !== "overlap"
  )
  const suffix = suffixOf(format, encode, turns, options.role, options.prefill)
  return { chunks: [...all.map(({ content }) => chunkOf(content)), ...suffix.map(chunkOf)] }
}

const isTrained = (turn: Turn, context: Context, train: TrainOn): boolean => {
  const isAssistant = turn.role === "assistant"
  switch (train) {
    case "last_assistant_message":
      return isAssistant && context.isLast
    case "last_assistant_turn":
      return isAssistant && context.inLastTurn
    case "all_assistant_messages":
      return isAssistant
    case "all_messages":
    case "all_tokens":
      return true
    case "all_user_and_system_messages":
      return turn.role === "user" || turn.role === "system"
    case "customized":
      return turn.trainable === true
  }
}

/** Whether the tokens from `at` on are the given ones. */
const matches = (all: ReadonlyArray<number>, at: number, given: ReadonlyArray<number>): boolean =>
  at + given.length <= all.length && given.every((token, i) => all[at + i] === token)

/** Tokens of stretches in one list; an image is so many of -1. */
const flatten = (stretches: ReadonlyArray<{ readonly content: Int32Array | ImagePart }>): Array<number> => {
  const out: Array<number> = []
  for (const { content } of stretches) {
    if (content instanceof Int32Array) { for (const token of content) out.push(token) }
    else for (let i = 0; i < (content.tokens ?? 1); i++) out.push(-1)
  }
  return out
}

/**
 * The example of prepared turns. Nothing of what a sampler would have been given is trained: neither the prompt of the first
 * message that is learnt, nor what the prompt of a later one ends with.
 *
 * @internal
 */
export const example = (
  { decode, encoder, format }: Rendering,
  turns: ReadonlyArray<Turn>,
  train: TrainOn
): ReadonlyArray<Segment> => {
  const encode = once(encoder)
  const turnStart = turnStartOf(format, turns.slice(0, -1))
  const all = messages(format, encode, decode, turns, turnStart)
  const tokens = flatten(all)
  const weights = new Float32Array(tokens.length)
  const starts: Array<number> = []
  const lastUser = lastUserOf(turns)
  let at = 0
  for (const { content, message, part } of all) {
    const length = content instanceof Int32Array ? content.length : content.tokens ?? 1
    starts[message] ??= at
    if (message >= 0 && content instanceof Int32Array) {
      const trained = part === "header"
        ? train === "all_tokens"
        : isTrained(turns[message]!, contextOf(turns, message, lastUser, turnStart), train)
      if (trained) weights.fill(1, at, at + length)
    }
    at += length
  }
  if (train !== "all_tokens") withholdPrefills(format, encode, turns, starts, tokens, weights)
  const boundary = boundaryOf(turns, train)
  if (boundary !== undefined) {
    const before = turns.slice(0, boundary)
    const given = flatten([
      ...messages(format, encode, decode, before, turnStartOf(format, before)).filter(({ part }) => part !== "overlap"),
      ...suffixOf(format, encode, before, "assistant", "").map((content) => ({ content }))
    ])
    if (matches(tokens, 0, given)) weights.fill(0, 0, given.length)
    else if (format.disablesThinking === true) {
      throw refuse(
        `no reasoning: the prompt of ${format.name} tells the model not to reason, and this turn would teach it to. Take the ` +
          "renderer that thinks, or leave the reasoning out",
        "a turn that does not go on from the prompt",
        boundary
      )
    }
  }
  return segmentsOf(all, turns, weights)
}

/** The message that the prompt stops before, of the policies that train the turn a sampler would produce. */
const boundaryOf = (turns: ReadonlyArray<Turn>, train: TrainOn): number | undefined => {
  const boundary = train === "last_assistant_message"
    ? turns.length - 1
    : train === "last_assistant_turn"
    ? lastUserOf(turns) + 1
    : -1
  return turns[boundary]?.role === "assistant" ? boundary : undefined
}

/** No weight on what the prompt of each assistant message ends with. */
const withholdPrefills = (
  format: Format,
  encode: Encode,
  turns: ReadonlyArray<Turn>,
  starts: ReadonlyArray<number>,
  tokens: ReadonlyArray<number>,
  weights: Float32Array
): void => {
  turns.forEach(({ role }, index) => {
    const start = starts[index]
    if (role !== "assistant" || start === undefined) return
    const given = suffixOf(format, encode, turns.slice(0, index), "assistant", "").flatMap((suffix) =>
      Array.from(suffix)
    )
    if (matches(tokens, start, given)) weights.fill(0, start, start + given.length)
  })
}

const segmentsOf = (
  all: ReadonlyArray<Stretch>,
  turns: ReadonlyArray<Turn>,
  weights: Float32Array
): ReadonlyArray<Segment> => {
  const out: Array<Segment> = []
  let at = 0
  for (const { content, message } of all) {
    const label = turns[message]?.role
    const labelled = label === undefined ? {} : { label }
    if (!(content instanceof Int32Array)) {
      out.push({ chunk: chunkOf(content), ...labelled })
      at += content.tokens ?? 1
      continue
    }
    for (let from = 0; from < content.length;) {
      const weight = weights[at + from]!
      let to = from + 1
      while (to < content.length && weights[at + to] === weight) to++
      out.push({ tokens: content.subarray(from, to), weight, ...labelled })
      from = to
    }
    at += content.length
  }
  return out
}
