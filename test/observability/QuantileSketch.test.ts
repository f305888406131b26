import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as QuantileSketch from "../../src/observability/QuantileSketch.js"
import { InvalidInput } from "../../src/protocol/InvalidInput.js"

fc.configureGlobal({ seed: 20250 })

/** A small generator of our own, so that a seed gives one input for ever (mulberry32). */
const random = (seed: number) => {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
const gaussian = (next: () => number) => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())

const gamma = (1 + 0.01) / (1 - 0.01)
const distributions: Record<string, (next: () => number) => number> = {
  lognormal: (next) => Math.exp(3 + 1.5 * gaussian(next)),
  bimodal: (next) => next() < 0.9 ? 20 + 2 * gaussian(next) : 4000 + 300 * gaussian(next),
  pareto: (next) => (1 - next()) ** (-1 / 1.1),
  constant: () => 12.5,
  "edges of the bins": (next) => gamma ** Math.floor(next() * 400 - 200) * (1 + (next() - 0.5) * 1e-12),
  "one far outlier": (next) => next() < 0.001 ? 1e12 : 1 + next() * 1e-3,
  "both signs, and zero": (next) => {
    const kind = next()
    return kind < 0.2 ? 0 : (kind < 0.6 ? -1 : 1) * Math.exp(5 * gaussian(next))
  }
}
const quantiles = [0, 0.5, 0.9, 0.95, 0.99, 0.999, 1]

const exactQuantile = (sorted: Float64Array, q: number) => sorted[Math.floor(q * (sorted.length - 1))]!
const exactSum = (values: ReadonlyArray<number>): number => {
  // Shewchuk's expansion: the sum without any rounding but the last.
  const parts: Array<number> = []
  for (let x of values) {
    let kept = 0
    for (let y of parts) {
      if (Math.abs(x) < Math.abs(y)) [x, y] = [y, x]
      const high = x + y
      const low = y - (high - x)
      if (low !== 0) parts[kept++] = low
      x = high
    }
    parts.length = kept
    parts.push(x)
  }
  return parts.reduceRight((sum, part) => sum + part, 0)
}

const sketchOf = (values: Iterable<number>, options?: QuantileSketch.Options) => {
  const sketch = QuantileSketch.make(options)
  for (const value of values) QuantileSketch.add(sketch, value)
  return sketch
}
const at = (sketch: QuantileSketch.QuantileSketch, q: number) => Option.getOrThrow(QuantileSketch.quantile(sketch, q))

const holds = (sketch: QuantileSketch.QuantileSketch, values: ReadonlyArray<number>, accuracy = 0.01) => {
  const sorted = Float64Array.from(values).sort()
  for (const q of quantiles) {
    const exact = exactQuantile(sorted, q)
    const estimate = at(sketch, q)
    assert.isTrue(
      Math.abs(estimate - exact) <= accuracy * Math.abs(exact),
      `q ${q}: ${estimate} is ${Math.abs(estimate - exact) / Math.abs(exact)} from ${exact} (n ${values.length})`
    )
  }
  assert.strictEqual(sketch.count, values.length)
  assert.strictEqual(sketch.min, sorted[0])
  assert.strictEqual(sketch.max, sorted[sorted.length - 1])
  const sum = exactSum(values)
  const size = values.reduce((total, value) => total + Math.abs(value), 0)
  assert.isAtMost(Math.abs(sketch.sum - sum), Math.abs(sum) * 2 ** -52 + size * 2 ** -80)
}

