import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { EngineError, RunState, SampleRequest } from "../../../src/engine/Engine.js"
import type { EngineOptions } from "../../../src/engine/EngineOptions.js"
import * as InProcessEngine from "../../../src/engine/host/InProcessEngine.js"
import type { ModelDefinition } from "../../../src/engine/model/Models.js"
import * as Models from "../../../src/engine/model/Models.js"
import { adam, definition, lora, passOf, requestOf } from "../engines.js"
import { tokensOf } from "../models.js"

const make = (options: EngineOptions = {}) => InProcessEngine.make({ models: [definition], ...options })

/** The error of an effect that must fail, checked for its reason and for what its message names. */
const refusal = <A>(
  effect: Effect.Effect<A, EngineError>,
  reason: EngineError["reason"],
  ...says: ReadonlyArray<string>
) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.strictEqual(error.reason, reason, error.message)
    for (const part of says) assert.include(error.message, part)
  })

const base = { baseModel: "tiny", lora }

describe("runs", () => {
  it.scoped("do their operations in the order in which they are submitted", () =>
    Effect.gen(function*() {
      const engine = yield* make()
      yield* engine.createRun("awaited", base)
      yield* engine.createRun("pipelined", base)
      const one = [
        yield* engine.pass("awaited", passOf(9, 60)),
        yield* engine.optimStep("awaited", adam),
        yield* engine.pass("awaited", passOf(3, 20)),
        yield* engine.optimStep("awaited", adam),
        yield* engine.exportRun("awaited", { optimizer: true })
      ] as const
      const other = yield* Effect.all([
        engine.pass("pipelined", passOf(9, 60)),
        engine.optimStep("pipelined", adam),
        engine.pass("pipelined", passOf(3, 20)),
        engine.optimStep("pipelined", adam),
        engine.exportRun("pipelined", { optimizer: true }),
        engine.createSampler("s", { runId: "pipelined" }),
        engine.releaseRun("pipelined")
      ], { concurrency: "unbounded" })
      assert.deepStrictEqual(other.slice(0, 5), [...one])
      yield* refusal(engine.optimStep("pipelined", adam), "UnknownRun", "\"pipelined\"")
      // The sampler was made of the weights at its place in the order, and outlives the run.
      yield* engine.createSampler("t", { runId: "awaited" })
      assert.deepStrictEqual(yield* engine.sample("s", requestOf()), yield* engine.sample("t", requestOf()))
    }))

  it.scoped("read what they were given, whatever happens to it afterwards", () =>
    Effect.gen(function*() {
      const engine = yield* make()
      yield* engine.createRun("a", base)
      yield* engine.createRun("b", base)
      const request = passOf(8, 50)
      const first = yield* Effect.fork(engine.pass("a", request))
      const second = yield* Effect.fork(engine.pass("b", request))
      yield* Effect.yieldNow()
      for (const { lossInputs, tokens } of request.data) {
        tokens.fill(1)
        lossInputs["target_tokens"]!.data.fill(2)
      }
      const [a, b] = [yield* Fiber.join(first), yield* Fiber.join(second)]
      yield* engine.createRun("c", base)
      const expected = yield* engine.pass("c", passOf(8, 50))
      assert.deepStrictEqual(a, expected)
      assert.deepStrictEqual(b, expected)
    }))

  it.scoped("go on from an exported state with the same bits", () =>
    Effect.gen(function*() {
      const engine = yield* make()
      const step = (runId: string) =>
        Effect.zipRight(engine.pass(runId, passOf(2, 30)), engine.optimStep(runId, adam), { concurrent: true })
      for (const settings of [base, { ...base, lora: null }]) {
        const id = (name: string) => `${name} ${String(settings.lora)}`
        yield* engine.createRun(id("a"), settings)
        yield* step(id("a"))
        const state = yield* engine.exportRun(id("a"), { optimizer: true })
        yield* engine.importRun(id("b"), state, { optimizer: true })
        yield* engine.createRun(id("c"), settings)
        yield* engine.loadRun(id("c"), state, { optimizer: true })
        yield* engine.importRun(id("fresh"), state, { optimizer: false })
        const exports: Array<RunState> = []
        for (const name of ["a", "b", "c", "fresh"]) {
          yield* step(id(name))
          exports.push(yield* engine.exportRun(id(name), { optimizer: true }))
        }
        assert.deepStrictEqual(exports[1], exports[0])
        assert.deepStrictEqual(exports[2], exports[0])
        assert.notDeepEqual(exports[3], exports[0])
      }
    }))

  it.scoped("refuse what they cannot do, and change nothing", () =>
    Effect.gen(function*() {
      const engine = yield* make()
      yield* refusal(engine.createRun("r", { baseModel: "huge", lora }), "UnknownModel", "\"huge\"", "tiny")
      yield* engine.createRun("r", base)
      yield* refusal(engine.createRun("r", base), "InvalidInput", "\"r\" already")
      yield* refusal(engine.pass("q", passOf(1, 4)), "UnknownRun", "\"q\"")
      yield* refusal(engine.exportRun("q", { optimizer: false }), "UnknownRun", "\"q\"")
      yield* refusal(engine.createSampler("s", { runId: "q" }), "UnknownRun", "\"q\"")
      yield* engine.releaseRun("q")
      const before = yield* engine.exportRun("r", { optimizer: true })
      const bad = passOf(3, 10)
      bad.data[2]!.tokens[4] = 99
      yield* refusal(engine.pass("r", bad), "InvalidInput", "data[2]", "token 4")
      const mute = { ...before, weights: before.weights.slice(1) }
      yield* refusal(engine.loadRun("r", mute, { optimizer: false }), "InvalidInput", "missing")
      yield* refusal(engine.importRun("i", mute, { optimizer: false }), "InvalidInput", "missing")
      yield* refusal(engine.exportRun("i", { optimizer: false }), "UnknownRun")
      assert.strictEqual((yield* engine.optimStep("r", adam)).gradNorm, 0)
    }))
})

