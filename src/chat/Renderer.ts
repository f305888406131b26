/**
 * Renderers: a conversation to the tokens that a model expects, and its answer back to a message.
 *
 * @since 0.2.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"
import type * as Inspectable from "effect/Inspectable"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import type * as Datum from "../protocol/Datum.js"
import type * as ModelInput from "../protocol/ModelInput.js"
import type { Stop } from "../protocol/Sampling.js"
import type * as Tokenizer from "../tokenizer/Tokenizer.js"
import type { TokenizerError } from "../tokenizer/TokenizerError.js"
import { type Model, Tokenizers } from "../tokenizer/Tokenizers.js"
import { ofFormat, ofTemplate, type Unmarked } from "./assemble.js"
import { encoder } from "./chunk.js"
import type { Format } from "./format.js"
import { chatml as chatmlFormat } from "./formats/chatml.js"
import { formats } from "./formats/table.js"
import type { Message } from "./Message.js"
import { rendererOf } from "./models.js"
import type * as Parse from "./parse.js"
import { RendererError } from "./RendererError.js"
import { templateFormat } from "./template.js"
import type { ToolSpec } from "./Tool.js"
import type { TrainOn } from "./TrainOn.js"

/**
 * @since 0.2.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/Renderer")

/**
 * @since 0.2.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * How a response ended: at a stop of the renderer (`stop`), at the end of the text (`eos`), or not as it should
 * (`malformed`): cut off at the limit of tokens, or with more than one stop.
 *
 * @since 0.2.0
 * @category models
 */
export type Ending = Parse.Ending

/**
 * A response as a message, and how it ended. `reason` says what is malformed.
 *
 * @since 0.2.0
 * @category models
 */
export type Parsed = Parse.Parsed

/**
 * What a response brings while it arrives: pieces of text and of reasoning, calls when they are whole.
 *
 * @since 0.2.0
 * @category models
 */
export type ParseEvent = Parse.Event

/**
 * A response as it arrives. `push` takes tokens, as many at a time as there are; `end` gives what `Renderer.parse` gives for
 * all of them. It has state: one for each response.
 *
 * @since 0.2.0
 * @category models
 */
export type Parser = Parse.Parser

/**
 * What a prompt is made of besides the messages.
 *
 * - `tools`: what the model may call.
 * - `role`: whose message comes next. The assistant's unless given.
 * - `prefill`: how that message begins.
 *
 * @since 0.2.0
 * @category models
 */
export interface PromptOptions {
  readonly tools?: ReadonlyArray<ToolSpec> | undefined
  readonly role?: string | undefined
  readonly prefill?: string | undefined
}

/**
 * What an example is made of besides the messages. `train`: what is learnt, every assistant message unless given.
 *
 * @since 0.2.0
 * @category models
 */
export interface ExampleOptions {
  readonly tools?: ReadonlyArray<ToolSpec> | undefined
  readonly train?: TrainOn | undefined
}

/**
 * One model's way to write conversations. Functions are plain and need no `this`; those that take messages throw
 * `InvalidInput` for what the format has no form for (`InvalidInput.attempt` makes an effect of it).
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Message, Renderer, Tokenizer } from "tinkex"
 *
 * const program = Effect.gen(function*() {
 *   const renderer = yield* Renderer.make("nano", Tokenizer.nano)
 *   const prompt = renderer.prompt([Message.user("What is 2 + 2?")])
 *   const { ending, message } = renderer.parse(Tokenizer.nano.encode("4<|im_end|>"))
 *   return { prompt, text: Message.text(message), ending } // "4", "stop"
 * })
 * ```
 *
 * @since 0.2.0
 * @category models
 */
export interface Renderer extends Inspectable.Inspectable {
  readonly [TypeId]: TypeId
  /** The official cookbook's name where it has one: `qwen3`, `llama3`, `gpt_oss_no_sysprompt`. */
  readonly name: string
  readonly tokenizer: Tokenizer.Tokenizer
  /** What the sampler is to stop at. */
  readonly stop: Stop
  /**
   * Whether the prompt of a later turn always begins with prompt and output of each earlier one. A conversation is one example
   * then; otherwise one for each message that is learnt.
   */
  readonly extension: boolean
  /** Whether the prompt of the conversation leaves the model inside of its reasoning. */
  readonly opensThinking: (messages: ReadonlyArray<Message>) => boolean
  /** The tokens to sample from. */
  readonly prompt: (messages: ReadonlyArray<Message>, options?: PromptOptions) => ModelInput.ModelInput
  /** The conversation as one text with the weight of each token, for `Datum.fromSegments`. Prompts weigh nothing. */
  readonly example: (messages: ReadonlyArray<Message>, options?: ExampleOptions) => ReadonlyArray<Datum.Segment>
  /** The conversation as examples: one, or, without `extension`, one for each message (each turn) that is learnt. */
  readonly examples: (
    messages: ReadonlyArray<Message>,
    options?: ExampleOptions
  ) => ReadonlyArray<ReadonlyArray<Datum.Segment>>
  /**
   * The message of sampled tokens. `messages` are those of the prompt; they matter where it depends on them whether the prompt
   * leaves the reasoning open (`deepseekv3_thinking`, not after a tool's answer).
   */
  readonly parse: (tokens: ArrayLike<number>, messages?: ReadonlyArray<Message>) => Parsed
  readonly parser: (messages?: ReadonlyArray<Message>) => Parser
}

