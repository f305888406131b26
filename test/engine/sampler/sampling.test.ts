import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as fc from "effect/FastCheck"
import { makeKernels } from "../../../src/engine/kernels/kernels.js"
import { philox, uniform } from "../../../src/engine/sampler/philox.js"
import type { DrawOptions } from "../../../src/engine/sampler/sampling.js"
import { makeDrawer as drawerOf } from "../../../src/engine/sampler/sampling.js"

const kernels = makeKernels()
const makeDrawer = (vocabSize: number) => Either.getOrThrow(drawerOf(kernels, vocabSize))

const options = (some: Partial<DrawOptions>): DrawOptions => ({
  temperature: 1,
  topK: -1,
  topP: 1,
  logprobs: "scaled",
  ...some
})

const logits = (seed: number, size: number, spread = 3): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => (uniform(seed, 7, i, 0) - 0.5) * 2 * spread)

const softmax = (row: ArrayLike<number>, temperature: number): Array<number> => {
  const max = Math.max(...Array.from(row))
  const weights = Array.from(row, (x) => Math.exp((x - max) / temperature))
  const total = weights.reduce((a, b) => a + b, 0)
  return weights.map((weight) => weight / total)
}

/** What top-k and then top-p leave, renormalised: the definition, written naively. */
const filtered = (row: Float32Array, { temperature, topK, topP }: DrawOptions): Array<number> => {
  const p = softmax(row, temperature)
  const order = p.map((_, i) => i).sort((a, b) => row[b]! - row[a]! || a - b)
  const k = topK < 0 ? order.length : Math.min(topK, order.length)
  const mass = order.slice(0, k).reduce((sum, i) => sum + p[i]!, 0)
  const kept: Array<number> = []
  let sum = 0
  for (const i of order.slice(0, k)) {
    if (kept.length > 0 && topP < 1 && sum >= topP * mass) break
    kept.push(i)
    sum += p[i]!
  }
  return p.map((x, i) => kept.includes(i) ? x / sum : 0)
}

/** The statistic and the degrees of freedom, with cells of small expectation put together. */
const chiSquare = (counts: ReadonlyArray<number>, p: ReadonlyArray<number>, draws: number) => {
  let statistic = 0
  let cells = 0
  let restCount = 0
  let restExpected = 0
  p.forEach((q, i) => {
    const expected = q * draws
    if (expected < 5) {
      restCount += counts[i]!
      restExpected += expected
    } else {
      statistic += (counts[i]! - expected) ** 2 / expected
      cells++
    }
  })
  if (restExpected > 0) {
    statistic += (restCount - restExpected) ** 2 / restExpected
    cells++
  }
  return { statistic, freedom: cells - 1 }
}

describe("philox", () => {
  it("gives the published vectors of Philox4x32-10", () => {
    const out = new Uint32Array(4)
    philox(0, 0, 0, 0, 0, 0, out)
    assert.deepStrictEqual(Array.from(out), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8])
    philox(0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, out)
    assert.deepStrictEqual(Array.from(out), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd])
    philox(0xa4093822, 0x299f31d0, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, out)
    assert.deepStrictEqual(Array.from(out), [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1])
  })

  it("is uniform, and different for every seed half, sample and step", () => {
    const cells = Array.from({ length: 64 }, () => 0)
    const seen = new Set<number>()
    for (let i = 0; i < 64; i++) {
      for (let step = 0; step < 256; step++) {
        const u = uniform(3, 4, i, step)
        assert.isTrue(u >= 0 && u < 1)
        cells[Math.floor(u * 64)]!++
        seen.add(u)
      }
    }
    assert.strictEqual(seen.size, 64 * 256)
    // 63 degrees of freedom: 103.4 is the 0.999 quantile.
    assert.isBelow(chiSquare(cells, Array.from({ length: 64 }, () => 1 / 64), 64 * 256).statistic, 103.4)
    assert.notStrictEqual(uniform(3, 4, 0, 0), uniform(4, 4, 0, 0))
    assert.notStrictEqual(uniform(3, 4, 0, 0), uniform(3, 5, 0, 0))
    assert.notStrictEqual(uniform(3, 4, 0, 1), uniform(3, 4, 1, 0))
  })
})

