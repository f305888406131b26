/** Time for deadlines and ages: it neither jumps nor goes backwards when the clock on the wall is set. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

export const millisOf = (clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos()) / 1e6

/** Monotonic milliseconds since some moment. */
export const millis: Effect.Effect<number> = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)
