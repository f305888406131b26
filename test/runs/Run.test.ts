import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Chunk, Effect, Exit, Layer, Option, Schema, type Scope, Stream } from "effect"
import * as Future from "../../src/client/Future.js"
import * as RestClient from "../../src/client/RestClient.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import * as Datum from "../../src/protocol/Datum.js"
import * as Budget from "../../src/runs/Budget.js"
import * as Dataset from "../../src/runs/Dataset.js"
import * as Run from "../../src/runs/Run.js"
import * as RunDirectory from "../../src/runs/RunDirectory.js"
import * as Schedule from "../../src/runs/Schedule.js"
import { TestServer } from "../../src/testing/index.js"
import * as CustomLoss from "../../src/training/CustomLoss.js"

const layer = Layer.provideMerge(RestClient.layer, Layer.merge(TestServer.layer({ metrics: false }), NodeContext.layer))
const examples = Array.from({ length: 8 }, (_, i) => Datum.fromCompletion([1 + i, 2], [3 + i, 4, 5]))
const config: Run.Config = { baseModel: "tinkex/nano-random", rank: 2, renderer: "role_colon", note: "one" }
const total = 6
const options = {
  total,
  loss: "cross_entropy",
  adam: Schedule.linear(1e-2, total),
  checkpoint: { every: 2, sampler: false }
} as const

const data = (batchSize = 2, from: ReadonlyArray<Datum.Datum> = examples) => Dataset.fromArray(from, { batchSize })
const recovery = { backoff: "10 millis", maxAttempts: 5 } as const
const open = (directory: string, more: Partial<Run.OpenOptions> = {}) =>
  Run.open(directory, { config, seed: 1, recovery, ...more })
const rowsOf = (directory: string) =>
  Effect.map(Stream.runCollect(RunDirectory.metrics(directory)), Chunk.toReadonlyArray)
const nllOf = (directory: string) =>
  Effect.map(rowsOf(directory), (rows) => rows.map(({ step, train_mean_nll }) => [step, train_mean_nll]))

type Services = Layer.Layer.Success<typeof layer>
const test = (
  name: string,
  body: (directory: string, fs: FileSystem.FileSystem) => Effect.Effect<void, unknown, Services | Scope.Scope>
) =>
  it.scopedLive(name, () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      yield* body(`${yield* fs.makeTempDirectoryScoped()}/run`, fs)
    }).pipe(Effect.provide(layer)))

/** The figures of a run that nothing disturbs. */
const undisturbed = (directory: string) =>
  Effect.scoped(Effect.gen(function*() {
    const run = yield* open(`${directory}-undisturbed`)
    yield* run.train({ ...options, batches: yield* data() })
    return yield* nllOf(run.directory)
  }))

