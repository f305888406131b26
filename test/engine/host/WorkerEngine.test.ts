import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import type { Engine, PassRequest } from "../../../src/engine/Engine.js"
import * as ModelFiles from "../../../src/engine/files/ModelFiles.js"
import * as InProcessEngine from "../../../src/engine/host/InProcessEngine.js"
import * as WorkerEngine from "../../../src/engine/host/WorkerEngine.js"
import type { Spawn } from "../../../src/engine/host/workers.js"
import { weightLayout } from "../../../src/engine/model/weights.js"
import { adam, definition, lora, passOf, requestOf } from "../engines.js"

type Service = Engine["Type"]

const models = [definition]
const base = { baseModel: "tiny", lora }

/** Trains, exports, imports, samples: everything that comes back. */
const story = (engine: Service) =>
  Effect.gen(function*() {
    yield* engine.createRun("r", base)
    const passes = []
    for (let i = 0; i < 3; i++) {
      passes.push(
        yield* Effect.all([engine.pass("r", passOf(5 + i, 40)), engine.optimStep("r", adam)], { concurrency: 2 })
      )
    }
    const state = yield* engine.exportRun("r", { optimizer: true })
    yield* engine.importRun("copy", state, { optimizer: true })
    passes.push(yield* Effect.all([engine.pass("copy", passOf(2, 9)), engine.optimStep("copy", adam)]))
    const copy = yield* engine.exportRun("copy", { optimizer: true })
    yield* engine.createSampler("s", { runId: "copy" })
    yield* engine.createSampler("t", { state })
    const request = requestOf({ numSamples: 4, maxTokens: 30, promptLogprobs: true, topkSampleLogprobs: 2 })
    const samples = yield* Effect.all([engine.sample("s", request), engine.sample("t", request)], { concurrency: 2 })
    return { passes, state, copy, samples }
  })

const told = Effect.scoped(Effect.flatMap(InProcessEngine.make({ models }), story))

describe("one worker", () => {
  it.scoped("gives the bits of the engine on the calling thread", () =>
    Effect.gen(function*() {
      const engine = yield* WorkerEngine.make({ models })
      assert.deepStrictEqual(engine.models, [{
        name: "tiny",
        vocabSize: 37,
        maxContext: 96,
        eosTokens: [0],
        tokenizerId: "letters",
        parameters: weightLayout(models[0]!.shape).total
      }])
      assert.deepStrictEqual(yield* story(engine), yield* told)
    }))

  it.scoped("leaves the caller's arrays alone", () =>
    Effect.gen(function*() {
      const engine = yield* WorkerEngine.make({ models })
      yield* engine.createRun("r", base)
      const request = passOf(2, 10)
      yield* engine.pass("r", request)
      assert.deepStrictEqual(request, passOf(2, 10))
      const state = yield* engine.exportRun("r", { optimizer: true })
      yield* engine.importRun("a", state, { optimizer: true })
      yield* engine.importRun("b", state, { optimizer: true })
      assert.deepStrictEqual(yield* engine.exportRun("b", { optimizer: true }), state)
    }))

  it.scoped("answers with the errors of the engine", () =>
    Effect.gen(function*() {
      const engine = yield* WorkerEngine.make({ models })
      const error = yield* Effect.flip(engine.optimStep("r", adam))
      assert.deepInclude(error, { _tag: "EngineError", reason: "UnknownRun", detail: "there is no run \"r\"" })
    }))

  it.scoped("is usable after an interrupted sample, and shares its time between runs and samplers", () =>
    Effect.gen(function*() {
      const engine = yield* WorkerEngine.make({ models })
      yield* engine.createRun("r", base)
      yield* engine.createSampler("s", { baseModel: "tiny" })
      const expected = yield* engine.sample("s", requestOf())
      const doomed = yield* Effect.fork(engine.sample("s", requestOf({ numSamples: 2000, maxTokens: 90 })))
      const training = yield* Effect.fork(engine.pass("r", passOf(400, 90)))
      assert.deepStrictEqual(yield* engine.sample("s", requestOf()), expected)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(doomed)))
      assert.strictEqual((yield* Fiber.join(training)).outputs.length, 400)
      assert.deepStrictEqual(yield* engine.sample("s", requestOf()), expected)
    }))
})

