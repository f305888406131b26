import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as MetricReduction from "../../src/protocol/MetricReduction.js"
import * as TensorData from "../../src/protocol/TensorData.js"
import type { ForwardBackwardOutput } from "../../src/protocol/Training.js"

const parts = (values: ReadonlyArray<number>, weights: ReadonlyArray<number> = values.map(() => 1)) => ({
  values,
  weights
})

const chunk = (weight: number, metrics: Record<string, number>) => ({ weight, metrics })

describe("reducers", () => {
  it("mean weighs by data, and of no data is 0", () => {
    assert.strictEqual(MetricReduction.mean(parts([1, 4], [1, 2])), 3)
    assert.strictEqual(MetricReduction.mean(parts([1, 4], [0, 0])), 0)
    assert.strictEqual(MetricReduction.mean(parts([])), 0)
  })

  it("sum, min and max are plain, NaN included", () => {
    assert.strictEqual(MetricReduction.sum(parts([1, 4, -2])), 3)
    assert.strictEqual(MetricReduction.min(parts([1, 4, -2])), -2)
    assert.strictEqual(MetricReduction.max(parts([1, 4, -2])), 4)
    assert.deepStrictEqual([MetricReduction.min(parts([])), MetricReduction.max(parts([]))], [0, 0])
    assert.isNaN(MetricReduction.max(parts([1, Number.NaN])))
    assert.isNaN(MetricReduction.min(parts([Number.NaN, 1])))
  })

  it("slack is how far the largest is above the mean", () => {
    assert.strictEqual(MetricReduction.slack(parts([1, 4], [1, 2])), 1)
    assert.strictEqual(MetricReduction.slack(parts([4], [0])), 4)
  })

  // values of CPython 3.11: hash(tuple(sorted(int(x) for x in xs)))
  const hashes: ReadonlyArray<readonly [ReadonlyArray<number>, bigint]> = [
    [[5], -7813438383599366905n],
    [[], 5740354900026072187n],
    [[0], -8753497827991233192n],
    [[-1], 8078679518589016365n],
    [[-2], 8078679518589016365n],
    [[3, 1, 2], 529344067295497451n],
    [[1.9, -1.9], 9083154820904886697n],
    [[2 ** 53], -6041923821307568808n],
    [[2 ** 61], -6644214454873602895n],
    [[1e300], -3450577862238526274n],
    [[-1e300, 7], 7620913086033154829n],
    [[5, 5, 5], 4299663944376826947n],
    [[0.5, -0.5], -8458139203682520985n]
  ]
  it("hash_unordered is CPython's hash of the sorted tuple", () => {
    for (const [values, hash] of hashes) {
      assert.strictEqual(MetricReduction.hashUnorderedExact({ values }), hash, String(values))
      assert.strictEqual(MetricReduction.hashUnordered(parts(values)), Number(hash))
    }
    assert.strictEqual(
      MetricReduction.hashUnorderedExact({ values: [Number.NaN, Infinity] }),
      MetricReduction.hashUnorderedExact({ values: [0, 0] })
    )
  })

  it("hash_unordered does not depend on the order", () => {
    fc.assert(fc.property(
      fc.array(fc.double({ noNaN: true, noDefaultInfinity: true })).chain((values) =>
        fc.tuple(fc.constant(values), fc.shuffledSubarray(values, { minLength: values.length }))
      ),
      ([values, shuffled]) =>
        assert.strictEqual(
          MetricReduction.hashUnorderedExact({ values }),
          MetricReduction.hashUnorderedExact({ values: shuffled })
        )
    ))
  })

  it("hash2 is a sum in 64 unsigned bits", () => {
    assert.strictEqual(MetricReduction.hash2(parts([-1, 3])), 2)
    assert.strictEqual(MetricReduction.hash2(parts([-3.9])), Number(18446744073709551613n))
  })
})

describe("reduceMetrics", () => {
  it("reduces by the suffix, a single chunk too", () => {
    assert.deepStrictEqual(
      MetricReduction.reduceMetrics([
        chunk(1, { "loss:sum": 1, "a:mean": 1, "b:min": 1, "b:max": 1, "c:slack": 1 }),
        chunk(3, { "loss:sum": 2, "a:mean": 5, "b:min": -1, "b:max": -1, "c:slack": 5 })
      ]),
      { "loss:sum": 3, "a:mean": 4, "b:min": -1, "b:max": 1, "c:slack": 1 }
    )
    assert.deepStrictEqual(MetricReduction.reduceMetrics([chunk(1, { "x:hash_unordered": 5, "y:hash2": 5 })]), {
      "x:hash_unordered": Number(-7813438383599366905n),
      "y:hash2": 5
    })
  })

  it("keeps every value of unique, with numbers from the second on", () => {
    assert.deepStrictEqual(
      MetricReduction.reduceMetrics([1, 2, 3].map((value) => chunk(1, { "step:unique": value }))),
      { "step:unique": 1, "step:unique_1": 2, "step:unique_2": 3 }
    )
  })

  it("drops what has no known reduction and what another chunk lacks", () => {
    assert.deepStrictEqual(
      MetricReduction.reduceMetrics([
        chunk(1, { "a:median": 1, plain: 1, "a:b:sum": 1, "only:sum": 1, "a:constructor": 1, "kept:sum": 1 }),
        chunk(1, { "a:median": 1, plain: 1, "a:b:sum": 1, "kept:sum": 2, "second:sum": 1, "a:constructor": 1 })
      ]),
      { "kept:sum": 3 }
    )
    assert.deepStrictEqual(MetricReduction.reduceMetrics([]), {})
  })
})

describe("combine", () => {
  const output = (values: ReadonlyArray<number>): ForwardBackwardOutput => ({
    lossFnOutputType: `type ${values.length}`,
    lossFnOutputs: values.map((value) => ({ logprobs: TensorData.make([value]) })),
    metrics: { "loss:sum": values.reduce((a, b) => a + b, 0), "loss:mean": values.length === 0 ? 0 : values[0]! }
  })

  it("puts outputs in the order of the data, whatever the chunks", () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.integer({ min: -9, max: 9 }), { maxLength: 4 }), { minLength: 1 }), (chunks) => {
        const combined = MetricReduction.combine(chunks.map(output))
        assert.deepStrictEqual(
          combined.lossFnOutputs.map((one) => TensorData.toArray(one["logprobs"]!)[0]),
          chunks.flat()
        )
        assert.strictEqual(combined.lossFnOutputType, `type ${chunks[0]!.length}`)
        assert.strictEqual(combined.metrics["loss:sum"], chunks.flat().reduce((a, b) => a + b, 0))
      })
    )
  })

  it("of nothing is empty", () => {
    assert.deepStrictEqual(MetricReduction.combine([]), { lossFnOutputType: "", lossFnOutputs: [], metrics: {} })
  })
})