describe("samplers", () => {
  const sampling = requestOf({ numSamples: 3, maxTokens: 20, promptLogprobs: true })

  it.scoped("are not touched by later training, nor by the end of their run", () =>
    Effect.gen(function*() {
      const engine = yield* make()
      for (const settings of [base, { ...base, lora: null }]) {
        yield* engine.createRun("r", settings)
        yield* engine.pass("r", passOf(4, 30))
        yield* engine.optimStep("r", adam)
        yield* engine.createSampler("s", { runId: "r" })
        const before = yield* engine.sample("s", sampling)
        yield* engine.pass("r", passOf(4, 30))
        yield* engine.optimStep("r", { ...adam, learningRate: 0.1 })
        assert.deepStrictEqual(yield* engine.sample("s", sampling), before)
        yield* engine.createSampler("later", { runId: "r" })
        assert.notDeepEqual(yield* engine.sample("later", sampling), before)
        yield* engine.releaseRun("r")
        assert.deepStrictEqual(yield* engine.sample("s", sampling), before)
        yield* Effect.all([engine.releaseSampler("s"), engine.releaseSampler("later")])
      }
    }))

  it.scoped("of a run, of its state and of the base agree where they must", () =>
    Effect.gen(function*() {
      const engine = yield* make()
      yield* engine.createRun("r", base)
      yield* engine.createSampler("fresh", { runId: "r" })
      yield* engine.createSampler("base", { baseModel: "tiny" })
      // A fresh adapter changes nothing.
      assert.deepStrictEqual(yield* engine.sample("fresh", sampling), yield* engine.sample("base", sampling))
      yield* engine.pass("r", passOf(4, 30))
      yield* engine.optimStep("r", adam)
      yield* engine.createSampler("run", { runId: "r" })
      yield* engine.createSampler("state", { state: yield* engine.exportRun("r", { optimizer: false }) })
      const trained = yield* engine.sample("run", sampling)
      assert.deepStrictEqual(yield* engine.sample("state", sampling), trained)
      assert.notDeepEqual(yield* engine.sample("base", sampling), trained)
    }))

  it.scoped("give log-probabilities with the bits of a pass of their run", () =>
    Effect.gen(function*() {
      const engine = yield* make()
      yield* engine.createRun("r", base)
      yield* engine.pass("r", passOf(4, 30))
      yield* engine.optimStep("r", adam)
      yield* engine.createSampler("s", { runId: "r" })
      const { promptLogprobs, sequences: [sequence] } = yield* engine.sample("s", { ...sampling, numSamples: 1 })
      const whole = Int32Array.of(...sampling.prompt, ...sequence!.tokens)
      const { outputs } = yield* engine.pass("r", {
        ...passOf(1, 4, false),
        data: [{
          tokens: whole.slice(0, -1),
          lossInputs: { target_tokens: { data: whole.slice(1), shape: [whole.length - 1] } }
        }]
      })
      const n = sampling.prompt.length
      assert.deepStrictEqual(sequence!.logprobs, outputs[0]!.logprobs.slice(n - 1))
      assert.deepStrictEqual(promptLogprobs?.slice(1), outputs[0]!.logprobs.slice(0, n - 1))
    }))

  it.scoped("draw their own seed from Random when none is given", () =>
    Effect.gen(function*() {
      const engine = yield* make()
      yield* engine.createSampler("s", { baseModel: "tiny" })
      const unseeded: SampleRequest = { ...requestOf(), seed: undefined }
      const fixed = engine.sample("s", unseeded).pipe(Effect.withRandomFixed([1, 2]))
      assert.deepStrictEqual(yield* fixed, yield* fixed)
      assert.notDeepEqual(yield* engine.sample("s", unseeded), yield* engine.sample("s", unseeded))
    }))

  it.scoped("refuse bad requests, naming the field and what would be right", () =>
    Effect.gen(function*() {
      const engine = yield* make()
      yield* engine.createSampler("s", { baseModel: "tiny" })
      const table: ReadonlyArray<readonly [some: Partial<SampleRequest>, ...says: ReadonlyArray<string>]> = [
        [{ prompt: new Int32Array(0) }, "prompt is empty"],
        [{ prompt: Int32Array.of(1, 37) }, "prompt[1]", "0 to 36"],
        [{ prompt: Int32Array.of(-1) }, "prompt[0]"],
        [{ prompt: tokensOf(90, 1), maxTokens: 7 }, "prompt of 90 tokens", "maxTokens 7", "context of 96"],
        [{ prompt: tokensOf(96, 1), maxTokens: undefined }, "96 tokens leaves no room"],
        [{ maxTokens: 1.5 }, "maxTokens is 1.5"],
        [{ numSamples: 0 }, "numSamples is 0"],
        [{ temperature: -1 }, "temperature is -1"],
        [{ temperature: NaN }, "temperature is NaN"],
        [{ topK: 0 }, "topK is 0", "-1 (off)"],
        [{ topP: 0 }, "topP is 0", "at most 1"],
        [{ topP: 1.1 }, "topP is 1.1"],
        [{ stopTokens: [3, 400] }, "stopTokens[1]"],
        [{ stopStrings: ["a", ""] }, "stopStrings[1] is empty"],
        [{ topkPromptLogprobs: 38 }, "topkPromptLogprobs is 38", "37"],
        [{ topkSampleLogprobs: -1 }, "topkSampleLogprobs is -1"]
      ]
      for (const [some, ...says] of table) {
        yield* refusal(engine.sample("s", { ...requestOf(), ...some }), "InvalidInput", ...says)
      }
      yield* refusal(engine.sample("t", requestOf()), "UnknownSampler", "\"t\"")
      yield* refusal(engine.createSampler("s", { baseModel: "tiny" }), "InvalidInput", "\"s\" already")
      yield* refusal(engine.createSampler("t", { baseModel: "huge" }), "UnknownModel", "\"huge\"")
      assert.strictEqual((yield* engine.sample("s", requestOf())).sequences[0]!.tokens.length, 12)
    }))

  it.scoped("stop between two tokens when interrupted, and go on with what else they do", () =>
    Effect.gen(function*() {
      const engine = yield* make()
      yield* engine.createSampler("s", { baseModel: "tiny" })
      const alone = yield* engine.sample("s", requestOf({ numSamples: 64, maxTokens: 80 }))
      const long = requestOf({ numSamples: 64, maxTokens: 90, seed: 5n })
      const doomed = yield* Effect.fork(engine.sample("s", long))
      const other = yield* Effect.fork(engine.sample("s", requestOf({ numSamples: 64, maxTokens: 80 })))
      yield* engine.sample("s", requestOf({ maxTokens: 1 }))
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(doomed)))
      assert.deepStrictEqual(yield* Fiber.join(other), alone)
    }))

  it.scoped("finish what they have begun when they are released", () =>
    Effect.gen(function*() {
      const engine = yield* make()
      yield* engine.createSampler("s", { baseModel: "tiny" })
      const expected = yield* engine.sample("s", sampling)
      const fiber = yield* Effect.fork(engine.sample("s", sampling))
      yield* Effect.yieldNow()
      yield* engine.releaseSampler("s")
      yield* refusal(engine.sample("s", sampling), "UnknownSampler")
      assert.deepStrictEqual(yield* Fiber.join(fiber), expected)
      yield* engine.releaseSampler("s")
    }))

  it.scoped("get their turns while a run trains", () =>
    Effect.gen(function*() {
      const engine = yield* make()
      yield* engine.createRun("r", base)
      yield* engine.createSampler("s", { baseModel: "tiny" })
      const order: Array<string> = []
      const note = (name: string) => () => Effect.sync(() => order.push(name))
      yield* Effect.all([
        Effect.tap(engine.pass("r", passOf(600, 90)), note("pass")),
        Effect.tap(engine.sample("s", requestOf({ maxTokens: 40 })), note("sample"))
      ], { concurrency: 2 })
      assert.deepStrictEqual(order, ["sample", "pass"])
    }))
})

