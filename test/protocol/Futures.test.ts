import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Futures from "../../src/protocol/Futures.js"

describe("classify", () => {
  it("tells the answers apart in the order of the protocol", () => {
    assert.deepStrictEqual(
      Futures.classify({
        type: "try_again",
        request_id: "r",
        queue_state: "paused_capacity",
        queue_state_reason: "busy",
        error: 1
      }),
      {
        _tag: "Pending",
        queueState: "paused_capacity",
        queueStateReason: "busy"
      }
    )
    assert.deepStrictEqual(Futures.classify({ status: "complete_metadata", response_payload_size: 7 }), {
      _tag: "CompleteMetadata",
      responsePayloadSize: 7
    })
    assert.deepStrictEqual(Futures.classify({ error: "bad", category: "user" }), {
      _tag: "Failed",
      error: "bad",
      category: "user"
    })
    const result = { model_id: "m", type: "create_model" }
    assert.deepStrictEqual(Futures.classify(result), { _tag: "Completed", value: result })
  })

  it("reads what it does not know as unknown, and keeps results of every form", () => {
    assert.deepStrictEqual(Futures.classify({ type: "try_again" }), { _tag: "Pending", queueState: "unknown" })
    assert.deepStrictEqual(Futures.classify({ type: "try_again", queue_state: "odd", queue_state_reason: "" }), {
      _tag: "Pending",
      queueState: "unknown"
    })
    for (const category of ["User", null, 3, undefined]) {
      assert.deepStrictEqual(Futures.classify({ error: null, category }), {
        _tag: "Failed",
        error: "the request failed without a message",
        category: "unknown"
      })
    }
    assert.strictEqual((Futures.classify({ error: "x" }) as { readonly category?: string }).category, "unknown")
    assert.deepStrictEqual(Futures.classify({ error: "x", category: "server" }), {
      _tag: "Failed",
      error: "x",
      category: "server"
    })
    for (const size of [-1, "7", undefined, Number.NaN]) {
      assert.deepStrictEqual(Futures.classify({ status: "complete_metadata", response_payload_size: size }), {
        _tag: "CompleteMetadata",
        responsePayloadSize: 0
      })
    }
    assert.deepStrictEqual(Futures.classify({ status: "complete_metadata" }), {
      _tag: "CompleteMetadata",
      responsePayloadSize: 0
    })
    for (const value of [null, 1, "x", [], {}, { type: "other" }, { status: "ok" }]) {
      assert.deepStrictEqual(Futures.classify(value), { _tag: "Completed", value })
    }
  })

  it("is the inverse of what a server writes", () => {
    const tryAgain = Schema.encodeSync(Futures.TryAgain)({
      requestId: "r",
      queueState: "active",
      queueStateReason: "why"
    })
    assert.deepStrictEqual(tryAgain, {
      request_id: "r",
      queue_state: "active",
      queue_state_reason: "why",
      type: "try_again"
    })
    assert.deepStrictEqual(Futures.classify(tryAgain), {
      _tag: "Pending",
      queueState: "active",
      queueStateReason: "why"
    })
    const metadata = Schema.encodeSync(Futures.CompleteMetadata)({
      status: "complete_metadata",
      responsePayloadSize: 9
    })
    assert.deepStrictEqual(Futures.classify(metadata), { _tag: "CompleteMetadata", responsePayloadSize: 9 })
    const failed = Schema.encodeSync(Futures.RequestFailedBody)({ error: "e", category: "server" })
    assert.deepStrictEqual(Futures.classify(failed), { _tag: "Failed", error: "e", category: "server" })
  })

  it("reads the body of a 408, whatever it is", () => {
    assert.deepStrictEqual(Futures.pending({ queue_state: "paused_rate_limit" }), {
      _tag: "Pending",
      queueState: "paused_rate_limit"
    })
    for (const body of [undefined, null, "", []]) {
      assert.deepStrictEqual(Futures.pending(body), { _tag: "Pending", queueState: "unknown" })
    }
  })
})
