import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as fc from "effect/FastCheck"
import { EngineError } from "../../../src/engine/Engine.js"
import type { Outcome } from "../../../src/engine/host/messages.js"
import { makeMailbox, makeRunLane, once, partOf } from "../../../src/engine/host/runLane.js"

describe("the parts of a batch", () => {
  const data = (lengths: ReadonlyArray<number>) =>
    lengths.map((length) => ({ tokens: new Int32Array(length), lossInputs: {} }))

  it("follow one another, leave nothing out and differ by no more than the longest datum", () => {
    fc.assert(fc.property(
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 5 }),
      (lengths, size) => {
        let end = 0
        for (let rank = 0; rank < size; rank++) {
          const { from, to } = partOf(data(lengths), rank, size)
          assert.strictEqual(from, end)
          end = to
          const tokens = lengths.slice(from, to).reduce((a, b) => a + b, 0)
          const share = lengths.reduce((a, b) => a + b, 0) / size
          assert.isAtMost(Math.abs(tokens - share), Math.max(...lengths))
        }
        assert.strictEqual(end, lengths.length)
      }
    ))
  })

  it("are even for even data", () => {
    assert.deepStrictEqual([0, 1].map((rank) => partOf(data([9, 9, 9, 9]), rank, 2)), [{ from: 0, to: 2 }, {
      from: 2,
      to: 4
    }])
    assert.deepStrictEqual([0, 1].map((rank) => partOf(data([30, 10, 10, 10]), rank, 2)), [
      { from: 0, to: 1 },
      { from: 1, to: 4 }
    ])
  })
})

describe("the lane of a run", () => {
  it("does one operation after the other, each in its slices, and waits where one waits", () => {
    const emptied: Array<boolean> = []
    const lane = makeRunLane((lane) => emptied.push(lane.ready()))
    const outcomes: Array<Outcome> = []
    let slices = 0
    let waits = true
    lane.push(
      { ready: () => slices < 2 || !waits, slice: () => ++slices < 3 ? undefined : Either.void },
      (outcome) => outcomes.push(outcome)
    )
    const error = new EngineError({ reason: "UnknownRun", detail: "no such run" })
    lane.push(once(() => Either.left(error)), (outcome) => outcomes.push(outcome))
    lane.slice()
    lane.slice()
    assert.isFalse(lane.ready())
    waits = false
    assert.isTrue(lane.ready())
    lane.slice()
    assert.deepStrictEqual(outcomes, [{ ok: true, value: undefined }])
    assert.deepStrictEqual(emptied, [])
    lane.slice()
    assert.deepStrictEqual(outcomes[1], { ok: false, reason: "UnknownRun", detail: "no such run" })
    assert.deepStrictEqual(emptied, [false])
    lane.slice()
    assert.strictEqual(outcomes.length, 2)
  })
})

describe("the mailbox", () => {
  it("keeps messages by operation and sender until they are cleared", () => {
    const mailbox = makeMailbox()
    const message = (id: number) => ({ id, gradients: Float32Array.of(id), failure: undefined })
    mailbox.put(1, message(7))
    mailbox.put(2, message(7))
    mailbox.put(1, message(8))
    assert.deepStrictEqual([...mailbox.of(7).keys()], [1, 2])
    mailbox.clear(7)
    assert.strictEqual(mailbox.of(7).size, 0)
    assert.deepStrictEqual(mailbox.of(8).get(1), message(8))
  })
})
