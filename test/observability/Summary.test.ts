import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as TestContext from "effect/TestContext"
import * as Summary from "../../src/observability/Summary.js"

fc.configureGlobal({ seed: 20250 })

/** Two passes, in the order of size: as exact as doubles get. */
const exact = (values: ReadonlyArray<number>) => {
  const mean = values.reduce((sum, value) => sum + value / values.length, 0)
  const squares = values.map((value) => (value - mean) ** 2).sort((a, b) => a - b)
  const stddev = values.length < 2 ? 0 : Math.sqrt(squares.reduce((sum, value) => sum + value, 0) / (values.length - 1))
  return { mean, stddev }
}

describe("Summary", () => {
  it.effect("is empty at first", () =>
    Effect.gen(function*() {
      const summary = Summary.make({ duration: "1 minute" })
      assert.isTrue(Option.isNone(yield* summary.stats))
      yield* summary.record(Number.NaN)
      yield* summary.record(Number.POSITIVE_INFINITY)
      yield* summary.record(1e200)
      assert.isTrue(Option.isNone(yield* summary.stats))
      yield* summary.record(3)
      assert.deepStrictEqual(yield* summary.stats, Option.some({ count: 1, mean: 3, stddev: 0, min: 3, max: 3 }))
    }))

  it("gives mean and deviation of all values, spread over slices in any way, however large the mean", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.double({ min: -5, max: 5, noNaN: true }), fc.integer({ min: 0, max: 2000 })), {
          minLength: 2,
          maxLength: 40
        }),
        fc.constantFrom(0, 1e6, -1e9),
        (steps, offset) =>
          Effect.runPromise(Effect.provide(
            Effect.gen(function*() {
              const summary = Summary.make({ duration: "3 minutes", slices: 180 })
              const values: Array<number> = []
              for (const [value, wait] of steps) {
                values.push(value + offset)
                yield* summary.record(value + offset)
                yield* TestClock.adjust(wait)
              }
              const stats = Option.getOrThrow(yield* summary.stats)
              const expected = exact(values)
              assert.strictEqual(stats.count, values.length)
              assert.approximately(stats.mean, expected.mean, 1e-9 + Math.abs(offset) * 1e-14)
              assert.approximately(stats.stddev, expected.stddev, 1e-6)
              assert.strictEqual(stats.min, Math.min(...values))
              assert.strictEqual(stats.max, Math.max(...values))
            }),
            TestContext.TestContext
          ))
      ),
      { numRuns: 60 }
    ))

  it.effect("forgets what has left the window", () =>
    Effect.gen(function*() {
      const summary = Summary.make({ duration: "60 seconds", slices: 6 })
      yield* summary.record(10)
      yield* TestClock.adjust("30 seconds")
      yield* summary.record(20)
      assert.strictEqual(Option.getOrThrow(yield* summary.stats).mean, 15)
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual(Option.getOrThrow(yield* summary.stats).count, 2)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* summary.stats, Option.some({ count: 1, mean: 20, stddev: 0, min: 20, max: 20 }))
      yield* TestClock.adjust("1 minute")
      assert.isTrue(Option.isNone(yield* summary.stats))
    }))

  it("refuses windows that make no sense", () => {
    assert.throws(() => Summary.make({ duration: "0 seconds" }), "duration")
    assert.throws(
      () => Summary.make({ duration: "1 second", slices: 1.5 }),
      "slices: expected an integer of at least 1, got 1.5"
    )
  })
})