describe("limits", () => {
  it.scoped("hold the number of runs and samplers down, and let go again", () =>
    Effect.gen(function*() {
      const engine = yield* make({ maxRuns: 2, maxSamplers: 1 })
      yield* engine.createRun("a", base)
      yield* engine.createRun("b", base)
      yield* refusal(engine.createRun("c", base), "LimitReached", "2 runs")
      yield* engine.releaseRun("a")
      yield* engine.createRun("c", base)
      yield* engine.createSampler("s", { runId: "c" })
      yield* refusal(engine.createSampler("t", { baseModel: "tiny" }), "LimitReached", "1 samplers")
      yield* engine.releaseSampler("s")
      yield* engine.createSampler("t", { baseModel: "tiny" })
    }))

  it.scoped("hold memory down: a run that would exceed it is refused and leaves nothing behind", () =>
    Effect.gen(function*() {
      const engine = yield* make({ maxMemory: 2 ** 21 })
      const made: Array<string> = []
      const grow = Effect.gen(function*() {
        for (;;) {
          yield* engine.createRun(`run ${made.length}`, { baseModel: "tiny", lora: null })
          made.push(`run ${made.length}`)
        }
      })
      yield* refusal(grow, "LimitReached", `${2 ** 21}`)
      assert.isAbove(made.length, 2)
      yield* refusal(
        engine.createSampler("s", { state: yield* engine.exportRun("run 0", { optimizer: false }) }),
        "LimitReached"
      )
      yield* engine.releaseRun("run 0")
      yield* engine.createRun("again", { baseModel: "tiny", lora: null })
    }))
})

