/**
 * Messages of a conversation: who said what, as text, reasoning, images and tool calls.
 *
 * @since 0.2.0
 */
import * as Schema from "effect/Schema"

/**
 * Who speaks. `system`, `user`, `assistant` and `tool` are known to every format; others (`developer`) to some.
 *
 * @since 0.2.0
 * @category models
 */
export type Role = "system" | "user" | "assistant" | "tool" | (string & {})

/**
 * Text for the reader.
 *
 * @since 0.2.0
 * @category models
 */
export interface TextPart {
  readonly type: "text"
  readonly text: string
}

/**
 * The model's own reasoning, apart from what it says.
 *
 * @since 0.2.0
 * @category models
 */
export interface ThinkingPart {
  readonly type: "thinking"
  readonly thinking: string
}

/**
 * An image as encoded bytes. `tokens` is how many positions the model spends on it; training needs it, sampling does not.
 *
 * @since 0.2.0
 * @category models
 */
export interface ImagePart {
  readonly type: "image"
  readonly data: Uint8Array
  readonly format: "png" | "jpeg" | (string & {})
  readonly tokens?: number | undefined
}

/**
 * @since 0.2.0
 * @category models
 */
export type Part = TextPart | ThinkingPart | ImagePart

/**
 * @since 0.2.0
 * @category models
 */
export type Content = string | ReadonlyArray<Part>

/**
 * A call of a tool. `arguments` is the text of a JSON object, as models write it; `Tool.decode` makes a value of it.
 *
 * @since 0.2.0
 * @category models
 */
export interface ToolCall {
  readonly id?: string | undefined
  readonly name: string
  readonly arguments: string
}

/**
 * What looked like a tool call and was none: the text as the model wrote it and what is wrong with it.
 *
 * @since 0.2.0
 * @category models
 */
export interface UnparsedToolCall {
  readonly rawText: string
  readonly error: string
}

/**
 * One turn of a conversation.
 *
 * - `toolCalls`, `unparsedToolCalls`: of an assistant.
 * - `toolCallId`, `name`: of a tool's answer, the call it answers and the tool that was called. Formats differ in which they
 *   write; give both.
 * - `trainable`: whether it is learnt, for the policy `customized` only.
 *
 * @since 0.2.0
 * @category models
 */
export interface Message {
  readonly role: Role
  readonly content: Content
  readonly toolCalls?: ReadonlyArray<ToolCall> | undefined
  readonly unparsedToolCalls?: ReadonlyArray<UnparsedToolCall> | undefined
  readonly toolCallId?: string | undefined
  readonly name?: string | undefined
  readonly trainable?: boolean | undefined
}

/**
 * What instructs the model.
 *
 * @since 0.2.0
 * @category constructors
 */
export const system = (content: Content): Message => ({ role: "system", content })

/**
 * What the user said.
 *
 * @since 0.2.0
 * @category constructors
 */
export const user = (content: Content): Message => ({ role: "user", content })

/**
 * What the model said.
 *
 * @since 0.2.0
 * @category constructors
 */
export const assistant = (content: Content, toolCalls?: ReadonlyArray<ToolCall>): Message => ({
  role: "assistant",
  content,
  ...(toolCalls === undefined ? {} : { toolCalls })
})

/**
 * What a tool answered to a call.
 *
 * @since 0.2.0
 * @category constructors
 */
export const toolResult = (call: ToolCall, content: string): Message => ({
  role: "tool",
  content,
  name: call.name,
  ...(call.id === undefined ? {} : { toolCallId: call.id })
})

/**
 * The content as parts; of a plain string, one text.
 *
 * @since 0.2.0
 * @category getters
 */
export const parts = (self: Message): ReadonlyArray<Part> =>
  typeof self.content === "string" ? [{ type: "text", text: self.content }] : self.content

/**
 * The text of a message, without its reasoning and its images.
 *
 * @since 0.2.0
 * @category getters
 */
export const text = (self: Message): string => {
  if (typeof self.content === "string") return self.content
  let out = ""
  for (const part of self.content) if (part.type === "text") out += part.text
  return out
}

