import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as TestClock from "effect/TestClock"
import * as RateLimiter from "../../src/resilience/RateLimiter.js"
import { collect, settle } from "./support.js"

const remaining = (limiter: RateLimiter.RateLimiter) => Effect.map(limiter.remaining, Duration.toMillis)

/** Forks a waiter; the result tells when it came through, or undefined while it waits. */
const waiter = (limiter: RateLimiter.RateLimiter, wait = limiter.waitForBackoff) =>
  Effect.gen(function*() {
    const seen: { at: number | undefined } = { at: undefined }
    const fiber = yield* Effect.fork(Effect.zipRight(
      Effect.ignore(wait),
      Effect.map(TestClock.currentTimeMillis, (at) => {
        seen.at = at
      })
    ))
    yield* settle
    return { seen, fiber }
  })

describe("RateLimiter", () => {
  it.effect("without a back-off nobody waits", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.make("idle")
      yield* limiter.waitForBackoff
      yield* limiter.waitUpTo(0)
      assert.isFalse(yield* limiter.shouldBackoff)
      assert.strictEqual(yield* remaining(limiter), 0)
      assert.deepStrictEqual(yield* limiter.until, Option.none())
    }))

  it.effect("a back-off holds everybody until its deadline on the monotonic clock", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 second")
      const limiter = yield* RateLimiter.make("busy", { jitter: 0 })
      yield* limiter.setBackoff("3 seconds")
      assert.deepStrictEqual(yield* limiter.until, Option.some(4_000_000_000n))
      const waiters = yield* Effect.all(Array.from({ length: 20 }, () => waiter(limiter)))
      yield* TestClock.adjust("2999 millis")
      assert.isTrue(yield* limiter.shouldBackoff)
      assert.isTrue(waiters.every(({ seen }) => seen.at === undefined))
      yield* TestClock.adjust("1 millis")
      assert.isFalse(yield* limiter.shouldBackoff)
      assert.isTrue(waiters.every(({ seen }) => seen.at === 4000))
    }))

  it.effect("an infinite back-off lasts until it is cleared", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.make("paused", { jitter: 0 })
      yield* limiter.setBackoff(Duration.infinity)
      const { seen } = yield* waiter(limiter)
      yield* TestClock.adjust("3650 days")
      assert.strictEqual(seen.at, undefined)
      yield* limiter.clearBackoff
      yield* settle
      assert.isDefined(seen.at)
    }))

  it.effect("an interrupted waiter stops waiting, the others do not", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.make("interrupted", { jitter: 0 })
      yield* limiter.setBackoff("1 second")
      const gone = yield* waiter(limiter)
      const kept = yield* waiter(limiter)
      yield* Fiber.interrupt(gone.fiber)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([gone.seen.at, kept.seen.at], [undefined, 1000])
    }))

  it.effect("waitUpTo refuses at once what would take too long, and says for how long", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.make("long")
      yield* limiter.setBackoff("90 seconds")
      const error = yield* Effect.flip(limiter.waitUpTo("60 seconds"))
      assert.isTrue(RateLimiter.isBackoffTooLong(error))
      assert.isFalse(RateLimiter.isBackoffTooLong(new Error("long")))
      assert.deepStrictEqual([error.remaining, error.limit].map(Duration.toSeconds), [90, 60])
      assert.match(error.message, /"long" asks its callers to back off for another 1m 30s, longer than the 1m/)
      assert.strictEqual(yield* TestClock.currentTimeMillis, 0)
    }))

  it.effect("waitUpTo gives up when the deadline moves out of reach", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.make("moving", { jitter: 0 })
      yield* limiter.setBackoff("10 seconds")
      const fiber = yield* Effect.fork(Effect.flip(limiter.waitUpTo("15 seconds")))
      yield* settle
      yield* limiter.setBackoff("30 seconds")
      yield* TestClock.adjust("10 seconds")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(Duration.toSeconds(error.remaining), 20)
    }))

  it.effect("withBackoff waits, runs, and learns from the answer", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.make("learning", { jitter: 0 })
      const retryAfter = (error: Option.Option<Duration.Duration>) => error
      const refused = Effect.fail(Option.some(Duration.seconds(2)))
      yield* Effect.ignore(RateLimiter.withBackoff(refused, limiter, retryAfter))
      assert.strictEqual(yield* remaining(limiter), 2000)
      const call = yield* Effect.fork(
        Effect.fail(Option.none<Duration.Duration>()).pipe(RateLimiter.withBackoff(limiter, retryAfter), Effect.flip)
      )
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(Option.isNone(yield* Fiber.join(call)))
      assert.strictEqual(yield* remaining(limiter), 0)
      assert.strictEqual(yield* RateLimiter.withBackoff(Effect.succeed(1), limiter, retryAfter), 1)
    }))

  it.effect("tells observers what it does", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.forKey("observed")
      const { changes } = yield* RateLimiter.RateLimiters
      const story = Effect.gen(function*() {
        yield* limiter.setBackoff("2 seconds")
        yield* limiter.setBackoff("1 second")
        yield* limiter.setBackoff("3 seconds")
        yield* limiter.setBackoff(0)
        yield* Effect.flatMap(limiter.started, limiter.succeeded)
        yield* limiter.setBackoff("1 second")
        yield* limiter.clearBackoff
        yield* limiter.clearBackoff
      })
      const seen = yield* collect(limiter.changes, story)
      assert.deepStrictEqual(
        seen.map((change) =>
          change._tag === "BackoffSet" ? [Duration.toSeconds(change.duration), change.extended] : change.reason
        ),
        [[2, false], [3, true], "success", [1, false], "manual"]
      )
      const other = yield* RateLimiter.forKey("other")
      const both = yield* collect(changes, Effect.zipRight(other.setBackoff(5), limiter.setBackoff(5)))
      assert.deepStrictEqual(both.map(({ key }) => key), ["other", "observed"])
    }).pipe(Effect.provide(RateLimiter.layer())))

  it.effect("one limiter per key, also for many who ask at once; keys share nothing", () =>
    Effect.gen(function*() {
      const limiters = yield* Effect.all(
        Array.from({ length: 40 }, (_, i) =>
          Effect.zipRight(Effect.yieldNow(), RateLimiter.forKey(i % 2 === 0 ? "even" : "odd"))),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(new Set(limiters).size, 2)
      const registry = yield* RateLimiter.RateLimiters
      assert.strictEqual((yield* registry.all).length, 2)
      yield* limiters[0]!.setBackoff("1 second")
      assert.isTrue(yield* limiters[2]!.shouldBackoff)
      assert.isFalse(yield* limiters[1]!.shouldBackoff)
    }).pipe(Effect.provide(RateLimiter.layer())))

  it.effect("not enabled, nobody waits", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.make("off", { enabled: false })
      yield* limiter.setBackoff("1 hour")
      assert.isFalse(yield* limiter.shouldBackoff)
      yield* limiter.waitForBackoff
    }))

  it.effect("options that cannot be used are named, also from Config", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* Effect.flip(RateLimiter.make("bad", { jitter: 2 }))).field, "jitter")
      // A duration that is none can only come past the types.
      const nonsense = { maxJitter: "soon" } as unknown as RateLimiter.Options
      assert.strictEqual(
        (yield* Effect.flip(RateLimiter.makeRegistry(nonsense))).message,
        "RateLimiter: maxJitter must be a duration, got soon"
      )
      const layer = RateLimiter.layerConfig({ jitter: Config.number("JITTER") })
      const provide = (jitter: string) =>
        Layer.build(
          Layer.provide(layer, Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["JITTER", jitter]]))))
        )
      yield* provide("0.5")
      assert.strictEqual((yield* Effect.flip(provide("1.5")))._tag, "InvalidOptions")
    }).pipe(Effect.scoped))

  it.effect("is a handle: pipe, inspection, guards", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.make("handle")
      assert.isTrue(RateLimiter.isRateLimiter(limiter))
      assert.isFalse(RateLimiter.isRateLimiter("handle"))
      assert.strictEqual(limiter.pipe((self) => self.key), "handle")
      assert.deepStrictEqual(JSON.parse(JSON.stringify(limiter)), {
        _id: "tinkex/RateLimiter",
        key: "handle",
        enabled: true
      })
    }))

  it.effect("waiters wake a random tenth of their wait late, a second at most", () =>
    Effect.gen(function*() {
      const wakeUps = (seconds: number) =>
        Effect.gen(function*() {
          const limiter = yield* RateLimiter.make("herd")
          const start = yield* TestClock.currentTimeMillis
          yield* limiter.setBackoff(Duration.seconds(seconds))
          const waiters = yield* Effect.all(Array.from({ length: 20 }, () => waiter(limiter)))
          yield* TestClock.adjust(Duration.seconds(seconds + 1))
          return waiters.map(({ seen }) => seen.at! - start - 1000 * seconds)
        })
      const short = yield* wakeUps(2)
      const long = yield* wakeUps(60)
      for (const [late, most] of [[short, 200], [long, 1000]] as const) {
        assert.isTrue(late.every((millis) => millis >= 0 && millis <= most), String(late))
        assert.isAbove(new Set(late).size, 15)
        assert.isAbove(Math.max(...late) - Math.min(...late), most / 2)
      }
    }).pipe(Effect.withRandom(Random.make("herd"))))

  it.effect("waiters that are let go early do not return as a herd either", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.make("early")
      yield* limiter.setBackoff("10 seconds")
      const waiters = yield* Effect.all(Array.from({ length: 20 }, () => waiter(limiter)))
      yield* TestClock.adjust("1 second")
      yield* limiter.clearBackoff
      yield* TestClock.adjust("1 second")
      const times = waiters.map(({ seen }) => seen.at!)
      assert.isTrue(times.every((at) => at >= 1000 && at <= 2000))
      assert.isAbove(new Set(times).size, 15)
    }).pipe(Effect.withRandom(Random.make("early"))))
})
