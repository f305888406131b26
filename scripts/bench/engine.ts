/**
 * The engine's kernels and training steps, on one thread. The rival is `@jax-js/jax` (WebAssembly), compiled
 * `jit(valueAndGrad)` of the same model on the same weights and batch, timed in turn with ours; its optimiser's step is not
 * even counted.
 */
import { numpy as np } from "@jax-js/jax"
import * as Either from "effect/Either"
import type { LoraConfig, PassRequest } from "../../src/engine/Engine.js"
import { type Kernels, makeKernels } from "../../src/engine/kernels/kernels.js"
import { loraLayout } from "../../src/engine/model/lora.js"
import { makeModel } from "../../src/engine/model/model.js"
import { nano } from "../../src/engine/model/modelConfig.js"
import { makeRun } from "../../src/engine/run/run.js"
import { hold, makeJax, tensorsOf } from "../../test/engine/jaxModel.js"
import { tokensOf } from "../../test/engine/models.js"
import type { Row } from "./Row.js"

const sequences = 8
const length = 128
const steps = 7

const batch = {
  tokens: Array.from({ length: sequences }, (_, i) => tokensOf(length, i, nano.vocabSize)),
  targets: Array.from({ length: sequences }, (_, i) => tokensOf(length, i + 50, nano.vocabSize)),
  weights: Array.from({ length: sequences }, () => new Float32Array(length).fill(1))
}
const request: PassRequest = {
  lossFn: "cross_entropy",
  lossConfig: {},
  backward: true,
  data: batch.tokens.map((tokens, i) => ({
    tokens,
    lossInputs: { target_tokens: { data: batch.targets[i]!, shape: [length] } }
  }))
}
const adam = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-12, weightDecay: 0, gradClipNorm: 0 }

const median = (values: ReadonlyArray<number>): number => [...values].sort((a, b) => a - b)[values.length >> 1]!

const timed = async (work: () => unknown): Promise<number> => {
  const start = performance.now()
  await work()
  return performance.now() - start
}

/** The three products that take most of a step: rows, columns, depth. */
const shapes = [[1024, 768, 128], [1024, 128, 384], [1024, 256, 128]] as const

/** Billions of operations a second of `x W^T`, best of many. */
const gemmAlone = (kernels: Kernels): number => {
  let operations = 0
  let time = 0
  for (const [m, n, k] of shapes) {
    const address = Either.getOrThrow(kernels.allocate(m * k + n * k + m * n))
    kernels.floats(address, m * k + n * k).fill(0.5)
    const w = address + m * k * 4
    let best = Infinity
    for (let i = 0; i < 40; i++) {
      const start = performance.now()
      kernels.gemm(m, n, k, address, k, 1, w, 1, k, w + n * k * 4, n, 1, 0)
      best = Math.min(best, performance.now() - start)
    }
    kernels.release(address)
    operations += 2 * m * n * k
    time += best
  }
  return operations / time / 1e6
}

/** The same for the rival's product. */
const gemmRival = async (): Promise<number> => {
  let operations = 0
  let time = 0
  for (const [m, n, k] of shapes) {
    const x = np.array(new Float32Array(m * k).fill(0.5), { shape: [m, k] })
    const w = np.array(new Float32Array(n * k).fill(0.5), { shape: [n, k] })
    let best = Infinity
    for (let i = 0; i < 15; i++) {
      best = Math.min(best, await timed(() => np.matmul(x.ref, w.ref.transpose()).blockUntilReady()))
    }
    operations += 2 * m * n * k
    time += best
  }
  return operations / time / 1e6
}

/** Ours and the rival's time of a step, medians of steps taken in turn, and our best rate inside the products of a step. */
const compare = async (lora: LoraConfig | null) => {
  const kernels = makeKernels()
  let operations = 0
  let inside = 0
  const measured: Kernels = {
    ...kernels,
    gemm: (...args) => {
      const start = performance.now()
      kernels.gemm(...args)
      inside += performance.now() - start
      operations += 2 * args[0] * args[1] * args[2]
    }
  }
  const model = Either.getOrThrow(makeModel(measured, nano, { seed: 1n }))
  const run = Either.getOrThrow(makeRun(model, { baseModel: "nano", lora }))
  let rate = 0
  const ours = (): void => {
    operations = 0
    inside = 0
    Either.getOrThrow(run.pass(request))
    Either.getOrThrow(run.optimStep(adam))
    rate = Math.max(rate, operations / inside / 1e6)
  }
  const base = kernels.floats(model.flat, model.layout.total).slice()
  const ranges = lora === null ? model.layout.tensors : loraLayout(nano, lora).tensors
  const initial = Float32Array.from(run.exportState({ optimizer: false }).weights.flatMap(({ data }) => [...data]))
  const jax = await makeJax(nano, lora, batch)
  const trained = tensorsOf(ranges, initial)
  const frozen = { ...jax.constants, ...(lora === null ? {} : tensorsOf(model.layout.tensors, base)) }
  const rival = async (): Promise<void> => {
    const [value, gradient] = jax.compiled(hold(trained), hold(frozen))
    for (const tensor of [value, ...Object.values(gradient)]) {
      await tensor.blockUntilReady()
      tensor.dispose()
    }
  }
  for (let i = 0; i < 3; i++) ours()
  await rival()
  const times: { ours: Array<number>; rival: Array<number> } = { ours: [], rival: [] }
  for (let i = 0; i < steps; i++) {
    times.ours.push(await timed(ours), await timed(ours))
    times.rival.push(await timed(rival))
  }
  return { ours: median(times.ours), rival: median(times.rival), rate }
}

export const rows = async (): Promise<ReadonlyArray<Row>> => {
  const lora = await compare({ rank: 8, seed: 1, trainAttn: true, trainMlp: true, trainUnembed: false })
  const full = await compare(null)
  const alone = gemmAlone(makeKernels())
  const rivalAlone = await gemmRival()
  const size = `batch ${sequences} x ${length}`
  return [
    { name: "sgemm, alone", value: alone, unit: "GFLOP/s", target: null, better: "higher" },
    { name: "sgemm, alone, against jax-js", value: alone / rivalAlone, unit: "x", target: null, better: "higher" },
    { name: "sgemm, in a LoRA step", value: lora.rate, unit: "GFLOP/s", target: null, better: "higher" },
    {
      name: "sgemm, in a LoRA step against alone",
      value: lora.rate / alone,
      unit: "x",
      target: null,
      better: "higher"
    },
    { name: `LoRA step, rank 8, ${size}`, value: lora.ours, unit: "ms", target: null, better: "lower" },
    { name: `LoRA step against jax-js`, value: lora.rival / lora.ours, unit: "x", target: 2.5, better: "higher" },
    { name: `full-parameter step, ${size}`, value: full.ours, unit: "ms", target: null, better: "lower" },
    {
      name: `full-parameter step against jax-js`,
      value: full.rival / full.ours,
      unit: "x",
      target: null,
      better: "higher"
    }
  ]
}
