/**
 * What requests may hold. What OpenAI knows and means nothing here is taken and ignored; what it knows and would change the
 * answer is refused unless it says nothing; what it does not know is refused as OpenAI refuses it.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type * as Message from "../../chat/Message.js"
import type * as Tool from "../../chat/Tool.js"
import { describe } from "../../protocol/ParseProblem.js"
import { GatewayError } from "../errors.js"

const nullable = <A, I>(schema: Schema.Schema<A, I>) => Schema.optional(Schema.NullOr(schema))

/** Known and without meaning here: who asks, what is kept, how it is billed. */
const ignored = [
  "metadata",
  "parallel_tool_calls",
  "prompt_cache_key",
  "prompt_cache_retention",
  "reasoning_effort",
  "safety_identifier",
  "service_tier",
  "store",
  "verbosity"
] as const

/** Known, and refused unless it is what it is without being said. */
const unsupported: Readonly<Record<string, unknown>> = {
  frequency_penalty: 0,
  presence_penalty: 0,
  logit_bias: {},
  modalities: ["text"],
  audio: undefined,
  prediction: undefined,
  web_search_options: undefined,
  suffix: "",
  best_of: 1
}

const Common = {
  model: Schema.String,
  temperature: nullable(Schema.Number.pipe(Schema.between(0, 2))),
  top_p: nullable(Schema.Number.pipe(Schema.greaterThan(0), Schema.lessThanOrEqualTo(1))),
  top_k: nullable(Schema.Int),
  n: nullable(Schema.Int.pipe(Schema.between(1, 128))),
  seed: nullable(Schema.Int),
  stop: nullable(Schema.Union(Schema.String, Schema.Array(Schema.String))),
  stream: nullable(Schema.Boolean),
  stream_options: nullable(Schema.Struct({
    include_usage: nullable(Schema.Boolean),
    include_obfuscation: nullable(Schema.Boolean)
  })),
  user: nullable(Schema.String)
}

const TextPart = Schema.Struct({ type: Schema.Literal("text", "input_text"), text: Schema.String })
const RefusalPart = Schema.Struct({ type: Schema.Literal("refusal"), refusal: Schema.String })
const ImagePart = Schema.Struct({
  type: Schema.Literal("image_url"),
  image_url: Schema.Struct({ url: Schema.String, detail: nullable(Schema.String) })
})

const ChatMessage = Schema.Struct({
  role: Schema.Literal("system", "developer", "user", "assistant", "tool"),
  content: nullable(Schema.Union(Schema.String, Schema.Array(Schema.Union(TextPart, ImagePart, RefusalPart)))),
  refusal: nullable(Schema.String),
  name: nullable(Schema.String),
  reasoning_content: nullable(Schema.String),
  tool_call_id: nullable(Schema.String),
  tool_calls: nullable(Schema.Array(Schema.Struct({
    id: Schema.String,
    type: Schema.Literal("function"),
    function: Schema.Struct({ name: Schema.String, arguments: Schema.String })
  })))
})

const ChatTool = Schema.Struct({
  type: Schema.Literal("function"),
  function: Schema.Struct({
    name: Schema.String,
    description: nullable(Schema.String),
    parameters: nullable(Schema.Record({ key: Schema.String, value: Schema.Unknown })),
    strict: nullable(Schema.Boolean)
  })
})

const ResponseFormat = Schema.Union(
  Schema.Struct({ type: Schema.Literal("text") }),
  Schema.Struct({ type: Schema.Literal("json_object") }),
  Schema.Struct({
    type: Schema.Literal("json_schema"),
    json_schema: Schema.Struct({
      name: Schema.String,
      description: nullable(Schema.String),
      schema: nullable(Schema.Record({ key: Schema.String, value: Schema.Unknown })),
      strict: nullable(Schema.Boolean)
    })
  })
)

const ToolChoice = Schema.Union(
  Schema.Literal("none", "auto", "required"),
  Schema.Struct({ type: Schema.Literal("function"), function: Schema.Struct({ name: Schema.String }) })
)

/** Body of `POST /chat/completions`. */
export const ChatRequest = Schema.Struct({
  ...Common,
  messages: Schema.NonEmptyArray(ChatMessage),
  max_tokens: nullable(Schema.Int.pipe(Schema.positive())),
  max_completion_tokens: nullable(Schema.Int.pipe(Schema.positive())),
  logprobs: nullable(Schema.Boolean),
  top_logprobs: nullable(Schema.Int.pipe(Schema.between(0, 20))),
  tools: nullable(Schema.Array(ChatTool)),
  tool_choice: nullable(ToolChoice),
  response_format: nullable(ResponseFormat)
})

export type ChatRequest = typeof ChatRequest.Type

const Tokens = Schema.Array(Schema.Int.pipe(Schema.nonNegative()))

/** Body of `POST /completions`. */
export const CompletionRequest = Schema.Struct({
  ...Common,
  prompt: Schema.Union(Schema.String, Tokens, Schema.Array(Schema.String), Schema.Array(Tokens)),
  max_tokens: nullable(Schema.Int.pipe(Schema.nonNegative())),
  echo: nullable(Schema.Boolean),
  logprobs: nullable(Schema.Int.pipe(Schema.between(0, 20)))
})

export type CompletionRequest = typeof CompletionRequest.Type

