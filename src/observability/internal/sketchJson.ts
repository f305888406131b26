/** A sketch as plain data. */
import * as Predicate from "effect/Predicate"
import { InvalidInput } from "../../protocol/InvalidInput.js"
import type { LogBins } from "./logBins.js"
import type { Sketch } from "./sketch.js"

export interface Bins {
  /** Index of the first count: bin `i` holds `(gamma^(i-1), gamma^i]`. */
  readonly offset: number
  readonly counts: ReadonlyArray<number>
}

export interface Encoded {
  readonly relativeAccuracy: number
  readonly maxBins: number
  readonly count: number
  readonly zero: number
  readonly rejected: number
  /** The running sum and what rounding lost of it; the sum is both together. */
  readonly sum: readonly [number, number]
  /** `null` while empty. */
  readonly min: number | null
  readonly max: number | null
  readonly positive: Bins
  readonly negative: Bins
  readonly collapsed: boolean
}

export const encode = (sketch: Sketch): Encoded => ({
  relativeAccuracy: sketch.relativeAccuracy,
  maxBins: sketch.maxBins,
  count: sketch.count,
  zero: sketch.zero,
  rejected: sketch.rejected,
  sum: sketch.sumParts,
  min: sketch.count === 0 ? null : sketch.min,
  max: sketch.count === 0 ? null : sketch.max,
  positive: sketch.positive.toArray(),
  negative: sketch.negative.toArray(),
  collapsed: sketch.collapsed
})

const refuse = (field: string, expected: string, value: unknown, index?: number): never => {
  const actual = typeof value === "number" || value === null ? String(value) : typeof value
  throw new InvalidInput({ field, index, expected, actual })
}

const isCount = (u: unknown): u is number => typeof u === "number" && Number.isSafeInteger(u) && u >= 0

const bins = (input: unknown, field: string): Bins => {
  if (!Predicate.hasProperty(input, "offset") || !Predicate.hasProperty(input, "counts")) {
    return refuse(field, "{ offset, counts }", input)
  }
  const { counts, offset } = input
  if (typeof offset !== "number" || !Number.isSafeInteger(offset)) {
    return refuse(`${field}.offset`, "an integer", offset)
  }
  if (!Array.isArray(counts)) return refuse(`${field}.counts`, "an array", counts)
  const wrong = counts.findIndex((count) => !isCount(count))
  if (wrong >= 0) return refuse(`${field}.counts`, "an integer of at least 0", counts[wrong], wrong)
  return { offset, counts }
}

const record = (input: unknown): Record<string, unknown> =>
  Predicate.isRecord(input) ? input : refuse("sketch", "an object", input)

/** Everything but the options, which `make` checks. */
export const check = (input: unknown): Encoded => {
  const { collapsed, count, max, maxBins, min, negative, positive, rejected, relativeAccuracy, sum, zero } = record(
    input
  )
  if (typeof relativeAccuracy !== "number") {
    return refuse("relativeAccuracy", "a number between 0 and 1", relativeAccuracy)
  }
  if (typeof maxBins !== "number") return refuse("maxBins", "an integer of at least 2", maxBins)
  if (!isCount(count)) return refuse("count", "an integer of at least 0", count)
  if (!isCount(zero)) return refuse("zero", "an integer of at least 0", zero)
  if (!isCount(rejected)) return refuse("rejected", "an integer of at least 0", rejected)
  if (!Array.isArray(sum) || typeof sum[0] !== "number" || typeof sum[1] !== "number") {
    return refuse("sum", "two numbers", sum)
  }
  const isExtreme = (u: unknown): u is number | null => count === 0 ? u === null : typeof u === "number"
  if (!isExtreme(min)) return refuse("min", count === 0 ? "null, as the sketch is empty" : "a number", min)
  if (!isExtreme(max)) return refuse("max", count === 0 ? "null, as the sketch is empty" : "a number", max)
  const above = bins(positive, "positive")
  const below = bins(negative, "negative")
  let inBins = zero
  for (const part of above.counts) inBins += part
  for (const part of below.counts) inBins += part
  if (inBins !== count) return refuse("count", `${inBins}, the sum of the bins`, count)
  return {
    relativeAccuracy,
    maxBins,
    count,
    zero,
    rejected,
    sum: [sum[0], sum[1]],
    min,
    max,
    positive: above,
    negative: below,
    collapsed: collapsed === true
  }
}

const fillBins = (into: LogBins, { counts, offset }: Bins): void => {
  for (let i = counts.length - 1; i >= 0; i--) {
    if (counts[i]! > 0) into.add(offset + i, counts[i]!)
  }
}

/** Puts checked data into an empty sketch. */
export const fill = (sketch: Sketch, encoded: Encoded): void => {
  fillBins(sketch.positive, encoded.positive)
  fillBins(sketch.negative, encoded.negative)
  sketch.positive.collapsed = sketch.positive.collapsed || encoded.collapsed
  sketch.zero = encoded.zero
  sketch.count = encoded.count
  sketch.rejected = encoded.rejected
  sketch.sumParts = encoded.sum
  if (encoded.min !== null) sketch.min = encoded.min
  if (encoded.max !== null) sketch.max = encoded.max
}
