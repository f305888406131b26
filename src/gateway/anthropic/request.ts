/**
 * What requests to `/v1/messages` may hold, and how they become a conversation.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as Message from "../../chat/Message.js"
import { describe } from "../../protocol/ParseProblem.js"
import { GatewayError } from "../errors.js"

const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optional(Schema.NullOr(schema))
const Object_ = Schema.Record({ key: Schema.String, value: Schema.Unknown })

const Text = Schema.Struct({ type: Schema.Literal("text"), text: Schema.String, cache_control: optional(Object_) })
const Image = Schema.Struct({
  type: Schema.Literal("image"),
  source: Schema.Struct({
    type: Schema.Literal("base64"),
    media_type: Schema.Literal("image/png", "image/jpeg"),
    data: Schema.String
  })
})
const ToolUse = Schema.Struct({
  type: Schema.Literal("tool_use"),
  id: Schema.String,
  name: Schema.String,
  input: Schema.Unknown
})
const ToolResult = Schema.Struct({
  type: Schema.Literal("tool_result"),
  tool_use_id: Schema.String,
  content: optional(Schema.Union(Schema.String, Schema.Array(Text))),
  is_error: optional(Schema.Boolean)
})
const Thinking = Schema.Struct({
  type: Schema.Literal("thinking"),
  thinking: Schema.String,
  signature: optional(Schema.String)
})

const Block = Schema.Union(Text, Image, ToolUse, ToolResult, Thinking)

/** Body of `POST /v1/messages`. What Anthropic knows besides and means nothing here is dropped. */
export const MessagesRequest = Schema.Struct({
  model: Schema.String,
  max_tokens: Schema.Int.pipe(Schema.positive()),
  messages: Schema.NonEmptyArray(Schema.Struct({
    role: Schema.Literal("user", "assistant"),
    content: Schema.Union(Schema.String, Schema.Array(Block))
  })),
  system: optional(Schema.Union(Schema.String, Schema.Array(Text))),
  temperature: optional(Schema.Number.pipe(Schema.between(0, 1))),
  top_p: optional(Schema.Number.pipe(Schema.greaterThan(0), Schema.lessThanOrEqualTo(1))),
  top_k: optional(Schema.Int.pipe(Schema.nonNegative())),
  stop_sequences: optional(Schema.Array(Schema.String)),
  stream: optional(Schema.Boolean),
  tools: optional(Schema.Array(Schema.Struct({
    name: Schema.String,
    description: optional(Schema.String),
    input_schema: Object_
  }))),
  tool_choice: optional(Schema.Struct({
    type: Schema.Literal("auto", "any", "tool", "none"),
    name: optional(Schema.String)
  })),
  metadata: optional(Schema.Struct({ user_id: optional(Schema.String) }))
})

export type MessagesRequest = typeof MessagesRequest.Type

const refuse = (detail: string) => new GatewayError({ status: 400, type: "invalid_request_error", detail })

export const decode = (text: string): Effect.Effect<MessagesRequest, GatewayError> =>
  Effect.try({ try: (): unknown => JSON.parse(text), catch: () => refuse("the body is not JSON") }).pipe(
    Effect.flatMap((json) =>
      Effect.mapError(
        ParseResult.decodeUnknown(MessagesRequest)(json),
        (issue) => refuse(describe(new ParseResult.ParseError({ issue })))
      )
    )
  )

const textOf = (content: string | ReadonlyArray<{ readonly text: string }> | null | undefined): string =>
  content == null ? "" : typeof content === "string" ? content : content.map(({ text }) => text).join("\n")

/** One turn may hold results of tools, each a message of its own, and then what the user says. */
const turnOf = (
  { content, role }: MessagesRequest["messages"][number],
  names: Map<string, string>
): ReadonlyArray<Message.Message> => {
  if (typeof content === "string") return [{ role, content }]
  const parts: Array<Message.Part> = []
  const calls: Array<Message.ToolCall> = []
  const results: Array<Message.Message> = []
  for (const block of content) {
    switch (block.type) {
      case "text":
        parts.push({ type: "text", text: block.text })
        break
      case "thinking":
        parts.push({ type: "thinking", thinking: block.thinking })
        break
      case "image":
        parts.push({
          type: "image",
          data: Either.getOrElse(Encoding.decodeBase64(block.source.data), () => new Uint8Array(0)),
          format: block.source.media_type === "image/png" ? "png" : "jpeg"
        })
        break
      case "tool_use":
        names.set(block.id, block.name)
        calls.push({ id: block.id, name: block.name, arguments: JSON.stringify(block.input ?? {}) })
        break
      case "tool_result": {
        const name = names.get(block.tool_use_id)
        results.push({
          role: "tool",
          content: `${block.is_error === true ? "error: " : ""}${textOf(block.content)}`,
          toolCallId: block.tool_use_id,
          ...(name === undefined ? {} : { name })
        })
      }
    }
  }
  const [only] = parts
  const said: Message.Content = parts.length === 0
    ? ""
    : parts.length === 1 && only?.type === "text"
    ? only.text
    : parts
  const speaks = parts.length > 0 || calls.length > 0
  return [...results, ...(speaks ? [{ role, content: said, ...(calls.length === 0 ? {} : { toolCalls: calls }) }] : [])]
}

/** The conversation, and how the answer begins where the last turn is the assistant's. */
export const conversation = (request: MessagesRequest): {
  readonly messages: ReadonlyArray<Message.Message>
  readonly prefill: string | undefined
} => {
  const names = new Map<string, string>()
  const system = textOf(request.system)
  const turns = request.messages.flatMap((turn) => turnOf(turn, names))
  const last = turns.at(-1)
  const prefill = last?.role === "assistant" && last.toolCalls === undefined ? Message.text(last) : undefined
  const messages = prefill === undefined ? turns : turns.slice(0, -1)
  return { messages: system === "" ? messages : [Message.system(system), ...messages], prefill }
}
