/**
 * The clocks of the server. Every deadline is measured on `monotonic`: what people do to the clock of the machine ends no
 * session, run, result or wait. `wall` is only for times that are told to people or travel on the wire.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

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