describe("two workers", () => {
  it.scoped("give the same bits every time, and those of one worker up to the order of sums", () =>
    Effect.gen(function*() {
      const engine = yield* WorkerEngine.make({ models, workers: 2 })
      const first = yield* story(engine)
      yield* Effect.all([engine.releaseRun("r"), engine.releaseRun("copy")])
      yield* Effect.all([engine.releaseSampler("s"), engine.releaseSampler("t")])
      assert.deepStrictEqual(yield* story(engine), first)
      const alone = yield* told
      first.passes.forEach(([pass, step], i) => {
        const [expected, expectedStep] = alone.passes[i]!
        assert.approximately(pass.loss, expected.loss, 1e-4 * Math.abs(expected.loss))
        assert.approximately(step.gradNorm, expectedStep.gradNorm, 1e-4 * expectedStep.gradNorm)
        assert.strictEqual(pass.outputs.length, expected.outputs.length)
        pass.outputs.forEach(({ logprobs }, d) =>
          logprobs.forEach((x, t) => assert.approximately(x, expected.outputs[d]!.logprobs[t]!, 1e-3))
        )
      })
      // The first pass is on the same weights: only the loss's sum has another order.
      assert.deepStrictEqual(first.passes[0]![0].outputs, alone.passes[0]![0].outputs)
    }))

  it.scoped("have the weights of a file once, and train on them as one worker does", () =>
    Effect.gen(function*() {
      const file = yield* ModelFiles.open(
        fileURLToPath(new URL("../files/fixtures/checkpoints/gguf-qwen3-q5_1/model.gguf", import.meta.url)),
        { name: "file" }
      )
      const run = (engine: Service) =>
        Effect.gen(function*() {
          yield* engine.createRun("r", { baseModel: "file", lora })
          yield* engine.createRun("other", { baseModel: "file", lora })
          const pass = yield* engine.pass("r", passOf(4, 12))
          const step = yield* engine.optimStep("r", adam)
          yield* engine.createSampler("s", { runId: "r" })
          const samples = yield* Effect.all(
            [1n, 2n].map((seed) => engine.sample("s", requestOf({ seed }))),
            { concurrency: 2 }
          )
          return { pass, step, samples }
        })
      const shares: Array<unknown> = []
      const spawn: Spawn = (workerData, transferList) => {
        shares.push(workerData.shared?.memory)
        return new Worker(new URL("../../../dist/engine/host/worker.js", import.meta.url), {
          workerData,
          transferList,
          execArgv: []
        })
      }
      const together = yield* run(yield* WorkerEngine.makeWith({ models: [file, definition], workers: 2 }, spawn))
      const alone = yield* run(yield* InProcessEngine.make({ models: [file] }))
      assert.strictEqual(shares.length, 2)
      assert.strictEqual(shares[0], shares[1])
      assert.instanceOf(shares[0], WebAssembly.Memory)
      assert.deepStrictEqual(together.pass.outputs, alone.pass.outputs)
      assert.deepStrictEqual(
        together.samples.map(({ sequences }) => sequences.map(({ tokens }) => tokens)),
        alone.samples.map(({ sequences }) => sequences.map(({ tokens }) => tokens))
      )
    }))

  it.scoped("add all of a batch or nothing", () =>
    Effect.gen(function*() {
      const engine = yield* WorkerEngine.make({ models, workers: 2 })
      yield* engine.createRun("r", base)
      const ratio = (last: number): PassRequest => {
        const { data } = passOf(4, 6)
        return {
          data: data.map(({ lossInputs, tokens }, i) => ({
            tokens,
            lossInputs: {
              ...lossInputs,
              logprobs: { data: new Float32Array(6).fill(i === 3 ? last : -3), shape: [6] },
              advantages: { data: new Float32Array(6).fill(1), shape: [6] }
            }
          })),
          lossFn: "importance_sampling",
          lossConfig: {},
          backward: true
        }
      }
      // A datum of the second worker's part overflows.
      const error = yield* Effect.flip(engine.pass("r", ratio(-1e30)))
      assert.deepInclude(error, { reason: "InvalidInput" })
      assert.include(error.message, "not finite")
      assert.strictEqual((yield* engine.optimStep("r", { ...adam, learningRate: 0 })).gradNorm, 0)
      yield* engine.pass("r", ratio(-3))
      assert.isAbove((yield* engine.optimStep("r", adam)).gradNorm, 0)
      // Fewer data than workers.
      const [lone] = (yield* engine.pass("r", passOf(1, 5))).outputs
      assert.strictEqual(lone?.logprobs.length, 5)
    }))
})

