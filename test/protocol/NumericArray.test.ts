import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as fc from "effect/FastCheck"
import * as JSONSchema from "effect/JSONSchema"
import * as Schema from "effect/Schema"
import * as NumericArray from "../../src/protocol/NumericArray.js"

interface Case {
  readonly schema: Schema.Schema<ReadonlyArray<unknown>>
  readonly good: ReadonlyArray<unknown>
  readonly bad: ReadonlyArray<unknown>
}

const cases: Readonly<Record<string, Case>> = {
  IntArray: {
    schema: NumericArray.IntArray as never,
    good: [0, -1, 2 ** 53 - 1],
    bad: [1.5, 2 ** 53, Number.NaN, "1", null, 1n]
  },
  Int32List: {
    schema: NumericArray.Int32List as never,
    good: [0, -(2 ** 31), 2 ** 31 - 1],
    bad: [2 ** 31, 0.5, Number.NaN, "1", true]
  },
  FloatArray: {
    schema: NumericArray.FloatArray as never,
    good: [0, -1.5, 1e300, Number.NaN, Infinity],
    bad: ["1", null, undefined, 1n, [1]]
  },
  NumberList: {
    schema: NumericArray.NumberList as never,
    good: [0, 1.5, 2n ** 60n, Number.NaN, -Infinity],
    bad: ["1", null, undefined, [1]]
  },
  NullableFloatArray: {
    schema: NumericArray.NullableFloatArray as never,
    good: [0, null, -1.5, Number.NaN],
    bad: [undefined, "1", 1n]
  },
  TopkPairs: {
    schema: NumericArray.TopkPairs as never,
    good: [null, [], [[1, -0.5], [2, -1]]],
    bad: [1, [[1]], [[1, 2, 3]], [[1.5, 0]], [[1, null]], [1]]
  }
}

for (const [identifier, { bad, good, schema }] of Object.entries(cases)) {
  describe(identifier, () => {
    const is = Schema.is(schema)

    it("takes what it says, and the very list that it is given", () => {
      assert.strictEqual(Schema.decodeUnknownSync(schema)(good), good)
      assert.strictEqual(Schema.encodeSync(schema)(good), good)
      assert.isTrue(is([]))
    })

    it("refuses anything else by its index, without showing it", () => {
      for (const element of bad) {
        const result = Schema.decodeUnknownEither(schema)([...good, element])
        assert.strictEqual(result._tag, "Left", String(element))
        if (result._tag === "Left") assert.include(result.left.message, `element ${good.length}`)
      }
      assert.isFalse(is({ length: 0 }))
      assert.isFalse(is(Float32Array.of(1)))
      assert.isFalse(is("1"))
    })

    it("generates what it accepts, and describes itself for OpenAPI", () => {
      fc.assert(fc.property(Arbitrary.make(schema), (value) => is(value)))
      assert.propertyVal(JSONSchema.make(schema).$defs?.[identifier], "type", "array")
    })
  })
}