describe("Run", () => {
  test("lays its files out as the cookbook does", (directory, fs) =>
    Effect.gen(function*() {
      const run = yield* open(directory)
      const summary = yield* run.train({ ...options, batches: yield* data(), checkpoint: { every: 2 } })
      assert.strictEqual(summary.updates, total)
      assert.strictEqual(summary.usage.trained, total * 8)
      const written = JSON.parse(yield* fs.readFileString(`${directory}/config.json`))
      assert.deepInclude(written, {
        log_path: directory,
        model_name: "tinkex/nano-random",
        lora_rank: 2,
        renderer_name: "role_colon",
        load_checkpoint_path: null,
        note: "one",
        seed: 1
      })
      const records = yield* RunDirectory.checkpoints(directory)
      assert.deepStrictEqual(
        records.map(({ batch, elapsed_tokens, epoch, final, name }) => ({ name, batch, epoch, final, elapsed_tokens })),
        [
          { name: "000002", batch: 2, epoch: 0, final: undefined, elapsed_tokens: 16 },
          { name: "000004", batch: 0, epoch: 1, final: undefined, elapsed_tokens: 32 },
          { name: "final", batch: 2, epoch: 1, final: true, elapsed_tokens: 48 }
        ]
      )
      for (const { sampler_path, state_path } of records) {
        assert.match(state_path!, /^tinker:\/\/.+\/weights\//)
        assert.match(sampler_path!, /^tinker:\/\/.+\/sampler_weights\//)
      }
      const rows = yield* rowsOf(directory)
      assert.deepStrictEqual(rows.map(({ step }) => step), [0, 1, 2, 3, 4, 5])
      for (
        const key of [
          "epoch",
          "progress",
          "learning_rate",
          "num_sequences",
          "num_tokens",
          "num_loss_tokens",
          "train_mean_nll",
          "tokens/trained",
          "tokens/cumulative/trained",
          "cost/step_usd",
          "cost/cumulative_usd",
          "time/step",
          "time/wait"
        ]
      ) assert.isNumber(rows[3]![key], key)
      assert.deepInclude(rows[3], { num_sequences: 2, num_tokens: 8, num_loss_tokens: 6, "cost/cumulative_usd": 0 })
      const spans = Array.from(yield* Stream.runCollect(RunDirectory.lines(`${directory}/timing_spans.jsonl`)))
      assert.strictEqual(spans.length, total)
      const [span] = spans[0]!["spans"] as unknown as ReadonlyArray<RunDirectory.Span>
      assert.closeTo(span!.duration, span!.wall_end - span!.wall_start, 1e-9)
      const rest = yield* RestClient.RestClient
      assert.strictEqual(
        (yield* rest.getTrainingRunByPath(records[0]!.state_path!)).userMetadata?.["renderer_name"],
        "role_colon"
      )
    }))

  test(
    "what would make it another run is refused with the difference shown, and nothing is changed",
    (directory, fs) =>
      Effect.gen(function*() {
        yield* Effect.scoped(Effect.gen(function*() {
          const run = yield* open(directory)
          yield* run.train({ ...options, batches: yield* data() })
        }))
        const before = yield* fs.readFileString(`${directory}/journal.jsonl`)
        for (
          const [more, text] of [
            [{ config: { ...config, renderer: "qwen3" } }, "renderer: was \"role_colon\", is \"qwen3\""],
            [{ config: { ...config, rank: 4 } }, "rank: was 2, is 4"],
            [{ config: { ...config, note: undefined } }, "note: was \"one\", is nothing"],
            [{ seed: 2 }, "seed: was 1, is 2"]
          ] as const
        ) {
          const error = yield* Effect.flip(Effect.scoped(open(directory, more)))
          assert.strictEqual(error._tag, "RunMismatch")
          assert.include(error.message, text)
        }
        assert.strictEqual(yield* fs.readFileString(`${directory}/journal.jsonl`), before)
        const trained = (more: Partial<Run.OpenOptions>, train: Partial<Run.TrainOptions>) =>
          Effect.scoped(Effect.gen(function*() {
            const run = yield* open(directory, more)
            return yield* run.train({ ...options, batches: yield* data(), ...train })
          }))
        for (
          const [train, text] of [
            [{ batches: yield* data(4) }, "batch_size: was 2, is 4"],
            [{ batches: yield* data(2, examples.slice(1)) }, "data: was \""],
            [{ adam: Schedule.linear(2e-2, total) }, "adam: was \"linear(0.01, 6)\", is \"linear(0.02, 6)\""],
            [{ loss: "ppo" as const }, "loss: was \"cross_entropy\", is \"ppo\""],
            [{ settings: { version: 2 } }, "version: was nothing, is 2"]
          ] as const
        ) {
          const error = yield* Effect.flip(trained({}, train))
          assert.strictEqual(error._tag, "RunMismatch")
          assert.include((error as Error).message, text)
        }
        // on purpose
        const summary = yield* trained(
          { config: { ...config, note: "two" }, accept: ["note", "version"] },
          { settings: { version: 2 } }
        )
        assert.strictEqual(summary.updates, total)
        assert.include(yield* fs.readFileString(`${directory}/config.json`), "\"note\": \"two\"")
      })
  )

  test("done, it does nothing; with more to do, it goes on", (directory) =>
    Effect.gen(function*() {
      const rest = yield* RestClient.RestClient
      const models = Effect.map(Stream.runCount(rest.listTrainingRuns()), (n) => n)
      const train = (total: number) =>
        Effect.scoped(Effect.gen(function*() {
          const run = yield* open(directory)
          return yield* run.train({ ...options, total, batches: yield* data() })
        }))
      yield* train(4)
      const made = yield* models
      assert.strictEqual((yield* train(4)).updates, 4)
      assert.strictEqual(yield* models, made)
      yield* train(total)
      assert.strictEqual(yield* models, made + 1)
      assert.deepStrictEqual(yield* nllOf(directory), yield* undisturbed(directory))
    }))

  test("a session that ends, and a run that is corrupted, are recovered from by policy, with events", (directory) =>
    Effect.gen(function*() {
      const run = yield* open(directory)
      const seen: Array<string> = []
      let ended = 0
      yield* Effect.forkScoped(Stream.runForEach(yield* run.events, (event) =>
        Effect.sync(() => {
          seen.push(event._tag === "Recovery" ? event.event._tag : event._tag)
        })))
      yield* run.train({
        ...options,
        batches: ({ service, step }) =>
          Effect.gen(function*() {
            // twice, in the middle of what is on its way
            if ((step === 3 && ended === 0) || (step === 5 && ended === 1)) {
              ended++
              yield* service.transport.send({
                operation: "finish",
                method: "POST",
                path: `sessions/${service.sessionId}/finish`,
                pool: "session",
                body: {
                  bytes: new TextEncoder().encode("{\"reason\":{\"type\":\"success\"},\"detail\":null}"),
                  contentType: "application/json"
                }
              })
            }
            return yield* (yield* data()).batch(step, 1)
          })
      })
      assert.strictEqual(ended, 2)
      assert.strictEqual(seen.filter((tag) => tag === "Completed").length, 3)
      assert.strictEqual(seen.filter((tag) => tag === "Began").length, 3)
      assert.include(seen, "CheckpointSaved")
      assert.deepStrictEqual(yield* nllOf(directory), yield* undisturbed(directory))
    }))

  test("what fails again and again without progress is told", (directory) =>
    Effect.gen(function*() {
      const run = yield* open(directory, { recovery: { backoff: "1 millis", maxAttempts: 2 } })
      let attempts = 0
      const error = yield* Effect.flip(run.train({
        ...options,
        batches: ({ client, step }) =>
          step < 3 ? Effect.flatMap(data(), (batches) => batches.batch(step, 1)) : Effect.gen(function*() {
            attempts++
            yield* Effect.flatMap(client.unload, Future.await)
            return examples
          })
      }))
      assert.include(["ClientClosed", "NotFound"], error._tag)
      assert.strictEqual(attempts, 3)
    }))

  test("a failure of the program's own passes through; the run goes on where it was", (directory) =>
    Effect.gen(function*() {
      const run = yield* open(directory)
      const batches = yield* data()
      const error = yield* Effect.flip(run.train({
        ...options,
        batches: ({ step }) => step === 3 ? Effect.fail("no data today" as const) : batches.batch(step, 1)
      }))
      assert.strictEqual(error, "no data today")
      yield* run.train({ ...options, batches: ({ step }) => batches.batch(step, 1) })
      assert.deepStrictEqual(yield* nllOf(directory), yield* undisturbed(directory))
    }))

  test("data that are no pure function of the step are refused", (directory) =>
    Effect.gen(function*() {
      let calls = 0
      const batches = () => Effect.succeed([Datum.fromCompletion([1, ++calls], [3])])
      const run = yield* open(directory)
      const failing = { ...options, metrics: ({ step }: Run.StepDone) => step === 3 ? crash() : {} }
      const crash = (): never => {
        throw new Error("a defect")
      }
      assert.isTrue(Exit.isFailure(yield* Effect.exit(run.train({ ...failing, batches }))))
      const error = yield* Effect.flip(run.train({ ...options, batches }))
      assert.strictEqual(error._tag, "RunMismatch")
      assert.match((error as Error).message, /batch of step [23]: was/)
    }))

  test("checkpoints are removed when the next is complete, never before", (directory, fs) =>
    Effect.gen(function*() {
      const rest = yield* RestClient.RestClient
      const run = yield* open(directory)
      yield* run.train({ ...options, batches: yield* data(), checkpoint: { every: 1, keep: 2, sampler: true } })
      const kept = yield* run.checkpoints
      assert.deepStrictEqual(kept.map(({ name }) => name), ["000004", "000005", "final"])
      const modelId = kept[0]!.path.split("/")[2]!
      const stored = Array.from(yield* Stream.runCollect(rest.listCheckpoints(modelId)), ({ checkpointId }) =>
        checkpointId)
      assert.deepStrictEqual(
        stored.sort(),
        ["000004", "000005", "final"].flatMap((name) => [`sampler_weights/${name}`, `weights/${name}`]).sort()
      )
      const journal = yield* fs.readFileString(`${directory}/journal.jsonl`)
      const order = journal.split("\n").flatMap((line) => {
        const match = /"t":"(saved|removing)".*?weights\/(\w+)"/.exec(line)
        return match === null ? [] : [`${match[1]} ${match[2]}`]
      })
      assert.isBelow(order.indexOf("saved 000003"), order.indexOf("removing 000001"))
      assert.isBelow(order.indexOf("saved 000004"), order.indexOf("removing 000002"))
    }))

  test("the best by a metric is kept", (directory) =>
    Effect.gen(function*() {
      const run = yield* open(directory)
      yield* run.train({
        ...options,
        batches: yield* data(),
        metrics: ({ step }) => ({ score: [3, 9, 4, 2, 1, 0][step]! }),
        checkpoint: { every: 1, keep: 1, sampler: false, best: { metric: "score", mode: "max" } }
      })
      assert.deepStrictEqual((yield* run.checkpoints).map(({ name, score }) => [name, score]), [
        ["000002", 9],
        ["000005", 1],
        ["final", 0]
      ])
    }))

  test("a budget ends the training before it would be passed, with a checkpoint; with more it goes on", (directory) =>
    Effect.gen(function*() {
      const train = (tokens: number) =>
        Effect.scoped(Effect.gen(function*() {
          const run = yield* open(directory)
          return yield* run.train({ ...options, batches: yield* data(), checkpoint: { sampler: false } })
        })).pipe(Effect.provide(Budget.layer({ tokens })))
      // 8 tokens a step
      const error = yield* Effect.flip(train(30))
      assert.deepInclude(error, { _tag: "BudgetExceeded", unit: "tokens", limit: 30, spent: 24, wanted: 8 })
      const [record] = yield* RunDirectory.checkpoints(directory)
      assert.strictEqual(record!["updates"], 3)
      // what another process of the run spends counts
      yield* Effect.scoped(
        Effect.flatMap(Budget.makeIn(directory, { tokens: 60 }), ({ claim }) => claim({ tokens: 20, usd: 0 }))
      )
      const second = yield* Effect.flip(train(60))
      assert.deepInclude(second, { spent: 60, limit: 60 })
      assert.strictEqual((yield* RunDirectory.checkpoints(directory)).at(-1)!["updates"], 5)
      const summary = yield* train(1000)
      assert.strictEqual(summary.usage.trained, total * 8)
      assert.deepStrictEqual(yield* nllOf(directory), yield* undisturbed(directory))
    }))

  test("a budget in USD needs prices", (directory) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        Effect.scoped(open(directory, { config: { ...config, baseModel: "someone/else" } })).pipe(
          Effect.provide(Budget.layer({ usd: 1 }))
        )
      )
      assert.include(error.message, "no complete price of someone/else")
    }))

  test("figures of one's own and evaluations stand in the rows; an estimate counts without sending", (directory) =>
    Effect.gen(function*() {
      const run = yield* open(directory)
      const evaluated: Array<number> = []
      const train = {
        ...options,
        batches: yield* data(),
        metrics: ({ data }: Run.StepDone) => ({ examples: data.length }),
        evaluate: {
          every: 2,
          run: ({ client, step }: Run.StepContext) =>
            Effect.gen(function*() {
              evaluated.push(step)
              const { metrics } = yield* Effect.flatMap(client.forward(examples, "cross_entropy"), Future.await)
              return { "test/loss": metrics["loss:sum"]! }
            }).pipe(Effect.orDie)
        }
      }
      const estimate = yield* run.estimate(train)
      assert.deepInclude(estimate, { steps: total, usd: 0, note: "the embedded server costs nothing" })
      assert.strictEqual(estimate.usage.trained, total * 8)
      assert.strictEqual((yield* run.usage).trained, 0)
      yield* run.train(train)
      assert.deepStrictEqual(evaluated, [0, 2, 4])
      const rows = yield* rowsOf(directory)
      assert.deepStrictEqual(rows.map((row) => typeof row["test/loss"]), [
        "number",
        "undefined",
        "number",
        "undefined",
        "number",
        "undefined"
      ])
      assert.isTrue(rows.every(({ examples }) => examples === 2))
    }))

  test("a value is made once in the life of a run: the reference of a preference loss survives", (directory) =>
    Effect.gen(function*() {
      const paths: Array<string> = []
      const train = (stop: number | undefined) =>
        Effect.scoped(Effect.gen(function*() {
          const run = yield* open(directory)
          const reference = yield* run.once(
            "reference",
            Schema.String,
            run.use(({ client }) =>
              Effect.map(Effect.flatMap(client.saveWeightsForSampler("reference"), Future.await), ({ path }) => path)
            )
          )
          paths.push(reference)
          const batches = yield* data()
          yield* run.train({
            ...options,
            batches: ({ step }) => step === stop ? Effect.fail("stop" as const) : batches.batch(step, 1),
            settings: { version: 1 },
            loss: (client, data, { service }) =>
              Effect.scoped(Effect.gen(function*() {
                const sampler = yield* service.createSamplingClient({ modelPath: reference })
                const against = yield* Effect.forEach(data, ({ modelInput }) => sampler.computeLogprobs(modelInput))
                const sums = against.map((values) => values.reduce<number>((sum, value) => sum + (value ?? 0), 0))
                return yield* CustomLoss.forwardBackwardCustom(client, data, (_, logprobs) => ({
                  loss: logprobs.reduce(
                    (sum, { values }, d) => sum + (values.reduce((a, b) => a + b, 0) - sums[d]!) ** 2,
                    0
                  ),
                  gradients: logprobs.map(({ values }, d) => {
                    const delta = values.reduce((a, b) => a + b, 0) - sums[d]!
                    return Float32Array.from(values, () => 2 * delta + 1)
                  }),
                  metrics: { reference: sums[0]! }
                }))
              }))
          })
          return (yield* rowsOf(run.directory)).map((row) => row["reference"])
        }))
      yield* Effect.flip(train(3))
      const resumed = yield* train(undefined)
      assert.strictEqual(new Set(paths).size, 1)
      const own = `${directory}-whole`
      directory = own
      const whole = yield* train(undefined)
      assert.deepStrictEqual(resumed, whole)
      assert.isTrue(whole.every((value) => typeof value === "number"))
    }))

  test("a directory that the cookbook wrote is gone on with", (directory, fs) =>
    Effect.gen(function*() {
      // three updates by somebody else, and their record
      const service = yield* ServiceClient.ServiceClient
      const batches = yield* data()
      const { path } = yield* Effect.scoped(Effect.gen(function*() {
        const client = yield* service.createLoraTrainingClient({ baseModel: config.baseModel, rank: 2, seed: 1 })
        for (let step = 0; step < 5; step++) {
          yield* client.forwardBackward(yield* batches.batch(step, 1), "cross_entropy")
          yield* client.optimStep({ learningRate: options.adam.at(step) })
        }
        return yield* Effect.flatMap(client.saveState("000005"), Future.await)
      }))
      yield* fs.makeDirectory(directory)
      yield* fs.writeFileString(
        `${directory}/config.json`,
        JSON.stringify({ model_name: config.baseModel, recipe_name: "x" })
      )
      yield* fs.writeFileString(
        `${directory}/checkpoints.jsonl`,
        `${JSON.stringify({ name: "000005", batch: 1, epoch: 1, state_path: path, elapsed_tokens: 40, extra: [1] })}\n`
      )
      yield* fs.writeFileString(
        `${directory}/metrics.jsonl`,
        [0, 1, 2, 3, 4, 5].map((step) => `${JSON.stringify({ step, train_mean_nll: step })}\n`).join("")
      )
      const run = yield* open(directory)
      yield* run.train({ ...options, batches })
      const rows = yield* nllOf(directory)
      assert.deepStrictEqual(rows.slice(0, 5), [0, 1, 2, 3, 4].map((step) => [step, step]))
      assert.deepStrictEqual(rows[5], (yield* undisturbed(directory))[5])
      assert.include(yield* fs.readFileString(`${directory}/config.json`), "recipe_name")
      assert.strictEqual(
        (yield* fs.readFileString(`${directory}/metrics.jsonl.pre_resume_000005`)).trim().split("\n").length,
        6
      )
      const records = yield* RunDirectory.checkpoints(directory)
      assert.deepStrictEqual(records[0]!["extra"], [1])
      assert.deepStrictEqual(records.map(({ name }) => name), ["000005", "final"])
      assert.deepStrictEqual((yield* run.checkpoints).map(({ kind }) => kind), ["adopted", "final"])
    }))

  test("has one writer at a time", (directory) =>
    Effect.gen(function*() {
      const run = yield* open(directory)
      const error = yield* Effect.flip(Effect.scoped(open(directory)))
      assert.strictEqual(error._tag, "RunInUse")
      assert.include(error.message, run.directory)
    }))

  test("interrupted, it ends at once and can be opened again", (directory) =>
    Effect.gen(function*() {
      const life = Effect.scoped(Effect.gen(function*() {
        const run = yield* open(directory)
        const batches = yield* data()
        yield* run.train({ ...options, batches: ({ step }) => step === 4 ? Effect.never : batches.batch(step, 1) })
      }))
      const exit = yield* Effect.exit(
        Effect.timeoutFail(life, { duration: "2 seconds", onTimeout: () => "late" as const })
      )
      assert.isTrue(Exit.isFailure(exit) && Option.getOrNull(Cause.failureOption(exit.cause)) === "late")
      const run = yield* open(directory)
      const batches = yield* data()
      yield* run.train({ ...options, batches: ({ step }) => batches.batch(step, 1) })
      assert.deepStrictEqual(yield* nllOf(directory), yield* undisturbed(directory))
    }))

  test("what cannot be meant is refused before anything is sent", (directory) =>
    Effect.gen(function*() {
      const run = yield* open(directory)
      const batches = yield* data()
      for (
        const [more, field] of [
          [{ depth: 0 }, "depth"],
          [{ total: 0 }, "total"],
          [{ prefetch: -1 }, "prefetch"],
          [{ evaluate: { every: 0, run: () => Effect.succeed({}) } }, "evaluate.every"],
          [{ batches: () => Effect.succeed(examples), total: undefined }, "total"],
          [{ checkpoint: { every: 0 } }, "checkpoint.every"]
        ] as const
      ) {
        const error = yield* Effect.flip(run.train({ ...options, batches, ...more }))
        assert.deepInclude(error, { _tag: "InvalidInput", field })
      }
      assert.strictEqual(
        (yield* Effect.flip(Effect.scoped(open(`${directory}2`, { seed: 0.5 })))).message,
        "seed: expected a whole number, got 0.5"
      )
    }))
})
