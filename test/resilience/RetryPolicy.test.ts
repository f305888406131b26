import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as fc from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as TestClock from "effect/TestClock"
import * as RetryBudget from "../../src/resilience/RetryBudget.js"
import * as RetryPolicy from "../../src/resilience/RetryPolicy.js"
import { collect, settle, withQuickClock } from "./support.js"

class Failure {
  constructor(readonly attempt: number, readonly retryAfter: Option.Option<Duration.Duration> = Option.none()) {}
}

/** Fails every time, and notes when it was tried. */
const failing = (retryAfter?: Duration.DurationInput) => {
  const tried: Array<number> = []
  const call = Effect.flatMap(TestClock.currentTimeMillis, (now) => {
    tried.push(now)
    return Effect.fail(new Failure(tried.length, Option.map(Option.fromNullable(retryAfter), Duration.decode)))
  })
  return { tried, call }
}

/** Runs it to its end, however long that takes. */
const toTheEnd = <A, E>(effect: Effect.Effect<A, E>) =>
  withQuickClock(Effect.gen(function*() {
    const fiber = yield* Effect.fork(effect)
    yield* TestClock.adjust("10 days")
    return yield* Fiber.await(fiber)
  }))

const retryAfter = (error: Failure) => error.retryAfter

describe("RetryPolicy", () => {
  it.effect("doubles the wait from base to cap, and tries 11 times by default", () =>
    Effect.gen(function*() {
      const policy = yield* RetryPolicy.make("defaults", { jitter: "none" })
      const { call, tried } = failing()
      yield* toTheEnd(RetryPolicy.retry(call, policy))
      const waits = tried.slice(1).map((at, i) => at - tried[i]!)
      assert.deepStrictEqual(waits, [500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000, 10_000, 10_000])
    }))

  it.effect("the last error comes out as it went in, with its cause", () =>
    Effect.gen(function*() {
      const policy = yield* RetryPolicy.make("last", { maxAttempts: 3 })
      const { call } = failing()
      const cause = Cause.parallel(Cause.fail("a"), Cause.fail("b"))
      const exit = yield* toTheEnd(RetryPolicy.retry(call, policy))
      assert.isTrue(Exit.isFailure(exit) && Option.getOrThrow(Cause.failureOption(exit.cause)).attempt === 3)
      const both = yield* toTheEnd(RetryPolicy.retry(Effect.failCause(cause), policy))
      assert.isTrue(Exit.isFailure(both) && both.cause === cause)
    }))

  it.effect("stops at the first success, and passes successes through", () =>
    Effect.gen(function*() {
      const policy = yield* RetryPolicy.make("success")
      let n = 0
      const exit = yield* toTheEnd(
        Effect.suspend(() => ++n < 4 ? Effect.fail("down") : Effect.succeed(n)).pipe(RetryPolicy.retry(policy))
      )
      assert.deepStrictEqual(exit, Exit.succeed(4))
    }))

  it.effect("does not retry defects, interruption, or what is not worth it", () =>
    Effect.gen(function*() {
      const policy = yield* RetryPolicy.make<string>("worth", { while: (error) => error !== "user" })
      let n = 0
      const count = <A, E>(effect: Effect.Effect<A, E>) => Effect.zipRight(Effect.sync(() => n++), effect)
      assert.isTrue(Exit.isFailure(yield* toTheEnd(RetryPolicy.retry(count(Effect.die("boom")), policy))))
      assert.isTrue(Exit.isInterrupted(yield* toTheEnd(RetryPolicy.retry(count(Effect.interrupt), policy))))
      yield* toTheEnd(RetryPolicy.retry(count(Effect.fail("user")), policy))
      assert.strictEqual(n, 3)
      yield* toTheEnd(RetryPolicy.retry(count(Effect.fail("user")), policy, { while: () => true }))
      assert.strictEqual(n, 14)
    }))

  it.effect("waiting can be interrupted", () =>
    Effect.gen(function*() {
      const policy = yield* RetryPolicy.make("patient", { jitter: "none", base: "1 hour", cap: "1 hour" })
      const { call, tried } = failing()
      const fiber = yield* Effect.fork(RetryPolicy.retry(call, policy))
      yield* settle
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(tried.length, 1)
    }))

  it.effect.prop(
    "full jitter: each wait lies between 0 and min(cap, base * factor^(n - 1)), and all of that is used",
    [fc.integer({ min: 1, max: 2000 }), fc.double({ min: 1, max: 4, noNaN: true }), fc.integer({ min: 1, max: 12 })],
    ([base, factor, attempt]) =>
      Effect.gen(function*() {
        const policy = yield* RetryPolicy.make("jitter", { base, factor, cap: "8 seconds" })
        const longest = Math.min(8000, base * factor ** (attempt - 1))
        const drawn: Array<number> = []
        for (let i = 0; i < 50; i++) drawn.push(Duration.toMillis(yield* policy.delay(attempt)))
        assert.isTrue(drawn.every((millis) => millis >= 0 && millis <= longest))
        assert.isAbove(Math.max(...drawn), 0.7 * longest)
        assert.isBelow(Math.min(...drawn), 0.3 * longest)
      }).pipe(Effect.withRandom(Random.make("full jitter"))),
    { fastCheck: { numRuns: 50, seed: 11 } }
  )

  it.effect.prop(
    "never comes back before the time that the server asked for",
    [fc.integer({ min: 0, max: 60_000 })],
    ([asked]) =>
      Effect.gen(function*() {
        const policy = yield* RetryPolicy.make("pushback", { maxAttempts: 4, retryAfter })
        const { call, tried } = failing(asked)
        yield* toTheEnd(RetryPolicy.retry(call, policy))
        assert.strictEqual(tried.length, 4)
        for (let i = 1; i < 4; i++) assert.isAtLeast(tried[i]! - tried[i - 1]!, asked)
      }),
    { fastCheck: { numRuns: 30, seed: 12 } }
  )

  it.effect("a server that asks for more than the cap gets no further attempt, and no waiting is done", () =>
    Effect.gen(function*() {
      const policy = yield* RetryPolicy.make("cap", { retryAfter })
      const { call, tried } = failing("61 seconds")
      const changes = yield* collect(policy.changes, Effect.exit(RetryPolicy.retry(call, policy)))
      assert.deepStrictEqual(changes, [{ _tag: "GaveUp", key: "cap", attempt: 1, reason: "retryAfter" }])
      assert.deepStrictEqual(tried, [0])
    }))

  it.effect("no attempt starts after the deadline, nor is a wait begun that would end after it", () =>
    Effect.gen(function*() {
      const policy = yield* RetryPolicy.make("deadline", { jitter: "none", base: "1 second", deadline: "10 seconds" })
      const { call, tried } = failing()
      yield* toTheEnd(RetryPolicy.retry(call, policy))
      assert.deepStrictEqual(tried, [0, 1000, 3000, 7000, 10_000])

      const asked = failing("11 seconds")
      yield* toTheEnd(RetryPolicy.retry(asked.call, policy, { retryAfter }))
      assert.deepStrictEqual(asked.tried, [0])
      const fits = failing("9500 millis")
      yield* toTheEnd(RetryPolicy.retry(fits.call, policy, { retryAfter }))
      assert.deepStrictEqual(fits.tried, [0, 10_000], "the drawn part of the wait gives way to the deadline")
    }))

  it.effect("tells observers and the caller what it does and why it stops", () =>
    Effect.gen(function*() {
      const policy = yield* RetryPolicy.make<Failure>("told", {
        jitter: "none",
        maxAttempts: 3,
        base: "1 second",
        while: ({ attempt }) => attempt < 5
      })
      const seen: Array<string> = []
      const { call } = failing()
      const retried = RetryPolicy.retry(call, policy, {
        onRetry: ({ attempt, delay, error }) =>
          Effect.sync(() => seen.push(`${attempt} ${Duration.format(delay)} ${error.attempt}`))
      })
      const changes = yield* collect(policy.changes, Effect.zipRight(toTheEnd(retried), toTheEnd(retried)))
      assert.deepStrictEqual(seen, ["1 1s 1", "2 2s 2", "1 1s 4"])
      assert.deepStrictEqual(
        changes.map((change) =>
          change._tag === "Retrying" ? Duration.toMillis(change.delay) : `${change.reason} ${change.attempt}`
        ),
        [1000, 2000, "attempts 3", 1000, "notRetryable 2"]
      )
    }))

  it.effect("every retry is taken out of the budget, and without one the error is final", () =>
    Effect.gen(function*() {
      const policy = yield* RetryPolicy.make("paid", { jitter: "none" })
      const budget = yield* RetryBudget.make("paid", { percent: 1, minPerSecond: 0.1, ttl: "1 day" })
      yield* Effect.repeatN(Effect.ignore(budget.withdraw), 8639)
      const { call, tried } = failing()
      const changes = yield* collect(policy.changes, toTheEnd(RetryPolicy.retry(call, policy, { budget })))
      assert.strictEqual(tried.length, 2, "the call itself has paid for one")
      const last = changes[changes.length - 1]!
      assert.strictEqual(last._tag === "GaveUp" && last.reason, "budget")
      assert.strictEqual(yield* budget.balance, 0)
    }))

  it.effect("not enabled, there is one attempt", () =>
    Effect.gen(function*() {
      const policy = yield* RetryPolicy.make("off", { enabled: false })
      const { call, tried } = failing()
      yield* toTheEnd(RetryPolicy.retry(call, policy))
      assert.strictEqual(tried.length, 1)
    }))

  it.effect("policies by key, observed in one place", () =>
    Effect.gen(function*() {
      const registry = yield* RetryPolicy.RetryPolicies
      const [a, again, b] = yield* Effect.all(
        [RetryPolicy.forKey("a"), RetryPolicy.forKey("a"), RetryPolicy.forKey("b")],
        { concurrency: "unbounded" }
      )
      assert.strictEqual(a, again)
      assert.deepStrictEqual((yield* registry.all).map(({ key }) => key), ["a", "b"])
      const changes = yield* collect(
        registry.changes,
        Effect.zipRight(toTheEnd(RetryPolicy.retry(failing().call, a)), toTheEnd(RetryPolicy.retry(failing().call, b)))
      )
      assert.deepStrictEqual(changes.map(({ key }) => key), ["a", "a", "b", "b"])
    }).pipe(Effect.provide(RetryPolicy.layer({ maxAttempts: 2 }))))

  it.effect("options that cannot be used are named, also from Config", () =>
    Effect.gen(function*() {
      const bad: ReadonlyArray<readonly [string, RetryPolicy.Options]> = [
        ["maxAttempts", { maxAttempts: 0 }],
        ["base", { base: 0 }],
        ["factor", { factor: 0.9 }],
        ["cap", { cap: Duration.infinity }],
        // Past the types, as from JSON.
        ["jitter", { jitter: "equal" } as unknown as RetryPolicy.Options],
        ["deadline", { deadline: "never" } as unknown as RetryPolicy.Options],
        ["retryAfterCap", { retryAfterCap: {} } as unknown as RetryPolicy.Options]
      ]
      for (const [field, options] of bad) {
        assert.strictEqual((yield* Effect.flip(RetryPolicy.make("bad", options))).field, field)
      }
      const layer = RetryPolicy.layerConfig({ maxAttempts: Config.integer("ATTEMPTS") })
      const provide = (attempts: string) =>
        Layer.provide(layer, Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["ATTEMPTS", attempts]]))))
      const policy = yield* Effect.provide(RetryPolicy.forKey("configured"), provide("3"))
      assert.strictEqual(policy.maxAttempts, 3)
      assert.strictEqual((yield* Effect.flip(Layer.build(provide("-1"))))._tag, "InvalidOptions")
    }).pipe(Effect.scoped))

  it.effect("is a handle: pipe, inspection, guards", () =>
    Effect.gen(function*() {
      const policy = yield* RetryPolicy.make("handle")
      assert.isTrue(RetryPolicy.isRetryPolicy(policy))
      assert.isFalse(RetryPolicy.isRetryPolicy(null))
      assert.strictEqual(policy.pipe((self) => self.key), "handle")
      assert.include(JSON.stringify(policy), `"_id":"tinkex/RetryPolicy","key":"handle"`)
    }))
})
