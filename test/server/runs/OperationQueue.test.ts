import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import * as Harness from "../fixtures/harness.js"

describe("OperationQueue", () => {
  it.scoped("does the chunks of one pass in the order of their numbers, sent in reverse", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const third = yield* h.forwardBackward(model, 3, [Harness.datum(3), Harness.datum(3), Harness.datum(3)])
      const second = yield* h.forwardBackward(model, 2, [Harness.datum(2), Harness.datum(2)])
      assert.deepStrictEqual(h.methods(), ["createRun"])
      const first = yield* h.forwardBackward(model, 1, [Harness.datum(1)])
      for (const { body, status } of [first, second, third]) {
        assert.strictEqual(status, 202)
        yield* h.retrieve(body.request_id)
      }
      assert.deepStrictEqual(
        h.engine.calls.filter(({ method }) => method === "backward").map(({ detail }) => detail),
        [1, 2, 3]
      )
      assert.deepStrictEqual((yield* h.applied).map(({ seqId }) => seqId), [0, 1, 2, 3])
    }))

  it.scoped("gives the same request id for the same number and content, and does it once", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const once = yield* h.forwardBackward(model, 1, [Harness.datum(4)])
      const again = yield* h.forwardBackward(model, 1, [Harness.datum(4)])
      assert.strictEqual(again.body.request_id, once.body.request_id)
      yield* h.retrieve(once.body.request_id)
      const late = yield* h.forwardBackward(model, 1, [Harness.datum(4)])
      assert.strictEqual(late.body.request_id, once.body.request_id)
      assert.deepStrictEqual(h.methods(), ["createRun", "backward"])
    }))

  it.scoped("refuses a number that was used for something else, and goes on", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      yield* h.forwardBackward(model, 1, [Harness.datum(4)])
      const other = yield* h.forwardBackward(model, 1, [Harness.datum(5)])
      assert.strictEqual(other.status, 409)
      assert.include(other.body.detail, "seq_id 1")
      const step = yield* h.optimStep(model, 2)
      assert.strictEqual((yield* h.retrieve(step.body.request_id)).body.metrics["unclipped_grad_l2:mean"], 4)
    }))

  it.scoped("skips a number that does not come, and refuses it when it comes late", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const step = yield* h.optimStep(model, 2)
      const poll = yield* Effect.fork(h.retrieve(step.body.request_id))
      yield* h.held(1)
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(h.methods(), ["createRun"])
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(poll)).status, 200)
      assert.deepStrictEqual(h.methods(), ["createRun", "optimStep"])
      const late = yield* h.forwardBackward(model, 1, [Harness.datum(1)])
      assert.strictEqual(late.status, 409)
      assert.include(late.body.detail, "too late")
      const next = yield* h.forwardBackward(model, 3, [Harness.datum(1)])
      assert.strictEqual((yield* h.retrieve(next.body.request_id)).body.metrics["loss:sum"], 1)
    }))

  it.scoped("waits for a missing number as long as others keep coming", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      for (let seqId = 2; seqId <= 4; seqId++) {
        yield* h.forwardBackward(model, seqId, [Harness.datum(seqId)])
        yield* TestClock.adjust("3 seconds")
      }
      assert.deepStrictEqual(h.methods(), ["createRun"])
      const first = yield* h.forwardBackward(model, 1, [Harness.datum(1)])
      yield* h.retrieve(first.body.request_id)
      yield* Harness.until(Effect.map(h.applied, (entries) => entries.length === 5))
      assert.deepStrictEqual((yield* h.applied).map(({ seqId }) => seqId), [0, 1, 2, 3, 4])
    }))

  it.scoped("does not wait for ever, however many others come", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      for (let seqId = 2; seqId <= 22; seqId++) {
        yield* h.forwardBackward(model, seqId, [Harness.datum(seqId)])
        yield* TestClock.adjust("3 seconds")
      }
      yield* Harness.until(Effect.map(h.applied, (entries) => entries.length === 22))
      assert.strictEqual((yield* h.forwardBackward(model, 1, [Harness.datum(1)])).status, 409)
    }))

  it.scoped("waits for a missing number while a body is being received", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      yield* h.optimStep(model, 2)
      let end = () => {}
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          end = () => controller.close()
        }
      })
      const answer = h.server.fetch(
        // the type of RequestInit does not know that a streamed body needs it
        new Request("http://test/api/v1/forward", { method: "POST", body, duplex: "half" } as RequestInit)
      )
      yield* Harness.until(Effect.sync(() => body.locked))
      yield* TestClock.adjust("59 seconds")
      assert.deepStrictEqual(h.methods(), ["createRun"])
      end()
      assert.strictEqual((yield* Effect.promise(() => answer)).status, 400)
      yield* TestClock.adjust("5 seconds")
      yield* Harness.until(Effect.sync(() => h.methods().includes("optimStep")))
    }))

  it.scoped("uses up the number of a refused request", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const empty = yield* h.forwardBackward(model, 1, [])
      assert.strictEqual(empty.status, 400)
      assert.include(empty.body.detail, "data")
      const again = yield* h.forwardBackward(model, 1, [])
      assert.deepStrictEqual(again.body, empty.body)
      const step = yield* h.optimStep(model, 2)
      assert.strictEqual((yield* h.retrieve(step.body.request_id)).status, 200)
    }))

  it.scoped("settles only the future of an operation that fails", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      h.engine.failWhen((method) => method === "backward")
      const pass = yield* h.forwardBackward(model, 1, [Harness.datum(1)])
      const failed = yield* h.retrieve(pass.body.request_id)
      assert.strictEqual(failed.status, 200)
      assert.deepStrictEqual(failed.body, { error: "the engine failed in backward", category: "server" })
      h.engine.failWhen(undefined)
      const step = yield* h.optimStep(model, 2)
      assert.strictEqual((yield* h.retrieve(step.body.request_id)).status, 200)
      assert.deepStrictEqual((yield* h.applied).map(({ outcome }) => outcome), ["success", "failure", "success"])
    }))

  it.scoped("takes requests without a number in the order in which they come", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const one = yield* h.forwardBackward(model, 0, [Harness.datum(7)])
      const two = yield* h.forwardBackward(model, 0, [Harness.datum(7)])
      assert.notStrictEqual(one.body.request_id, two.body.request_id)
      const step = yield* h.post("/optim_step", { model_id: model, adam_params: {} })
      assert.strictEqual((yield* h.retrieve(step.body.request_id)).body.metrics["unclipped_grad_l2:mean"], 14)
    }))

  it.scoped("repeats an unnamed save under another sampler number", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const save = (sampler: number) =>
        h.post("/save_weights_for_sampler", { model_id: model, seq_id: 1, sampling_session_seq_id: sampler })
      const once = yield* save(0)
      const again = yield* save(1)
      assert.strictEqual(again.body.request_id, once.body.request_id)
      assert.match((yield* h.retrieve(once.body.request_id)).body.sampling_session_id, /:sample:0$/)
    }))

  it.scoped("says that it is out of capacity, and then takes no more", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ limits: { queuedOperations: 2 } })
      const model = yield* h.model
      const resume = yield* h.engine.pause
      const first = yield* h.optimStep(model, 1)
      for (let seqId = 2; seqId <= 16; seqId++) assert.strictEqual((yield* h.optimStep(model, seqId)).status, 202)
      const fiber = yield* Effect.fork(h.retrieve(first.body.request_id))
      yield* h.held(1)
      yield* TestClock.adjust("25 seconds")
      const poll = yield* Fiber.join(fiber)
      assert.strictEqual(poll.status, 408)
      assert.strictEqual(poll.body.queue_state, "paused_capacity")
      assert.include(poll.body.queue_state_reason, "16 operations")
      const beyond = yield* h.optimStep(model, 17)
      assert.strictEqual(beyond.status, 429)
      assert.isNotNull(beyond.headers.get("retry-after"))
      yield* resume
    }))

  it.scoped("unloads a model after what it was given", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      yield* h.forwardBackward(model, 1, [Harness.datum(1)])
      const unload = yield* h.post("/unload_model", { model_id: model })
      assert.deepStrictEqual((yield* h.retrieve(unload.body.request_id)).body, {
        model_id: model,
        type: "unload_model"
      })
      assert.deepStrictEqual(h.methods(), ["createRun", "backward", "releaseRun"])
      const late = yield* h.optimStep(model, 2)
      assert.strictEqual(late.status, 404)
      assert.include(late.body.detail, "unloaded")
    }))

  it.scoped("keeps the operations of 16 runs apart", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const session = yield* h.session
      const models = yield* Effect.forEach(Array.from({ length: 16 }, (_, i) => i), (i) =>
        Effect.map(
          h.post("/create_model", {
            session_id: session,
            model_seq_id: i,
            base_model: "test/tiny",
            lora_config: { rank: 8 }
          }),
          ({ body }) => body.model_id as string
        ), { concurrency: "unbounded" })
      yield* Effect.forEach(
        models,
        (model, i) =>
          Effect.forEach([4, 2, 3, 1], (seqId) =>
            seqId % 2 === 0 ? h.optimStep(model, seqId) : h.forwardBackward(model, seqId, [Harness.datum(i)])),
        { concurrency: "unbounded" }
      )
      yield* Harness.until(Effect.map(h.applied, (entries) =>
        entries.length === 16 * 5))
      const entries = yield* h.applied
      for (const [i, model] of models.entries()) {
        assert.deepStrictEqual(
          entries.filter(({ modelId }) => modelId === model).map(({ endpoint, seqId }) => `${seqId} ${endpoint}`),
          ["0 create_model", "1 forward_backward", "2 optim_step", "3 forward_backward", "4 optim_step"]
        )
        assert.strictEqual(h.engine.runs.get(model)!.weight, 2 * i)
      }
    }))
})
