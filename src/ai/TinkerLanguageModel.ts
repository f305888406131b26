/**
 * Models of a Tinker service as language models of `@effect/ai`: text, streams, objects, tools, reasoning and usage, with the
 * log-probability of every token in the metadata.
 *
 * @since 0.2.0
 */
import * as AiError from "@effect/ai/AiError"
import * as IdGenerator from "@effect/ai/IdGenerator"
import * as LanguageModel from "@effect/ai/LanguageModel"
import * as Model from "@effect/ai/Model"
import type * as Response from "@effect/ai/Response"
import * as AiTokenizer from "@effect/ai/Tokenizer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as JSONSchema from "effect/JSONSchema"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as JsonAnswer from "../chat/jsonAnswer.js"
import * as Message from "../chat/Message.js"
import * as Renderer from "../chat/Renderer.js"
import type { RendererError } from "../chat/RendererError.js"
import * as ChatModel from "../client/ChatModel.js"
import type * as SamplingClient from "../client/SamplingClient.js"
import { ServiceClient } from "../client/ServiceClient.js"
import { attempt, type InvalidInput } from "../protocol/InvalidInput.js"
import * as ModelInput from "../protocol/ModelInput.js"
import type { TinkexError } from "../TinkexError.js"
import type { TokenizerError } from "../tokenizer/TokenizerError.js"
import type { Tokenizers } from "../tokenizer/Tokenizers.js"
import { messagesOf, toolsOf } from "./prompt.js"

/**
 * How answers are drawn. Provide it around a call to change it there.
 *
 * @since 0.2.0
 * @category models
 */
export interface Settings {
  readonly maxTokens?: number | undefined
  readonly temperature?: number | undefined
  readonly topP?: number | undefined
  readonly topK?: number | undefined
  readonly seed?: number | undefined
  readonly stop?: ReadonlyArray<string> | undefined
}

/**
 * Settings of the calls within.
 *
 * @since 0.2.0
 * @category services
 */
export class CurrentSettings extends Context.Reference<CurrentSettings>()("tinkex/ai/TinkerLanguageModel/Settings", {
  defaultValue: (): Settings => ({})
}) {}

/**
 * Runs an effect whose calls draw with these settings.
 *
 * @since 0.2.0
 * @category combinators
 */
export const withSettings = (settings: Settings) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(CurrentSettings, (before) => Effect.provideService(self, CurrentSettings, { ...before, ...settings }))

const module = "TinkerLanguageModel"

/** A refused input is the caller's mistake; everything else is told as it is, without prompt or key. */
const aiError = (method: string) => (error: TinkexError | InvalidInput): AiError.AiError =>
  error._tag === "InvalidInput" || error._tag === "BadRequest"
    ? new AiError.MalformedInput({ module, method, description: error.message, cause: error })
    : new AiError.UnknownError({ module, method, description: error.message, cause: error })

const finishReasons: Readonly<Record<ChatModel.FinishReason, Response.FinishReason>> = {
  stop: "stop",
  stop_text: "stop",
  tool_calls: "tool-calls",
  length: "length"
}

const usageOf = ({ cachedTokens, completionTokens, promptTokens }: ChatModel.Usage) => ({
  inputTokens: promptTokens,
  outputTokens: completionTokens,
  totalTokens: promptTokens + completionTokens,
  cachedInputTokens: cachedTokens
})

const add = (a: ChatModel.Usage, b: ChatModel.Usage): ChatModel.Usage => ({
  promptTokens: a.promptTokens + b.promptTokens,
  completionTokens: a.completionTokens + b.completionTokens,
  cachedTokens: a.cachedTokens + b.cachedTokens
})

const metadataOf = ({ logprobs, sequenceId, tokens }: ChatModel.Choice) => ({
  tinker: {
    tokens: [...tokens],
    logprobs: logprobs === undefined ? null : [...logprobs],
    sequenceId: sequenceId ?? null
  }
})

/** What a model wrote as arguments; `undefined` where it is no JSON. */
const paramsOf = (call: Message.ToolCall): unknown => {
  try {
    return call.arguments.trim() === "" ? {} : JSON.parse(call.arguments)
  } catch {
    return undefined
  }
}

interface Asked {
  readonly options: ChatModel.Options
  readonly format: JsonAnswer.Format | undefined
  /** Whether a tool has to be called. */
  readonly must: boolean
}

const ask = (provided: LanguageModel.ProviderOptions): Effect.Effect<Asked, InvalidInput> =>
  Effect.gen(function*() {
    const settings = yield* CurrentSettings
    const { must, specs } = toolsOf(provided)
    const { responseFormat } = provided
    const format = responseFormat.type === "text"
      ? undefined
      : { schema: { ...JSONSchema.make(responseFormat.schema) } }
    const messages = yield* attempt(() => messagesOf(provided.prompt))
    return { options: { ...settings, messages: JsonAnswer.instruct(messages, format), tools: specs }, format, must }
  })

