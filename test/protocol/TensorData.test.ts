import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { attempt, InvalidInput } from "../../src/protocol/InvalidInput.js"
import * as Json from "../../src/protocol/Json.js"
import * as TensorData from "../../src/protocol/TensorData.js"
import { denseTensor, sparseTensor, tensor } from "./support.js"

const refusal = (evaluate: () => unknown): InvalidInput => {
  try {
    evaluate()
  } catch (cause) {
    assert.instanceOf(cause, InvalidInput)
    return cause
  }
  return assert.fail("nothing was refused")
}

describe("make", () => {
  it("takes lists of every depth and infers their shape", () => {
    assert.deepStrictEqual(TensorData.make([1, 2]), { dtype: "float32", data: Float32Array.of(1, 2), shape: [2] })
    assert.deepStrictEqual(TensorData.make([[1, 2], [3, 4], [5, 6]], { dtype: "int64" }), {
      dtype: "int64",
      data: Int32Array.of(1, 2, 3, 4, 5, 6),
      shape: [3, 2]
    })
    assert.deepStrictEqual(TensorData.make([[[1]], [[2]]]).shape, [2, 1, 1])
    assert.deepStrictEqual(TensorData.make([]).shape, [0])
    assert.deepStrictEqual(TensorData.make([[], []]).shape, [2, 0])
    assert.deepStrictEqual(TensorData.make([1, 2, 3, 4], { shape: [2, 2] }).shape, [2, 2])
  })

  it("keeps typed arrays without copying, and lets their kind decide", () => {
    const floats = Float32Array.of(1, 2)
    const ints = Int32Array.of(1, 2)
    assert.strictEqual(TensorData.make(floats).data, floats)
    assert.strictEqual(TensorData.make(ints).data, ints)
    assert.strictEqual(TensorData.make(floats, { dtype: "float32" }).dtype, "float32")
    assert.deepStrictEqual(TensorData.make(Float64Array.of(0.5)).data, Float32Array.of(0.5))
    assert.deepStrictEqual(TensorData.make(Int16Array.of(-1)).data, Int32Array.of(-1))
    assert.deepStrictEqual(TensorData.make(Int8Array.of(-1), { dtype: "float32" }).data, Float32Array.of(-1))
    assert.deepStrictEqual(TensorData.make(Float64Array.of(3), { dtype: "int64" }).data, Int32Array.of(3))
    assert.deepStrictEqual(TensorData.make(BigInt64Array.of(3n), { dtype: "float32" }).data, Float32Array.of(3))
  })

  it("holds integers in 32 bits when all fit and in 64 when one does not", () => {
    assert.deepStrictEqual(TensorData.make([2 ** 31 - 1, -(2 ** 31)], { dtype: "int64" }).data.constructor, Int32Array)
    assert.deepStrictEqual(
      TensorData.make([1, 2 ** 31], { dtype: "int64" }).data,
      BigInt64Array.of(1n, 2n ** 31n)
    )
    assert.deepStrictEqual(TensorData.make(BigInt64Array.of(1n, -1n)).data, Int32Array.of(1, -1))
    const wide = BigInt64Array.of(2n ** 40n)
    assert.strictEqual(TensorData.make(wide).data, wide)
    assert.deepStrictEqual(TensorData.make(new BigInt64Array(Float64Array.of(0, 1).buffer, 8)).dtype, "int64")
  })

  it("returns a tensor that fits together as it is", () => {
    fc.assert(fc.property(tensor, (value) => assert.strictEqual(TensorData.make(value), value)))
  })

  it("refuses what is no rectangular list of numbers, naming field and index", () => {
    const cases: ReadonlyArray<readonly [unknown, string, number | undefined, RegExp]> = [
      [[[1, 2], [3]], "w", undefined, /rectangular list with 2 elements at depth 1, got a row of 1/],
      [[[1, 2], 3], "w", undefined, /rectangular .* got a number/],
      [[[1], [[2]]], "w", undefined, /nested deeper/],
      [[1, null], "w", 1, /numbers, got null/],
      [[1, "2"], "w", 1, /numbers, got text/],
      [Uint8Array.of(1), "w", undefined, /signed integers or floats, got an unsigned typed array/]
    ]
    for (const [input, field, index, message] of cases) {
      const error = refusal(() => TensorData.make(input as never, { field }))
      assert.strictEqual(error.field, field)
      assert.strictEqual(error.index, index)
      assert.match(error.message, message)
    }
  })

  it("refuses fractions, unsafe numbers and too large integers in an int64 tensor", () => {
    for (
      const [bad, message] of [[1.5, /not an integer/], [2 ** 60, /beyond 2\^53/], [
        Number.NaN,
        /integers, got NaN/
      ]] as const
    ) {
      const error = refusal(() => TensorData.make([0, bad], { dtype: "int64" }))
      assert.strictEqual(error.index, 1)
      assert.match(error.message, message)
    }
    assert.match(
      refusal(() => TensorData.make([1, 2, 3], { shape: [2, 2] })).message,
      /4 values for shape \[2, 2\], got 3/
    )
    assert.match(
      refusal(() => TensorData.make([1], { shape: [1.5] })).message,
      /shape\[0\]: expected whole numbers from 0/
    )
    assert.match(refusal(() => TensorData.make([1], { shape: [-1] })).message, /shape\[0\]/)
  })
})