/** Bodies of `POST /tokenize` and `/detokenize`. */
export const TokenizeRequest = Schema.Struct({
  model: Schema.String,
  prompt: Schema.optional(Schema.String),
  messages: Schema.optional(Schema.NonEmptyArray(ChatMessage)),
  add_special_tokens: Schema.optional(Schema.Boolean),
  return_token_strs: Schema.optional(Schema.NullOr(Schema.Boolean))
})

export const DetokenizeRequest = Schema.Struct({ model: Schema.String, tokens: Tokens })

const refuse = (detail: string, param?: string, code?: string): GatewayError =>
  new GatewayError({ status: 400, type: "invalid_request_error", detail, param, code })

const isDefault = (value: unknown, ordinary: unknown): boolean =>
  value === null || value === undefined || JSON.stringify(value) === JSON.stringify(ordinary)

const parseJson = (text: string): Either.Either<Record<string, unknown>, GatewayError> =>
  Either.try({
    try: () => JSON.parse(text) as unknown,
    catch: () => refuse("We could not parse the JSON body of your request.")
  }).pipe(
    Either.flatMap((json) =>
      typeof json === "object" && json !== null && !Array.isArray(json)
        ? Either.right(json as Record<string, unknown>) // an object, as checked
        : Either.left(refuse("The body of the request has to be a JSON object."))
    )
  )

/**
 * A body by its schema. Unknown fields are refused in OpenAI's words, those of `ignored` dropped, those of `unsupported`
 * refused unless they say nothing.
 */
export const decodeBody = <A, I>(
  schema: Schema.Schema<A, I>,
  fields: Readonly<Record<string, unknown>>,
  text: string
): Effect.Effect<A, GatewayError> =>
  Effect.gen(function*() {
    const body = yield* parseJson(text)
    const kept: Record<string, unknown> = {}
    for (const [name, value] of Object.entries(body)) {
      if (name in fields) kept[name] = value
      else if (ignored.some((one) => one === name)) continue
      else if (name in unsupported) {
        if (!isDefault(value, unsupported[name])) {
          return yield* refuse(`'${name}' is not supported here: leave it out`, name, "unsupported_parameter")
        }
      } else return yield* refuse(`Unrecognized request argument supplied: ${name.slice(0, 100)}`, name.slice(0, 100))
    }
    return yield* Effect.mapError(ParseResult.decodeUnknown(schema)(kept), (issue) =>
      refuse(describe(new ParseResult.ParseError({ issue }))))
  })

type Wire = ChatRequest["messages"][number]

const dataUrl = /^data:image\/(png|jpe?g);base64,(.*)$/s

const partOf = (part: Exclude<Wire["content"], string | null | undefined>[number]): Message.Part => {
  switch (part.type) {
    case "image_url": {
      const [, format = "", data = ""] = dataUrl.exec(part.image_url.url) ?? []
      const bytes = Encoding.decodeBase64(data)
      if (format === "" || Either.isLeft(bytes)) {
        throw refuse(
          "images have to be data URLs of PNG or JPEG in base64: nothing is fetched",
          "messages",
          "invalid_image_url"
        )
      }
      return { type: "image", data: bytes.right, format: format === "png" ? "png" : "jpeg" }
    }
    case "refusal":
      return { type: "text", text: part.refusal }
    default:
      return { type: "text", text: part.text }
  }
}

const messageOf = (wire: Wire): Message.Message => {
  const text = wire.content ?? wire.refusal ?? ""
  const parts: Array<Message.Part> = typeof text === "string" ? [] : text.map(partOf)
  const reasoning = wire.reasoning_content ?? ""
  const content: Message.Content = typeof text === "string" && reasoning === ""
    ? text
    : [
      ...(reasoning === "" ? [] : [{ type: "thinking" as const, thinking: reasoning }]),
      ...(typeof text === "string" ? text === "" ? [] : [{ type: "text" as const, text }] : parts)
    ]
  return {
    role: wire.role === "developer" ? "system" : wire.role,
    content,
    ...(wire.tool_calls == null ? {} : {
      toolCalls: wire.tool_calls.map(({ function: call, id }) => ({ id, name: call.name, arguments: call.arguments }))
    }),
    ...(wire.tool_call_id == null ? {} : { toolCallId: wire.tool_call_id }),
    ...(wire.name == null ? {} : { name: wire.name })
  }
}

/** The messages of a request. A tool's answer gets the name of the call that it answers. */
export const messagesOf = (
  wire: ReadonlyArray<Wire>
): Effect.Effect<ReadonlyArray<Message.Message>, GatewayError> =>
  Effect.try({
    try: () => {
      const names = new Map<string, string>()
      return wire.map(messageOf).map((message) => {
        for (const { id, name } of message.toolCalls ?? []) if (id !== undefined) names.set(id, name)
        const name = message.name ?? names.get(message.toolCallId ?? "")
        return message.role === "tool" && name !== undefined ? { ...message, name } : message
      })
    },
    catch: (error) => error instanceof GatewayError ? error : refuse("the messages could not be read", "messages")
  })

export const toolsOf = (
  wire: ReadonlyArray<typeof ChatTool.Type> | null | undefined
): ReadonlyArray<Tool.ToolSpec> =>
  (wire ?? []).map(({ function: { description, name, parameters } }) => ({
    name,
    description: description ?? "",
    parameters: parameters ?? { type: "object", properties: {} }
  }))

export const stopsOf = (stop: string | ReadonlyArray<string> | null | undefined): ReadonlyArray<string> =>
  stop == null ? [] : typeof stop === "string" ? [stop] : stop.filter((text) => text !== "")