describe("a worker that dies", () => {
  it.scoped("fails what is pending and everything after, and says so", () =>
    Effect.gen(function*() {
      const started: Array<Worker> = []
      const spawn: Spawn = (workerData, transferList) => {
        const worker = new Worker(new URL("../../../dist/engine/host/worker.js", import.meta.url), {
          workerData,
          transferList
        })
        started.push(worker)
        return worker
      }
      const engine = yield* WorkerEngine.makeWith({ models, workers: 2 }, spawn)
      yield* engine.createRun("r", base)
      yield* engine.createSampler("s", { baseModel: "tiny" })
      const pass = yield* Effect.fork(Effect.flip(engine.pass("r", passOf(2000, 90))))
      const sample = yield* Effect.fork(Effect.flip(engine.sample("s", requestOf({ numSamples: 2000, maxTokens: 90 }))))
      yield* Effect.yieldNow()
      yield* Effect.promise(() => started[1]!.terminate())
      for (const error of [yield* Fiber.join(pass), yield* Fiber.join(sample)]) {
        assert.strictEqual(error.reason, "Crashed")
        assert.include(error.message, "stopped with code 1: its runs and samplers are lost; start the engine again")
      }
      assert.strictEqual((yield* Effect.flip(engine.optimStep("r", adam))).reason, "Crashed")
      yield* engine.releaseRun("r")
    }))

  it.effect("when it starts fails the layer", () =>
    Effect.gen(function*() {
      const spawn: Spawn = (workerData, transferList) =>
        new Worker("throw new Error('no such module')", { eval: true, workerData, transferList })
      const error = yield* Effect.flip(Effect.scoped(WorkerEngine.makeWith({ models }, spawn)))
      assert.strictEqual(error.reason, "Crashed")
      assert.include(error.message, "failed (no such module)")
    }))

  it.effect("ends with the scope", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const engine = yield* Scope.extend(WorkerEngine.make({ models }), scope)
      yield* engine.createSampler("s", { baseModel: "tiny" })
      const pending = yield* Effect.fork(
        Effect.flip(engine.sample("s", requestOf({ numSamples: 2000, maxTokens: 90 })))
      )
      yield* Effect.yieldNow()
      yield* Scope.close(scope, Exit.void)
      assert.include((yield* Fiber.join(pending)).message, "closed")
      assert.include((yield* Effect.flip(engine.sample("s", requestOf()))).message, "closed")
    }))
})

describe("settings", () => {
  it.effect("refuse a number of workers that is none", () =>
    Effect.gen(function*() {
      for (const workers of [0, 1.5, NaN]) {
        const error = yield* Effect.flip(Effect.scoped(WorkerEngine.make({ models, workers })))
        assert.deepInclude(error, { reason: "InvalidInput" })
        assert.include(error.message, `workers is ${workers}`)
      }
    }))
})
