/** What the tests of this room share: a quick virtual clock, change collectors, the settings of the model tests. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"

/** Lets every fiber that can run do so. None of them waits for anything but the clock and each other. */
export const settle = Effect.repeatN(Effect.yieldNow(), 24)

interface Sleeper {
  readonly at: number
  readonly order: number
  readonly wake: () => void
}

/** The earliest first, among equals the one that came first. */
const sleepersHeap = () => {
  const heap: Array<Sleeper> = []
  const before = (a: Sleeper, b: Sleeper) => a.at < b.at || (a.at === b.at && a.order < b.order)
  return {
    peek: () => heap[0],
    push: (sleeper: Sleeper) => {
      let i = heap.push(sleeper) - 1
      for (let up = (i - 1) >> 1; i > 0 && before(sleeper, heap[up]!); i = up, up = (i - 1) >> 1) heap[i] = heap[up]!
      heap[i] = sleeper
    },
    pop: () => {
      const top = heap[0]!
      const last = heap.pop()!
      if (heap.length === 0) return top
      let i = 0
      for (;;) {
        let child = 2 * i + 1
        if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
        if (child >= heap.length || !before(heap[child]!, last)) break
        heap[i] = heap[child]!
        i = child
      }
      heap[i] = last
      return top
    }
  }
}

/**
 * The TestClock of the test with another engine: sleepers are kept in a heap instead of a list that is sorted at every step,
 * and rounds of the scheduler instead of real timers show that the fibers have come to rest. A step costs microseconds
 * instead of milliseconds, so that minutes of a thousand calls a second can be tested. `TestClock.adjust` works as ever.
 */
export const withQuickClock = <A, E, R>(effect: Effect.Effect<A, E, R>, rounds = 24): Effect.Effect<A, E, R> =>
  TestClock.testClockWith((clock) => {
    const rest = Effect.repeatN(Effect.yieldNow(), rounds)
    const sleepers = sleepersHeap()
    let now = 0
    let order = 0
    const sleep = (duration: Duration.DurationInput) =>
      Effect.async<void>((resume) => {
        const millis = Duration.toMillis(duration)
        if (millis <= 0) resume(Effect.void)
        else sleepers.push({ at: now + millis, order: order++, wake: () => resume(Effect.void) })
      })
    const adjust = (duration: Duration.DurationInput) =>
      Effect.gen(function*() {
        const end = now + Duration.toMillis(duration)
        yield* rest
        for (let next = sleepers.peek(); next !== undefined && next.at <= end; next = sleepers.peek()) {
          now = next.at
          while (sleepers.peek()?.at === now) sleepers.pop().wake()
          yield* rest
        }
        now = end
      })
    const nanos = () => BigInt(Math.floor(now * 1e6))
    const quick: TestClock.TestClock = Object.assign(Object.create(clock), {
      sleep,
      adjust,
      unsafeCurrentTimeMillis: () => now,
      unsafeCurrentTimeNanos: nanos,
      currentTimeMillis: Effect.sync(() => now),
      currentTimeNanos: Effect.sync(nanos)
    })
    return Effect.withClock(effect, quick)
  })

/** Everything that is published while `during` runs. */
export const collect = <C, A, E, R>(
  changes: Effect.Effect<Stream.Stream<C>, never, Scope.Scope>,
  during: Effect.Effect<A, E, R>
): Effect.Effect<Array<C>, E, R> =>
  Effect.scoped(Effect.gen(function*() {
    const seen: Array<C> = []
    const stream = yield* changes
    const fiber = yield* Effect.fork(Stream.runForEach(stream, (change) => Effect.sync(() => seen.push(change))))
    yield* during
    yield* settle
    yield* Fiber.interrupt(fiber)
    return seen
  }))
