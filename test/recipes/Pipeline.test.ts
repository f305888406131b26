import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as FileSystem from "@effect/platform/FileSystem"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { assert, describe, it } from "@effect/vitest"
import { Data, Deferred, Effect, Fiber, Layer, Option, Schema } from "effect"
import * as Future from "../../src/client/Future.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import * as Datum from "../../src/protocol/Datum.js"
import * as Pipeline from "../../src/recipes/Pipeline.js"
import * as Preference from "../../src/recipes/Preference.js"
import * as Supervised from "../../src/recipes/Supervised.js"
import * as Dataset from "../../src/runs/Dataset.js"
import * as Run from "../../src/runs/Run.js"
import { TestServer } from "../../src/testing/index.js"
import { type Death, live } from "../runs/crash.js"
import { deep, sized } from "../support/deep.js"

const engine = (directory: string) => Pipeline.layer(directory, (filename) => SqliteClient.layer({ filename }))

class TooBad extends Data.TaggedError("TooBad")<{ readonly nll: number }> {}

const examples = Array.from({ length: 6 }, (_, i) => Datum.fromCompletion([1 + i, 2], [3 + i, 4, 5]))
const pairs = Array.from({ length: 4 }, (_, i) => ({
  chosen: Datum.fromCompletion([1 + i, 2], [9, 4]),
  rejected: Datum.fromCompletion([1 + i, 2], [8, 7])
}))

const State = Schema.Struct({ state: Schema.String })
const config = { baseModel: "tinkex/nano-random", rank: 2 }
const lastState = (summary: Run.Summary) => ({ state: summary.checkpoint?.path ?? "" })

/** SFT, evaluation, DPO, evaluation. `ran` hears of every stage that really works. */
const greeter = (directory: string, ran: (stage: string) => void = () => {}) => {
  const sft = Pipeline.stage("sft", {
    version: 1,
    input: Schema.Struct({ rate: Schema.Number }),
    output: State,
    run: ({ rate }, { directory }) =>
      Effect.scoped(Effect.gen(function*() {
        ran("sft")
        const run = yield* Run.open(directory, { config, seed: 1 })
        const data = yield* Dataset.fromArray(examples, { batchSize: 2 })
        return lastState(
          yield* Supervised.train(run, {
            data,
            epochs: 2,
            learningRate: rate,
            checkpoint: { every: 2, sampler: false }
          })
        )
      }))
  })
  const evaluate = Pipeline.stage("evaluate", {
    version: "a",
    input: State,
    output: Schema.Struct({ nll: Schema.Number, logprobs: Schema.Array(Schema.Number) }),
    run: ({ state }) =>
      Effect.scoped(Effect.gen(function*() {
        ran("evaluate")
        const service = yield* ServiceClient.ServiceClient
        const client = yield* service.createTrainingClientFromState(state)
        const { lossFnOutputs } = yield* Effect.flatMap(client.forward(examples, "cross_entropy"), Future.await)
        const { nll } = Supervised.lossOf(examples, lossFnOutputs)
        return { nll, logprobs: lossFnOutputs.flatMap((output) => Array.from(output["logprobs"]!.data, Number)) }
      }))
  })
  const dpo = Pipeline.stage("dpo", {
    version: 1,
    settings: { beta: 0.1 },
    input: State,
    output: State,
    run: ({ state }, { directory }) =>
      Effect.scoped(Effect.gen(function*() {
        ran("dpo")
        const run = yield* Run.open(directory, { config: { ...config, loadCheckpoint: state }, seed: 2 })
        const data = yield* Dataset.fromArray(pairs, { batchSize: 2 })
        return lastState(
          yield* Preference.dpo(run, {
            pairs: data,
            epochs: 2,
            learningRate: 1e-2,
            checkpoint: { every: 2, sampler: false }
          })
        )
      }))
  })
  const program = Effect.gen(function*() {
    const taught = yield* sft.run({ rate: 1e-2 })
    const before = yield* evaluate.run(taught)
    const preferred = yield* dpo.run(taught)
    return { before, after: yield* evaluate.run(preferred) }
  })
  return program.pipe(
    Effect.provide(Layer.mergeAll(sft.layer, evaluate.layer, dpo.layer).pipe(Layer.provide(engine(directory))))
  )
}

const inServer = Effect.provide(Layer.merge(TestServer.layerServer({ metrics: false }), NodeFileSystem.layer))
const temporary = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())

