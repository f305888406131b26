import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Chunk, Effect, Exit, Fiber, Logger, Ref, Stream } from "effect"
import * as Future from "../../src/client/Future.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import type { Client } from "../../src/client/TrainingClient.js"
import * as Telemetry from "../../src/observability/Telemetry.js"
import * as Datum from "../../src/protocol/Datum.js"
import { TestServer } from "../../src/testing/index.js"
import type { TinkexError } from "../../src/TinkexError.js"
import * as TrainingLoop from "../../src/training/TrainingLoop.js"

const training = Effect.flatMap(
  ServiceClient.ServiceClient,
  (service) => service.createLoraTrainingClient({ baseModel: "tinkex/nano-random", rank: 4, seed: 1 })
)
const data = [Datum.fromCompletion([1, 2], [3, 4]), Datum.fromCompletion([5], [6])]
const options = { loss: "cross_entropy", adam: { learningRate: 1e-2 } } as const

describe("TrainingLoop", () => {
  it.scopedLive("a step is submitted whole before it is awaited, and gives both results", () =>
    Effect.gen(function*() {
      const client = yield* training
      const telemetry = yield* Telemetry.Telemetry
      const sent: Array<string> = []
      yield* telemetry.listen((event) => {
        if (event._tag === "HttpStart" && /(forward_backward|optim_step)$/.test(event.route)) sent.push(event.route)
      })
      const future = yield* TrainingLoop.trainStep(client, data, options)
      assert.strictEqual(sent.length, 2)
      const { output, update } = yield* Future.await(future)
      assert.strictEqual(output.lossFnOutputs.length, 2)
      assert.isAbove(update.metrics["unclipped_grad_l2:mean"], 0)
      assert.strictEqual(future.requestIds.length, 2)
    }).pipe(Effect.provide(TestServer.layer())))

  it.scopedLive("a run equals the naive loop bit for bit, and its steps come out in order", () =>
    Effect.gen(function*() {
      const [pipelined, naive] = [yield* training, yield* training]
      const schedule = (step: number) => ({ learningRate: 1e-2 / (1 + step) })
      const steps = yield* Stream.repeatValue(data).pipe(
        Stream.take(8),
        TrainingLoop.run(pipelined, { loss: "cross_entropy", adam: schedule, inFlight: 3 }),
        Stream.runCollect
      )
      const losses: Array<number> = []
      for (let step = 0; step < 8; step++) {
        const output = yield* Effect.flatMap(naive.forwardBackward(data, "cross_entropy"), Future.await)
        yield* Effect.flatMap(naive.optimStep(schedule(step)), Future.await)
        losses.push(output.metrics["loss:sum"])
      }
      assert.deepStrictEqual(Chunk.toReadonlyArray(Chunk.map(steps, ({ index }) => index)), [0, 1, 2, 3, 4, 5, 6, 7])
      assert.deepStrictEqual(
        Chunk.toReadonlyArray(Chunk.map(steps, ({ output }) => output.metrics["loss:sum"])),
        losses
      )
      assert.isBelow(losses[7], losses[0])
    }).pipe(Effect.provide(TestServer.layer())))

  it.scopedLive("never more than inFlight batches are pulled and not done", () =>
    Effect.gen(function*() {
      const client = yield* training
      for (const inFlight of [1, 2, 4]) {
        const open = yield* Ref.make(0)
        const most = yield* Ref.make(0)
        yield* Stream.repeatEffect(Effect.gen(function*() {
          const now = yield* Ref.updateAndGet(open, (n) => n + 1)
          yield* Ref.update(most, (n) => Math.max(n, now))
          return data
        })).pipe(
          Stream.take(10),
          TrainingLoop.run(client, { ...options, inFlight }),
          Stream.runForEach(() => Ref.update(open, (n) => n - 1))
        )
        // One more may have been pulled between a step being done and the consumer counting it
        assert.isAtMost(yield* Ref.get(most), inFlight + 1)
        assert.isAtLeast(yield* Ref.get(most), inFlight)
      }
    }).pipe(Effect.provide(TestServer.layer())))

  it.scopedLive("ends at the first failure with a typed error, and when the batches fail", () =>
    Effect.gen(function*() {
      const client = yield* training
      const bad = [Datum.fromCompletion([1], [100_000])]
      const failed = yield* Stream.make(data, bad, data).pipe(
        TrainingLoop.run(client, options),
        Stream.runCollect,
        Effect.exit
      )
      assert.isTrue(Exit.isFailure(failed))
      const own = yield* Stream.concat(Stream.make(data), Stream.fail("mine" as const)).pipe(
        TrainingLoop.run(client, options),
        Stream.runDrain,
        Effect.flip
      )
      assert.strictEqual(own, "mine")
      const refused = yield* Effect.flip(
        Stream.runDrain(TrainingLoop.run(Stream.make(data), client, { ...options, inFlight: 0 }))
      )
      assert.strictEqual((refused as TinkexError).message, "inFlight: expected a whole number, from 1, got 0")
      // The client is as usable as before
      yield* Effect.flatMap(client.forward(data, "cross_entropy"), Future.await)
    }).pipe(Effect.provide(TestServer.layer())))

  it.scopedLive("interrupting a run stops submitting; the client stays usable", () =>
    Effect.gen(function*() {
      const client = yield* training
      const done = yield* Ref.make(0)
      const fiber = yield* Stream.repeatValue(data).pipe(
        TrainingLoop.run(client, options),
        Stream.runForEach(() => Ref.update(done, (n) => n + 1)),
        Effect.fork
      )
      yield* Effect.yieldNow().pipe(Effect.repeat({ until: () => Effect.map(Ref.get(done), (n) => n >= 3) }))
      yield* Fiber.interrupt(fiber)
      yield* Effect.flatMap(client.forward(data, "cross_entropy"), Future.await)
    }).pipe(Effect.provide(TestServer.layer())))

  it.scopedLive("a program that waits between gradients and update is told so, once", () =>
    Effect.gen(function*() {
      const messages: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel._tag === "Warning") messages.push(String(message))
      })
      yield* Effect.gen(function*() {
        const client = yield* training
        for (let step = 0; step < 3; step++) {
          yield* Effect.flatMap(TrainingLoop.trainStep(client, data, options), Future.await)
        }
        assert.deepStrictEqual(messages, [])
        for (let step = 0; step < 3; step++) {
          yield* Effect.flatMap(client.forwardBackward(data, "cross_entropy"), Future.await)
          yield* Effect.flatMap(client.optimStep(), Future.await)
        }
        assert.strictEqual(messages.length, 1)
        assert.match(messages[0], /submit both, then await both/)
      }).pipe(Effect.provide(Logger.add(logger)))
    }).pipe(Effect.provide(TestServer.layer())))

  it("types: errors and requirements of the batches are those of the run", () => {
    type Run = Stream.Stream<TrainingLoop.Step, "mine" | TinkexError, Client>
    const run = (batches: Stream.Stream<ReadonlyArray<Datum.Datum>, "mine", Client>, client: Client) =>
      batches.pipe(TrainingLoop.run(client, options))
    expectTypeOf(run).returns.toEqualTypeOf<Run>()
  })
})
