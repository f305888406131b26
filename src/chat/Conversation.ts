/**
 * Conversations in files, and conversations to training data.
 *
 * @since 0.2.0
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Datum from "../protocol/Datum.js"
import { InvalidInput } from "../protocol/InvalidInput.js"
import { known } from "../protocol/options.js"
import { describe } from "../protocol/ParseProblem.js"
import { ConversationError, lines, type ReadOptions } from "./jsonl.js"
import * as Message from "./Message.js"
import type { Renderer } from "./Renderer.js"
import * as Tool from "./Tool.js"
import type { TrainOn } from "./TrainOn.js"

/**
 * Messages and the tools that the assistant had. `source` says where it is from (`chat.jsonl, line 7`), for errors.
 *
 * @since 0.2.0
 * @category models
 */
export interface Conversation {
  readonly messages: ReadonlyArray<Message.Message>
  readonly tools?: ReadonlyArray<Tool.ToolSpec> | undefined
  readonly source?: string | undefined
}

/**
 * One prompt with a completion that was preferred and one that was not.
 *
 * @since 0.2.0
 * @category models
 */
export interface Preference {
  readonly prompt: ReadonlyArray<Message.Message>
  readonly chosen: ReadonlyArray<Message.Message>
  readonly rejected: ReadonlyArray<Message.Message>
  readonly tools?: ReadonlyArray<Tool.ToolSpec> | undefined
  readonly source?: string | undefined
}

export {
  /**
   * @since 0.2.0
   * @category errors
   */
  ConversationError,
  /**
   * @since 0.2.0
   * @category models
   */
  type Progress,
  /**
   * `chat.jsonl: 12,345 lines, 41 %`.
   *
   * @since 0.2.0
   * @category formatting
   */
  progressText,
  /**
   * @since 0.2.0
   * @category models
   */
  type ReadOptions
} from "./jsonl.js"

const Messages = Schema.Array(Message.FromOpenAi)
const Tools = Schema.optional(Schema.NullOr(Schema.Array(Tool.FromOpenAi)))

const MessagesForm = Schema.Struct({ messages: Messages, tools: Tools })

const ShareGptForm = Schema.Struct({
  conversations: Schema.Array(Schema.Struct({ from: Schema.String, value: Schema.String })),
  system: Schema.optional(Schema.NullOr(Schema.String)),
  tools: Tools
})

/** A text is a message of the role; messages are themselves. */
const Turns = Schema.Union(Schema.String, Messages)

const PromptForm = Schema.Struct({ prompt: Turns, completion: Turns, tools: Tools })

const PreferenceForm = Schema.Struct({ prompt: Schema.optional(Turns), chosen: Turns, rejected: Turns, tools: Tools })

/** Who speaks, in the words of ShareGPT. */
const shareGptRoles: Readonly<Record<string, string>> = {
  human: "user",
  user: "user",
  gpt: "assistant",
  assistant: "assistant",
  model: "assistant",
  system: "system",
  tool: "tool",
  observation: "tool",
  function_response: "tool"
}

const turns = (given: string | ReadonlyArray<Message.Message>, role: string): ReadonlyArray<Message.Message> =>
  typeof given === "string" ? [{ role, content: given }] : given

const withTools = (tools: ReadonlyArray<Tool.ToolSpec> | null | undefined) =>
  tools == null || tools.length === 0 ? {} : { tools }

const strings = <A, I>(schema: Schema.Schema<A, I>) => {
  const decode = Schema.decodeUnknownEither(schema)
  return (value: unknown): Either.Either<A, string> => Either.mapLeft(decode(value), describe)
}

const decodeMessages = strings(MessagesForm)
const decodeShareGpt = strings(ShareGptForm)
const decodePrompt = strings(PromptForm)
const decodePreference = strings(PreferenceForm)

