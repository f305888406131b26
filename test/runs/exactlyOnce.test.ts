import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Schema, Stream } from "effect"
import * as Future from "../../src/client/Future.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import * as Datum from "../../src/protocol/Datum.js"
import * as Dataset from "../../src/runs/Dataset.js"
import * as Rollouts from "../../src/runs/Rollouts.js"
import * as Run from "../../src/runs/Run.js"
import * as RunDirectory from "../../src/runs/RunDirectory.js"
import * as Schedule from "../../src/runs/Schedule.js"
import { TestServer } from "../../src/testing/index.js"
import { type Death, live } from "./crash.js"

const deep = process.env["TINKEX_DEEP"] === "1"
const examples = Array.from({ length: 7 }, (_, i) => Datum.fromCompletion([1 + i, 2], [3 + i, 4, 5]))
const total = 7

const common = (depth: number) => ({
  depth,
  total,
  adam: Schedule.linear(2e-2, total),
  checkpoint: { every: 3, keep: 2, sampler: false }
})

/** Learns what it is given. */
const supervised = (depth: number, directory: string, seed: number) =>
  Effect.gen(function*() {
    const run = yield* Run.open(directory, { config: { baseModel: "tinkex/nano-random", rank: 2 }, seed })
    const batches = yield* Dataset.fromArray(examples, { batchSize: 2 })
    yield* run.train({ ...common(depth), batches, loss: "cross_entropy" })
    return yield* run.checkpoints
  })

const Sampled = Schema.Array(Schema.Struct({
  tokens: Schema.Array(Schema.Int),
  logprobs: Schema.Array(Schema.Number)
}))

/** Is rewarded for even tokens; the sampler is `depth - 1` rounds behind. */
const reinforced = (depth: number, directory: string, seed: number) =>
  Effect.gen(function*() {
    const run = yield* Run.open(directory, { config: { baseModel: "tinkex/nano-random", rank: 2 }, seed })
    const prompt = [7, 8]
    const batches = Rollouts.make({
      schema: Sampled,
      ahead: depth - 1,
      sample: ({ sampler, seed }) =>
        Effect.map(
          sampler.sample({ prompt, maxTokens: 3, numSamples: 2, seed, temperature: 1 }),
          ({ sequences }) =>
            sequences.map(({ logprobs, tokens }) => ({
              tokens: Array.from(tokens),
              logprobs: Array.from(logprobs ?? [], Number)
            }))
        ),
      data: (samples) =>
        Effect.sync(() =>
          samples.map(({ logprobs, tokens }) => {
            const all = [...prompt, ...tokens]
            const skipped = prompt.length - 1
            const pad = (values: ReadonlyArray<number>) => [...Array.from({ length: skipped }, () => 0), ...values]
            return Datum.make({
              modelInput: all.slice(0, -1),
              lossFnInputs: {
                target_tokens: all.slice(1),
                logprobs: pad(logprobs),
                advantages: pad(tokens.map((token) => token % 2 === 0 ? 1 : -1))
              }
            })
          })
        ),
      usage: (samples) => ({ sampled: samples.reduce((sum, { tokens }) => sum + tokens.length, 0), prefill: 4 })
    })
    yield* run.train({ ...common(depth), batches, loss: "importance_sampling" })
    return yield* run.checkpoints
  })

/** What must be the same to the last bit: the figures of every step, and what the final state makes of one more. */
const trace = (directory: string, path: string) =>
  Effect.gen(function*() {
    const rows = Array.from(yield* Stream.runCollect(RunDirectory.metrics(directory)))
    const service = yield* ServiceClient.ServiceClient
    const client = yield* service.createTrainingClientFromStateWithOptimizer(path)
    yield* client.forwardBackward(examples, "cross_entropy")
    yield* client.optimStep({ learningRate: 1e-2 })
    const after = yield* Effect.flatMap(client.forward(examples, "cross_entropy"), Future.await)
    return {
      rows: rows.map((row) =>
        Object.fromEntries(
          Object.entries(row).filter(([key]) => !/^time|^tokens\/|^clock_cycle/.test(key) // how long, how often, and what it took in all
          )
        )
      ),
      logprobs: after.lossFnOutputs.map((output) => Array.from(output["logprobs"]!.data, Number))
    }
  })

type Program = typeof supervised

const layer = TestServer.layerServer({ metrics: false })

const whole = (program: Program, depth: number, seed: number, deaths: ReadonlyArray<Death>) =>
  Effect.scoped(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const directory = yield* fs.makeTempDirectoryScoped()
    for (const death of deaths) yield* live(program(depth, directory, seed), death)
    const { answers, value, writes } = yield* live(
      Effect.flatMap(program(depth, directory, seed), (checkpoints) => trace(directory, checkpoints.at(-1)!.path))
    )
    return { trace: Option.getOrThrow(value), writes, answers }
    // a server of its own: the runs of the dead stay with theirs
  })).pipe(Effect.provide(layer), Effect.provide(NodeFileSystem.layer))

/** Every moment of a life, or every `stride`-th of them. */
const moments = (writes: number, answers: number, stride: number): ReadonlyArray<Death> => {
  const all: Array<Death> = []
  for (let n = 1; n <= writes; n++) {
    for (const how of ["before", "torn", "after"] as const) all.push({ at: "write", n, how })
  }
  for (let n = 1; n <= answers; n++) all.push({ at: "answer", n })
  return all.filter((_, i) => i % stride === stride - 1)
}

describe("a run is exact, whenever its client dies", () => {
  for (const [name, program] of [["supervised", supervised], ["reinforced", reinforced]] as const) {
    for (const depth of [1, 2, 4]) {
      it.live(
        `${name}, depth ${depth}`,
        () =>
          Effect.gen(function*() {
            const seeds = deep ? Array.from({ length: 20 }, (_, i) => i) : [1]
            let kills = 0
            for (const seed of seeds) {
              const expected = yield* whole(program, depth, seed, [])
              assert.strictEqual(expected.trace.rows.length, total)
              // all moments of the first seed; of the others every seventh
              const stride = deep ? (seed === 0 ? 1 : 7) : name === "supervised" ? 41 : 89
              for (const death of moments(expected.writes, expected.answers, stride)) {
                const actual = yield* whole(program, depth, seed, [death])
                assert.deepStrictEqual(actual.trace, expected.trace, JSON.stringify({ seed, death }))
                kills++
              }
              // and one that dies again and again
              const often = [11, 13, 17, 19].map((n): Death => ({ at: "answer", n }))
              assert.deepStrictEqual((yield* whole(program, depth, seed, often)).trace, expected.trace)
            }
            assert.isAbove(kills, 0)
            if (deep) yield* Effect.log(`${name}, depth ${depth}: ${kills} kills, ${seeds.length} seeds`)
          }),
        deep ? 3_600_000 : 120_000
      )
    }
  }
})
