/** Takes a thousand training steps of changing shapes and prints the memory held after 100 and after 1,000. */
import * as Either from "effect/Either"
import { makeRun } from "../../src/engine/run/run.js"
import { tiny, tinyModel, tokensOf } from "./models.js"

const model = tinyModel(1n, { ...tiny, maxContext: 128, dModel: 64, ffnDim: 128, headDim: 16 })
const run = Either.getOrThrow(makeRun(model, {
  baseModel: "tiny",
  lora: { rank: 8, seed: 1, trainAttn: true, trainMlp: true, trainUnembed: true }
}))

/** Made beforehand: what grows is then the engine's. */
const batches = Array.from({ length: 32 }, (_, i) =>
  [1 + i * 4, 128 - i * 4, 60].map((length, d) => ({
    tokens: tokensOf(length, i + d),
    lossInputs: { target_tokens: { data: tokensOf(length, i + d + 1), shape: [length] } }
  })))

const step = (i: number): void => {
  const data = batches[i % batches.length]!
  Either.getOrThrow(run.pass({ data, lossFn: "cross_entropy", lossConfig: {}, backward: i % 5 !== 0 }))
  Either.getOrThrow(run.optimStep({
    learningRate: 1e-3,
    beta1: 0.9,
    beta2: 0.95,
    eps: 1e-12,
    weightDecay: 0,
    gradClipNorm: 1
  }))
}

const measure = () => {
  // The second collection waits for what the first one frees in the background.
  globalThis.gc?.()
  globalThis.gc?.()
  return { rss: process.memoryUsage().rss, words: model.kernels.allocated() }
}

for (let i = 0; i < 100; i++) step(i)
const after100 = measure()
for (let i = 100; i < 1000; i++) step(i)
process.stdout.write(JSON.stringify({ after100, after1000: measure() }))