const fromShareGpt = (form: typeof ShareGptForm.Type): Either.Either<Conversation, string> => {
  const messages: Array<Message.Message> = form.system == null ? [] : [Message.system(form.system)]
  for (const [index, { from, value }] of form.conversations.entries()) {
    const role = Object.hasOwn(shareGptRoles, from) ? shareGptRoles[from] : undefined
    if (role === undefined) {
      return Either.left(`conversations[${index}].from: expected one of ${Object.keys(shareGptRoles).join(", ")}`)
    }
    messages.push({ role, content: value })
  }
  return Either.right({ messages, ...withTools(form.tools) })
}

/**
 * A conversation from a value in one of the forms that people have: `messages` (OpenAI), `conversations` (ShareGPT, with
 * `human` and `gpt`), `prompt` and `completion` as texts or messages; each with `tools`, if need be. What is wrong otherwise.
 *
 * @since 0.2.0
 * @category decoding
 */
export const decode = (value: unknown): Either.Either<Conversation, string> => {
  const has = (key: string) => Predicate.hasProperty(value, key)
  if (has("messages")) {
    return Either.map(decodeMessages(value), ({ messages, tools }) => ({ messages, ...withTools(tools) }))
  }
  if (has("conversations")) return Either.flatMap(decodeShareGpt(value), fromShareGpt)
  if (has("prompt") && has("completion")) {
    return Either.map(decodePrompt(value), ({ completion, prompt, tools }) => ({
      messages: [...turns(prompt, "user"), ...turns(completion, "assistant")],
      ...withTools(tools)
    }))
  }
  return Either.left("expected an object with messages, with conversations, or with prompt and completion")
}

/**
 * A preference pair from a value: `chosen` and `rejected`, as texts or messages, after a `prompt`. Without `prompt` it is what
 * both begin with.
 *
 * @since 0.2.0
 * @category decoding
 */
export const decodePair = (value: unknown): Either.Either<Preference, string> =>
  Either.flatMap(decodePreference(value), (form) => {
    const chosen = turns(form.chosen, "assistant")
    const rejected = turns(form.rejected, "assistant")
    const tools = withTools(form.tools)
    if (form.prompt !== undefined) {
      return Either.right({ prompt: turns(form.prompt, "user"), chosen, rejected, ...tools })
    }
    let common = 0
    while (common < Math.min(chosen.length, rejected.length) && isSame(chosen[common]!, rejected[common]!)) common++
    return common === 0
      ? Either.left("prompt: is missing, and chosen and rejected do not begin alike")
      : Either.right({
        prompt: chosen.slice(0, common),
        chosen: chosen.slice(common),
        rejected: rejected.slice(common),
        ...tools
      })
  })

const isSame = (a: Message.Message, b: Message.Message): boolean => JSON.stringify(a) === JSON.stringify(b)

const parsed = <A extends object>(
  path: string,
  options: ReadOptions,
  decode: (value: unknown) => Either.Either<A, string>
): Stream.Stream<A & { readonly source: string }, ConversationError, FileSystem.FileSystem> =>
  lines(path, options).pipe(
    Stream.filterMapEffect(([line, text]) => {
      // A byte order mark may begin the first line
      const content = line === 1 ? text.replace(/^\uFEFF/, "") : text
      if (content.trim() === "") return Option.none()
      return Option.some(Either.mapBoth(Either.flatMap(json(content), decode), {
        onLeft: (detail) => new ConversationError({ path, line, detail }),
        onRight: (value) => ({ ...value, source: `${path}, line ${line}` })
      }))
    })
  )

const json = (text: string): Either.Either<unknown, string> =>
  Either.try({ try: (): unknown => JSON.parse(text), catch: () => "the line is not JSON" })

/**
 * The conversations of a JSON Lines file, in any form that `decode` reads, one after the other: a file of any size passes in
 * constant memory. Empty lines are passed over; a line that is no conversation fails with its number.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fromJsonl = (
  path: string,
  options: ReadOptions = {}
): Stream.Stream<Conversation, ConversationError, FileSystem.FileSystem> => parsed(path, options, decode)

/**
 * The preference pairs of a JSON Lines file, as `fromJsonl`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const pairsFromJsonl = (
  path: string,
  options: ReadOptions = {}
): Stream.Stream<Preference, ConversationError, FileSystem.FileSystem> => parsed(path, options, decodePair)

/**
 * - `train`: what is learnt; every assistant message unless given.
 * - `maxLength`: of an example in tokens; the end of a longer one is cut off.
 * - `reduction`: `mean` lets every example weigh 1, `none` every token. `none` unless given, as losses are sums here.
 * - `onEmpty`: what becomes of an example of which nothing is learnt (no assistant message, or all of it cut off): it is an
 *   error, unless it is to be left out (`skip`).
 *
 * @since 0.2.0
 * @category models
 */