describe("sparse", () => {
  const good = { dtype: "float32" as const, data: [1, 2], shape: [3, 4], crow: [0, 1, 1, 2], col: [1, 3] }

  it("makes a matrix that densifies", () => {
    const made = TensorData.sparse(good)
    assert.isTrue(TensorData.isSparse(made))
    assert.strictEqual(TensorData.size(made), 12)
    assert.deepStrictEqual(TensorData.toArray(made), [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])
    assert.deepStrictEqual(TensorData.toArray(made, -1).slice(0, 2), [-1, 1])
    assert.deepStrictEqual(
      TensorData.toDense(TensorData.sparse({ ...good, dtype: "int64" }), -1).data.slice(0, 3),
      Int32Array.of(-1, 1, -1)
    )
    const wide = TensorData.sparse({ ...good, dtype: "int64", data: BigInt64Array.of(2n ** 40n, 1n) })
    assert.deepStrictEqual(TensorData.toDense(wide, -1).data.at(1), 2n ** 40n)
    assert.deepStrictEqual(TensorData.toArray(wide).at(1), 2 ** 40)
  })

  it("refuses indices that do not fit", () => {
    const cases: ReadonlyArray<readonly [object, RegExp]> = [
      [{ crow: [0, 1, 2] }, /tensor.crow: expected 4 row pointers, got 3/],
      [{ col: [1] }, /tensor.col: expected 2 column indices, got 1/],
      [{ crow: [1, 1, 1, 2] }, /tensor.crow\[0\]: expected a first row pointer of 0/],
      [{ crow: [0, 1, 1, 3] }, /tensor.crow\[3\]: expected a last row pointer/],
      [{ crow: [0, 2, 1, 2] }, /tensor.crow\[2\]: expected row pointers that never fall/],
      [{ col: [1, 4] }, /tensor.col\[1\]: expected a column from 0 to 3/],
      [{ col: [-1, 3] }, /tensor.col\[0\]/],
      [{ crow: [0, 2, 2, 2], col: [3, 1] }, /tensor.col\[1\]: expected rising columns/],
      [{ col: [1.5, 3] }, /tensor.col\[0\]: expected 32-bit integers/],
      [{ shape: [12] }, /two dimensions/]
    ]
    for (const [change, message] of cases) {
      assert.match(refusal(() => TensorData.sparse({ ...good, ...change })).message, message)
    }
    const half = { dtype: "float32" as const, data: Float32Array.of(1), shape: [1, 1], crow: Int32Array.of(0, 1) }
    assert.match(refusal(() => TensorData.validate(half)).message, /both row pointers and column indices/)
  })

  it("is chosen only where it is smaller", () => {
    const rows = 4
    const columns = 4
    const dense = TensorData.make([[0, 0, 0, 1], [0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]])
    const sparse = TensorData.toSparse(dense)
    assert.deepStrictEqual(sparse.crow, Int32Array.of(0, 1, 1, 2, 2))
    assert.isBelow(rows + 1 + 2 * sparse.data.length, rows * columns)
    const full = TensorData.make([[1, 2], [3, 4]])
    assert.strictEqual(TensorData.toSparse(full), full)
    assert.strictEqual(TensorData.toSparse(sparse), sparse)
    const list = TensorData.make([0, 0, 0])
    assert.strictEqual(TensorData.toSparse(list), list)
  })
})