describe("a pipeline", () => {
  it.scopedLive(
    "ends with the same result to the bit, wherever it is killed; what is done is not done again",
    () =>
      Effect.gen(function*() {
        const whole = (deaths: ReadonlyArray<Death>) =>
          Effect.scoped(Effect.gen(function*() {
            const directory = yield* temporary
            for (const death of deaths) yield* live(greeter(directory), death)
            const { answers, value, writes } = yield* live(greeter(directory))
            return { answers, writes, result: Option.getOrThrow(value), directory }
          }))
        const expected = yield* whole([])
        const directory = yield* temporary
        const ran: Array<string> = []
        const told = (stage: string) => void ran.push(stage)
        assert.deepStrictEqual(Option.getOrThrow((yield* live(greeter(directory, told))).value), expected.result)
        assert.deepStrictEqual(ran, ["sft", "evaluate", "dpo", "evaluate"])
        const again = yield* live(greeter(directory, told))
        assert.deepStrictEqual(Option.getOrThrow(again.value), expected.result)
        assert.lengthOf(ran, 4)
        const kills = sized(20, 3)
        for (let k = 0; k < kills; k++) {
          // spread over the life, at answers and at writes by turns
          const at = (k + 0.5) / kills
          const death: Death = k % 2 === 0
            ? { at: "answer", n: Math.ceil(at * expected.answers) }
            : { at: "write", n: Math.ceil(at * expected.writes), how: (["before", "torn", "after"] as const)[k % 3]! }
          assert.deepStrictEqual((yield* whole([death])).result, expected.result, JSON.stringify(death))
        }
        if (deep) yield* Effect.log(`${kills} kills`)
      }).pipe(inServer),
    600_000
  )

  it.scopedLive("is gone on with after a failed gate, a failed stage, under another version, by branches at one time", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const ran: Array<string> = []
      const stage = (name: string, version: number, fails = false) =>
        Pipeline.stage(name, {
          version,
          input: Schema.Number,
          output: Schema.NumberFromString,
          run: (n, { directory }) =>
            Effect.suspend(() => {
              ran.push(`${name}${version}(${n}) ${directory.split("/").at(-1)!.split("-")[0]}`)
              return fails ? Effect.fail(new TooBad({ nll: n })) : Effect.succeed(n + version)
            })
        })
      const [first, broken, mended] = [stage("first", 1), stage("second", 1, true), stage("second", 2)]
      const layer = Layer.mergeAll(first.layer, broken.layer, mended.layer).pipe(Layer.provide(engine(directory)))
      // each life has an engine of its own over the same file
      const life = <A, E>(program: Effect.Effect<A, E, Layer.Layer.Success<typeof layer>>) =>
        Effect.suspend(() => {
          ran.length = 0
          return Effect.map(Effect.either(Effect.provide(program, layer)), (result) => ({ result, ran: [...ran] }))
        })

      const failing = Effect.flatMap(first.run(1), broken.run)
      for (const expected of [["first1(1) first", "second1(2) second"], ["second1(2) second"]]) {
        const { ran, result } = yield* life(failing)
        assert.deepStrictEqual(ran, expected)
        assert.ok(result._tag === "Left" && result.left instanceof Pipeline.StageFailed)
        assert.deepInclude(result.left, { stage: "second", error: "TooBad" })
        assert.include(result.left.message, "second")
      }
      const gate = (n: number) => n > 1 ? Effect.fail(new TooBad({ nll: n })) : Effect.succeed(n)
      const gated = yield* life(first.run(1).pipe(Effect.flatMap(gate), Effect.flatMap(mended.run)))
      assert.deepStrictEqual(gated.ran, [])
      assert.ok(gated.result._tag === "Left" && gated.result.left instanceof TooBad)

      const branches = yield* life(
        Effect.flatMap(
          first.run(1),
          (n) => Effect.all([mended.run(n), mended.run(5), mended.run(5)], { concurrency: "unbounded" })
        )
      )
      assert.deepStrictEqual(branches.ran.sort(), ["second2(2) second", "second2(5) second"])
      assert.deepStrictEqual(branches.result._tag === "Right" && branches.result.right, [4, 7, 7])
    }).pipe(Effect.provide(NodeContext.layer)))

  it.scopedLive("what was cut off goes on when it is asked for, and not before; whoever stops waiting stops nothing", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const ran: Array<number> = []
      const [began, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const slow = Pipeline.stage("slow", {
        version: 1,
        input: Schema.Number,
        output: Schema.Number,
        run: (n) =>
          Effect.sync(() => ran.push(n)).pipe(
            Effect.zipRight(Deferred.succeed(began, undefined)),
            Effect.zipRight(Deferred.await(goOn)),
            Effect.as(n)
          )
      })
      const layer = slow.layer.pipe(Layer.provide(engine(directory)))
      yield* Effect.provide(
        Effect.gen(function*() {
          const waiting = yield* Effect.fork(slow.run(1))
          yield* Deferred.await(began)
          yield* Fiber.interrupt(waiting)
        }),
        layer
      )
      assert.deepStrictEqual(ran, [1])
      yield* Deferred.succeed(goOn, undefined)
      assert.strictEqual(yield* Effect.provide(slow.run(2), layer), 2)
      assert.deepStrictEqual(ran, [1, 2])
      assert.strictEqual(yield* Effect.provide(slow.run(1), layer), 1)
      assert.deepStrictEqual(ran, [1, 2, 1])
    }).pipe(Effect.provide(NodeContext.layer)))

  it("put together wrongly is an error of types", () => {
    const one = Pipeline.stage("one", {
      version: 1,
      input: Schema.Struct({ rate: Schema.Number }),
      output: Schema.Struct({ state: Schema.String }),
      run: () => Effect.succeed({ state: "" })
    })
    const two = Pipeline.stage("two", {
      version: 1,
      input: Schema.Struct({ path: Schema.String }),
      output: Schema.String,
      run: ({ path }) => Effect.succeed(path)
    })
    const right = Effect.flatMap(one.run({ rate: 1 }), ({ state }) => two.run({ path: state }))
    // @ts-expect-error: the output of one is not the input of the other
    const wrong = Effect.flatMap(one.run({ rate: 1 }), two.run)
    // @ts-expect-error: a stage whose layer is not there
    const missing: Effect.Effect<string, Pipeline.StageFailed, Pipeline.Registered<"one">> = right
    const lying = Pipeline.stage("three", {
      version: 1,
      input: Schema.String,
      output: Schema.Number,
      // @ts-expect-error: it makes something else than it says
      run: () => Effect.succeed("")
    })
    assert.ok([one, two, lying].every(Pipeline.isStage) && wrong !== right && missing === right)
  })
})
