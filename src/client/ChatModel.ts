/**
 * A sampler and the renderer of its model together: messages in, messages out, with the log-probability of every token.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import * as Message from "../chat/Message.js"
import type * as Renderer from "../chat/Renderer.js"
import type { ToolSpec } from "../chat/Tool.js"
import type { InvalidInput } from "../protocol/InvalidInput.js"
import { attempt } from "../protocol/InvalidInput.js"
import * as ModelInput from "../protocol/ModelInput.js"
import type { SampledSequence, Stop, TopkLogprobs } from "../protocol/Sampling.js"
import type { TinkexError } from "../TinkexError.js"
import { cutAt, stopsOf, textStops } from "./sampling/textStops.js"
import type * as SamplingClient from "./SamplingClient.js"

/**
 * @since 0.2.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/ChatModel")

/**
 * @since 0.2.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * What to answer, and how. Everything but the messages has the default of `SamplingClient.SampleOptions`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  readonly messages: ReadonlyArray<Message.Message>
  /** What the model may call. */
  readonly tools?: ReadonlyArray<ToolSpec> | undefined
  /** How the answer begins. It is not part of what comes back. */
  readonly prefill?: string | undefined
  /** Answers to draw, from 1. */
  readonly numSamples?: number | undefined
  readonly maxTokens?: number | undefined
  readonly temperature?: number | undefined
  readonly topK?: number | undefined
  readonly topP?: number | undefined
  readonly seed?: number | bigint | undefined
  /** Texts that end an answer, besides the renderer's own stops. The answer ends before the first of them. */
  readonly stop?: ReadonlyArray<string> | undefined
  /** How many of the likeliest tokens to report at each position. */
  readonly topLogprobs?: number | undefined
}

/**
 * Why an answer ended: the model ended it (`stop`), one of the texts asked for came (`stop_text`), it wants tools called
 * (`tool_calls`), or it is as long as it may be (`length`).
 *
 * @since 0.2.0
 * @category models
 */
export type FinishReason = "stop" | "stop_text" | "tool_calls" | "length"

/**
 * One answer.
 *
 * @since 0.2.0
 * @category models
 */
export interface Choice {
  readonly index: number
  readonly message: Message.Message
  readonly finishReason: FinishReason
  /** The text that ended it, where one did. */
  readonly stopText: string | undefined
  /** What is wrong with an answer that does not end as the model's format has it. */
  readonly malformed: string | undefined
  /** The tokens as sampled, stops included. */
  readonly tokens: Int32Array
  readonly logprobs: Float32Array | undefined
  readonly topLogprobs: TopkLogprobs | undefined
  readonly sequenceId: string | undefined
}

/**
 * Tokens that were read and written.
 *
 * @since 0.2.0
 * @category models
 */
export interface Usage {
  readonly promptTokens: number
  readonly completionTokens: number
  /** Of the prompt's, those that the service had in its cache. */
  readonly cachedTokens: number
}

/**
 * The answers to a prompt.
 *
 * @since 0.2.0
 * @category models
 */
export interface Reply {
  readonly choices: ReadonlyArray<Choice>
  readonly usage: Usage
  readonly prompt: ModelInput.ModelInput
}

/**
 * What a stream brings: pieces of each answer, its end, and at last what was used.
 *
 * @since 0.2.0
 * @category models
 */
export type StreamEvent =
  | { readonly type: "delta"; readonly index: number; readonly event: Renderer.ParseEvent }
  | { readonly type: "choice"; readonly choice: Choice }
  | { readonly type: "usage"; readonly usage: Usage }

/**
 * A model that converses.
 *
 * @since 0.2.0
 * @category models
 */
export interface ChatModel {
  readonly [TypeId]: TypeId
  readonly sampler: SamplingClient.Client
  readonly renderer: Renderer.Renderer
  /** Answers to the messages. */
  readonly generate: (options: Options) => Effect.Effect<Reply, TinkexError | InvalidInput>
  /** The same, as it comes: by tokens where the service tells them one by one, otherwise in one piece for each answer. */
  readonly stream: (options: Options) => Stream.Stream<StreamEvent, TinkexError | InvalidInput>
}

/**
 * @since 0.2.0
 * @category guards
 */
export const isChatModel = (u: unknown): u is ChatModel => Predicate.hasProperty(u, TypeId)

