import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import * as ForwardBackwardCodec from "../../../src/protocol/ForwardBackwardCodec.js"
import * as Harness from "../fixtures/harness.js"

describe("Futures", () => {
  it.scoped("gives the result to every waiter, and again to those who ask later", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const resume = yield* h.engine.pause
      const pass = yield* h.forwardBackward(model, 1, [Harness.datum(2)])
      const waiters = yield* Effect.forkAll([
        h.retrieve(pass.body.request_id),
        h.retrieve(pass.body.request_id),
        h.retrieve(pass.body.request_id)
      ])
      yield* h.held(3)
      yield* resume
      for (const { body } of yield* Fiber.join(waiters)) assert.strictEqual(body.metrics["loss:sum"], 2)
      assert.strictEqual((yield* h.retrieve(pass.body.request_id)).body.metrics["loss:sum"], 2)
    }))

  it.scoped("keeps the result of a waiter who goes away", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const resume = yield* h.engine.pause
      const pass = yield* h.forwardBackward(model, 1, [Harness.datum(2)])
      const lost = yield* Effect.fork(h.retrieve(pass.body.request_id))
      yield* h.held(1)
      yield* Fiber.interrupt(lost)
      yield* h.held(0)
      yield* resume
      assert.strictEqual((yield* h.retrieve(pass.body.request_id)).body.metrics["loss:sum"], 2)
      assert.deepStrictEqual(h.methods(), ["createRun", "backward"])
    }))

  it.scoped("holds a poll for 25 seconds, then answers 408 with the queue's state", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      yield* h.engine.pause
      const pass = yield* h.forwardBackward(model, 1, [Harness.datum(2)])
      const poll = yield* Effect.fork(h.retrieve(pass.body.request_id))
      yield* h.held(1)
      yield* TestClock.adjust("24999 millis")
      yield* h.held(1)
      yield* TestClock.adjust("1 millis")
      const { body, headers, status } = yield* Fiber.join(poll)
      assert.strictEqual(status, 408)
      assert.strictEqual(body.type, "try_again")
      assert.strictEqual(body.queue_state, "active")
      assert.strictEqual(body.request_id, pass.body.request_id)
      assert.isAbove(Number(headers.get("content-length")), 0)
    }))

  it.scoped("drops a result when its time is over, and says 410; an unknown id is 404", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ resultRetention: "10 seconds" })
      const model = yield* h.model
      const step = yield* h.optimStep(model, 1)
      assert.strictEqual((yield* h.retrieve(step.body.request_id)).status, 200)
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual((yield* h.retrieve(step.body.request_id)).status, 200)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* h.retrieve(step.body.request_id)).status, 410)
      assert.strictEqual((yield* h.retrieve("nobody")).status, 404)
    }))

  it.scoped("drops what was read, oldest first, when results take too much memory", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ limits: { resultBytes: 1000 } })
      const model = yield* h.model
      const steps = yield* Effect.forEach([1, 2, 3, 4, 5], (seqId) => h.optimStep(model, seqId))
      yield* Harness.until(Effect.map(h.server.stats, ({ pendingFutures }) => pendingFutures === 0))
      // nothing but the model's creation was read: nothing else may go
      for (const { body } of steps) assert.strictEqual((yield* h.retrieve(body.request_id)).status, 200)
      const last = yield* h.optimStep(model, 6)
      assert.strictEqual((yield* h.retrieve(last.body.request_id)).status, 200)
      assert.strictEqual((yield* h.retrieve(steps[0]!.body.request_id)).status, 410)
      assert.isAtMost((yield* h.server.stats).keptResultBytes, 1000)
    }))

  it.scoped("announces a large result first, to those who allow it", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ limits: { inlineResultBytes: 1000 } })
      const model = yield* h.model
      const data = Array.from({ length: 100 }, () => Harness.datum(1, 2, 3, 4))
      const pass = yield* h.forwardBackward(model, 1, data)
      const accept = { accept: ForwardBackwardCodec.mediaType }
      const announced = yield* h.post(
        "/retrieve_future",
        { request_id: pass.body.request_id, allow_metadata_only: true },
        accept
      )
      assert.strictEqual(announced.body.status, "complete_metadata")
      const whole = yield* h.retrieve(pass.body.request_id, accept)
      assert.strictEqual(whole.headers.get("content-type"), ForwardBackwardCodec.mediaType)
      assert.strictEqual(whole.bytes.length, announced.body.response_payload_size)
    }))

  it.scoped("gives JSON to those who do not ask for protobuf", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const pass = yield* h.forwardBackward(model, 1, [Harness.datum(2, 3)])
      const { body } = yield* h.retrieve(pass.body.request_id, { accept: "application/json" })
      assert.deepStrictEqual(body, {
        loss_fn_output_type: "CrossEntropyLossReturn",
        loss_fn_outputs: [{ logprobs: { data: [-1, -1], dtype: "float32", shape: [2] } }],
        metrics: { "loss:sum": 5, "clock_cycle:unique": 0 }
      })
    }))
})
