/**
 * `POST /chat/completions`.
 */
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Response from "@effect/platform/HttpServerResponse"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Structured from "../../chat/jsonAnswer.js"
import * as Message from "../../chat/Message.js"
import type * as Renderer from "../../chat/Renderer.js"
import type * as ChatModel from "../../client/ChatModel.js"
import { type Failure, GatewayError, openAiBody, toGateway } from "../errors.js"
import { newId } from "../ids.js"
import type { Models, Opened } from "../models.js"
import * as Sse from "../sse.js"
import { ofChat } from "./logprobs.js"
import { type ChatRequest, messagesOf, stopsOf, toolsOf } from "./request.js"

/** A request that has been read, and the model that is to answer. */
interface Call {
  readonly request: ChatRequest
  readonly opened: Opened
  readonly chat: ChatModel.ChatModel
  readonly options: ChatModel.Options
  readonly id: string
  readonly created: number
}

const finishOf = (choice: ChatModel.Choice): string => {
  switch (choice.finishReason) {
    case "stop_text":
      return "stop"
    default:
      return choice.finishReason
  }
}

const callsOf = (calls: ReadonlyArray<Message.ToolCall>, ids: ReadonlyArray<string>) =>
  calls.map((call, index) => ({
    id: call.id ?? ids[index] ?? "",
    type: "function",
    function: { name: call.name, arguments: call.arguments }
  }))

const messageOf = ({ message }: ChatModel.Choice, text: string) =>
  Effect.gen(function*() {
    const calls = message.toolCalls ?? []
    const ids = yield* Effect.forEach(calls, () => newId("call"))
    const reasoning = Message.thinking(message)
    return {
      role: "assistant",
      content: text === "" && calls.length > 0 ? null : text,
      refusal: null,
      ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
      ...(calls.length === 0 ? {} : { tool_calls: callsOf(calls, ids) })
    }
  })

const usageOf = ({ cachedTokens, completionTokens, promptTokens }: ChatModel.Usage) => ({
  prompt_tokens: promptTokens,
  completion_tokens: completionTokens,
  total_tokens: promptTokens + completionTokens,
  prompt_tokens_details: { cached_tokens: cachedTokens }
})

const logprobsOf = ({ opened: { tokenizer }, request }: Call, choice: ChatModel.Choice): unknown =>
  request.logprobs === true && choice.logprobs !== undefined
    ? ofChat(tokenizer, choice.tokens, choice.logprobs, choice.topLogprobs)
    : null

const toolMode = ({ tool_choice: choice }: ChatRequest): "none" | "auto" | "required" | { readonly name: string } =>
  choice == null ? "auto" : typeof choice === "string" ? choice : { name: choice.function.name }

/** Which tools the model is told of, and how it is pressed to call them. */
const toolsFor = (request: ChatRequest): Effect.Effect<Pick<ChatModel.Options, "tools">, GatewayError> => {
  const mode = toolMode(request)
  const all = toolsOf(request.tools)
  if (mode === "none" || all.length === 0) return Effect.succeed({})
  if (typeof mode === "string") return Effect.succeed({ tools: all })
  const one = all.filter(({ name }) => name === mode.name)
  return one.length === 1
    ? Effect.succeed({ tools: one })
    : Effect.fail(
      new GatewayError({
        status: 400,
        type: "invalid_request_error",
        param: "tool_choice",
        detail: `tool_choice names ${mode.name.slice(0, 100)}, which is not among the tools`
      })
    )
}

/** An answer that has to call a tool and does not is asked for again. */
const mustCall = (request: ChatRequest): boolean => {
  const mode = toolMode(request)
  return (request.tools?.length ?? 0) > 0 && (mode === "required" || typeof mode === "object")
}

/** What the answer has to be, where it has to be JSON. */
const formatOf = ({ response_format: format }: ChatRequest): Structured.Format | undefined =>
  format == null || format.type === "text"
    ? undefined
    : { schema: format.type === "json_schema" ? format.json_schema.schema ?? {} : undefined }

