import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Json from "../../src/protocol/Json.js"

/** JSON values with integers of any size, as `Json.parse` gives them. */
const value = fc.letrec<{ readonly value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, false, "1234567890123456789", "\\", "a\"b", "\u2028", "{}"),
    fc.string(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Object.is(n, -0) && Math.abs(n) < 2 ** 53),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n }),
    fc.bigInt({ min: -(2n ** 64n), max: -(2n ** 53n) }),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.array(fc.tuple(fc.oneof(fc.string(), fc.constant("__proto__")), tie("value")), { maxLength: 4 }).map((entries) =>
      Object.fromEntries(entries)
    )
  )
})).value

describe("parse", () => {
  it("keeps the digits of integers beyond 2^53, and only of those", () => {
    assert.deepStrictEqual(
      Json.unsafeParse(
        "{\"seq_id\":224978767000000001,\"seed\": -9223372036854775809,\"max\":9007199254740991,\"float\":1234567890123456.5,\"exp\":12345678901234567e3,\"text\":\"12345678901234567890\"}"
      ),
      {
        seq_id: 224978767000000001n,
        seed: -9223372036854775809n,
        max: 9007199254740991,
        float: 1234567890123456.5,
        exp: 12345678901234567e3,
        text: "12345678901234567890"
      }
    )
    assert.strictEqual(Json.unsafeParse("18446744073709551615"), 18446744073709551615n)
    assert.deepStrictEqual(Json.unsafeParse("[1,18446744073709551615]"), [1, 18446744073709551615n])
  })

  it("reads and writes numbers that are not finite as Python does", () => {
    const text = "{\"a\":[NaN,-1.5,Infinity],\"b\":-Infinity,\"c\":\"NaN, [Infinity\",\"d\":null}"
    const value = {
      a: [Number.NaN, -1.5, Number.POSITIVE_INFINITY],
      b: Number.NEGATIVE_INFINITY,
      c: "NaN, [Infinity",
      d: null
    }
    assert.deepStrictEqual(Json.unsafeParse(text), value)
    assert.strictEqual(Json.stringify(value), text)
    assert.deepStrictEqual(Json.unsafeParse(" NaN "), Number.NaN)
    assert.deepStrictEqual(Json.unsafeParse("[NaN, 18446744073709551615]"), [Number.NaN, 18446744073709551615n])
    assert.strictEqual(
      Json.stringify({ at: new Date(0), n: [Number.NaN], f: () => 1 }),
      "{\"at\":\"1970-01-01T00:00:00.000Z\",\"n\":[NaN]}"
    )
    for (const broken of ["nan", "[+Infinity]", "[Inf]", "[NaNa]", "{\"a\":NaN", "[-NaN]", "NaN NaN", "{NaN:1}"]) {
      assert.throws(() => Json.unsafeParse(broken), SyntaxError)
    }
  })

  it("reads back everything that stringify writes", () => {
    fc.assert(fc.property(value, (given) => assert.deepStrictEqual(Json.unsafeParse(Json.stringify(given)), given)), {
      numRuns: 500
    })
  })

  it("is JSON.parse for bodies with and without long integers, space and all", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(undefined, 1, "\t"), (json, space) => {
        const text = JSON.stringify(json, null, space)
        const long = `[12345678901234567, ${text}\n]`
        // what is written with all its digits and is not safe is a bigint here
        const expected = JSON.parse(
          text,
          (_, one: unknown) =>
            typeof one === "number" && !Number.isSafeInteger(one) && /^-?\d+$/.test(String(one))
              ? BigInt(String(one))
              : one
        )
        assert.deepStrictEqual(Json.unsafeParse(text), expected)
        assert.deepStrictEqual((Json.unsafeParse(long) as ReadonlyArray<unknown>)[1], expected)
      }),
      { numRuns: 300 }
    )
  })

  it.effect("refuses what is not JSON, long integers in it or not, without quoting it", () =>
    Effect.gen(function*() {
      const long = "12345678901234567"
      const broken = [
        "",
        "{",
        "[1,]",
        `[${long},]`,
        `[${long}`,
        `{"a":${long}`,
        `{"a" ${long}}`,
        `{a:${long}}`,
        `{"a":${long},}`,
        `{,"a":${long}}`,
        `[${long}] 1`,
        `[0${long}]`,
        `[-]${long}`,
        `[ ${long},"unended]`,
        `[ ${long},"ended\\"]`,
        `[ ${long},"control\u0001"]`,
        `[ ${long},"\\x"]`,
        `[ ${long},tru]`,
        `[ ${long},nul]`,
        `[ ${long},+1]`,
        `[ ${long},.5]`,
        `[ ${long} ${long}]`,
        "[".repeat(200_000) + long
      ]
      for (const text of broken) {
        const error = yield* Effect.flip(Json.parse(text, "the body of POST /asample"))
        assert.strictEqual(error.message, "the body of POST /asample could not be decoded: it is not JSON")
      }
      assert.deepStrictEqual(yield* Json.parse(" [ ] "), [])
      assert.deepStrictEqual(yield* Json.parse(`[ ${long} , { } , [ ] , "\\\\" ]`), [12345678901234567n, {}, [], "\\"])
    }))

  it("makes own properties of every key", () => {
    const parsed = Json.unsafeParse("{\"__proto__\":{\"x\":1},\"n\":12345678901234567}") as object
    assert.isTrue(Object.hasOwn(parsed, "__proto__"))
    assert.strictEqual(Object.getPrototypeOf(parsed), Object.prototype)
  })
})

describe("stringify", () => {
  it("writes bigints as integers and leaves out what is undefined", () => {
    assert.strictEqual(
      Json.stringify({ a: 2n ** 64n, b: [1n, undefined, "x"], c: undefined, d: { e: -1n } }),
      "{\"a\":18446744073709551616,\"b\":[1,null,\"x\"],\"d\":{\"e\":-1}}"
    )
    assert.strictEqual(Json.stringify(undefined), "null")
  })

  it("does not hide other errors", () => {
    const throwing = {
      toJSON() {
        throw new RangeError("own")
      }
    }
    assert.throws(() => Json.stringify(throwing), "own")
  })
})
