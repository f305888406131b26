/**
 * Mean and standard deviation over a sliding window of time.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Moments } from "./internal/moments.js"
import * as Slices from "./internal/slices.js"

/**
 * What a summary says of the values in its window.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stats {
  readonly count: number
  readonly mean: number
  /** Standard deviation of the sample (divided by `count - 1`); 0 of a single value. */
  readonly stddev: number
  readonly min: number
  readonly max: number
}

/**
 * A window that values are added to and statistics are read from. It is a ring of slices with values of their own, each a
 * Welford accumulator (no cancellation, however large the mean is beside the spread); reading merges them (Chan, Golub and
 * LeVeque 1979). Time is `Clock`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Summary {
  /** Adds a value at the present time. NaN and magnitudes above `1e150`, which cannot be squared, are left out. */
  readonly record: (value: number) => Effect.Effect<void>
  /** Statistics of the window that ends now; `None` if it holds nothing. */
  readonly stats: Effect.Effect<Option.Option<Stats>>
}

/**
 * A summary of the last `duration`, in `slices` (6 unless given): it covers between `duration * (slices - 1) / slices` and
 * `duration`. Throws `InvalidInput` on options out of range.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: {
  readonly duration: Duration.DurationInput
  readonly slices?: number | undefined
}): Summary => {
  const window = Slices.make({
    duration: Slices.checkedDuration(options.duration),
    slices: Slices.checkedCount(options.slices ?? 6),
    make: () => new Moments(),
    expire: (moments) => moments.clear()
  })
  return {
    record: (value) => Effect.map(Clock.currentTimeMillis, (now) => void window.at(now).add(value)),
    stats: Effect.map(Clock.currentTimeMillis, (now) => {
      const whole = new Moments()
      for (const slice of window.live(now)) whole.merge(slice)
      const { count, max, mean, min, stddev } = whole
      return count === 0 ? Option.none() : Option.some({ count, mean, stddev, min, max })
    })
  }
}
