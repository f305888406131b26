/**
 * Schemas for long lists of numbers that check them in one pass, without one schema node per element.
 *
 * @since 0.1.0
 */
import type * as Arbitrary from "effect/Arbitrary"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type * as AST from "effect/SchemaAST"

const describe = (value: unknown): string =>
  typeof value === "number"
    ? Number.isFinite(value) ? "a number that does not fit" : "a number that is not finite"
    : value === null
    ? "null"
    : Array.isArray(value)
    ? `a list of ${value.length}`
    : `a ${typeof value}`

const make = <A>(
  identifier: string,
  expected: string,
  accepts: (element: unknown) => boolean,
  items: object,
  arbitrary: Arbitrary.LazyArbitrary<ReadonlyArray<A>>
): Schema.declare<ReadonlyArray<A>> => {
  const check = (input: unknown, ast: AST.AST) => {
    if (!Array.isArray(input)) {
      return ParseResult.fail(
        new ParseResult.Type(ast, undefined, `Expected a list of ${expected}, got ${describe(input)}`)
      )
    }
    for (let i = 0; i < input.length; i++) {
      if (!accepts(input[i])) {
        return ParseResult.fail(
          new ParseResult.Type(ast, undefined, `Expected ${expected}, element ${i} is ${describe(input[i])}`)
        )
      }
    }
    return ParseResult.succeed(input as ReadonlyArray<A>) // every element was just checked
  }
  return Schema.declare([], {
    decode: () => (input, _, ast) => check(input, ast),
    encode: () => (input, _, ast) => check(input, ast)
  }, { identifier, arbitrary: () => arbitrary, jsonSchema: { type: "array", items } })
}

const isInt = (u: unknown): boolean => Number.isSafeInteger(u)
const isInt32 = (u: unknown): boolean => typeof u === "number" && (u | 0) === u
const isNumber = (u: unknown): boolean => typeof u === "number"
const isNullableNumber = (u: unknown): boolean => u === null || isNumber(u)

/**
 * A list of integers within ±(2^53 - 1). Errors name the index, never the value.
 *
 * @since 0.1.0
 * @category schemas
 */
export const IntArray: Schema.declare<ReadonlyArray<number>> = make<number>(
  "IntArray",
  "integers",
  isInt,
  { type: "integer" },
  (fc) => fc.array(fc.maxSafeInteger())
)

/**
 * A list of integers that fit 32 bits, as token ids do.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Int32List: Schema.declare<ReadonlyArray<number>> = make<number>(
  "Int32List",
  "32-bit integers",
  isInt32,
  { type: "integer" },
  (fc) => fc.array(fc.integer())
)

/**
 * A list of numbers, or of bigints where `Json.parse` kept an integer beyond 2^53: the data of a tensor. Results of a run that
 * diverged hold NaN and infinity; who takes data in refuses them.
 *
 * @since 0.1.0
 * @category schemas
 */
export const NumberList: Schema.declare<ReadonlyArray<number | bigint>> = make<number | bigint>(
  "NumberList",
  "numbers",
  (u) => typeof u === "bigint" || isNumber(u),
  { type: "number" },
  (fc) => fc.array(fc.oneof(fc.maxSafeInteger(), fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n - 1n })))
)

/**
 * A list of numbers. Log-probabilities of a run that diverged are NaN or infinite.
 *
 * @since 0.1.0
 * @category schemas
 */
export const FloatArray: Schema.declare<ReadonlyArray<number>> = make<number>(
  "FloatArray",
  "numbers",
  isNumber,
  { type: "number" },
  (fc) => fc.array(fc.double())
)

/**
 * A list of numbers with `null` where there is none, as prompt log-probabilities in JSON.
 *
 * @since 0.1.0
 * @category schemas
 */
export const NullableFloatArray: Schema.declare<ReadonlyArray<number | null>> = make<number | null>(
  "NullableFloatArray",
  "numbers or null",
  isNullableNumber,
  { anyOf: [{ type: "number" }, { type: "null" }] },
  (fc) => fc.array(fc.option(fc.double({ noNaN: true, noDefaultInfinity: true })))
)

const isPair = (u: unknown): boolean => Array.isArray(u) && u.length === 2 && isInt32(u[0]) && isNumber(u[1])
const isPairs = (u: unknown): boolean => {
  if (u === null) return true
  if (!Array.isArray(u)) return false
  for (let i = 0; i < u.length; i++) if (!isPair(u[i])) return false
  return true
}

/**
 * One row per position: the `[token id, log-probability]` pairs of its most likely tokens, or `null` where none were
 * computed. The JSON form of top-k results (docs/protocol/protobuf.md#json-for-older-peers).
 *
 * @since 0.1.0
 * @category schemas
 */
export const TopkPairs: Schema.declare<ReadonlyArray<ReadonlyArray<readonly [number, number]> | null>> = make<
  ReadonlyArray<readonly [number, number]> | null
>(
  "TopkPairs",
  "lists of [token id, logprob] pairs or null",
  isPairs,
  { anyOf: [{ type: "array", items: { type: "array", items: { type: "number" } } }, { type: "null" }] },
  (fc) =>
    fc.array(
      fc.option(fc.array(fc.tuple(fc.nat(), fc.float({ noNaN: true, noDefaultInfinity: true })), { maxLength: 4 }))
    )
)