const optionsOf = (request: ChatRequest): Effect.Effect<ChatModel.Options, GatewayError> =>
  Effect.gen(function*() {
    const messages = yield* messagesOf(request.messages)
    return {
      messages: Structured.instruct(messages, formatOf(request)),
      ...(yield* toolsFor(request)),
      numSamples: request.n ?? 1,
      maxTokens: request.max_completion_tokens ?? request.max_tokens ?? undefined,
      temperature: request.temperature ?? undefined,
      topP: request.top_p ?? undefined,
      topK: request.top_k ?? undefined,
      seed: request.seed ?? undefined,
      stop: stopsOf(request.stop),
      topLogprobs: request.logprobs === true && (request.top_logprobs ?? 0) > 0 ? request.top_logprobs ?? 0 : undefined
    }
  })

/** One answer that is what was asked for, at the last of several tries; what all tries used counts. */
const settle = (call: Call, choice: ChatModel.Choice) =>
  Effect.gen(function*() {
    const { chat, options, request } = call
    let used: ChatModel.Usage = { promptTokens: 0, completionTokens: 0, cachedTokens: 0 }
    let current = choice
    for (let left = Structured.repeats;; left--) {
      const said = Message.text(current.message)
      const verdict = mustCall(request) && current.finishReason !== "tool_calls"
        ? { _tag: "Bad" as const, reason: "a tool has to be called" }
        : current.finishReason === "tool_calls"
        ? { _tag: "Good" as const, text: said }
        : Structured.check(said, formatOf(request))
      if (verdict._tag === "Good") return { choice: current, text: verdict.text, used }
      if (left === 0) {
        return yield* new GatewayError({
          status: 422,
          type: "invalid_request_error",
          code: "response_format_not_met",
          param: mustCall(request) ? "tool_choice" : "response_format",
          detail: `after ${
            Structured.repeats + 1
          } tries the model's answer is not what was asked for: ${verdict.reason}`
        })
      }
      const { choices, usage } = yield* chat.generate({
        ...options,
        messages: Structured.again(options.messages, said, verdict.reason),
        numSamples: 1
      })
      used = {
        promptTokens: used.promptTokens + usage.promptTokens,
        completionTokens: used.completionTokens + usage.completionTokens,
        cachedTokens: used.cachedTokens + usage.cachedTokens
      }
      const [next] = choices
      if (next !== undefined) current = { ...next, index: choice.index }
    }
  })

const whole = (call: Call) =>
  Effect.gen(function*() {
    const reply = yield* call.chat.generate(call.options)
    const settled = yield* Effect.forEach(reply.choices, (choice) => settle(call, choice), { concurrency: "unbounded" })
    const usage = settled.reduce((sum, { used }) => ({
      promptTokens: sum.promptTokens + used.promptTokens,
      completionTokens: sum.completionTokens + used.completionTokens,
      cachedTokens: sum.cachedTokens + used.cachedTokens
    }), reply.usage)
    return Response.unsafeJson({
      id: call.id,
      object: "chat.completion",
      created: call.created,
      model: call.request.model,
      choices: yield* Effect.forEach(settled, ({ choice, text }) =>
        Effect.map(messageOf(choice, text), (message) => ({
          index: choice.index,
          message,
          logprobs: logprobsOf(call, choice),
          finish_reason: finishOf(choice)
        }))),
      usage: usageOf(usage),
      system_fingerprint: null
    }, { headers: { "x-tinkex-target": call.opened.target } })
  })

const deltaOf = (event: Renderer.ParseEvent, callIndex: number) => {
  switch (event.type) {
    case "text":
      return Effect.succeed({ content: event.text })
    case "thinking":
      return Effect.succeed({ reasoning_content: event.thinking })
    case "toolCall":
      return Effect.map(newId("call"), (id) => ({
        tool_calls: [{
          index: callIndex,
          id: event.call.id ?? id,
          type: "function",
          function: { name: event.call.name, arguments: event.call.arguments }
        }]
      }))
    case "unparsedToolCall":
      return Effect.succeed({ content: event.call.rawText })
  }
}