describe("laws", () => {
  it("toDense after toSparse is the same tensor, whatever the padding", () => {
    fc.assert(fc.property(
      fc.array(fc.array(fc.constantFrom(0, 0, 0, 0, 1, -1), { minLength: 6, maxLength: 6 }), {
        minLength: 1,
        maxLength: 5
      }),
      fc.constantFrom(0, 1, -1),
      fc.constantFrom("float32" as const, "int64" as const),
      (rows, pad, dtype) => {
        const dense = TensorData.make(rows, { dtype })
        assert.deepStrictEqual(TensorData.toDense(TensorData.toSparse(dense, pad), pad), dense)
      }
    ))
  })

  it("size is the product of the shape and the length of toArray", () => {
    fc.assert(
      fc.property(tensor, (value) => assert.strictEqual(TensorData.toArray(value).length, TensorData.size(value)))
    )
  })

  it("byteSize counts 4 bytes per float, 8 per integer and per index", () => {
    assert.strictEqual(TensorData.byteSize(TensorData.make([1, 2])), 8)
    assert.strictEqual(TensorData.byteSize(TensorData.make([1, 2], { dtype: "int64" })), 16)
    fc.assert(fc.property(sparseTensor, (value) => {
      const unit = value.dtype === "float32" ? 4 : 8
      assert.strictEqual(
        TensorData.byteSize(value),
        unit * value.data.length + 8 * (value.crow!.length + value.col!.length)
      )
    }))
  })

  it("JSON keeps every tensor, wide integers included", () => {
    const decode = Schema.decodeUnknownSync(TensorData.TensorDataSchema)
    const encode = Schema.encodeSync(TensorData.TensorDataSchema)
    fc.assert(fc.property(fc.oneof(denseTensor, sparseTensor), (value) => {
      // JSON has no -0
      if (Array.from<unknown>(value.data).some((number) => Object.is(number, -0))) return
      assert.deepStrictEqual(decode(Json.unsafeParse(Json.stringify(encode(value)))), value)
    }))
  })
})

describe("JSON", () => {
  const decode = Schema.decodeUnknownEither(TensorData.TensorDataSchema)

  it("has the wire's names", () => {
    const value = TensorData.sparse({ dtype: "int64", data: [7], shape: [1, 2], crow: [0, 1], col: [1] })
    assert.deepStrictEqual(Schema.encodeSync(TensorData.TensorDataSchema)(value), {
      data: [7],
      dtype: "int64",
      shape: [1, 2],
      sparse_crow_indices: [0, 1],
      sparse_col_indices: [1]
    })
  })

  it("without a shape is a list", () => {
    const read = decode({ data: [1, 2], dtype: "float32", shape: null, extra: 1 })
    assert.deepStrictEqual(read._tag === "Right" && read.right.shape, [2])
  })

  it("is refused without showing its values", () => {
    const bad: ReadonlyArray<unknown> = [
      { data: [1, 4242.5], dtype: "int64" },
      { data: [4242], dtype: "float32", shape: [2] },
      { data: [4242], dtype: "float32", shape: [1, 1], sparse_crow_indices: [0, 1] },
      { data: [4242, "4242"], dtype: "float32" },
      { data: [2n ** 63n], dtype: "int64" }
    ]
    for (const value of bad) {
      const result = decode(value)
      assert.strictEqual(result._tag, "Left")
      if (result._tag === "Left") assert.notMatch(result.left.message, /4242|9223372036854775808/)
    }
    assert.strictEqual(decode({ data: [1], dtype: "bfloat16" })._tag, "Left")
  })
})

describe("attempt", () => {
  it.effect("puts refusals into the error channel and leaves the rest defects", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* attempt(() => 1), 1)
      const error = yield* Effect.flip(attempt(() => TensorData.make([[1], [1, 2]])))
      assert.strictEqual(error._tag, "InvalidInput")
      const exit = yield* Effect.exit(attempt(() => {
        throw new RangeError("other")
      }))
      assert.include(String(exit), "Die")
    }))

  it("shows where in a larger structure a field is", () => {
    const inner = new InvalidInput({ field: "weights", index: 2, expected: "a", actual: "b" })
    assert.strictEqual(inner.within("data[1]").message, "data[1].weights[2]: expected a, got b")
    const nameless = new InvalidInput({ field: "", expected: "a", actual: "b" })
    assert.strictEqual(nameless.within("data").field, "data")
    assert.deepStrictEqual(inner.toJSON(), {
      _tag: "InvalidInput",
      field: "weights",
      index: 2,
      expected: "a",
      actual: "b"
    })
    assert.notProperty(nameless.toJSON(), "index")
  })
})
