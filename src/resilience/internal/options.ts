/** Options are checked once, when a part is made: the first wrong one is named, with what would be right. */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/**
 * @since 0.1.0
 * @category symbols
 */
const InvalidOptionsTypeId: unique symbol = Symbol.for("tinkex/resilience/InvalidOptions")

/**
 * An option that cannot be used. Nothing was made; the message names the field and what would be right.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidOptions extends Data.TaggedError("InvalidOptions")<{
  /** The part that was being made, such as `CircuitBreaker`. */
  readonly part: string
  readonly field: string
  readonly given: string
  readonly expected: string
}> {
  readonly [InvalidOptionsTypeId]: typeof InvalidOptionsTypeId = InvalidOptionsTypeId
  override get message() {
    return `${this.part}: ${this.field} must be ${this.expected}, got ${this.given}`
  }
}

/** One rule: field, value as given, whether it holds, what would be right. */
export type Rule = readonly [field: string, given: unknown, holds: boolean, expected: string]

const show = (given: unknown): string =>
  Duration.isDuration(given)
    ? Duration.format(given)
    : typeof given === "object"
    ? JSON.stringify(given)
    : String(given)

/** The first rule that does not hold, as an error. */
const broken = (part: string, rules: ReadonlyArray<Rule>): InvalidOptions | undefined => {
  for (const [field, given, holds, expected] of rules) {
    if (!holds) return new InvalidOptions({ part, field, given: show(given), expected })
  }
  return undefined
}

/** `make()` if every rule holds, else the first that does not. */
export const checked = <A>(part: string, rules: ReadonlyArray<Rule>, make: () => A): Effect.Effect<A, InvalidOptions> =>
  Effect.suspend(() => {
    const error = broken(part, rules)
    return error === undefined ? Effect.sync(make) : Effect.fail(error)
  })

/** A duration in milliseconds; NaN when it cannot be read as one. */
export const toMillis = (input: unknown): number =>
  Option.match(Duration.decodeUnknown(input), { onNone: () => Number.NaN, onSome: Duration.toMillis })

export const isCount = (value: number): boolean => Number.isInteger(value) && value >= 1
export const isCountOrInfinite = (value: number): boolean => isCount(value) || value === Number.POSITIVE_INFINITY
export const isRatio = (value: number): boolean => value > 0 && value <= 1
export const isFraction = (value: number): boolean => value >= 0 && value <= 1
export const isPositive = (value: number): boolean => value > 0 && Number.isFinite(value)