/**
 * The reasoning of a message; empty when there is none.
 *
 * @since 0.2.0
 * @category getters
 */
export const thinking = (self: Message): string => {
  if (typeof self.content === "string") return ""
  let out = ""
  for (const part of self.content) if (part.type === "thinking") out += part.thinking
  return out
}

const ThinkingOpenAi = Schema.Struct({ type: Schema.Literal("thinking"), thinking: Schema.String })
const TextOpenAi = Schema.Struct({ type: Schema.Literal("text"), text: Schema.String })

const ToolCallOpenAi = Schema.Struct({
  id: Schema.optional(Schema.NullOr(Schema.String)),
  type: Schema.optional(Schema.String),
  function: Schema.Struct({
    name: Schema.String,
    arguments: Schema.Union(Schema.String, Schema.Record({ key: Schema.String, value: Schema.Unknown }))
  })
})

/** The shape of the OpenAI API and of the files people have. */
const OpenAi = Schema.Struct({
  role: Schema.String,
  content: Schema.optional(Schema.NullOr(Schema.Union(
    Schema.String,
    Schema.Array(Schema.Union(TextOpenAi, ThinkingOpenAi))
  ))),
  reasoning_content: Schema.optional(Schema.NullOr(Schema.String)),
  tool_calls: Schema.optional(Schema.NullOr(Schema.Array(ToolCallOpenAi))),
  tool_call_id: Schema.optional(Schema.NullOr(Schema.String)),
  name: Schema.optional(Schema.NullOr(Schema.String)),
  trainable: Schema.optional(Schema.Boolean)
})

const MessageType = Schema.declare((u): u is Message => typeof u === "object" && u !== null && "role" in u, {
  identifier: "Message"
})

const fromOpenAi = (wire: typeof OpenAi.Type): Message => {
  const given = wire.content ?? ""
  const reasoning = wire.reasoning_content ?? ""
  const content: Content = reasoning === ""
    ? given
    : [
      { type: "thinking", thinking: reasoning },
      ...(given === "" ? [] : typeof given === "string" ? [{ type: "text" as const, text: given }] : given)
    ]
  return {
    role: wire.role,
    content,
    ...(wire.tool_calls == null ? {} : {
      toolCalls: wire.tool_calls.map((call) => ({
        ...(call.id == null ? {} : { id: call.id }),
        name: call.function.name,
        arguments: typeof call.function.arguments === "string"
          ? call.function.arguments
          : JSON.stringify(call.function.arguments)
      }))
    }),
    ...(wire.tool_call_id == null ? {} : { toolCallId: wire.tool_call_id }),
    ...(wire.name == null ? {} : { name: wire.name }),
    ...(wire.trainable === undefined ? {} : { trainable: wire.trainable })
  }
}

const toOpenAi = (message: Message): typeof OpenAi.Type => {
  const reasoning = thinking(message)
  return {
    role: message.role,
    content: text(message),
    ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
    ...(message.toolCalls === undefined ? {} : {
      tool_calls: message.toolCalls.map((call) => ({
        ...(call.id === undefined ? {} : { id: call.id }),
        type: "function",
        function: { name: call.name, arguments: call.arguments }
      }))
    }),
    ...(message.toolCallId === undefined ? {} : { tool_call_id: message.toolCallId }),
    ...(message.name === undefined ? {} : { name: message.name }),
    ...(message.trainable === undefined ? {} : { trainable: message.trainable })
  }
}

/**
 * A message in the shape of the OpenAI API: `role`, `content` as text or parts, `reasoning_content`, `tool_calls`,
 * `tool_call_id`, `name`; and `trainable`, which is the cookbook's. Images are not decoded from it; encoding leaves them out
 * and joins texts and reasoning.
 *
 * @since 0.2.0
 * @category schemas
 */
export const FromOpenAi: Schema.Schema<Message, typeof OpenAi.Encoded> = Schema.transform(OpenAi, MessageType, {
  strict: true,
  decode: fromOpenAi,
  encode: toOpenAi
})