describe("the end", () => {
  it.effect("fails what is pending when the scope closes", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const engine = yield* Scope.extend(make(), scope)
      yield* engine.createSampler("s", { baseModel: "tiny" })
      const fiber = yield* Effect.fork(engine.sample("s", requestOf({ maxTokens: 80, numSamples: 50 })))
      yield* Effect.yieldNow()
      yield* Scope.close(scope, Exit.void)
      yield* refusal(Fiber.join(fiber), "Crashed", "closed")
      yield* refusal(engine.sample("s", requestOf()), "Crashed", "closed")
    }))

  it.scoped("a failure of the engine itself fails everything and says so", () =>
    Effect.gen(function*() {
      const broken: ModelDefinition = {
        ...definition,
        name: "broken",
        get shape(): ModelDefinition["shape"] {
          if (armed) throw new Error("boom")
          return definition.shape
        }
      }
      let armed = false
      const engine = yield* make({ models: [definition, broken] })
      yield* engine.createSampler("s", { baseModel: "tiny" })
      const pending = yield* Effect.fork(engine.sample("s", requestOf({ maxTokens: 80, numSamples: 50 })))
      yield* Effect.yieldNow()
      armed = true
      yield* refusal(engine.createRun("r", { baseModel: "broken", lora }), "Crashed", "boom", "start it again")
      yield* refusal(Fiber.join(pending), "Crashed", "boom")
      yield* refusal(engine.sample("s", requestOf()), "Crashed", "boom")
      const other = yield* make({ models: [definition, broken] }).pipe(Effect.exit)
      assert.isTrue(Exit.isFailure(other))
    }))
})

describe("models", () => {
  it.scoped("nano ships with the engine, and knows how its texts end", () =>
    Effect.gen(function*() {
      const engine = yield* InProcessEngine.make()
      assert.deepStrictEqual(engine.models.map(({ name }) => name), ["tinkex/nano", "tinkex/nano-random"])
      for (const { eosTokens, maxContext, name, tokenizerId, vocabSize } of engine.models) {
        assert.deepStrictEqual({ eosTokens, maxContext, tokenizerId, vocabSize }, {
          eosTokens: [256],
          maxContext: 2048,
          tokenizerId: "tinkex/nano",
          vocabSize: 512
        })
        yield* engine.createSampler(name, { baseModel: name })
      }
      // Greedy longest matches are not quite the tokenizer's, but English enough for a model that has read some.
      const text = "The man said that he would not be there for a little time, and she was very good to him."
      const bytes = new TextEncoder().encode(text)
      const prompt: Array<number> = []
      for (let at = 0; at < bytes.length;) {
        let best = bytes[at]!
        Models.nano.tokenBytes.forEach((token, id) => {
          if (
            id >= 259 && token.length > Models.nano.tokenBytes[best]!.length &&
            token.every((byte, i) => bytes[at + i] === byte)
          ) {
            best = id
          }
        })
        prompt.push(best)
        at += Models.nano.tokenBytes[best]!.length
      }
      const request = { ...requestOf(), prompt: Int32Array.from(prompt), promptLogprobs: true, maxTokens: 0 }
      const mean = (values: Float32Array) => values.slice(1).reduce((a, b) => a + b, 0) / (values.length - 1)
      const trained = yield* engine.sample("tinkex/nano", request)
      const random = yield* engine.sample("tinkex/nano-random", request)
      assert.isBelow(mean(random.promptLogprobs!), -5.5)
      assert.isAbove(mean(trained.promptLogprobs!), mean(random.promptLogprobs!) + 1.5)
      assert.strictEqual(Models.nano.tokenBytes.length, 512)
    }))
})
