/**
 * Joins the results of the chunks of one call, and their metrics by the reduction that each name carries.
 *
 * @since 0.1.0
 */
import type { ForwardBackwardOutput, LossFnOutput, Metrics } from "./Training.js"

/**
 * The values of one metric, one per chunk, and the weight of each chunk: its number of data.
 *
 * @since 0.1.0
 * @category models
 */
export interface Parts {
  readonly values: ReadonlyArray<number>
  readonly weights: ReadonlyArray<number>
}

const fold = (values: ReadonlyArray<number>, start: number, f: (a: number, b: number) => number): number => {
  let out = start
  for (let i = 0; i < values.length; i++) out = f(out, values[i]!)
  return out
}

const add = (a: number, b: number): number => a + b

/**
 * Mean over chunks, weighted by their data. A total weight of 0 gives 0.
 *
 * @since 0.1.0
 * @category reducers
 */
export const mean = ({ values, weights }: Parts): number => {
  const total = fold(weights, 0, add)
  if (total === 0) return 0
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]! * weights[i]!
  return sum / total
}

/**
 * Sum over chunks.
 *
 * @since 0.1.0
 * @category reducers
 */
export const sum = ({ values }: Parts): number => fold(values, 0, add)

/**
 * Smallest of the chunks; NaN if one is.
 *
 * @since 0.1.0
 * @category reducers
 */
export const min = ({ values }: Parts): number => fold(values, values[0] ?? 0, Math.min)

/**
 * Largest of the chunks; NaN if one is.
 *
 * @since 0.1.0
 * @category reducers
 */
export const max = ({ values }: Parts): number => fold(values, values[0] ?? 0, Math.max)

/**
 * How far the largest of the chunks is above their weighted mean.
 *
 * @since 0.1.0
 * @category reducers
 */
export const slack = (parts: Parts): number => max(parts) - mean(parts)

const mask = (1n << 64n) - 1n
const modulus = (1n << 61n) - 1n
const prime1 = 11400714785074694791n
const prime2 = 14029467366897019727n
const prime5 = 2870177450012600261n

const integerOf = (value: number): bigint => Number.isFinite(value) ? BigInt(Math.trunc(value)) : 0n

/** The hash of an integer in CPython, as 64 unsigned bits. */
const lane = (value: bigint): bigint => {
  const magnitude = (value < 0n ? -value : value) % modulus
  const hash = value < 0n ? -magnitude : magnitude
  return BigInt.asUintN(64, hash === -1n ? -2n : hash)
}

/**
 * A hash of the chunks' values, truncated to integers, that does not depend on their order: CPython's 64-bit tuple hash of
 * the sorted integers (docs/protocol/training.md#metrics), as a signed 64-bit integer. Values that are no integers of any size (NaN,
 * infinities) count as 0.
 *
 * @since 0.1.0
 * @category reducers
 */
export const hashUnorderedExact = ({ values }: Pick<Parts, "values">): bigint => {
  const integers = values.map(integerOf)
    .sort((a, b) => a < b ? -1 : a > b ? 1 : 0)
  let acc = prime5
  for (const integer of integers) {
    acc = (acc + lane(integer) * prime2) & mask
    acc = ((acc << 31n) | (acc >> 33n)) & mask
    acc = (acc * prime1) & mask
  }
  acc = (acc + (BigInt(integers.length) ^ (prime5 ^ 3527539n))) & mask
  return acc === mask ? 1546275796n : BigInt.asIntN(64, acc)
}

/**
 * `hashUnorderedExact` as a number, which is what metrics hold: the nearest double of the hash.
 *
 * @since 0.1.0
 * @category reducers
 */
export const hashUnordered = (parts: Parts): number => Number(hashUnorderedExact(parts))

/**
 * The sum of the values, truncated to integers, in 64 unsigned bits: what newer servers use for the same purpose as
 * `hash_unordered` (SDK 0.38).
 *
 * @since 0.1.0
 * @category reducers
 */
export const hash2 = ({ values }: Parts): number => {
  let total = 0n
  for (const value of values) total += integerOf(value)
  return Number(total & mask)
}

const reducers: Readonly<Record<string, (parts: Parts) => number>> = {
  mean,
  sum,
  min,
  max,
  slack,
  hash_unordered: hashUnordered,
  hash2
}

/**
 * Joins the metrics of chunks. Names are `<name>:<reduction>`. Those of the first chunk count; one that another chunk lacks
 * is dropped, and so is one without a known reduction. `unique` keeps every value, the first under the name itself, the
 * others under `<name>_1`, `<name>_2` and so on. A single chunk is reduced too.
 *
 * @since 0.1.0
 * @category combinators
 */
export const reduceMetrics = (
  chunks: ReadonlyArray<{ readonly metrics: Metrics; readonly weight: number }>
): Metrics => {
  const out: Record<string, number> = {}
  const weights = chunks.map(({ weight }) => weight)
  for (const name of Object.keys(chunks[0]?.metrics ?? {})) {
    const values: Array<number> = []
    for (const { metrics } of chunks) if (Object.hasOwn(metrics, name)) values.push(metrics[name]!)
    if (values.length < chunks.length) continue
    const parts = name.split(":")
    const reduction = parts[1]
    if (parts.length !== 2 || reduction === undefined) continue
    if (reduction === "unique") {
      values.forEach((value, i) => out[i === 0 ? name : `${name}_${i}`] = value)
    } else if (Object.hasOwn(reducers, reduction)) {
      out[name] = reducers[reduction]!({ values, weights })
    }
  }
  return out
}

/**
 * The result of a call from the results of its chunks, in the order of the data: outputs one after the other, the type of
 * the first, metrics reduced with the chunks' numbers of outputs as weights. No chunks give an empty result.
 *
 * @since 0.1.0
 * @category combinators
 */
export const combine = (chunks: ReadonlyArray<ForwardBackwardOutput>): ForwardBackwardOutput => {
  const lossFnOutputs: Array<LossFnOutput> = []
  for (const chunk of chunks) for (const output of chunk.lossFnOutputs) lossFnOutputs.push(output)
  return {
    lossFnOutputType: chunks[0]?.lossFnOutputType ?? "",
    lossFnOutputs,
    metrics: reduceMetrics(chunks.map(({ lossFnOutputs, metrics }) => ({ metrics, weight: lossFnOutputs.length })))
  }
}
