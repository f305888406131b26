/**
 * `POST /completions`: text or tokens to go on from, one or several, with log-probabilities of prompt and completion.
 */
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Response from "@effect/platform/HttpServerResponse"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type SampledSequence, type SampleResponse, type TopkLogprobs, topkRows } from "../../protocol/Sampling.js"
import { type Failure, GatewayError, openAiBody, toGateway } from "../errors.js"
import { newId } from "../ids.js"
import type { Models, Opened } from "../models.js"
import * as Sse from "../sse.js"
import { ofCompletion, type Position } from "./logprobs.js"
import { type CompletionRequest, stopsOf } from "./request.js"

/** OpenAI's own default. */
const defaultMaxTokens = 16

/** Prompts of one request at most; each is a sample of its own. */
const maxPrompts = 2048

type Prompts = CompletionRequest["prompt"]

const isNumbers = (list: Exclude<Prompts, string>): list is ReadonlyArray<number> => typeof list[0] === "number"

/** Every prompt as tokens. */
const promptsOf = (prompt: Prompts, { tokenizer }: Opened): Effect.Effect<ReadonlyArray<Int32Array>, GatewayError> =>
  Effect.suspend(() => {
    const refuse = (detail: string) =>
      new GatewayError({ status: 400, type: "invalid_request_error", param: "prompt", detail })
    const list: ReadonlyArray<string | ReadonlyArray<number>> = typeof prompt === "string"
      ? [prompt]
      : isNumbers(prompt)
      ? [prompt]
      : prompt
    if (list.length > maxPrompts) return refuse(`at most ${maxPrompts} prompts a request, not ${list.length}`)
    const encoded = list.map((one) => typeof one === "string" ? tokenizer.encode(one) : Int32Array.from(one))
    const empty = encoded.findIndex(({ length }) => length === 0)
    if (list.length === 0 || empty !== -1) {
      return refuse(`prompt ${Math.max(0, empty)} is empty: there is nothing to go on from`)
    }
    const alien = encoded.findIndex((tokens) => tokens.some((token) => token < 0 || token >= tokenizer.vocabSize))
    return alien === -1
      ? Effect.succeed(encoded)
      : refuse(`prompt ${alien} has a token that is not below ${tokenizer.vocabSize}, the size of the vocabulary`)
  })

const rowsOf = (top: TopkLogprobs | undefined) => top === undefined ? [] : topkRows(top)

/** The prompt's positions, where they are echoed. */
const promptPositions = (prompt: Int32Array, response: SampleResponse): ReadonlyArray<Position> => {
  const rows = rowsOf(response.topkPromptLogprobs)
  return Array.from(prompt, (token, i) => {
    const logprob = response.promptLogprobs?.[i]
    return {
      token,
      logprob: logprob === undefined || Number.isNaN(logprob) ? undefined : logprob,
      top: rows[i] ?? undefined
    }
  })
}

const ownPositions = ({ logprobs, tokens, topkLogprobs }: SampledSequence): ReadonlyArray<Position> => {
  const rows = rowsOf(topkLogprobs)
  return Array.from(tokens, (token, i) => ({ token, logprob: logprobs?.[i], top: rows[i] ?? undefined }))
}

interface Call {
  readonly request: CompletionRequest
  readonly opened: Opened
  readonly id: string
  readonly created: number
}

/** What was drawn for one prompt. Of a completion that a text ended, nothing from that text on is told. */
interface Drawn {
  readonly choices: ReadonlyArray<unknown>
  readonly promptTokens: number
  readonly completionTokens: number
  readonly cachedTokens: number
}

const cut = (text: string, stops: ReadonlyArray<string>): number => {
  const found = stops.map((stop) => text.indexOf(stop)).filter((at) => at !== -1)
  return found.length === 0 ? text.length : Math.min(...found)
}

