import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as fc from "effect/FastCheck"
import * as TestClock from "effect/TestClock"
import * as RetryBudget from "../../src/resilience/RetryBudget.js"
import { model, runs, steps } from "./model.js"
import { withQuickClock } from "./support.js"

const command = fc.oneof(
  { weight: 5, arbitrary: fc.constant("call" as const) },
  { weight: 5, arbitrary: fc.constant("retry" as const) },
  { weight: 2, arbitrary: fc.constantFrom(1, 150, 999, 1000, 4000, 10_000, 3_600_000) }
)

describe("RetryBudget against a reference model", () => {
  it.effect.prop(
    `${runs * steps} random steps agree`,
    [
      fc.constantFrom(0, 0.2, 0.5, 1),
      fc.constantFrom(0, 0.1, 0.3, 1),
      fc.array(command, { minLength: steps, maxLength: steps })
    ],
    ([percent, minPerSecond, commands]) =>
      withQuickClock(Effect.gen(function*() {
        const budget = yield* RetryBudget.make("model", { percent, minPerSecond })
        // The reference keeps every call and retry, and counts those of the last ten whole seconds.
        const calls: Array<number> = []
        const retries: Array<number> = []
        for (const step of commands) {
          const now = yield* TestClock.currentTimeMillis
          const lately = (times: ReadonlyArray<number>) =>
            times.filter((at) => Math.floor(at / 1000) > Math.floor(now / 1000) - 10).length
          if (step === "call") {
            yield* budget.deposit
            calls.push(now)
          } else if (step === "retry") {
            const left = percent * lately(calls) + minPerSecond * 10 - lately(retries)
            const granted = Either.isRight(yield* Effect.either(budget.withdraw))
            assert.strictEqual(granted, left > 1 - 1e-6, `${left} left`)
            if (granted) retries.push(now)
          } else {
            yield* TestClock.adjust(step)
            continue
          }
          const left = percent * lately(calls) + minPerSecond * 10 - lately(retries)
          assert.approximately(yield* budget.balance, Math.max(0, left), 1e-9)
        }
      })),
    model
  )

  it.effect.prop(
    "in any ten seconds at most percent * calls + minPerSecond * 10 retries",
    [fc.array(command, { minLength: 300, maxLength: 300 })],
    ([commands]) =>
      withQuickClock(Effect.gen(function*() {
        const budget = yield* RetryBudget.make("bound", { percent: 0.2, minPerSecond: 0.5 })
        const calls: Array<number> = []
        const retries: Array<number> = []
        for (const step of commands) {
          const now = yield* TestClock.currentTimeMillis
          if (typeof step === "number") yield* TestClock.adjust(step)
          else if (step === "call") {
            calls.push(now)
            yield* budget.deposit
          } else if (Either.isRight(yield* Effect.either(budget.withdraw))) retries.push(now)
        }
        // The window has a grain of a second: nine whole ones and the present one.
        for (const end of retries) {
          const within = (times: ReadonlyArray<number>, span: number) =>
            times.filter((at) => at <= end && at > end - span).length
          assert.isAtMost(within(retries, 9000), 0.2 * within(calls, 10_000) + 5)
        }
      })),
    { fastCheck: { numRuns: 30, seed: 7 } }
  )
})