const choiceOf = (
  renderer: Renderer.Renderer,
  messages: ReadonlyArray<Message.Message>,
  sequence: SampledSequence,
  index: number,
  texts: ReadonlyArray<string>
): Choice => {
  const { logprobs, sequenceId, stopReason, tokens, topkLogprobs } = sequence
  const { ending, message: whole, reason } = renderer.parse(tokens, messages)
  const cut = cutAt(Message.text(whole), texts)
  const message = cut === undefined ? whole : withText(whole, cut.before)
  const calls = (message.toolCalls?.length ?? 0) > 0
  return {
    index,
    message,
    finishReason: cut !== undefined
      ? "stop_text"
      : calls
      ? "tool_calls"
      : stopReason === "length" && ending === "malformed"
      ? "length"
      : "stop",
    stopText: cut?.stop,
    malformed: ending === "malformed" && cut === undefined && stopReason !== "length" ? reason : undefined,
    tokens,
    logprobs,
    topLogprobs: topkLogprobs,
    sequenceId
  }
}

/** The message with other text in place of its own; what comes after the text is not said. */
const withText = (message: Message.Message, text: string): Message.Message => {
  const thinking = Message.thinking(message)
  return {
    role: message.role,
    content: thinking === "" ? text : [{ type: "thinking", thinking }, { type: "text", text }]
  }
}

/**
 * A sampler with the renderer of its model.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { ChatModel, Message, Renderer, ServiceClient } from "tinkex"
 *
 * const program = Effect.gen(function*() {
 *   const service = yield* ServiceClient.ServiceClient
 *   const sampler = yield* service.createSamplingClient({ baseModel: "tinkex/nano" })
 *   const renderer = yield* Renderer.forModel("tinkex/nano")
 *   const { choices } = yield* ChatModel.make(sampler, renderer).generate({
 *     messages: [Message.user("2 + 2 =")],
 *     maxTokens: 8
 *   })
 *   return choices.map(({ message }) => Message.text(message))
 * })
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (sampler: SamplingClient.Client, renderer: Renderer.Renderer): ChatModel => {
  const generate: ChatModel["generate"] = (options) =>
    Effect.gen(function*() {
      const { messages } = options
      const prompt = yield* attempt(() => renderer.prompt(messages, { tools: options.tools, prefill: options.prefill }))
      const { sampled, texts } = stopsOf(renderer.stop, options.stop ?? [])
      const response = yield* sampler.sample({ ...sampling(options), prompt, stop: sampled })
      return {
        choices: response.sequences.map((sequence, index) => choiceOf(renderer, messages, sequence, index, texts)),
        usage: {
          promptTokens: promptLength(prompt),
          completionTokens: response.sequences.reduce((sum, { tokens }) => sum + tokens.length, 0),
          cachedTokens: response.promptCacheHitTokens
        },
        prompt
      }
    })

  const stream: ChatModel["stream"] = (options) =>
    Stream.unwrap(Effect.map(generate(options), ({ choices, usage }) =>
      Stream.concat(
        Stream.mapConcat(Stream.fromIterable(choices), (choice) => replay(renderer, options, choice)),
        Stream.make({ type: "usage" as const, usage })
      )))

  return { [TypeId]: TypeId, sampler, renderer, generate, stream }
}

/** An image whose length nobody knows counts nothing. */
const promptLength = (prompt: ModelInput.ModelInput): number =>
  prompt.chunks.reduce((sum, chunk) => sum + lengthOf(chunk), 0)

const lengthOf = (chunk: ModelInput.Chunk): number =>
  (chunk.type === "image" || chunk.type === "image_asset_pointer") && chunk.expectedTokens === undefined
    ? 0
    : ModelInput.chunkLength(chunk)

const sampling = (
  options: Options
): Omit<SamplingClient.SampleOptions, "prompt" | "stop"> & { readonly stop?: Stop | undefined } => ({
  numSamples: options.numSamples,
  maxTokens: options.maxTokens,
  temperature: options.temperature,
  topK: options.topK,
  topP: options.topP,
  seed: options.seed,
  topkSampleLogprobs: options.topLogprobs
})

/** An answer that is whole already, as the events that would have brought it. */
const replay = (
  renderer: Renderer.Renderer,
  { messages, stop = [] }: Options,
  choice: Choice
): ReadonlyArray<StreamEvent> => {
  const parser = renderer.parser(messages)
  const guard = textStops(stop)
  const events = [...parser.push(choice.tokens), ...parser.end().events].flatMap(guard.push)
  return [
    ...[...events, ...guard.end()].map((event): StreamEvent => ({ type: "delta", index: choice.index, event })),
    { type: "choice", choice }
  ]
}