const draw = ({ opened, request }: Call, prompt: Int32Array, first: number): Effect.Effect<Drawn, Failure> =>
  Effect.gen(function*() {
    const { tokenizer } = opened
    const echo = request.echo === true
    const wanted = request.logprobs ?? undefined
    const stops = stopsOf(request.stop)
    const maxTokens = request.max_tokens ?? defaultMaxTokens
    const response = yield* opened.sampler.sample({
      prompt,
      numSamples: request.n ?? 1,
      // a prompt alone is scored by drawing one token, which is then left out
      maxTokens: Math.max(1, maxTokens),
      temperature: request.temperature ?? undefined,
      topP: request.top_p ?? undefined,
      topK: request.top_k ?? undefined,
      seed: request.seed ?? undefined,
      stop: stops.length === 0 ? undefined : stops,
      promptLogprobs: echo && wanted !== undefined ? true : undefined,
      topkPromptLogprobs: echo && wanted !== undefined && wanted > 0 ? wanted : undefined,
      topkSampleLogprobs: wanted !== undefined && wanted > 0 ? wanted : undefined
    })
    const asked = tokenizer.decode(prompt)
    const eos = tokenizer.eosToken
    const choices = response.sequences.map((sequence, i) => {
      const ended = sequence.stopReason === "stop" && sequence.tokens.at(-1) === eos
      const tokens = maxTokens === 0 ? new Int32Array(0) : ended ? sequence.tokens.subarray(0, -1) : sequence.tokens
      const all = tokenizer.decode(Int32Array.from([...prompt, ...tokens]))
      const own = all.startsWith(asked) ? all.slice(asked.length) : tokenizer.decode(tokens)
      const text = own.slice(0, cut(own, stops))
      const positions = [
        ...(echo ? promptPositions(prompt, response) : []),
        ...ownPositions({ ...sequence, tokens })
      ]
      return {
        index: first + i,
        text: echo ? asked + text : text,
        logprobs: wanted === undefined ? null : ofCompletion(tokenizer, positions, echo ? 0 : asked.length),
        finish_reason: sequence.stopReason === "stop" ? "stop" : "length"
      }
    })
    return {
      choices,
      promptTokens: prompt.length,
      completionTokens: maxTokens === 0 ? 0 : response.sequences.reduce((sum, { tokens }) => sum + tokens.length, 0),
      cachedTokens: response.promptCacheHitTokens
    }
  })

const usageOf = (drawn: ReadonlyArray<Drawn>) => {
  const total = (of: (one: Drawn) => number): number => drawn.reduce((sum, one) => sum + of(one), 0)
  const [promptTokens, completionTokens] = [
    total((one) => one.promptTokens),
    total((one) => one.completionTokens)
  ]
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: total((one) => one.cachedTokens) }
  }
}

const bodyOf = ({ created, id, request }: Call, choices: ReadonlyArray<unknown>, more: object) => ({
  id,
  object: "text_completion",
  created,
  model: request.model,
  choices,
  system_fingerprint: null,
  ...more
})

/** Prompts are drawn side by side; a stream tells each when it is there. */
export const respond = (
  models: Models,
  request: CompletionRequest
): Effect.Effect<HttpServerResponse.HttpServerResponse, Failure, Scope.Scope> =>
  Effect.gen(function*() {
    const opened = yield* models.open(request.model, request.user ?? undefined)
    const prompts = yield* promptsOf(request.prompt, opened)
    const call: Call = {
      request,
      opened,
      id: yield* newId("cmpl"),
      created: Math.floor((yield* Clock.currentTimeMillis) / 1000)
    }
    const n = request.n ?? 1
    const headers = { "x-tinkex-target": opened.target }
    if (request.stream !== true) {
      const drawn = yield* Effect.forEach(prompts, (prompt, i) => draw(call, prompt, i * n), {
        concurrency: "unbounded"
      })
      const choices = drawn.flatMap((one) => one.choices)
      return Response.unsafeJson(bodyOf(call, choices, { usage: usageOf(drawn) }), { headers })
    }
    const withUsage = request.stream_options?.include_usage === true
    const all: Array<Drawn> = []
    const events = Stream.fromIterable(prompts.entries()).pipe(
      Stream.mapEffect(([i, prompt]) => draw(call, prompt, i * n), { concurrency: 64 }),
      Stream.mapConcat((drawn) => {
        all.push(drawn)
        return drawn.choices.map((choice) => Sse.event(bodyOf(call, [choice], withUsage ? { usage: null } : {})))
      }),
      Stream.concat(Stream.suspend(() =>
        Stream.fromIterable([
          ...(withUsage ? [Sse.event(bodyOf(call, [], { usage: usageOf(all) }))] : []),
          Sse.event("[DONE]")
        ])
      )),
      Stream.catchAll((error) => Stream.make(Sse.event(openAiBody(toGateway(error)))))
    )
    return Sse.respond(events, headers)
  })