/**
 * @since 0.2.0
 * @category guards
 */
export const isRenderer = (u: unknown): u is Renderer => Predicate.hasProperty(u, TypeId)

/**
 * - `allowControlTokens`: names of control tokens in the text of messages become those tokens, as the official cookbook has it
 *   for most formats. Off unless given: whoever writes `<|im_end|>` into a message would end it.
 * - `date`: what gpt-oss is told is today, as `2026-11-30`. Today unless given.
 *
 * @since 0.2.0
 * @category models
 */
export interface RendererOptions {
  readonly allowControlTokens?: boolean | undefined
  readonly date?: string | undefined
}

const marked = (renderer: Unmarked): Renderer => ({ [TypeId]: TypeId, ...renderer })

/**
 * A renderer of a format of one's own: data and a few functions, by which all built-in ones are made. Fails when the tokenizer
 * lacks control tokens of the format.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fromFormat = (
  format: Format,
  tokenizer: Tokenizer.Tokenizer,
  options: RendererOptions = {}
): Effect.Effect<Renderer, RendererError> =>
  Effect.suspend(() => {
    const encode = encoder(tokenizer, format.controls, options.allowControlTokens === true)
    const missing = format.controls.filter((name) => encode.token(name) === undefined)
    if (missing.length > 0) {
      return new RendererError({
        reason: "Tokenizer",
        name: format.name,
        detail: `the tokenizer ${tokenizer.id} does not have ${
          missing.join(", ")
        } as one token each; take the renderer of its model`
      })
    }
    return Effect.succeed(marked(ofFormat(format, tokenizer, encode)))
  })

/** Makes the renderer of a name for a tokenizer. */
type Factory = (tokenizer: Tokenizer.Tokenizer, options: RendererOptions) => Effect.Effect<Renderer, RendererError>

const registered = globalValue("tinkex/Renderer/registered", () => ({
  renderers: new Map<string, Factory>(),
  models: new Map<string, string>()
}))

/**
 * Makes a renderer of one's own known by a name, and as that of models: to `make`, to `forModel` and to whatever finds the name
 * in the metadata of a run. What was registered under the name before, built-in ones too, it stands in for.
 *
 * @since 0.2.0
 * @category registration
 */
export const register = (options: {
  readonly name: string
  readonly make: Factory
  readonly models?: ReadonlyArray<string> | undefined
}): Effect.Effect<void> =>
  Effect.sync(() => {
    registered.renderers.set(options.name, options.make)
    for (const model of options.models ?? []) registered.models.set(model, options.name)
  })

/**
 * The names of all renderers that there are.
 *
 * @since 0.2.0
 * @category registration
 */
export const names: Effect.Effect<ReadonlyArray<string>> = Effect.sync(() =>
  Array.from(new Set([...formats.keys(), ...registered.renderers.keys()]))
)

const today = Effect.map(Clock.currentTimeMillis, (millis) => new Date(millis).toISOString().slice(0, 10))

/**
 * The renderer of a name for a tokenizer. Fails when there is none of the name, and when the tokenizer is not one of its
 * models.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  name: string,
  tokenizer: Tokenizer.Tokenizer,
  options: RendererOptions = {}
): Effect.Effect<Renderer, RendererError> =>
  Effect.suspend(() => {
    const factory = registered.renderers.get(name)
    if (factory !== undefined) return factory(tokenizer, options)
    const format = formats.get(name)
    if (format === undefined) {
      return Effect.flatMap(names, (all) =>
        new RendererError({
          reason: "UnknownRenderer",
          name,
          detail: `there is none of this name; there are ${all.join(", ")}`
        }))
    }
    return Effect.flatMap(
      options.date === undefined ? today : Effect.succeed(options.date),
      (date) => fromFormat(format({ tokenizer, date }), tokenizer, options)
    )
  })

/**
 * ChatML for any tokenizer that has `<|im_start|>` and `<|im_end|>`. `system` stands where a conversation has no system
 * message.
 *
 * @since 0.2.0
 * @category constructors
 */
export const chatml = (
  tokenizer: Tokenizer.Tokenizer,
  options: RendererOptions & { readonly system?: string | undefined } = {}
): Effect.Effect<Renderer, RendererError> => fromFormat(chatmlFormat({ system: options.system }), tokenizer, options)

