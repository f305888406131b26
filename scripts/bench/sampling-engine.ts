/**
 * Decoding of nano after a prompt of 32 tokens, merged weights on both sides: tokens a second at batch 1, 16 and 64, each
 * beside a decoder with a cache of fixed size in jax-js that runs in the same minute; and one training batch on two
 * workers against one.
 */
import { init, jit, nn, numpy as np } from "@jax-js/jax"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Engine, PassRequest } from "../../src/engine/Engine.js"
import * as WorkerEngine from "../../src/engine/host/WorkerEngine.js"
import { makeKernels } from "../../src/engine/kernels/kernels.js"
import { freezeWeights } from "../../src/engine/model/decoder.js"
import { makeModel } from "../../src/engine/model/model.js"
import { nano } from "../../src/engine/model/modelConfig.js"
import * as Models from "../../src/engine/model/Models.js"
import { loadNanoWeights } from "../../src/engine/model/nanoWeights.js"
import { weightLayout } from "../../src/engine/model/weights.js"
import { makeBatch } from "../../src/engine/sampler/batch.js"
import { makeCacheBudget, makePageCache } from "../../src/engine/sampler/pageCache.js"
import { uniform } from "../../src/engine/sampler/philox.js"
import { makeDrawer } from "../../src/engine/sampler/sampling.js"
import type { Row } from "./Row.js"

const promptLength = 32
const maxTokens = 64
/** Slots of the rival's cache: what a sequence of prompt and completion needs. */
const context = promptLength + maxTokens
const { dModel, headDim, heads, kvHeads, normEps, ropeTheta, vocabSize } = nano
const half = headDim / 2

const flat = Either.getOrThrow(loadNanoWeights())
const kernels = makeKernels()
const model = Either.getOrThrow(makeModel(kernels, nano, { flat }))
const drawer = Either.getOrThrow(makeDrawer(kernels, vocabSize))
const prompt = Int32Array.from({ length: promptLength }, (_, i) => 97 + i % 26)

/** Of both sides: what other programs do on the machine can only add. */
const fastest = (times: ReadonlyArray<number>): number => Math.min(...times)

/** Milliseconds of a step that decodes a token of each sequence. */
const ours = (size: number): number => {
  const weights = Either.getOrThrow(freezeWeights(model, model.weights))
  const budget = makeCacheBudget(kernels, 2 ** 31)
  const cache = makePageCache(model, budget)
  const sampler = { info: Models.info(Models.nano), model, tokenBytes: Models.nano.tokenBytes, cache, drawer }
  const batch = makeBatch(sampler, weights, budget, "scaled")
  const times: Array<number> = []
  for (let round = 0; round < 4; round++) {
    const request = { prompt, maxTokens, temperature: 1, topK: -1, topP: 1, stopTokens: [] }
    const off = { promptLogprobs: false, topkPromptLogprobs: 0, topkSampleLogprobs: 0 }
    batch.submit({ ...request, ...off, numSamples: size, seed: BigInt(round) }, () => {})
    // The first step reads the prompt.
    batch.step()
    while (batch.busy()) {
      const started = performance.now()
      batch.step()
      if (round > 0) times.push(performance.now() - started)
    }
  }
  weights.blocks.forEach(kernels.release)
  return fastest(times)
}

type Tensors = Record<string, np.Array>

const held = (tensors: Tensors): Tensors =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, tensor.ref]))