describe("draw", () => {
  it("at temperature 0 takes the greatest logit, the lowest id among equals, and reports it at temperature 1", () => {
    const drawer = makeDrawer(5)
    const row = Float32Array.of(1, 3, 3, -2, 3)
    for (const u of [0, 0.5, 0.999999]) {
      for (const logprobs of ["scaled", "raw"] as const) {
        assert.strictEqual(drawer.draw(row, 0, options({ temperature: 0, topK: 2, topP: 0.3, logprobs }), u), 1)
        assert.approximately(drawer.logprob, Math.log(softmax(row, 1)[1]!), 1e-6)
      }
    }
  })

  it("reads the row at its offset and changes no logit", () => {
    const drawer = makeDrawer(4)
    const rows = Float32Array.of(9, 0, 0, 0, 0, 0, 9, 0, 0, 9, 0, 0)
    const before = rows.slice()
    assert.strictEqual(drawer.draw(rows, 4, options({ topK: 1 }), 0.5), 2)
    assert.strictEqual(drawer.draw(rows, 8, options({ temperature: 0 }), 0.5), 1)
    assert.deepStrictEqual(rows, before)
  })

  it("follows the temperature law: log p_T(i) - log p_T(j) = (log p(i) - log p(j)) / T", () => {
    const size = 17
    const drawer = makeDrawer(size)
    const row = logits(11, size, 1)
    const score = (i: number) => drawer.score(row, 0, i)
    for (const temperature of [0.3, 0.7, 1, 1.9]) {
      const reported = new Map<number, number>()
      for (let n = 0; n < 2000; n++) {
        const token = drawer.draw(row, 0, options({ temperature, topK: 12, topP: 0.99 }), uniform(1, 1, n, 0))
        reported.set(token, drawer.logprob)
      }
      assert.isAbove(reported.size, 3)
      const [first, base] = [...reported][0]!
      for (const [token, logprob] of reported) {
        assert.approximately(logprob - base, (score(token) - score(first)) / temperature, 1e-6)
        // Not renormalised after top-k and top-p: the log-softmax of the scaled logits over the whole vocabulary.
        assert.approximately(logprob, Math.log(softmax(row, temperature)[token]!), 1e-6)
      }
    }
  })

  it("reports the logits' own log-probabilities when told raw", () => {
    const drawer = makeDrawer(9)
    const row = logits(5, 9)
    for (let n = 0; n < 50; n++) {
      const token = drawer.draw(row, 0, options({ temperature: 0.5, topK: 4, logprobs: "raw" }), uniform(2, 2, n, 0))
      assert.approximately(drawer.logprob, Math.log(softmax(row, 1)[token]!), 1e-6)
    }
  })

  it("draws each token as often as its probability says (chi-square at fixed seeds)", () => {
    const size = 40
    const drawer = makeDrawer(size)
    const row = logits(21, size)
    const draws = 20_000
    for (
      const some of [
        {},
        { temperature: 0.5 },
        { temperature: 2 },
        { topK: 7 },
        { topP: 0.8 },
        { temperature: 1.3, topK: 12, topP: 0.7 },
        { topK: 40, topP: 0.9999 }
      ]
    ) {
      const how = options(some)
      const expected = filtered(row, how)
      const counts = Array.from({ length: size }, () => 0)
      for (let n = 0; n < draws; n++) counts[drawer.draw(row, 0, how, uniform(9, 9, n, 3))]!++
      expected.forEach((p, i) => {
        if (p === 0) assert.strictEqual(counts[i], 0, `token ${i} was cut by ${JSON.stringify(some)}`)
      })
      const { freedom, statistic } = chiSquare(counts, expected, draws)
      // Wilson-Hilferty: the 0.999 quantile of chi-square.
      const bound = freedom * (1 - 2 / (9 * freedom) + 3.09 * Math.sqrt(2 / (9 * freedom))) ** 3
      assert.isBelow(statistic, bound, JSON.stringify(some))
    }
  })

  it("keeps exactly what the definition of top-k and top-p keeps", () => {
    const drawer = makeDrawer(12)
    fc.assert(fc.property(
      fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 12, maxLength: 12 }),
      fc.integer({ min: 1, max: 14 }),
      fc.double({ min: 0.05, max: 0.95, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
      (values, topK, topP, u) => {
        const row = Float32Array.from(values)
        for (const how of [options({ topK }), options({ topP }), options({ topK, topP, temperature: 0.8 })]) {
          const token = drawer.draw(row, 0, how, u)
          assert.isAbove(filtered(row, how)[token]!, 0)
        }
      }
    ))
  })

  it("always keeps one token", () => {
    const drawer = makeDrawer(3)
    assert.strictEqual(drawer.draw(Float32Array.of(0, 5, 1), 0, options({ topP: 1e-9 }), 0.9999999), 1)
    assert.strictEqual(drawer.draw(Float32Array.of(0, 5, 1), 0, options({ topK: 3, topP: 1e-9 }), 0.9999999), 1)
    assert.strictEqual(drawer.draw(Float32Array.of(0, 500, 1), 0, options({ temperature: 1e-6 }), 0.9999999), 1)
  })

  it("says so when the logits are not numbers", () => {
    const drawer = makeDrawer(3)
    for (const temperature of [0, 1]) {
      assert.strictEqual(drawer.draw(Float32Array.of(NaN, 1, 2), 0, options({ temperature }), 0.5), -1)
      assert.strictEqual(drawer.draw(Float32Array.of(1, NaN, 2), 0, options({ temperature }), 0.5), -1)
      assert.strictEqual(drawer.draw(Float32Array.of(1, Infinity, 2), 0, options({ temperature }), 0.5), -1)
    }
  })

  it("lists the likeliest tokens, likeliest first, lower ids first among equals", () => {
    const drawer = makeDrawer(6)
    const row = Float32Array.of(0, 2, 1, 2, -1, 3)
    const tokens = new Int32Array(6)
    const logprobs = new Float32Array(6)
    drawer.top(row, 0, 0.5, 4, tokens, logprobs, 2)
    assert.deepStrictEqual(Array.from(tokens), [0, 0, 5, 1, 3, 2])
    const p = softmax(row, 0.5)
    ;[5, 1, 3, 2].forEach((token, i) => assert.approximately(logprobs[2 + i]!, Math.log(p[token]!), 1e-6))
  })
})
