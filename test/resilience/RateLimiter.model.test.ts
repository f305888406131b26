import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as TestClock from "effect/TestClock"
import * as RateLimiter from "../../src/resilience/RateLimiter.js"
import { model, runs, steps } from "./model.js"
import { settle, withQuickClock } from "./support.js"

type Command =
  | { readonly _tag: "refused" | "advance" | "waitUpTo"; readonly millis: number }
  | { readonly _tag: "started" | "wait" | "clear" }
  | { readonly _tag: "succeeded"; readonly which: number }

const millis = fc.constantFrom(0, 1, 500, 1000, 1500, 5000, 60_000)
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ _tag: fc.constant("refused" as const), millis }) },
  { weight: 6, arbitrary: fc.record({ _tag: fc.constant("advance" as const), millis }) },
  { weight: 2, arbitrary: fc.record({ _tag: fc.constant("waitUpTo" as const), millis }) },
  { weight: 4, arbitrary: fc.constantFrom<Command>({ _tag: "started" }, { _tag: "wait" }, { _tag: "wait" }) },
  { weight: 1, arbitrary: fc.constant<Command>({ _tag: "clear" }) },
  { weight: 4, arbitrary: fc.record({ _tag: fc.constant("succeeded" as const), which: fc.nat() }) }
)

type Ended = "waiting" | "through" | "refused"

/** A waiter looks when it comes, and again at what was the deadline when it last looked. */
interface Expected {
  readonly latest: number
  looksAt: number
  ended: Ended
}

describe("RateLimiter against a reference model", () => {
  it.effect.prop(
    `${runs * steps} random steps agree`,
    [fc.array(command, { minLength: steps, maxLength: steps })],
    ([commands]) =>
      withQuickClock(Effect.gen(function*() {
        const limiter = yield* RateLimiter.make("model", { jitter: 0 })
        const epochs: Array<RateLimiter.Epoch> = []
        const real: Array<{ ended: Ended }> = []
        // The reference: a deadline, when the last refusal came, when each call started, and who waits for what.
        const expected: Array<Expected> = []
        const starts: Array<number> = []
        let order = 0
        let lastRefusal = -1
        let deadline = 0
        let now = 0

        const look = (waiter: Expected, at: number) => {
          if (deadline <= at) waiter.ended = "through"
          else if (deadline > waiter.latest) waiter.ended = "refused"
          waiter.looksAt = deadline
        }
        const passTime = (to: number) => {
          for (const waiter of expected) {
            while (waiter.ended === "waiting" && waiter.looksAt <= to) look(waiter, waiter.looksAt)
          }
          now = to
        }
        const clear = () => {
          deadline = 0
          for (const waiter of expected) if (waiter.ended === "waiting") waiter.ended = "through"
        }
        const wait = (latest: number, effect: Effect.Effect<void, RateLimiter.BackoffTooLong>) => {
          const waiter: { ended: Ended } = { ended: "waiting" }
          const reference: Expected = { latest, looksAt: now, ended: "waiting" }
          look(reference, now)
          real.push(waiter)
          expected.push(reference)
          return Effect.fork(Effect.match(effect, {
            onSuccess: () => {
              waiter.ended = "through"
            },
            onFailure: () => {
              waiter.ended = "refused"
            }
          }))
        }

        for (const step of commands) {
          switch (step._tag) {
            case "refused":
              yield* limiter.setBackoff(step.millis)
              deadline = Math.max(deadline, now + step.millis)
              lastRefusal = order++
              break
            case "advance":
              yield* TestClock.adjust(step.millis)
              passTime(now + step.millis)
              break
            case "wait":
              yield* wait(Number.POSITIVE_INFINITY, limiter.waitForBackoff)
              break
            case "waitUpTo":
              yield* wait(now + step.millis, limiter.waitUpTo(step.millis))
              break
            case "started":
              epochs.push(yield* limiter.started)
              starts.push(order++)
              break
            case "clear":
              yield* limiter.clearBackoff
              if (deadline > now) clear()
              break
            case "succeeded": {
              if (epochs.length === 0) break
              const which = step.which % epochs.length
              const clears = deadline > now && starts[which]! > lastRefusal
              assert.strictEqual(yield* limiter.succeeded(epochs[which]!), clears, "cleared")
              if (clears) clear()
              break
            }
          }
          yield* settle
          assert.strictEqual(yield* limiter.shouldBackoff, deadline > now)
          assert.strictEqual(Duration.toMillis(yield* limiter.remaining), Math.max(0, deadline - now))
          assert.deepStrictEqual(real.map(({ ended }) => ended), expected.map(({ ended }) => ended))
        }
      })),
    model
  )
})