/** The same for jax-js: one compiled step over caches `[size][kvHeads][context][headDim]`; the prompt's steps are not counted. */
const theirs = async (size: number, steps: number): Promise<number> => {
  const weights: Tensors = {}
  for (const { length, name, offset, shape } of weightLayout(nano).tensors) {
    const values = flat.slice(offset, offset + length)
    weights[name] = np.array(values, { shape: [...shape] })
  }
  const norm = (x: np.Array, weight: np.Array): np.Array => {
    const inverse = np.reciprocal(np.sqrt(np.square(x.ref).mean(-1, { keepdims: true }).add(normEps)))
    return x.mul(inverse).mul(weight)
  }
  const step = (weights: Tensors, caches: Tensors, now: Tensors): Tensors => {
    const w = (name: string): np.Array => weights[name]!.ref
    const linear = (x: np.Array, name: string): np.Array => np.matmul(x, w(`${name}.weight`).transpose())
    const rotate = (x: np.Array): np.Array => {
      const a = x.ref.slice([], [], [0, half])
      const b = x.slice([], [], [half, headDim])
      const cosine = now["cosine"]!
      const sine = now["sine"]!
      const first = a.ref.mul(cosine.ref).sub(b.ref.mul(sine.ref))
      return np.concatenate([first, b.mul(cosine.ref).add(a.mul(sine.ref))], 2)
    }
    const grouped = (x: np.Array): np.Array =>
      np.broadcastTo(x.reshape([size, kvHeads, 1, context, headDim]), [
        size,
        kvHeads,
        heads / kvHeads,
        context,
        headDim
      ]).reshape([size, heads, context, headDim])
    const out: Tensors = {}
    let x = now["x"]!.ref
    for (let layer = 0; layer < nano.layers; layer++) {
      const at = `model.layers.${layer}`
      const input = norm(x.ref, w(`${at}.input_layernorm.weight`))
      const project = (name: string, n: number): np.Array =>
        linear(input.ref, `${at}.self_attn.${name}_proj`).reshape([size, n, headDim])
      const q = rotate(norm(project("q", heads), w(`${at}.self_attn.q_norm.weight`)))
      const k = rotate(norm(project("k", kvHeads), w(`${at}.self_attn.k_norm.weight`)))
      const v = project("v", kvHeads)
      input.dispose()
      const written = (name: string, fresh: np.Array): np.Array =>
        caches[`${name}${layer}`]!.ref.add(fresh.reshape([size, kvHeads, 1, headDim]).mul(now["slot"]!.ref))
      const keys = written("k", k)
      const values = written("v", v)
      const scores = np.matmul(q.reshape([size, heads, 1, headDim]), grouped(keys.ref).transpose([0, 1, 3, 2]))
      const weighed = nn.softmax(scores.mul(1 / Math.sqrt(headDim)).add(now["mask"]!.ref), -1)
      const attended = np.matmul(weighed, grouped(values.ref)).reshape([size, heads * headDim])
      out[`k${layer}`] = keys
      out[`v${layer}`] = values
      x = x.add(linear(attended, `${at}.self_attn.o_proj`))
      const middle = norm(x.ref, w(`${at}.post_attention_layernorm.weight`))
      const gate = linear(middle.ref, `${at}.mlp.gate_proj`)
      const up = linear(middle, `${at}.mlp.up_proj`)
      x = x.add(linear(nn.silu(gate).mul(up), `${at}.mlp.down_proj`))
    }
    out["logits"] = linear(norm(x, w("model.norm.weight")), "lm_head")
    for (const tensors of [weights, caches, now]) for (const tensor of Object.values(tensors)) tensor.dispose()
    return out
  }
  const compiled = jit(step)
  const row = (length: number, shape: Array<number>, value: (i: number) => number): np.Array =>
    np.array(Float32Array.from({ length }, (_, i) => value(i)), { shape })
  let caches: Tensors = {}
  for (let layer = 0; layer < nano.layers; layer++) {
    for (const name of ["k", "v"]) {
      caches[`${name}${layer}`] = row(size * kvHeads * context * headDim, [size, kvHeads, context, headDim], () => 0)
    }
  }
  const tokens = new Int32Array(size)
  const times: Array<number> = []
  for (let position = 0; position < promptLength + steps; position++) {
    const started = performance.now()
    if (position < promptLength) tokens.fill(prompt[position]!)
    const angle = (i: number) => position * Math.pow(ropeTheta, -2 * i / headDim)
    const x = new Float32Array(size * dModel)
    tokens.forEach((token, i) => x.set(flat.subarray(token * dModel, (token + 1) * dModel), i * dModel))
    const { logits, ...next } = compiled(held(weights), caches, {
      x: np.array(x, { shape: [size, dModel] }),
      cosine: row(half, [1, 1, half], (i) => Math.cos(angle(i))),
      sine: row(half, [1, 1, half], (i) => Math.sin(angle(i))),
      slot: row(context, [1, 1, context, 1], (i) => i === position ? 1 : 0),
      mask: row(context, [1, 1, 1, context], (i) => i > position ? -1e9 : 0)
    })
    caches = next
    // Logits are single precision.
    const values = await logits!.data() as Float32Array
    for (let i = 0; i < size; i++) {
      const options = { temperature: 1, topK: -1, topP: 1, logprobs: "scaled" } as const
      tokens[i] = drawer.draw(values, i * vocabSize, options, uniform(i, 0, 0, position))
    }
    if (position >= promptLength) times.push(performance.now() - started)
  }
  for (const tensors of [weights, caches]) for (const tensor of Object.values(tensors)) tensor.dispose()
  return fastest(times)
}

