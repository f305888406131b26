/**
 * `POST /v1/messages`.
 */
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Response from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Message from "../../chat/Message.js"
import type { ToolSpec } from "../../chat/Tool.js"
import type * as ChatModel from "../../client/ChatModel.js"
import { anthropicBody, type Failure, toGateway } from "../errors.js"
import { newId } from "../ids.js"
import type { Models } from "../models.js"
import * as Sse from "../sse.js"
import { conversation, type MessagesRequest } from "./request.js"

const toolsOf = (request: MessagesRequest): ReadonlyArray<ToolSpec> => {
  const choice = request.tool_choice
  if (choice?.type === "none") return []
  const all = (request.tools ?? []).map(({ description, input_schema, name }) => ({
    name,
    description: description ?? "",
    parameters: input_schema
  }))
  return choice?.type === "tool" ? all.filter(({ name }) => name === choice.name) : all
}

const reasons: Readonly<Record<ChatModel.FinishReason, string>> = {
  stop: "end_turn",
  stop_text: "stop_sequence",
  tool_calls: "tool_use",
  length: "max_tokens"
}

const usageOf = ({ cachedTokens, completionTokens, promptTokens }: ChatModel.Usage) => ({
  input_tokens: promptTokens - cachedTokens,
  cache_read_input_tokens: cachedTokens,
  cache_creation_input_tokens: 0,
  output_tokens: completionTokens
})

/** What a call takes; models may write what is no JSON. */
const inputOf = (call: Message.ToolCall): unknown => {
  try {
    return JSON.parse(call.arguments)
  } catch {
    return {}
  }
}

const blocksOf = ({ message }: ChatModel.Choice) =>
  Effect.gen(function*() {
    const [thinking, text] = [Message.thinking(message), Message.text(message)]
    const calls = yield* Effect.forEach(message.toolCalls ?? [], (call) =>
      Effect.map(newId("toolu"), (id) => ({
        type: "tool_use",
        id: call.id ?? id,
        name: call.name,
        input: inputOf(call)
      })))
    return [
      ...(thinking === "" ? [] : [{ type: "thinking", thinking, signature: "" }]),
      ...(text === "" && (calls.length > 0 || thinking !== "") ? [] : [{ type: "text", text }]),
      ...calls
    ]
  })

type BlockType = "text" | "thinking" | "tool_use"

const emptyBlock = (type: BlockType): object =>
  type === "text" ? { type, text: "" } : { type, thinking: "", signature: "" }

const streamed = (
  head: object,
  events: Stream.Stream<ChatModel.StreamEvent, Failure>
): Stream.Stream<string> => {
  let index = -1
  let open: BlockType | undefined
  let ended: ChatModel.Choice | undefined
  const send = (type: string, fields: object): string => Sse.event({ type, ...fields }, type)
  const close = (): ReadonlyArray<string> => {
    if (open === undefined) return []
    open = undefined
    return [send("content_block_stop", { index })]
  }
  const start = (type: BlockType, block: object): ReadonlyArray<string> => {
    const before = close()
    index++
    open = type
    return [...before, send("content_block_start", { index, content_block: block })]
  }
  const piece = (type: "text" | "thinking", delta: object): ReadonlyArray<string> => [
    ...(open === type ? [] : start(type, emptyBlock(type))),
    send("content_block_delta", { index, delta })
  ]
  const body = Stream.mapConcatEffect(events, (event) =>
    Effect.gen(function*() {
      switch (event.type) {
        case "delta": {
          const brought = event.event
          switch (brought.type) {
            case "text":
              return piece("text", { type: "text_delta", text: brought.text })
            case "thinking":
              return piece("thinking", { type: "thinking_delta", thinking: brought.thinking })
            case "unparsedToolCall":
              return piece("text", { type: "text_delta", text: brought.call.rawText })
            case "toolCall": {
              const id = brought.call.id ?? (yield* newId("toolu"))
              return [
                ...start("tool_use", { type: "tool_use", id, name: brought.call.name, input: {} }),
                send("content_block_delta", {
                  index,
                  delta: { type: "input_json_delta", partial_json: JSON.stringify(inputOf(brought.call)) }
                }),
                ...close()
              ]
            }
          }
        }
        case "choice":
          ended = event.choice
          return close()
        case "usage":
          return [
            send("message_delta", {
              delta: {
                stop_reason: ended === undefined ? null : reasons[ended.finishReason],
                stop_sequence: ended?.stopText ?? null
              },
              usage: usageOf(event.usage)
            }),
            send("message_stop", {})
          ]
      }
    }))
  return Stream.concat(Stream.make(send("message_start", { message: head })), body).pipe(
    Stream.catchAll((error) => Stream.make(Sse.event(anthropicBody(toGateway(error)), "error")))
  )
}

/** Answers a request whose body has been read. */
export const respond = (
  models: Models,
  request: MessagesRequest
): Effect.Effect<HttpServerResponse.HttpServerResponse, Failure, Scope.Scope> =>
  Effect.gen(function*() {
    const opened = yield* models.open(request.model, request.metadata?.user_id ?? undefined)
    const chat = yield* opened.chat
    const { messages, prefill } = conversation(request)
    const options: ChatModel.Options = {
      messages,
      prefill,
      tools: toolsOf(request),
      maxTokens: request.max_tokens,
      temperature: request.temperature ?? undefined,
      topP: request.top_p ?? undefined,
      topK: request.top_k ?? undefined,
      stop: request.stop_sequences ?? []
    }
    const head = {
      id: yield* newId("msg"),
      type: "message",
      role: "assistant",
      model: request.model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { input_tokens: 0, output_tokens: 0 }
    }
    const headers = { "x-tinkex-target": opened.target }
    if (request.stream === true) return Sse.respond(streamed(head, chat.stream(options)), headers)
    const { choices: [choice], usage } = yield* chat.generate(options)
    return Response.unsafeJson({
      ...head,
      content: choice === undefined ? [] : yield* blocksOf(choice),
      stop_reason: choice === undefined ? null : reasons[choice.finishReason],
      stop_sequence: choice?.stopText ?? null,
      usage: usageOf(usage)
    }, { headers })
  })
