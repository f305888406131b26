import { assert, describe } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { type Datum, Future } from "tinkex"
import { FaultScript, RecordingEngine } from "tinkex/testing"
import { datum, leftovers, scenario, service, trainingOf, Wire } from "./fixtures/world.js"

const data = (n: number): ReadonlyArray<Datum.Datum> => Array.from({ length: n }, (_, i) => datum((i % 500) + 1))

/** What was done to runs once they were made, in order. */
const applied = Effect.map(
  Effect.flatMap(RecordingEngine.RecordingEngine, (engine) => engine.applied),
  (entries) => entries.filter(({ seqId }) => seqId > 0)
)

const passes = Effect.map(
  Effect.flatMap(RecordingEngine.RecordingEngine, (engine) => engine.operations),
  (operations) => operations.flatMap((operation) => operation._tag === "Pass" ? [operation.request] : [])
)

describe("training loop", () => {
  scenario(
    "1,025 examples against a server that takes 1,024: two requests, one result, in order before step and save",
    { server: { clientConfig: { fwdbwdMaxChunkLen: 1024 } } },
    Effect.gen(function*() {
      const client = yield* service()
      const training = yield* trainingOf(client)
      const examples = data(1025)
      const gradients = yield* training.forwardBackward(examples, "cross_entropy")
      const step = yield* training.optimStep({ learningRate: 0.5 })
      const save = yield* training.saveState("step-1")
      const output = yield* Future.await(gradients)
      yield* Future.await(step)
      const { path } = yield* Future.await(save)

      assert.deepStrictEqual((yield* applied).map(({ endpoint }) => endpoint), [
        "forward_backward",
        "forward_backward",
        "optim_step",
        "save_weights"
      ])
      assert.deepStrictEqual((yield* applied).map(({ seqId }) => seqId), [1, 2, 3, 4])
      const requests = yield* passes
      assert.deepStrictEqual(requests.map((request) => request.data.length), [1024, 1])
      // every example once, in the order in which they were given
      assert.deepStrictEqual(
        requests.flatMap((request) => request.data.map(({ lossInputs }) => lossInputs["target_tokens"]!.data[0])),
        examples.map((_, i) => (i % 500) + 1)
      )
      assert.strictEqual(output.lossFnOutputs.length, 1025)
      assert.strictEqual(output.metrics["loss:sum"], 1025)
      assert.strictEqual(path, `tinker://${training.modelId}/weights/step-1`)
      const engine = yield* RecordingEngine.RecordingEngine
      assert.strictEqual(yield* engine.weight(training.modelId), 0.5 * 1025)
      assert.deepStrictEqual(yield* leftovers(client), { permits: 0, entries: 0, pending: 0 })
    })
  )

  scenario(
    "1,024 examples are one request",
    { server: { clientConfig: { fwdbwdMaxChunkLen: 1024 } } },
    Effect.gen(function*() {
      const training = yield* trainingOf(yield* service())
      yield* Effect.flatMap(training.forwardBackward(data(1024), "cross_entropy"), Future.await)
      assert.deepStrictEqual((yield* passes).map((request) => request.data.length), [1024])
    })
  )

  scenario(
    "the next operation is submitted before the first is done",
    { rules: [FaultScript.on("forward_backward", FaultScript.latency("20 seconds", "applied"))] },
    Effect.gen(function*() {
      const training = yield* trainingOf(yield* service())
      const start = yield* Clock.currentTimeMillis
      const pass = yield* training.forwardBackward(data(1), "cross_entropy")
      const step = yield* training.optimStep()
      assert.strictEqual(yield* Clock.currentTimeMillis, start)
      yield* Future.await(pass)
      yield* Future.await(step)
      assert.isAtLeast((yield* Clock.currentTimeMillis) - start, 20_000)
    })
  )

  const disturbances: ReadonlyArray<readonly [string, FaultScript.Fault, number]> = [
    ["429", FaultScript.rateLimited({ retryAfter: "1 second" }), 1],
    ["429 without a time", FaultScript.rateLimited(), 1],
    ["503", FaultScript.status(503), 2],
    ["500 after the work was done", FaultScript.status(500, { when: "after" }), 1],
    ["a broken connection", FaultScript.reset(), 2],
    ["a connection that breaks after the work was done", FaultScript.reset("after"), 2],
    ["an answer that breaks off", FaultScript.truncated(3), 2],
    ["408", FaultScript.status(408), 1]
  ]
  for (const [what, fault, count] of disturbances) {
    scenario(
      `${what} while submitting: everything happens once, in order`,
      { rules: [FaultScript.on(["forward_backward", "optim_step", "save_weights"], fault, { count, skip: 1 })] },
      Effect.gen(function*() {
        const wire = yield* Wire
        const client = yield* service()
        const training = yield* trainingOf(client)
        const operations = [
          yield* training.forwardBackward(data(1), "cross_entropy"),
          yield* training.optimStep({ learningRate: 1 }),
          yield* training.forwardBackward(data(2), "cross_entropy"),
          yield* training.optimStep({ learningRate: 1 }),
          yield* training.saveState("done")
        ]
        yield* Future.await(Future.all<unknown>(operations))
        assert.deepStrictEqual((yield* applied).map(({ endpoint, seqId }) => `${seqId} ${endpoint}`), [
          "1 forward_backward",
          "2 optim_step",
          "3 forward_backward",
          "4 optim_step",
          "5 save_weights"
        ])
        const sent = ["forward_backward", "optim_step", "save_weights"].flatMap((endpoint) => wire.of(endpoint))
        assert.strictEqual(sent.length, 5 + count)
        const engine = yield* RecordingEngine.RecordingEngine
        assert.strictEqual(yield* engine.weight(training.modelId), 3)
      })
    )
  }

  const answers: ReadonlyArray<readonly [string, FaultScript.Fault, number]> = [
    ["408", FaultScript.status(408), 3],
    ["404", FaultScript.status(404), 2],
    ["503", FaultScript.status(503), 3],
    ["429", FaultScript.rateLimited({ retryAfter: "1 second" }), 1],
    ["a broken connection", FaultScript.reset(), 2],
    ["a connection that breaks in the answer", FaultScript.reset("after"), 2],
    ["an answer that breaks off", FaultScript.truncated(3), 2],
    ["a slow answer", FaultScript.slowDrip(3, "1 second"), 1],
    ["a late answer", FaultScript.latency("44 seconds"), 1],
    ["an answer later than the time limit", FaultScript.latency("50 seconds"), 1]
  ]
  for (const [what, fault, count] of answers) {
    scenario(
      `${what} to a poll is no failure`,
      { rules: [FaultScript.on("retrieve_future", fault, { count, skip: 1 })] },
      Effect.gen(function*() {
        const client = yield* service()
        const training = yield* trainingOf(client)
        const output = yield* Effect.flatMap(training.forwardBackward(data(2), "cross_entropy"), Future.await)
        assert.strictEqual(output.metrics["loss:sum"], 2)
        assert.strictEqual((yield* applied).length, 1)
        const injections = yield* FaultScript.Injections
        assert.strictEqual(yield* injections.total, count)
        assert.deepStrictEqual(yield* leftovers(client), { permits: 0, entries: 0, pending: 0 })
      })
    )
  }

  scenario(
    "a result that is gone fails its operation and none that follows",
    { rules: [FaultScript.on("retrieve_future", FaultScript.status(410), { count: 1, skip: 1 })] },
    Effect.gen(function*() {
      const training = yield* trainingOf(yield* service())
      const lost = yield* training.forwardBackward(data(1), "cross_entropy")
      const error = yield* Effect.flip(Future.await(lost))
      assert.strictEqual(error._tag, "FutureExpired")
      yield* Effect.flatMap(training.optimStep(), Future.await)
      assert.deepStrictEqual((yield* applied).map(({ seqId }) => seqId), [1, 2])
    })
  )

  scenario(
    "a mistake that the server finds fails its operation at once and none that follows",
    { rules: [FaultScript.on("forward_backward", FaultScript.status(400, { detail: "no" }), { count: 1 })] },
    Effect.gen(function*() {
      const wire = yield* Wire
      const training = yield* trainingOf(yield* service())
      const error = yield* Effect.flip(training.forwardBackward(data(1), "cross_entropy"))
      assert.strictEqual(error._tag, "BadRequest")
      assert.strictEqual(wire.of("forward_backward").length, 1)
      yield* Effect.flatMap(training.optimStep(), Future.await)
      // the number of the refused one was used up
      assert.deepStrictEqual((yield* applied).map(({ seqId }) => seqId), [2])
    })
  )

  scenario(
    "a full disk fails a save with the server's words, and the run goes on",
    { rules: [FaultScript.on("all", FaultScript.storageFailure("rename"), { skip: 1 })] },
    Effect.gen(function*() {
      const training = yield* trainingOf(yield* service())
      const error = yield* Effect.flip(Effect.flatMap(training.saveState("one"), Future.await))
      assert.strictEqual(error._tag, "RequestFailed")
      yield* Effect.flatMap(training.forwardBackward(data(1), "cross_entropy"), Future.await)
      assert.deepStrictEqual((yield* applied).map(({ endpoint, outcome }) => `${endpoint} ${outcome}`), [
        "save_weights failure",
        "forward_backward success"
      ])
    })
  )

  scenario(
    "heartbeats that are lost do not end the session; one that expired says so",
    {
      rules: [
        FaultScript.on("session_heartbeat", FaultScript.reset(), { count: 13 }),
        FaultScript.on(["session_heartbeat", "optim_step"], FaultScript.sessionExpired, { skip: 14 })
      ]
    },
    Effect.gen(function*() {
      const client = yield* service()
      const training = yield* trainingOf(client)
      yield* Effect.sleep("125 seconds")
      const lost = yield* client.sessionState
      assert.strictEqual(lost._tag, "Degraded")
      yield* Effect.flatMap(training.optimStep(), Future.await)
      yield* Effect.sleep("40 seconds")
      yield* Effect.flip(training.optimStep()).pipe(
        Effect.map((error) => assert.strictEqual(error._tag, "PermissionDenied"))
      )
    })
  )
})