export interface ToDataOptions {
  readonly train?: TrainOn | undefined
  readonly maxLength?: number | undefined
  readonly reduction?: "none" | "mean" | undefined
  readonly onEmpty?: "fail" | "skip" | undefined
}

const toDataNames = known<ToDataOptions>("Conversation.toData", {
  maxLength: true,
  onEmpty: true,
  reduction: true,
  train: true
})

const isLearnt = (datum: Datum.Datum): boolean => {
  const weights = datum.lossFnInputs["weights"]?.data ?? []
  for (let i = 0; i < weights.length; i++) if (Number(weights[i]) !== 0) return true
  return false
}

/** Throws `InvalidInput`. */
const unsafeData = (
  renderer: Renderer,
  conversation: Conversation,
  options: ToDataOptions
): ReadonlyArray<Datum.Datum> => {
  toDataNames(options)
  const { messages, tools } = conversation
  const { maxLength, reduction } = options
  if (messages.length === 0) {
    throw new InvalidInput({ field: "messages", expected: "at least one message", actual: "none" })
  }
  const data: Array<Datum.Datum> = []
  for (const segments of renderer.examples(messages, { train: options.train, tools })) {
    const datum = Datum.fromSegments(segments, { maxLength, reduction })
    if (isLearnt(datum)) {
      data.push(datum)
    } else if (options.onEmpty !== "skip") {
      throw new InvalidInput({
        field: "messages",
        expected: `something to learn with train ${options.train ?? "all_assistant_messages"}${
          options.maxLength === undefined ? "" : ` within ${options.maxLength} tokens`
        } (onEmpty: "skip" leaves it out)`,
        actual: "an example of which nothing is learnt"
      })
    }
  }
  return data
}

/**
 * The training data of one conversation: one datum, or several for a renderer without the extension property.
 *
 * @since 0.2.0
 * @category combinators
 */
export const data = (
  renderer: Renderer,
  conversation: Conversation,
  options: ToDataOptions = {}
): Effect.Effect<ReadonlyArray<Datum.Datum>, InvalidInput> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(unsafeData(renderer, conversation, options))
    } catch (cause) {
      if (!(cause instanceof InvalidInput)) return Effect.die(cause)
      return Effect.fail(conversation.source === undefined ? cause : cause.within(conversation.source))
    }
  })

/**
 * Conversations to training data, as they come.
 *
 * @since 0.2.0
 * @category combinators
 */
export const toDataStream =
  (renderer: Renderer, options: ToDataOptions = {}) =>
  <E, R>(conversations: Stream.Stream<Conversation, E, R>): Stream.Stream<Datum.Datum, E | InvalidInput, R> =>
    Stream.mapConcat(
      Stream.mapEffect(conversations, (conversation) => data(renderer, conversation, options)),
      (some) => some
    )

/**
 * Conversations to training data, all of them in memory.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Conversation, Renderer } from "tinkex"
 *
 * export const lessons = Effect.gen(function*() {
 *   const renderer = yield* Renderer.forModel("Qwen/Qwen3-8B")
 *   return yield* Conversation.fromJsonl("chat.jsonl").pipe(Conversation.toData(renderer, { maxLength: 4096 }))
 * })
 * ```
 *
 * @since 0.2.0
 * @category combinators
 */
export const toData = (renderer: Renderer, options: ToDataOptions = {}) =>
<E, R>(
  conversations: Stream.Stream<Conversation, E, R>
): Effect.Effect<ReadonlyArray<Datum.Datum>, E | InvalidInput, R> =>
  Effect.map(Stream.runCollect(toDataStream(renderer, options)(conversations)), (chunk) => Array.from(chunk))
