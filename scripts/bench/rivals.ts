/**
 * The engine beside programs of other people's trade, on one core, the same model and weights on both sides, in turn: a
 * training step beside PyTorch, decoding beside plain C built with `-O3 -march=native`. Time is processor time, which other
 * work on the machine disturbs least. A rival that cannot be had here is skipped with a line.
 *
 * `PYTHON` names the Python that has torch; `python3` by default.
 */
import * as Either from "effect/Either"
import { execFileSync, spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import type { LoraConfig, PassRequest } from "../../src/engine/Engine.js"
import { bestVariant, makeKernels } from "../../src/engine/kernels/kernels.js"
import { decodeStep, freezeBase } from "../../src/engine/model/decoder.js"
import { loraLayout } from "../../src/engine/model/lora.js"
import { makeModel, type Model } from "../../src/engine/model/model.js"
import { type ModelConfig, nano } from "../../src/engine/model/modelConfig.js"
import * as Models from "../../src/engine/model/Models.js"
import { makeRun } from "../../src/engine/run/run.js"
import { makeBatch } from "../../src/engine/sampler/batch.js"
import { makeCacheBudget, makePageCache } from "../../src/engine/sampler/pageCache.js"
import { makeDrawer } from "../../src/engine/sampler/sampling.js"
import { tokensOf } from "../../test/engine/models.js"
import type { Row } from "./Row.js"

const python = process.env["PYTHON"] ?? "python3"
const directory = mkdtempSync(join(tmpdir(), "tinkex-bench-"))
const file = join(directory, "model")
const program = join(directory, "decode")

const wide: ModelConfig = { ...nano, dModel: 256, layers: 6, heads: 8, kvHeads: 4, ffnDim: 768, vocabSize: 2048 }
const wider: ModelConfig = {
  ...nano,
  dModel: 512,
  layers: 8,
  heads: 8,
  kvHeads: 4,
  headDim: 64,
  ffnDim: 1536,
  vocabSize: 4096
}
const shapes = [["d128", nano], ["d256", wide], ["d512", wider]] as const

const median = (values: ReadonlyArray<number>): number => [...values].sort((a, b) => a - b)[values.length >> 1]!

/** Processor time of some work of ours, in milliseconds. */
const spent = (work: () => void): number => {
  const start = process.cpuUsage()
  work()
  const { system, user } = process.cpuUsage(start)
  return (user + system) / 1000
}

const available = (command: string, ...args: ReadonlyArray<string>): boolean => {
  try {
    execFileSync(command, args, { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

const seeded = (config: ModelConfig): Model => Either.getOrThrow(makeModel(makeKernels(), config, { seed: 1n }))

const bytes = (values: Float32Array | Int32Array): Buffer =>
  Buffer.from(values.buffer, values.byteOffset, values.byteLength)

/** A rival process that answers each line with numbers, after it has said `ready`. */
const start = async (command: string, args: ReadonlyArray<string>, spec: string) => {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const read = async (): Promise<string> => String((await lines.next()).value)
  child.stdin.write(spec)
  const greeting = await read()
  if (greeting !== "ready") throw new Error(`${command} said ${greeting}`)
  return {
    ask: async (): Promise<ReadonlyArray<number>> => {
      child.stdin.write("go\n")
      return (await read()).trim().split(" ").map(Number)
    },
    end: () => child.stdin.end()
  }
}

const near = (what: string, ours: number, theirs: number, tolerance: number): void => {
  if (!(Math.abs(ours - theirs) <= tolerance * Math.max(1, Math.abs(theirs)))) {
    throw new Error(`${what}: ${ours} here, ${theirs} there: not the same model`)
  }
}

const lora: LoraConfig = { rank: 8, seed: 1, trainAttn: true, trainMlp: true, trainUnembed: false }

/** Times of a training step, ours and PyTorch's, in turn. */
const trainingStep = async (config: ModelConfig, batch: number, length: number, steps: number) => {
  const model = seeded(config)
  const run = Either.getOrThrow(makeRun(model, { baseModel: "model", lora }))
  const tokens = Array.from({ length: batch }, (_, i) => tokensOf(length, i, config.vocabSize))
  const targets = Array.from({ length: batch }, (_, i) => tokensOf(length, i + 50, config.vocabSize))
  const adapters = run.exportState({ optimizer: false }).weights.map(({ data }) => data)
  const flat = model.kernels.floats(model.flat, model.layout.total)
  writeFileSync(file, Buffer.concat([flat, ...adapters, ...tokens, ...targets].map(bytes)))
  const spec = {
    shape: config,
    batch,
    length,
    rank: lora.rank,
    file,
    tensors: model.layout.tensors,
    adapters: loraLayout(config, lora).tensors
  }
  const rival = await start(python, [join(import.meta.dirname, "rivals/step.py")], `${JSON.stringify(spec)}\n`)
  const request: PassRequest = {
    lossFn: "cross_entropy",
    lossConfig: {},
    backward: true,
    data: tokens.map((tokens, i) => ({
      tokens,
      lossInputs: { target_tokens: { data: targets[i]!, shape: [length] } }
    }))
  }
  const adam = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-12, weightDecay: 0, gradClipNorm: 0 }
  const times: Array<readonly [ours: number, theirs: number]> = []
  for (let i = 0; i < steps + 2; i++) {
    let loss = 0
    const ours = spent(() => {
      loss = Either.getOrThrow(run.pass(request)).loss
      Either.getOrThrow(run.optimStep(adam))
    })
    const [theirs, theirLoss] = await rival.ask()
    near("loss", loss, theirLoss!, 1e-5)
    // The first two warm both sides up.
    if (i > 1) times.push([ours, theirs!])
  }
  rival.end()
  return times
}

const promptLength = 32
const drawn = 64
const prompt = Int32Array.from({ length: promptLength }, (_, i) => 97 + i % 26)

/** Least times of a step that decodes a token of each sequence, ours and C's, in turn. */
const decoding = async (config: ModelConfig, size: number, rounds: number) => {
  const model = seeded(config)
  const { kernels } = model
  const { dModel, ffnDim, headDim, heads, kvHeads, layers, maxContext, normEps, ropeTheta, vocabSize } = config
  writeFileSync(
    file,
    Buffer.concat([
      bytes(Int32Array.of(vocabSize, maxContext, dModel, layers, heads, kvHeads, headDim, ffnDim)),
      bytes(Float32Array.of(ropeTheta, normEps)),
      bytes(kernels.floats(model.flat, model.layout.total))
    ])
  )
  const rival = await start(program, [file, `${size}`, `${promptLength}`, `${drawn}`], "")
  const weights = Either.getOrThrow(freezeBase(model))
  const budget = makeCacheBudget(kernels, 2 ** 31)
  const cache = makePageCache(model, budget)
  const drawer = Either.getOrThrow(makeDrawer(kernels, vocabSize))
  const definition = { ...Models.nano, shape: config }
  const sampler = { info: Models.info(definition), model, tokenBytes: definition.tokenBytes, cache, drawer }
  const batch = makeBatch(sampler, weights, budget, "scaled")
  const off = { stopTokens: [], promptLogprobs: false, topkPromptLogprobs: 0, topkSampleLogprobs: 0 }
  const times: Array<readonly [ours: number, theirs: number]> = []
  for (let round = 0; round < rounds + 1; round++) {
    const request = { prompt, maxTokens: drawn, temperature: 1, topK: -1, topP: 1, numSamples: size }
    batch.submit({ ...request, ...off, seed: BigInt(round) }, () => {})
    batch.step()
    let least = Infinity
    while (batch.busy()) least = Math.min(least, spent(batch.step))
    const answer = await rival.ask()
    if (round === 0) {
      const table = Either.getOrThrow(cache.open())
      Either.getOrThrow(cache.extend(table, promptLength))
      const logits = Either.getOrThrow(decodeStep(model, weights, {
        count: promptLength,
        tokens: prompt,
        positions: prompt.map((_, i) => i),
        tables: prompt.map(() => table.address),
        wanted: [promptLength - 1]
      }))
      for (let i = 0; i < 8; i++) near("logit", logits[i]!, answer[i]!, 1e-4)
      cache.close(table)
    } else times.push([least, answer[8]!])
  }
  rival.end()
  return times
}

const against = (
  name: string,
  times: ReadonlyArray<readonly [ours: number, theirs: number]>,
  target: number | null
): ReadonlyArray<Row> => [
  { name: `${name}, ours`, value: median(times.map(([ours]) => ours)), unit: "ms", target: null, better: "lower" },
  { name, value: median(times.map(([ours, theirs]) => ours / theirs)), unit: "x its time", target, better: "lower" }
]

export const rows = async (): Promise<ReadonlyArray<Row>> => {
  const rows: Array<Row> = []
  const fused = bestVariant() === "relaxed"
  if (!fused) console.error("this runtime has no relaxed SIMD: products are not fused (Node 22 and later have it)")
  try {
    if (available(python, "-c", "import torch")) {
      for (const [name, config] of shapes) {
        const times = await trainingStep(config, config.dModel > 256 ? 4 : 8, 128, 9)
        rows.push(...against(`LoRA step ${name} against PyTorch`, times, name !== "d128" && fused ? 1 : null))
      }
    } else console.error(`skipped: ${python} has no torch, which the training step is compared with`)
    if (available("gcc", "--version")) {
      const source = join(import.meta.dirname, "rivals/decode.c")
      execFileSync("gcc", ["-O3", "-march=native", "-o", program, source, "-lm"])
      for (const [name, config] of shapes) {
        for (const size of [1, 16]) {
          const times = await decoding(config, size, 7)
          rows.push(...against(`decode ${name}, batch ${size}, against plain C`, times, fused ? 1.4 : null))
        }
      }
    } else console.error("skipped: there is no gcc, which builds the C program that decoding is compared with")
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
  return rows
}