/**
 * A renderer out of a chat template in Jinja: the one that the tokenizer brings, or `template`. What the model writes is found
 * by rendering a conversation up to each of its messages and comparing, so that prompts, examples and their weights are the
 * template's own; where a template writes a message otherwise than its prompt begins it, the example is refused. Reasoning in
 * `<think>` tags and calls in `<tool_call>` tags are read.
 *
 * - `variables`: settings of the template, as `{ enable_thinking: false }`.
 *
 * Fails when there is no template, when it cannot be read, and when it does not take a user's message and an answer.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fromTemplate = (
  tokenizer: Tokenizer.Tokenizer,
  options: Omit<RendererOptions, "date"> & {
    readonly name?: string | undefined
    readonly template?: string | undefined
    readonly variables?: Readonly<Record<string, unknown>> | undefined
  } = {}
): Effect.Effect<Renderer, RendererError> =>
  Effect.gen(function*() {
    const { allowControlTokens = false, name = `template:${tokenizer.id}`, variables = {} } = options
    const source = options.template ?? tokenizer.chatTemplate
    const broken = (detail: string) => (cause: unknown) =>
      new RendererError({ reason: "Template", name, detail, cause })
    if (source === undefined) {
      return yield* broken(`the tokenizer ${tokenizer.id} brings no chat template; give one as template`)(undefined)
    }
    const { Template } = yield* Effect.promise(() => import("@huggingface/jinja"))
    const template = yield* Effect.try({
      try: () => new Template(source),
      catch: broken("the chat template is not Jinja that can be read")
    })
    const format = yield* Effect.try({
      try: () => templateFormat({ tokenizer, name, template, variables, allowControlTokens }),
      catch: broken("the chat template does not take a message of the user and an answer")
    })
    return marked(ofTemplate(name, format, tokenizer, encoder(tokenizer, format.stop, allowControlTokens)))
  })

/**
 * The name of a model's renderer: a registered one, or the first of those that the official cookbook names for it. Undefined
 * when none is known. What follows a `:` in the name of a model does not count.
 *
 * @since 0.2.0
 * @category getters
 */
export const nameFor = (model: string): string | undefined => {
  const name = model.split(":")[0] ?? model
  return registered.models.get(name) ?? rendererOf(name)
}

/**
 * The renderer of a model, with its tokenizer. `name` takes another one than the model's own (`qwen3_disable_thinking`). For a
 * model that no table names, the chat template that its tokenizer brings is taken.
 *
 * @since 0.2.0
 * @category constructors
 */
export const forModel = (
  model: string | Model,
  options: RendererOptions & { readonly name?: string | undefined } = {}
): Effect.Effect<Renderer, RendererError | TokenizerError, Tokenizers> =>
  Effect.gen(function*() {
    const asked = typeof model === "string" ? { modelName: model } : model
    const tokenizers = yield* Tokenizers
    const tokenizer = yield* tokenizers.get(asked)
    const name = options.name ?? nameFor(asked.modelName) ?? nameFor(tokenizer.id)
    if (name !== undefined) return yield* make(name, tokenizer, options)
    if (tokenizer.chatTemplate !== undefined) return yield* fromTemplate(tokenizer, options)
    return yield* new RendererError({
      reason: "UnknownModel",
      name: asked.modelName,
      detail: "no renderer is known for it; say one by name, or register one (Renderer.register)"
    })
  })

/**
 * The name as it stands in the metadata of a training run (`userMetadata`), where the official cookbook looks for it too.
 *
 * @since 0.2.0
 * @category metadata
 */
export const metadata = (self: Renderer): { readonly renderer_name: string } => ({ renderer_name: self.name })

/**
 * Fails with `Mismatch` when a run, by its metadata, was trained with another renderer: a model that learnt one form answers
 * badly in another. Metadata without a name pass. `override` lets it pass with a warning in the log.
 *
 * @since 0.2.0
 * @category metadata
 */
export const checkMetadata = (
  self: Renderer,
  userMetadata: Readonly<Record<string, unknown>> | null | undefined,
  options: { readonly override?: boolean | undefined } = {}
): Effect.Effect<void, RendererError> =>
  Effect.suspend(() => {
    const trained = userMetadata?.["renderer_name"]
    if (typeof trained !== "string" || trained === "" || trained === self.name) return Effect.void
    const error = new RendererError({
      reason: "Mismatch",
      name: self.name,
      detail: `the run was trained with the renderer ${trained}; take that one (Renderer.make), or override`
    })
    return options.override === true ? Effect.logWarning(error.message) : error
  })

/**
 * A response while it is sampled: its tokens in pieces of any size to what they bring, and at the end to the whole.
 *
 * @since 0.2.0
 * @category combinators
 */
export const parseStream = <E, R>(
  self: Renderer,
  tokens: Stream.Stream<ArrayLike<number>, E, R>,
  messages?: ReadonlyArray<Message>
): Stream.Stream<ParseEvent | ({ readonly type: "end" } & Parsed), E, R> =>
  Stream.suspend(() => {
    const parser = self.parser(messages)
    const rest = Stream.suspend(() => {
      const { events, parsed } = parser.end()
      return Stream.make(...events, { type: "end" as const, ...parsed })
    })
    return Stream.concat(Stream.mapConcat(tokens, parser.push), rest)
  })