const chunks = (
  call: Call,
  events: Stream.Stream<ChatModel.StreamEvent, Failure>
): Stream.Stream<string, Failure> => {
  const { created, id, request } = call
  const withUsage = request.stream_options?.include_usage === true
  const chunk = (choices: ReadonlyArray<unknown>, usage: unknown): string =>
    Sse.event({
      id,
      object: "chat.completion.chunk",
      created,
      model: request.model,
      system_fingerprint: null,
      choices,
      ...(withUsage ? { usage } : {})
    })
  const started = new Set<number>()
  const calls = new Map<number, number>()
  const opening = (index: number): ReadonlyArray<string> => {
    if (started.has(index)) return []
    started.add(index)
    return [chunk([{ index, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null }], null)]
  }
  const body = Stream.mapConcatEffect(events, (event) =>
    Effect.gen(function*() {
      switch (event.type) {
        case "delta": {
          const { index } = event
          const callIndex = calls.get(index) ?? 0
          if (event.event.type === "toolCall") calls.set(index, callIndex + 1)
          const delta = yield* deltaOf(event.event, callIndex)
          return [...opening(index), chunk([{ index, delta, logprobs: null, finish_reason: null }], null)]
        }
        case "choice": {
          const { choice } = event
          const last = {
            index: choice.index,
            delta: {},
            logprobs: logprobsOf(call, choice),
            finish_reason: finishOf(choice)
          }
          return [...opening(choice.index), chunk([last], null)]
        }
        case "usage":
          return withUsage ? [chunk([], usageOf(event.usage))] : []
      }
    }))
  return Stream.concat(body, Stream.make(Sse.event("[DONE]")))
}

/** A failure after the first byte can only be told as an event. */
const told = (events: Stream.Stream<string, Failure>): Stream.Stream<string> =>
  Stream.catchAll(events, (error) => Stream.make(Sse.event(openAiBody(toGateway(error)))))

/** An answer that is checked before it is given is streamed in one piece. */
const checked = ({ request }: Call): boolean => formatOf(request) !== undefined || mustCall(request)

/** What comes of answers that are checked: each in one piece. */
const settledEvents = (call: Call): Stream.Stream<ChatModel.StreamEvent, Failure> =>
  Stream.unwrap(Effect.gen(function*() {
    const reply = yield* call.chat.generate(call.options)
    const events: Array<ChatModel.StreamEvent> = []
    for (const choice of reply.choices) {
      const { choice: final, text } = yield* settle(call, choice)
      const { index } = choice
      if (text !== "") events.push({ type: "delta", index, event: { type: "text", text } })
      for (const one of final.message.toolCalls ?? []) {
        events.push({ type: "delta", index, event: { type: "toolCall", call: one } })
      }
      events.push({ type: "choice", choice: final })
    }
    return Stream.fromIterable<ChatModel.StreamEvent>([...events, { type: "usage", usage: reply.usage }])
  }))

/** Answers a request whose body has been read. */
export const respond = (
  models: Models,
  request: ChatRequest
): Effect.Effect<HttpServerResponse.HttpServerResponse, Failure, Scope.Scope> =>
  Effect.gen(function*() {
    const options = yield* optionsOf(request)
    const opened = yield* models.open(request.model, request.user ?? undefined)
    const chat = yield* opened.chat
    const call: Call = {
      request,
      opened,
      chat,
      options,
      id: yield* newId("chatcmpl"),
      created: Math.floor((yield* Clock.currentTimeMillis) / 1000)
    }
    if (request.stream !== true) return yield* whole(call)
    const events = checked(call) ? settledEvents(call) : chat.stream(options)
    return Sse.respond(told(chunks(call, events)), { "x-tinkex-target": opened.target })
  })
