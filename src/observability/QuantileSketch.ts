/**
 * Quantiles of a stream of numbers in bounded memory, with a relative error that is proven.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { InvalidInput } from "../protocol/InvalidInput.js"
import { Sketch } from "./internal/sketch.js"
import * as Wire from "./internal/sketchJson.js"
import * as Slices from "./internal/slices.js"

/**
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/QuantileSketch")

/**
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * A histogram with logarithmic bins (DDSketch: Masson, Rim and Lee, VLDB 2019). Made with `make`, filled with `add`; it is
 * changed in place.
 *
 * **Promise.** For every `q`, `quantile(sketch, q)` differs by at most `relativeAccuracy` (1 % unless told otherwise) from the
 * exact lower quantile, the value at 0-based rank `floor(q (count - 1))` of the sorted input, after any number of merges in
 * any order. `count`, `min`, `max` and quantiles 0 and 1 are exact; `sum` is compensated (right to the last digit or so).
 *
 * **Range.** Negative values and zero are held too. Magnitudes below `2^-1022` are zero. NaN and the infinities are left out
 * and counted in `rejected`.
 *
 * **Memory.** At most `maxBins` bins of 8 bytes for each sign; a bin for each 2 % of range that is in use. 2,048 bins span a
 * ratio of `6e17` between the largest and the smallest magnitude. Past that, the smallest magnitudes share the lowest bin
 * (`collapsed` says so): their quantiles may then come out too large, those of the rest keep the promise.
 *
 * **Why our own code.** `@datadog/sketches-js` 2.1.1 is as fast and keeps the bound on positive numbers, but its `merge`
 * forgets negative values (an open bug there), one infinity throws and one NaN spoils the sum for good, the unbounded
 * form needs 69,120 bins for five numbers, its serialised form drops `min`, `max` and `sum` and needs a package that it does
 * not depend on, there is no windowed form, and it is CommonJS, last released in 2024.
 *
 * @since 0.1.0
 * @category models
 */
export interface QuantileSketch extends Inspectable.Inspectable {
  readonly [TypeId]: TypeId
  /** Largest relative error of a quantile. */
  readonly relativeAccuracy: number
  /** Most bins kept for each sign. */
  readonly maxBins: number
  /** How many values were added. */
  readonly count: number
  readonly sum: number
  /** `+Infinity` while empty. */
  readonly min: number
  /** `-Infinity` while empty. */
  readonly max: number
  /** How many values were left out because they were NaN or infinite. */
  readonly rejected: number
  /** Whether the range was too wide for `maxBins`: quantiles in the lowest bin may be off. */
  readonly collapsed: boolean
  /** Bytes held for bins. */
  readonly bytes: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Between 0 and 1, both excluded. 0.01 unless given. */
  readonly relativeAccuracy?: number | undefined
  /** At least 2. 2,048 unless given. */
  readonly maxBins?: number | undefined
}

class SketchImpl extends Sketch implements QuantileSketch {
  readonly [TypeId]: TypeId = TypeId
  toJSON(): unknown {
    return Wire.encode(this)
  }
  override toString(): string {
    return Inspectable.format(this.toJSON())
  }
  [Inspectable.NodeInspectSymbol](): unknown {
    return this.toJSON()
  }
}

const impl = (self: QuantileSketch): SketchImpl =>
  // The only maker of a value with this TypeId is `make`.
  self as SketchImpl

/**
 * @since 0.1.0
 * @category predicates
 */
export const isQuantileSketch = (u: unknown): u is QuantileSketch => Predicate.hasProperty(u, TypeId)

/**
 * An empty sketch. Throws `InvalidInput` on options out of range.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): QuantileSketch => {
  const relativeAccuracy = options.relativeAccuracy ?? 0.01
  const maxBins = options.maxBins ?? 2048
  if (!(relativeAccuracy > 0 && relativeAccuracy < 1)) {
    throw new InvalidInput({
      field: "relativeAccuracy",
      expected: "a number between 0 and 1",
      actual: `${relativeAccuracy}`
    })
  }
  if (!(Number.isInteger(maxBins) && maxBins >= 2)) {
    throw new InvalidInput({ field: "maxBins", expected: "an integer of at least 2", actual: `${maxBins}` })
  }
  return new SketchImpl(relativeAccuracy, maxBins)
}

/**
 * Adds a value, `count` times (1 unless given). Constant time. NaN and the infinities are counted in `rejected` instead.
 * Throws `InvalidInput` if `count` is not an integer of at least 1.
 *
 * @since 0.1.0
 * @category combinators
 */
