/**
 * Learning rates as pure functions of the step: whoever comes back to a step finds the same rate.
 *
 * @since 0.2.0
 */
import * as Predicate from "effect/Predicate"

/**
 * @since 0.2.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/Schedule")

/**
 * @since 0.2.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * A number for every step.
 *
 * @since 0.2.0
 * @category models
 */
export interface Schedule {
  readonly [TypeId]: TypeId
  /** Says what it is, with all its numbers. A run notes it, and refuses to go on under another one. */
  readonly description: string
  /** The value at a step, from 0. */
  readonly at: (step: number) => number
}

/**
 * Warm-up and end of a schedule.
 *
 * @since 0.2.0
 * @category models
 */
export interface ShapeOptions {
  /** Steps of linear growth at the beginning: step `s` of them has `(s + 1) / warmup` of the peak. None unless given. */
  readonly warmup?: number | undefined
  /** The value towards which it falls. 0 unless given. */
  readonly final?: number | undefined
}

/**
 * @since 0.2.0
 * @category guards
 */
export const isSchedule = (u: unknown): u is Schedule => Predicate.hasProperty(u, TypeId)

/**
 * A schedule of one's own. The description should change whenever the function does.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (description: string, at: (step: number) => number): Schedule => ({
  [TypeId]: TypeId,
  description,
  at
})

const shaped = (
  name: string,
  peak: number,
  total: number,
  { final = 0, warmup = 0 }: ShapeOptions,
  fall: (share: number) => number
): Schedule =>
  make(
    `${name}(${peak}, ${total}${warmup === 0 ? "" : `, warmup ${warmup}`}${final === 0 ? "" : `, final ${final}`})`,
    (
      step
    ) => {
      if (step < warmup) return peak * (step + 1) / warmup
      const share = total <= warmup ? 1 : Math.min(1, (step - warmup) / (total - warmup))
      return final + (peak - final) * fall(share)
    }
  )

/**
 * The same value at every step.
 *
 * @since 0.2.0
 * @category constructors
 */
export const constant = (value: number): Schedule => make(`constant(${value})`, () => value)

/**
 * Falls in a straight line from `peak` at step 0 to `final` at step `total`: `peak * (1 - step / total)`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const linear = (peak: number, total: number, options: ShapeOptions = {}): Schedule =>
  shaped("linear", peak, total, options, (share) => 1 - share)

/**
 * Falls along half a cosine: `peak * (1 + cos(pi * step / total)) / 2`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const cosine = (peak: number, total: number, options: ShapeOptions = {}): Schedule =>
  shaped("cosine", peak, total, options, (share) => (1 + Math.cos(Math.PI * share)) / 2)