/** One answer that is what was asked for; those that are not are asked for again with the reason. */
const settle = (
  chat: ChatModel.ChatModel,
  { format, must, options }: Asked,
  method: string
): Effect.Effect<
  { readonly choice: ChatModel.Choice; readonly text: string; readonly usage: ChatModel.Usage },
  AiError.AiError
> =>
  Effect.gen(function*() {
    let messages = options.messages
    let used: ChatModel.Usage = { promptTokens: 0, completionTokens: 0, cachedTokens: 0 }
    for (let left = JsonAnswer.repeats;; left--) {
      const { choices: [choice], usage } = yield* Effect.mapError(
        chat.generate({ ...options, messages }),
        aiError(method)
      )
      used = add(used, usage)
      if (choice === undefined) {
        return yield* new AiError.MalformedOutput({ module, method, description: "the service answered nothing" })
      }
      const said = Message.text(choice.message)
      const calls = choice.message.toolCalls ?? []
      const wrong = calls.find((call) => paramsOf(call) === undefined)
      const verdict: JsonAnswer.Verdict = wrong !== undefined
        ? { _tag: "Bad", reason: `the arguments of ${wrong.name} are not JSON` }
        : must && calls.length === 0
        ? { _tag: "Bad", reason: "a tool has to be called" }
        : calls.length > 0
        ? { _tag: "Good", text: said }
        : JsonAnswer.check(said, format)
      if (verdict._tag === "Good") return { choice, text: verdict.text, usage: used }
      if (left === 0) {
        return yield* new AiError.MalformedOutput({
          module,
          method,
          description: `after ${JsonAnswer.repeats + 1} tries the answer is not what was asked for: ${verdict.reason}`
        })
      }
      messages = JsonAnswer.again(messages, said, verdict.reason)
    }
  })

const callsOf = (
  message: Message.Message
): Effect.Effect<Array<Response.ToolCallPartEncoded>, never, IdGenerator.IdGenerator> =>
  Effect.flatMap(
    IdGenerator.IdGenerator,
    (ids) =>
      Effect.forEach(message.toolCalls ?? [], (call) =>
        Effect.map(call.id === undefined ? ids.generateId() : Effect.succeed(call.id), (id) => ({
          type: "tool-call" as const,
          id,
          name: call.name,
          params: paramsOf(call),
          providerExecuted: false
        })))
  )

const finish = (choice: ChatModel.Choice, usage: ChatModel.Usage): Response.FinishPartEncoded => ({
  type: "finish",
  reason: finishReasons[choice.finishReason],
  usage: usageOf(usage),
  metadata: metadataOf(choice)
})

/**
 * A language model over a sampler and the renderer of its model.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fromChatModel = (chat: ChatModel.ChatModel): Effect.Effect<LanguageModel.Service> =>
  LanguageModel.make({
    generateText: (provided) =>
      Effect.gen(function*() {
        const asked = yield* Effect.mapError(ask(provided), aiError("generateText"))
        const { choice, text, usage } = yield* settle(chat, asked, "generateText")
        const thinking = Message.thinking(choice.message)
        const parts: Array<Response.PartEncoded> = []
        if (thinking !== "") parts.push({ type: "reasoning", text: thinking })
        if (text !== "") parts.push({ type: "text", text })
        parts.push(...(yield* callsOf(choice.message)), finish(choice, usage))
        return parts
      }),
    streamText: (provided) =>
      Stream.unwrap(Effect.map(
        Effect.mapError(ask(provided), aiError("streamText")),
        (asked) =>
          asked.format === undefined && !asked.must
            ? streamed(chat, asked.options)
            : Stream.unwrap(
              Effect.map(settle(chat, asked, "streamText"), ({ choice, text, usage }) => whole(choice, text, usage))
            )
      ))
  })

/** An answer that had to be checked before it could be given. */
const whole = (
  choice: ChatModel.Choice,
  text: string,
  usage: ChatModel.Usage
): Stream.Stream<Response.StreamPartEncoded, never, IdGenerator.IdGenerator> =>
  Stream.unwrap(Effect.gen(function*() {
    const id = yield* Effect.flatMap(IdGenerator.IdGenerator, (ids) => ids.generateId())
    const parts: Array<Response.StreamPartEncoded> = text === "" ? [] : [
      { type: "text-start", id },
      { type: "text-delta", id, delta: text },
      { type: "text-end", id }
    ]
    return Stream.fromIterable([...parts, ...(yield* callsOf(choice.message)), finish(choice, usage)])
  }))