export const add = (self: QuantileSketch, value: number, count = 1): void => {
  if (!(Number.isSafeInteger(count) && count >= 1)) {
    throw new InvalidInput({ field: "count", expected: "an integer of at least 1", actual: `${count}` })
  }
  impl(self).add(value, count)
}

/**
 * Adds to the first sketch all that the second holds; the second is not changed. What comes out is what one sketch would be
 * that had been given both inputs. Throws `InvalidInput` if their accuracies differ.
 *
 * @since 0.1.0
 * @category combinators
 */
export const merge = (self: QuantileSketch, that: QuantileSketch): void => {
  if (self.relativeAccuracy !== that.relativeAccuracy) {
    throw new InvalidInput({
      field: "relativeAccuracy",
      expected: `${self.relativeAccuracy}, as in the sketch that is merged into`,
      actual: `${that.relativeAccuracy}`
    })
  }
  impl(self).merge(impl(that))
}

/**
 * The quantile at `q` between 0 and 1 (0.99 for p99), with the promised error. `None` while the sketch is empty, or if `q` is
 * out of range.
 *
 * @since 0.1.0
 * @category getters
 */
export const quantile = (self: QuantileSketch, q: number): Option.Option<number> =>
  self.count === 0 || !(q >= 0 && q <= 1) ? Option.none() : Option.some(impl(self).quantile(q))

/** `quantile` of a sketch that is known to hold something and a `q` that is known to be in range. @internal */
export const unsafeQuantile = (self: QuantileSketch, q: number): number => impl(self).quantile(q)

/**
 * Empties a sketch; its memory is kept for what comes next.
 *
 * @since 0.1.0
 * @category combinators
 */
export const clear = (self: QuantileSketch): void => impl(self).clear()

/**
 * A sketch as plain data: `JSON.stringify(sketch)` gives this too. Bins are dense from `offset` on.
 *
 * @since 0.1.0
 * @category models
 */
export interface Encoded extends Wire.Encoded {}

/**
 * A sketch as plain data, for a file or a message.
 *
 * @since 0.1.0
 * @category conversions
 */
export const encode = (self: QuantileSketch): Encoded => Wire.encode(impl(self))

/**
 * Reads what `encode` wrote. Throws `InvalidInput` naming the field that does not fit (`InvalidInput.attempt` turns that
 * into an Effect).
 *
 * @since 0.1.0
 * @category conversions
 */
export const decode = (input: unknown): QuantileSketch => {
  const encoded = Wire.check(input)
  const sketch = make(encoded)
  Wire.fill(impl(sketch), encoded)
  return sketch
}

/**
 * Quantiles of the last stretch of time: a ring of sketches, one for each slice, merged when read. Time is `Clock`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Windowed {
  /** Adds a value at the present time. */
  readonly add: (value: number) => Effect.Effect<void>
  /** A new sketch of all values of the window that ends now. */
  readonly snapshot: Effect.Effect<QuantileSketch>
}

/**
 * A sketch over a sliding window. It covers between `duration * (slices - 1) / slices` and `duration`; `slices` is 5 unless
 * given. Throws `InvalidInput` on options out of range.
 *
 * @since 0.1.0
 * @category constructors
 */
export const windowed = (
  options: Options & { readonly duration: Duration.DurationInput; readonly slices?: number | undefined }
): Windowed => {
  const window = Slices.make({
    duration: Slices.checkedDuration(options.duration),
    slices: Slices.checkedCount(options.slices ?? 5),
    make: () => impl(make(options)),
    expire: (sketch) => sketch.clear()
  })
  return {
    add: (value) => Effect.map(Clock.currentTimeMillis, (now) => void window.at(now).add(value, 1)),
    snapshot: Effect.map(Clock.currentTimeMillis, (now) => {
      const whole = impl(make(options))
      for (const slice of window.live(now)) whole.merge(slice)
      return whole
    })
  }
}
