import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Effect, Exit, Fiber, Random } from "effect"
import * as fc from "effect/FastCheck"
import { VirtualClock } from "tinkex/testing"

/** Sleeps of given lengths, and the order and moments in which they ended. */
const race = (sleeps: ReadonlyArray<number>) =>
  Effect.gen(function*() {
    const ends: Array<readonly [index: number, at: number]> = []
    yield* Effect.forEach(sleeps, (millis, i) =>
      Effect.flatMap(Effect.zipRight(Effect.sleep(millis), Clock.currentTimeMillis), (at) =>
        Effect.sync(() =>
          ends.push([i, at])
        )), { concurrency: "unbounded" })
    return ends
  })

describe("VirtualClock", () => {
  it.effect("hours pass when nothing else can happen", () =>
    VirtualClock.run(Effect.gen(function*() {
      yield* Effect.sleep("3 hours")
      assert.strictEqual(yield* VirtualClock.elapsed(), 3 * 3_600_000)
    })))

  it("sleepers wake at their moment, the earliest first, and of equals the first to sleep", () =>
    fc.assert(fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 40 }), async (sleeps) => {
      const ends = await Effect.runPromise(VirtualClock.run(race(sleeps)))
      const expected = sleeps.map((at, i) => [i, at] as const).sort((a, b) => a[1] - b[1] || a[0] - b[0])
      assert.deepStrictEqual(ends, expected)
    })))

  it.effect("does not run ahead of promises that are under way", () =>
    VirtualClock.run(Effect.gen(function*() {
      const slow = Effect.promise(async () => {
        for (let i = 0; i < 200; i++) await Promise.resolve()
      })
      const fiber = yield* Effect.fork(Effect.zipRight(slow, Clock.currentTimeMillis))
      yield* Effect.sleep("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), 0)
    })))

  it.effect("a sleep that is interrupted does not move the clock", () =>
    VirtualClock.run(Effect.gen(function*() {
      const fiber = yield* Effect.fork(Effect.sleep("1 hour"))
      yield* Effect.sleep("1 second")
      yield* Fiber.interrupt(fiber)
      yield* Effect.sleep("1 second")
      assert.strictEqual(yield* VirtualClock.elapsed(), 2000)
    })))

  it.effect("what waits for ever dies at the limit and says so", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(
        VirtualClock.run(Effect.flatMap(Deferred.make<void>(), Deferred.await), { limit: "1 hour" })
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
      assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "it waits for ever")
    }))

  it.effect("one seed, one run", () =>
    Effect.gen(function*() {
      const draws = Effect.replicateEffect(Random.next, 5)
      const first = yield* VirtualClock.run(draws, { seed: 3 })
      assert.deepStrictEqual(yield* VirtualClock.run(draws, { seed: 3 }), first)
      assert.notDeepEqual(yield* VirtualClock.run(draws, { seed: 4 }), first)
    }))
})