const streamed = (
  chat: ChatModel.ChatModel,
  options: ChatModel.Options
): Stream.Stream<Response.StreamPartEncoded, AiError.AiError, IdGenerator.IdGenerator> =>
  Stream.suspend(() => {
    let open: { readonly type: "text" | "reasoning"; readonly id: string } | undefined
    let ended: ChatModel.Choice | undefined
    const close = (): Array<Response.StreamPartEncoded> => {
      if (open === undefined) return []
      const { id, type } = open
      open = undefined
      return [{ type: `${type}-end`, id }]
    }
    const piece = (type: "text" | "reasoning", delta: string) =>
      Effect.gen(function*() {
        const parts: Array<Response.StreamPartEncoded> = []
        if (open?.type !== type) {
          parts.push(...close())
          open = { type, id: yield* Effect.flatMap(IdGenerator.IdGenerator, (ids) => ids.generateId()) }
          parts.push({ type: `${type}-start`, id: open.id })
        }
        parts.push({ type: `${type}-delta`, id: open.id, delta })
        return parts
      })
    return Stream.mapConcatEffect(Stream.mapError(chat.stream(options), aiError("streamText")), (event) => {
      switch (event.type) {
        case "delta": {
          const brought = event.event
          switch (brought.type) {
            case "text":
              return piece("text", brought.text)
            case "thinking":
              return piece("reasoning", brought.thinking)
            case "unparsedToolCall":
              return piece("text", brought.call.rawText)
            case "toolCall":
              return Effect.map(
                callsOf({ role: "assistant", content: "", toolCalls: [brought.call] }),
                (calls): Array<Response.StreamPartEncoded> => [...close(), ...calls]
              )
          }
        }
        case "choice":
          ended = event.choice
          return Effect.succeed(close())
        case "usage":
          return Effect.succeed(ended === undefined ? [] : [finish(ended, event.usage)])
      }
    })
  })

/**
 * Why a model could not be opened.
 *
 * @since 0.2.0
 * @category errors
 */
export type OpenError = TinkexError | RendererError | TokenizerError

/**
 * What to answer with: a base model or weights by their path, and, if need be, the renderer by name and settings.
 *
 * @since 0.2.0
 * @category models
 */
export type Options = SamplingClient.ModelOptions & {
  readonly renderer?: string | undefined
  readonly settings?: Settings | undefined
}

const open = ({ baseModel: base, modelPath, renderer }: Options) =>
  Effect.gen(function*() {
    const service = yield* ServiceClient
    const sampler = yield* service.createSamplingClient(
      modelPath === undefined ? { baseModel: base } : { modelPath, baseModel: base }
    )
    const { baseModel } = yield* sampler.getInfo
    return ChatModel.make(
      sampler,
      yield* Renderer.forModel(baseModel, renderer === undefined ? {} : { name: renderer })
    )
  })

/** The tokens of a prompt, as the model is shown it. */
const tokenizerOf = (chat: ChatModel.ChatModel): AiTokenizer.Service =>
  AiTokenizer.make({
    tokenize: (prompt) =>
      attempt(() => [...ModelInput.tokens(chat.renderer.prompt(messagesOf(prompt)))]).pipe(
        Effect.mapError(aiError("tokenize"))
      )
  })

/**
 * A language model and its tokenizer, for as long as the layer is in use.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<
  LanguageModel.LanguageModel | AiTokenizer.Tokenizer,
  OpenError,
  ServiceClient | Tokenizers
> =>
  Layer.scopedContext(Effect.gen(function*() {
    const chat = yield* open(options)
    const own = yield* fromChatModel(chat)
    const { settings } = options
    const service: LanguageModel.Service = settings === undefined ? own : {
      generateText: (call) => withSettings(settings)(own.generateText(call)),
      generateObject: (call) => withSettings(settings)(own.generateObject(call)),
      streamText: (call) =>
        Stream.unwrap(Effect.map(CurrentSettings, (before) =>
          Stream.provideService(own.streamText(call), CurrentSettings, { ...settings, ...before })))
    }
    return Context.make(LanguageModel.LanguageModel, service).pipe(
      Context.add(AiTokenizer.Tokenizer, tokenizerOf(chat))
    )
  }))

/**
 * The same as a `Model` of `@effect/ai`, whose failure to open is a defect, as theirs are.
 *
 * @since 0.2.0
 * @category constructors
 */
export const model = (
  options: Options
): Model.Model<"tinker", LanguageModel.LanguageModel | AiTokenizer.Tokenizer, ServiceClient | Tokenizers> =>
  Model.make("tinker", Layer.orDie(layer(options)))
