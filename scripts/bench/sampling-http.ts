/**
 * 64 sample requests of 16 tokens at once: what is left of the engine's own rate when they go over HTTP to `tinkex serve`
 * in a process of its own. Measured in turn, so that what else the machine does falls on both.
 */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import * as WorkerEngine from "../../src/engine/host/WorkerEngine.js"
import * as NodeTinkex from "../../src/NodeTinkex.js"
import type { Row } from "./Row.js"

const requests = 64
const maxTokens = 16
const rounds = 12
const prompt = Array.from({ length: 32 }, (_, i) => 97 + i % 26)
const seeds = Array.from({ length: requests }, (_, i) => i)

const serve = Effect.acquireRelease(
  Effect.promise(async () => {
    const bin = fileURLToPath(new URL("../../bin/tinkex.js", import.meta.url))
    const child = spawn(process.execPath, [bin, "serve", "--port", "0"], { stdio: ["ignore", "pipe", "ignore"] })
    for await (const line of createInterface({ input: child.stdout })) {
      const url = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0]
      if (url !== undefined) return { child, url }
    }
    throw new Error("tinkex serve did not say where it listens")
  }),
  ({ child }) => Effect.sync(() => child.kill())
)

const milliseconds = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const started = performance.now()
    return Effect.map(effect, () => performance.now() - started)
  })

const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN

const program = Effect.gen(function*() {
  const { url } = yield* serve
  const engine = yield* WorkerEngine.make()
  yield* engine.createSampler("s", { baseModel: "tinkex/nano" })
  const off = { stopTokens: [], promptLogprobs: false, topkPromptLogprobs: 0, topkSampleLogprobs: 0 }
  const drawing = { numSamples: 1, maxTokens, temperature: 1, topK: -1, topP: 1 }
  const alone = Effect.forEach(
    seeds,
    (seed) => engine.sample("s", { prompt: Int32Array.from(prompt), ...drawing, ...off, seed: BigInt(seed) }),
    { concurrency: "unbounded" }
  )
  const service = yield* ServiceClient.make({ baseUrl: url, apiKey: "tml-bench", telemetry: false })
  const sampler = yield* service.createSamplingClient({ baseModel: "tinkex/nano" })
  const overHttp = Effect.forEach(seeds, (seed) => sampler.sample({ prompt, maxTokens, seed }), {
    concurrency: "unbounded"
  })
  const times: Array<readonly [alone: number, http: number]> = []
  for (let round = 0; round < rounds + 3; round++) {
    const pair = [yield* milliseconds(alone), yield* milliseconds(overHttp)] as const
    if (round > 2) times.push(pair)
  }
  return times
}).pipe(Effect.scoped, Effect.provide(NodeTinkex.layerShared()))

export const rows = async (): Promise<ReadonlyArray<Row>> => {
  const times = await Effect.runPromise(program)
  const rate = 1000 * requests * maxTokens / median(times.map(([, http]) => http))
  const left = median(times.map(([alone, http]) => alone / http))
  return [
    { name: "sampling over HTTP, 64 requests at once", value: rate, unit: "tokens/s", target: null, better: "higher" },
    { name: "sampling over HTTP against the engine alone", value: left, unit: "x", target: 0.7, better: "higher" }
  ]
}
