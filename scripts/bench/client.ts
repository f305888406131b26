/**
 * How much of a bare HTTP client's rate is left when a sample goes through `SamplingClient`: registry, limiter, breaker, gates,
 * validation, polling, decoding, telemetry. Client and server are two processes on one machine.
 */
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { Agent } from "undici"
import type * as SamplingClient from "../../src/client/SamplingClient.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import { commonHeaders } from "../../src/client/transport/headers.js"
import * as NodeTinkex from "../../src/NodeTinkex.js"
import * as SampleCodec from "../../src/protocol/SampleCodec.js"
import * as TinkexConfig from "../../src/TinkexConfig.js"
import { startServer } from "./fake/service.js"
import type { Row } from "./Row.js"

const concurrency = 64
const count = 2000
const rounds = 5
const prompt = Array.from({ length: 128 }, (_, i) => i)

/** Requests for a sample (of two HTTP requests each) per second. */
const rate = <E, R>(sample: Effect.Effect<unknown, E, R>): Effect.Effect<number, E, R> =>
  Effect.gen(function*() {
    const start = yield* Clock.currentTimeNanos
    yield* Effect.forEach(Array.from({ length: count }), () => sample, { concurrency, discard: true })
    return count / (Number((yield* Clock.currentTimeNanos) - start) / 1e9)
  })

const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

const bodies = {
  asample: {
    num_samples: 1,
    prompt: { chunks: [{ tokens: prompt, type: "encoded_text" }] },
    sampling_params: { temperature: 1, top_k: -1, top_p: 1, max_tokens: 64 },
    sampling_session_id: "s:sample:0",
    seq_id: 0,
    prompt_logprobs: false,
    topk_prompt_logprobs: 0,
    type: "sample"
  },
  retrieve: (id: string) => ({ request_id: id, allow_metadata_only: true })
}

/** What a request of the client carries besides its body, so that the bare ones are the same requests. */
const headersOf = (settings: TinkexConfig.Settings, accept: string) => ({
  ...commonHeaders(settings),
  "x-api-key": "tml-bench",
  "content-type": "application/json",
  "x-idempotency-key": "tinkex-retry-000000000000000000000000-1",
  "x-stainless-retry-count": "0",
  "x-stainless-read-timeout": "60",
  accept
})

/** The same two requests, encoded and decoded alike, and nothing else. */
const bareHttpClient = (http: HttpClient.HttpClient, settings: TinkexConfig.Settings) => {
  const post = (path: string, body: unknown, accept: string) =>
    http.execute(HttpClientRequest.post(`${settings.baseUrl}/api/v1/${path}`, {
      headers: headersOf(settings, accept),
      body: HttpBody.text(JSON.stringify(body), "application/json")
    }))
  return post("asample", bodies.asample, "application/json").pipe(
    Effect.flatMap((response) => response.json),
    Effect.flatMap((answer) =>
      post("retrieve_future", bodies.retrieve((answer as { request_id: string }).request_id), "application/x-protobuf")
    ),
    Effect.flatMap((response) => response.arrayBuffer),
    Effect.flatMap((buffer) => SampleCodec.decodeResponse(new Uint8Array(buffer)))
  )
}

const bareUndici = (agent: Agent, settings: TinkexConfig.Settings) => {
  const post = async (path: string, body: unknown, accept: string) =>
    agent.request({
      origin: settings.baseUrl,
      path: `/api/v1/${path}`,
      method: "POST",
      headers: headersOf(settings, accept),
      body: JSON.stringify(body)
    })
  return Effect.promise(async () => {
    const submitted = await post("asample", bodies.asample, "application/json")
    const { request_id } = await submitted.body.json() as { request_id: string }
    const answer = await post("retrieve_future", bodies.retrieve(request_id), "application/x-protobuf")
    return Effect.runSync(SampleCodec.decodeResponse(new Uint8Array(await answer.body.arrayBuffer())))
  })
}

const measure = Effect.gen(function*() {
  const { baseUrl } = yield* startServer
  const http = yield* HttpClient.HttpClient
  const settings = yield* TinkexConfig.make({ baseUrl, apiKey: "tml-bench" })
  const open = (tracing: boolean) =>
    Effect.flatMap(
      ServiceClient.make({ baseUrl, apiKey: "tml-bench", tracing }),
      (service) => service.createSamplingClient({ baseModel: "m" })
    )
  const traced: SamplingClient.Client = yield* open(true)
  const plain: SamplingClient.Client = yield* open(false)
  const agent = yield* Effect.acquireRelease(
    Effect.sync(() => new Agent({ connections: 128 })),
    (agent) => Effect.promise(() => agent.destroy())
  )
  const contenders = [
    plain.sample({ prompt, maxTokens: 64 }),
    traced.sample({ prompt, maxTokens: 64 }),
    bareHttpClient(http, settings),
    bareUndici(agent, settings)
  ]
  const rates: Array<Array<number>> = contenders.map(() => [])
  // taken in turns, so that whatever else the machine does hits all of them
  for (let round = -1; round < rounds; round++) {
    for (let i = 0; i < contenders.length; i++) {
      const measured = yield* rate(Effect.orDie(contenders[i]! as Effect.Effect<unknown, unknown>)) // whatever fails ends the bench
      if (round >= 0) rates[i]!.push(measured)
    }
  }
  const [sampling, withSpans, bare, undici] = rates.map(median) as [number, number, number, number] // one of each
  const row = (name: string, value: number, unit: string, target: number | null = null): Row => ({
    name,
    value,
    unit,
    target,
    better: "higher"
  })
  return [
    row("client: SamplingClient", sampling, "samples/s"),
    row("client: SamplingClient, with spans", withSpans, "samples/s"),
    row("client: bare HttpClient, the same two requests", bare, "samples/s"),
    row("client: bare undici, the same two requests", undici, "samples/s"),
    row("client: SamplingClient against bare HttpClient", sampling / bare, "ratio", 0.5),
    row("client: SamplingClient with spans against bare HttpClient", withSpans / bare, "ratio", 0.5),
    row("client: SamplingClient against bare undici", sampling / undici, "ratio")
  ]
})

export const rows = (): Promise<ReadonlyArray<Row>> =>
  Effect.runPromise(
    measure.pipe(Effect.scoped, Effect.provide(NodeTinkex.layerShared({ metrics: { snapshotInterval: "off" } })))
  )