const trainingBatch = (size: number): PassRequest => ({
  data: Array.from({ length: size }, (_, i) => ({
    tokens: Int32Array.from({ length: 128 }, (_, t) => (i * 31 + t * 7) % vocabSize),
    lossInputs: {
      target_tokens: {
        data: Int32Array.from({ length: 128 }, (_, t) => (i * 31 + t * 7 + 7) % vocabSize),
        shape: [128]
      }
    }
  })),
  lossFn: "cross_entropy",
  lossConfig: {},
  backward: true
})

/**
 * Milliseconds of a training step on 8 sequences: by one worker, by two that share it, and by two engines that have half
 * of it each, which is what two threads can do on this machine just now. Measured in turn.
 */
const training = (): Promise<ReadonlyArray<number>> =>
  Effect.gen(function*() {
    const engines = yield* Effect.forEach([1, 2, 1], (workers) => WorkerEngine.make({ workers }))
    const lora = { rank: 8, seed: 1, trainAttn: true, trainMlp: true, trainUnembed: true }
    for (const engine of engines) yield* engine.createRun("r", { baseModel: "tinkex/nano", lora })
    const params = { learningRate: 1e-4, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, gradClipNorm: 0 }
    const step = (engine: Engine["Type"], size: number) =>
      Effect.all([engine.pass("r", trainingBatch(size)), engine.optimStep("r", params)], {
        concurrency: 2,
        discard: true
      })
    const [one, shared, other] = engines
    const ways = [
      step(one!, 8),
      step(shared!, 8),
      Effect.all([step(one!, 4), step(other!, 4)], { concurrency: 2, discard: true })
    ]
    const times = ways.map((): Array<number> => [])
    for (let round = 0; round < 12; round++) {
      for (const [i, way] of ways.entries()) {
        const started = performance.now()
        yield* way
        if (round > 1) times[i]!.push(performance.now() - started)
      }
    }
    return times.map(fastest)
  }).pipe(Effect.scoped, Effect.runPromise)

export const rows = async (): Promise<ReadonlyArray<Row>> => {
  await init("wasm")
  const rows: Array<Row> = []
  for (const [size, steps] of [[1, 32], [16, 24], [64, 16]] as const) {
    const mine = ours(size)
    const rival = await theirs(size, steps)
    rows.push(
      { name: `decode, batch ${size}`, value: size * 1000 / mine, unit: "tokens/s", target: null, better: "higher" },
      { name: `decode, batch ${size}, against jax-js`, value: rival / mine, unit: "x", target: 5, better: "higher" }
    )
  }
  const [one, shared, halves] = await training()
  const add = (name: string, value: number, target: number | null) =>
    rows.push({ name, value, unit: "x", target, better: "higher" })
  rows.push({ name: "training step B8xT128, one worker", value: one!, unit: "ms", target: null, better: "lower" })
  add("training step, two workers against one", one! / shared!, null)
  add("training step, two workers against two engines with half each", halves! / shared!, 0.8)
  return rows
}