describe("QuantileSketch", () => {
  describe("keeps every quantile within 1 % of the exact one, after random merges", () => {
    for (const [name, draw] of Object.entries(distributions)) {
      it(name, () => {
        fc.assert(
          fc.property(
            fc.integer(),
            fc.array(fc.integer({ min: 0, max: 700 }), { minLength: 1, maxLength: 6 }),
            (seed, sizes) => {
              const next = random(seed)
              const all: Array<number> = []
              const parts = sizes.map((size) => {
                const values = Array.from({ length: size }, () => draw(next))
                all.push(...values)
                return sketchOf(values)
              })
              // Any order, any shape of the tree of merges.
              while (parts.length > 1) {
                const [from] = parts.splice(Math.floor(next() * parts.length), 1)
                QuantileSketch.merge(parts[Math.floor(next() * parts.length)]!, from!)
              }
              if (all.length > 0) holds(parts[0]!, all)
            }
          ),
          { numRuns: 60 }
        )
      })
    }

    it("adversarial: any doubles at all, of both signs, as long as the range fits the bins", () => {
      const value = fc.oneof(
        fc.double({ min: 1e-8, max: 1e8, noNaN: true }),
        fc.double({ min: -1e8, max: -1e-8, noNaN: true }),
        fc.constantFrom(0, -0, 1, -1, 1 + Number.EPSILON, 1 - Number.EPSILON / 2)
      )
      fc.assert(
        fc.property(fc.array(fc.array(value, { maxLength: 60 }), { minLength: 1, maxLength: 5 }), (groups) => {
          const whole = QuantileSketch.make()
          for (const group of groups) QuantileSketch.merge(whole, sketchOf(group))
          const all = groups.flat()
          if (all.length > 0) holds(whole, all)
        }),
        { numRuns: 300 }
      )
    })

    it("at other accuracies", () => {
      const next = random(7)
      const values = Array.from({ length: 5000 }, () => distributions["lognormal"]!(next))
      for (const relativeAccuracy of [0.1, 0.02, 0.001]) {
        holds(sketchOf(values, { relativeAccuracy, maxBins: 20_000 }), values, relativeAccuracy)
      }
    })

    it("over a million values", () => {
      const next = random(11)
      const values = Array.from({ length: 1_000_000 }, () => distributions["lognormal"]!(next))
      const sketch = sketchOf(values)
      holds(sketch, values)
      assert.isFalse(sketch.collapsed)
      assert.isAtMost(sketch.bytes, 2 * 2048 * 8)
    })
  })

  it("merging gives what one sketch of both inputs would be, bin for bin, even where it collapses", () => {
    const value = fc.double({ noNaN: true, noDefaultInfinity: true })
    const input = fc.array(value, { maxLength: 80 })
    fc.assert(
      fc.property(input, input, fc.constantFrom(2, 64, 100, 2048), (left, right, maxBins) => {
        const merged = sketchOf(left, { maxBins })
        QuantileSketch.merge(merged, sketchOf(right, { maxBins }))
        const { collapsed: _, sum: __, ...bins } = QuantileSketch.encode(merged)
        const { collapsed: ___, sum: ____, ...expected } = QuantileSketch.encode(
          sketchOf([...left, ...right], { maxBins })
        )
        assert.deepStrictEqual(bins, expected)
      }),
      { numRuns: 300 }
    )
  })

  it("collapses the smallest magnitudes when the range is too wide, and keeps the promise for the rest", () => {
    const values = [1e-300, 1e-12, -1e-200, 0, 1, 10, 1e12, 1e17, -1e17]
    const sketch = sketchOf(values)
    assert.isTrue(sketch.collapsed)
    assert.isAtMost(sketch.bytes, 2 * 2048 * 8)
    assert.strictEqual(sketch.count, 9)
    assert.strictEqual(at(sketch, 0), -1e17)
    assert.strictEqual(at(sketch, 1), 1e17)
    for (const [q, exact] of [[0.251, 0], [0.625, 1], [0.75, 10], [0.875, 1e12]] as const) {
      assert.approximately(at(sketch, q), exact, 0.01 * exact)
    }
    // Quantiles stay in order, also where they are wrong.
    const read = Array.from({ length: 101 }, (_, i) => at(sketch, i / 100))
    assert.deepStrictEqual(read, [...read].sort((a, b) => a - b))
  })

  it("uses all of its bins before it collapses, and then shares just as many as it must", () => {
    const bins = (count: number) => Array.from({ length: count }, (_, i) => gamma ** (i + 0.5))
    const full = sketchOf(bins(64), { maxBins: 64 })
    assert.isFalse(full.collapsed)
    assert.deepStrictEqual(QuantileSketch.encode(full).positive.counts, Array.from({ length: 64 }, () => 1))
    const over = sketchOf(bins(66), { maxBins: 64 })
    assert.isTrue(over.collapsed)
    assert.deepStrictEqual(QuantileSketch.encode(over).positive.counts, [3, ...Array.from({ length: 63 }, () => 1)])
  })

  it("holds the smallest and the largest doubles, and takes what is smaller than those for zero", () => {
    const sketch = sketchOf([Number.MAX_VALUE, Number.MAX_VALUE, 1e308])
    assert.approximately(at(sketch, 0.5), Number.MAX_VALUE, 0.01 * Number.MAX_VALUE)
    assert.strictEqual(sketch.sum, Number.MAX_VALUE)
    const tiny = sketchOf([2 ** -1022, 2 ** -1022 * 3, 2 ** -1022 * 3, 2 ** -1022 * 5])
    assert.approximately(at(tiny, 0.5), 2 ** -1022 * 3, 0.01 * 2 ** -1022 * 3)
    const subnormal = sketchOf([-5e-324, 5e-324, 5e-324, 1])
    assert.strictEqual(at(subnormal, 0.5), 0)
    assert.strictEqual(subnormal.min, -5e-324)
    assert.strictEqual(sketchOf([-Number.MAX_VALUE, -Number.MAX_VALUE]).sum, -Number.MAX_VALUE)
  })

  it("leaves out NaN and the infinities, and counts them", () => {
    const sketch = sketchOf([1, Number.NaN, 2, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3])
    assert.strictEqual(sketch.count, 3)
    assert.strictEqual(sketch.rejected, 3)
    assert.strictEqual(sketch.sum, 6)
    assert.approximately(at(sketch, 0.5), 2, 0.02)
  })

  it("adds a value several times at once", () => {
    const sketch = QuantileSketch.make()
    QuantileSketch.add(sketch, 3, 1000)
    QuantileSketch.add(sketch, 5)
    assert.strictEqual(sketch.count, 1001)
    assert.strictEqual(sketch.sum, 3005)
    assert.approximately(at(sketch, 0.999), 3, 0.03)
    assert.throws(() => QuantileSketch.add(sketch, 1, 0.5), "count: expected an integer of at least 1, got 0.5")
  })

  it("has no quantile while empty, nor out of range", () => {
    const sketch = QuantileSketch.make()
    assert.isTrue(Option.isNone(QuantileSketch.quantile(sketch, 0.5)))
    QuantileSketch.add(sketch, 1)
    for (const q of [-0.1, 1.1, Number.NaN]) assert.isTrue(Option.isNone(QuantileSketch.quantile(sketch, q)))
    assert.strictEqual(at(sketch, 0.5), 1)
    QuantileSketch.clear(sketch)
    assert.strictEqual(sketch.count, 0)
    assert.isTrue(Option.isNone(QuantileSketch.quantile(sketch, 0.5)))
    QuantileSketch.add(sketch, 1e9)
    assert.strictEqual(at(sketch, 0.5), 1e9)
    assert.strictEqual(sketch.sum, 1e9)
  })

  it("refuses options and merges that make no sense", () => {
    assert.throws(
      () => QuantileSketch.make({ relativeAccuracy: 0 }),
      "relativeAccuracy: expected a number between 0 and 1, got 0"
    )
    assert.throws(() => QuantileSketch.make({ relativeAccuracy: 1 }), "relativeAccuracy")
    assert.throws(() => QuantileSketch.make({ maxBins: 1 }), "maxBins: expected an integer of at least 2, got 1")
    const left = sketchOf([1])
    assert.throws(
      () => QuantileSketch.merge(left, sketchOf([1], { relativeAccuracy: 0.02 })),
      "relativeAccuracy: expected 0.01, as in the sketch that is merged into, got 0.02"
    )
    assert.strictEqual(left.count, 1)
  })

  describe("as data", () => {
    it("survives JSON with everything it knows", () => {
      fc.assert(
        fc.property(
          fc.array(fc.double({ noDefaultInfinity: true }), { maxLength: 50 }),
          fc.array(fc.double({ noDefaultInfinity: true, noNaN: true }), { maxLength: 50 }),
          fc.constantFrom(2, 100, 2048),
          (values, more, maxBins) => {
            const sketch = sketchOf(values, { maxBins })
            const copy = QuantileSketch.decode(JSON.parse(JSON.stringify(sketch)))
            assert.deepStrictEqual(QuantileSketch.encode(copy), QuantileSketch.encode(sketch))
            // And goes on as if it had never been away.
            for (const value of more) {
              QuantileSketch.add(copy, value)
              QuantileSketch.add(sketch, value)
            }
            for (const q of quantiles) {
              assert.deepStrictEqual(QuantileSketch.quantile(copy, q), QuantileSketch.quantile(sketch, q))
            }
            assert.strictEqual(copy.sum, sketch.sum)
          }
        ),
        { numRuns: 200 }
      )
    })

    it("is recognised, and prints as data", () => {
      const sketch = sketchOf([1])
      assert.isTrue(QuantileSketch.isQuantileSketch(sketch))
      assert.isFalse(QuantileSketch.isQuantileSketch({}))
      assert.deepStrictEqual(JSON.parse(String(sketch)), JSON.parse(JSON.stringify(QuantileSketch.encode(sketch))))
    })

    it("refuses what no sketch wrote, naming the field", () => {
      const good = QuantileSketch.encode(sketchOf([1, 2, -3, 0]))
      const wrong: ReadonlyArray<readonly [unknown, string]> = [
        [null, "sketch: expected an object, got null"],
        [{ ...good, relativeAccuracy: "x" }, "relativeAccuracy: expected a number between 0 and 1, got string"],
        [{ ...good, relativeAccuracy: 2 }, "relativeAccuracy: expected a number between 0 and 1, got 2"],
        [{ ...good, maxBins: null }, "maxBins: expected an integer of at least 2, got null"],
        [{ ...good, count: -1 }, "count: expected an integer of at least 0, got -1"],
        [{ ...good, count: 5 }, "count: expected 4, the sum of the bins, got 5"],
        [{ ...good, zero: 0.5 }, "zero: expected an integer of at least 0, got 0.5"],
        [{ ...good, rejected: "1" }, "rejected: expected an integer of at least 0, got string"],
        [{ ...good, sum: 1 }, "sum: expected two numbers, got 1"],
        [{ ...good, min: null }, "min: expected a number, got null"],
        [{ ...good, max: "9" }, "max: expected a number, got string"],
        [
          { ...QuantileSketch.encode(QuantileSketch.make()), min: 1 },
          "min: expected null, as the sketch is empty, got 1"
        ],
        [
          { ...QuantileSketch.encode(QuantileSketch.make()), max: 1 },
          "max: expected null, as the sketch is empty, got 1"
        ],
        [{ ...good, positive: [] }, "positive: expected { offset, counts }, got object"],
        [{ ...good, positive: { offset: 0.5, counts: [] } }, "positive.offset: expected an integer, got 0.5"],
        [{ ...good, negative: { offset: 0, counts: 1 } }, "negative.counts: expected an array, got 1"],
        [
          { ...good, negative: { offset: 0, counts: [1, -1] } },
          "negative.counts[1]: expected an integer of at least 0, got -1"
        ]
      ]
      for (const [input, message] of wrong) {
        try {
          QuantileSketch.decode(input)
          assert.fail(`accepted what should give: ${message}`)
        } catch (error) {
          assert.instanceOf(error, InvalidInput)
          assert.strictEqual(error instanceof InvalidInput && error.message, message)
        }
      }
    })
  })

  describe("windowed", () => {
    it.effect("forgets what has slid out, slice by slice", () =>
      Effect.gen(function*() {
        const window = QuantileSketch.windowed({ duration: "10 seconds", slices: 5 })
        yield* window.add(1)
        yield* TestClock.adjust("4 seconds")
        yield* window.add(100)
        assert.strictEqual((yield* window.snapshot).count, 2)
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual((yield* window.snapshot).count, 2)
        yield* TestClock.adjust("1 second")
        const later = yield* window.snapshot
        assert.strictEqual(later.count, 1)
        assert.strictEqual(later.min, 100)
        yield* TestClock.adjust("1 hour")
        assert.strictEqual((yield* window.snapshot).count, 0)
        yield* window.add(7)
        assert.strictEqual((yield* window.snapshot).max, 7)
      }))

    it.effect("slices do not share their values: each value is counted once", () =>
      Effect.gen(function*() {
        const window = QuantileSketch.windowed({ duration: "5 seconds" })
        for (let i = 0; i < 50; i++) {
          yield* window.add(i)
          assert.strictEqual((yield* window.snapshot).count, Math.min(i + 1, 5))
          yield* TestClock.adjust("1 second")
        }
      }))

    it.effect("writes into the newest slice when the clock goes back", () =>
      Effect.gen(function*() {
        const window = QuantileSketch.windowed({ duration: "10 seconds", slices: 5 })
        yield* TestClock.setTime(1_000_000)
        yield* window.add(1)
        yield* TestClock.setTime(900_000)
        yield* window.add(2)
        assert.strictEqual((yield* window.snapshot).count, 2)
      }))

    it("refuses windows that make no sense", () => {
      assert.throws(
        () => QuantileSketch.windowed({ duration: 0 }),
        "duration: expected a finite time above zero, got 0 ms"
      )
      assert.throws(
        () => QuantileSketch.windowed({ duration: "1 second", slices: 0 }),
        "slices: expected an integer of at least 1"
      )
    })
  })
})
