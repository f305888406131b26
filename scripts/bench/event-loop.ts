/**
 * How long the program's own thread is held up while nano trains, batch after batch of 8 sequences of 128 tokens, in the
 * engine's worker.
 */
import * as Effect from "effect/Effect"
import { monitorEventLoopDelay } from "node:perf_hooks"
import type { PassRequest } from "../../src/engine/Engine.js"
import * as WorkerEngine from "../../src/engine/host/WorkerEngine.js"
import type { Row } from "./Row.js"

const seconds = 10

const batch = (step: number): PassRequest => ({
  data: Array.from({ length: 8 }, (_, i) => {
    const at = (t: number) => (step * 17 + i * 31 + t * 7) % 512
    return {
      tokens: Int32Array.from({ length: 128 }, (_, t) => at(t)),
      lossInputs: { target_tokens: { data: Int32Array.from({ length: 128 }, (_, t) => at(t + 1)), shape: [128] } }
    }
  }),
  lossFn: "cross_entropy",
  lossConfig: {},
  backward: true
})

const train = Effect.gen(function*() {
  const engine = yield* WorkerEngine.make()
  const lora = { rank: 8, seed: 1, trainAttn: true, trainMlp: true, trainUnembed: true }
  yield* engine.createRun("r", { baseModel: "tinkex/nano", lora })
  const params = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, gradClipNorm: 0 }
  const step = (i: number) =>
    Effect.all([engine.pass("r", batch(i)), engine.optimStep("r", params)], { concurrency: 2, discard: true })
  yield* step(0)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const started = performance.now()
  let steps = 0
  while (performance.now() - started < seconds * 1000) yield* step(++steps)
  delay.disable()
  return { p99: delay.percentile(99) / 1e6, max: delay.max / 1e6, rate: steps / (performance.now() - started) * 1000 }
})

export const rows = async (): Promise<ReadonlyArray<Row>> => {
  const { max, p99, rate } = await Effect.runPromise(Effect.scoped(train))
  return [
    { name: "event-loop delay p99 while nano trains", value: p99, unit: "ms", target: 20, better: "lower" },
    { name: "event-loop delay, longest", value: max, unit: "ms", target: null, better: "lower" },
    { name: "training steps B8xT128 meanwhile", value: rate, unit: "1/s", target: null, better: "higher" }
  ]
}
