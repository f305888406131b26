/**
 * The clocks of the server. Every deadline is measured on `monotonic`: what people do to the clock of the machine ends no
 * session, run, result or wait. `wall` is only for times that are told to people or travel on the wire.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"

/**
 * Milliseconds that only ever grow, in step with real time.
 *
 * @internal
 */
export const monotonic: Effect.Effect<number> = Effect.map(
  Clock.currentTimeNanos,
  (nanos) => Number(nanos / 1000n) / 1000
)

/**
 * Milliseconds since the epoch, as the clock of the machine has them now.
 *
 * @internal
 */
export const wall: Effect.Effect<number> = Clock.currentTimeMillis

/**
 * The time that has certainly come, in milliseconds since the epoch: the earlier of the machine's clock and of the clock
 * as it was when the process began, run on monotonically. What is to be deleted at a time of day is deleted when both
 * agree, so a clock that jumps ahead deletes nothing.
 *
 * @internal
 */
export const agreed: Effect.Effect<number> = Effect.zipWith(
  Clock.currentTimeMillis,
  monotonic,
  (now, steady) => Math.min(now, Math.floor(steady))
)

/**
 * The clock of what is given up after a time of silence: `monotonic` without the times in which this process was not there
 * (suspended, or its thread blocked). `judge` runs every `every` on it, in the scope. Who was away itself asks again before
 * it gives anybody up: the first turn after an absence judges nothing.
 *
 * @internal
 */
export const judging = Effect.fnUntraced(function*(
  every: Duration.Duration,
  judge: (now: number) => Effect.Effect<void>
): Effect.fn.Return<Effect.Effect<number>, never, Scope.Scope> {
  const interval = Duration.toMillis(every)
  let absent = 0
  let last = yield* monotonic
  const turn = Effect.flatMap(monotonic, (now) => {
    const gap = now - last
    last = now
    if (gap > 2 * interval) {
      absent += gap
      return Effect.void
    }
    return judge(now - absent)
  })
  yield* turn.pipe(Effect.schedule(Schedule.spaced(every)), Effect.interruptible, Effect.forkScoped)
  return Effect.map(monotonic, (now) => now - absent)
})
