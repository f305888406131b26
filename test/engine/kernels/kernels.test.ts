import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as fc from "effect/FastCheck"
import {
  bestVariant,
  compileKernels,
  type Kernels,
  makeKernels,
  type Variant
} from "../../../src/engine/kernels/kernels.js"
import { uniform } from "../../../src/engine/model/weights.js"
import { philox } from "../../../src/engine/sampler/philox.js"
import { wave } from "../models.js"

const module = compileKernels()

/** The variants that this runtime has. */
const variants: ReadonlyArray<Variant> = bestVariant() === "relaxed" ? ["plain", "relaxed"] : ["plain"]

const put = (kernels: Kernels, values: Float32Array): number => {
  const address = Either.getOrThrow(kernels.allocate(values.length))
  kernels.floats(address, values.length).set(values)
  return address
}

describe("memory", () => {
  it("is zeroed, aligned, disjoint, reused and joined again, whatever the order of release", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.nat()), { maxLength: 60 }), (steps) => {
        const kernels = makeKernels(module)
        const scratch = kernels.allocated()
        const live: Array<{ address: number; words: number; mark: number }> = []
        steps.forEach(([words, pick], mark) => {
          if (pick % 3 === 0 && live.length > 0) {
            const [gone] = live.splice(pick % live.length, 1)
            kernels.release(gone!.address)
            return
          }
          const address = Either.getOrThrow(kernels.allocate(words))
          assert.strictEqual(address % 64, 0)
          assert.isTrue(kernels.floats(address, words).every((x) => x === 0))
          kernels.floats(address, words).fill(mark + 1)
          live.push({ address, words, mark })
        })
        for (const { address, mark, words } of live) {
          assert.isTrue(kernels.floats(address, words).every((x) => x === mark + 1))
        }
        for (const { address } of live) kernels.release(address)
        assert.strictEqual(kernels.allocated(), scratch)
        const size = kernels.memory.buffer.byteLength
        Either.getOrThrow(kernels.allocate(Math.max(0, ...live.map(({ words }) => words))))
        assert.strictEqual(kernels.memory.buffer.byteLength, size)
      }),
      { numRuns: 30 }
    )
  })

  it("that cannot be had is refused, and the rest stays usable", () => {
    const kernels = makeKernels(module)
    assert.strictEqual(Either.getOrThrow(Either.flip(kernels.allocate(2 ** 31))).reason, "LimitReached")
    kernels.release(0)
    assert.isTrue(Either.isRight(kernels.allocate(1000)))
  })
})

describe.each(variants)("gemm, %s", (variant) => {
  const module = compileKernels(variant)
  const dimension = fc.integer({ min: 1, max: 37 })
  it("multiplies in any layout", () => {
    const kernels = makeKernels(module)
    fc.assert(
      fc.property(
        fc.record({
          m: fc.oneof(dimension, fc.integer({ min: 90, max: 110 })),
          n: fc.oneof(dimension, fc.integer({ min: 380, max: 400 })),
          k: fc.oneof(dimension, fc.integer({ min: 250, max: 530 })),
          aTransposed: fc.boolean(),
          bTransposed: fc.boolean(),
          accumulate: fc.boolean(),
          alpha: fc.constantFrom(1, -0.5)
        }),
        ({ aTransposed, accumulate, alpha, bTransposed, k, m, n }) => {
          const [a, b, c] = [wave(m * k, 1, 1), wave(k * n, 2, 1), wave(m * (n + 3), 3, 1)]
          const [pa, pb, pc] = [put(kernels, a), put(kernels, b), put(kernels, c)]
          const [ars, acs] = aTransposed ? [1, m] : [k, 1]
          const [brs, bcs] = bTransposed ? [1, k] : [n, 1]
          kernels.gemm(m, n, k, pa, ars, acs, pb, brs, bcs, pc, n + 3, alpha, accumulate ? 1 : 0)
          const got = kernels.floats(pc, c.length).slice()
          for (const address of [pa, pb, pc]) kernels.release(address)
          let worst = 0
          for (let i = 0; i < m; i++) {
            for (let j = 0; j < n + 3; j++) {
              let sum = j < n && !accumulate ? 0 : c[i * (n + 3) + j]!
              if (j < n) { for (let x = 0; x < k; x++) sum += alpha * a[i * ars + x * acs]! * b[x * brs + j * bcs]! }
              worst = Math.max(worst, Math.abs(got[i * (n + 3) + j]! - sum))
            }
          }
          assert.isBelow(worst, 1e-6 * k)
        }
      ),
      { numRuns: 60 }
    )
  })

  it("gives a row the same bits in any company, packed or not", () => {
    const kernels = makeKernels(module)
    const [m, n, k] = [70, 61, 300]
    const a = put(kernels, wave(m * k, 1, 1))
    const w = put(kernels, wave(n * k, 2, 1))
    const c = put(kernels, new Float32Array(m * n))
    const packed = put(kernels, new Float32Array(kernels.packedLength(n, k)))
    kernels.packWeight(n, k, w, 1, k, packed)
    kernels.gemm(m, n, k, a, k, 1, w, 1, k, c, n, 1, 0)
    const together = kernels.floats(c, m * n).slice()
    for (const rows of [1, 2, 4, 5, 6, 16, 64]) {
      for (let first = 0; first + rows <= m; first += 13) {
        const expected = together.slice(first * n, (first + rows) * n)
        kernels.gemm(rows, n, k, a + first * k * 4, k, 1, w, 1, k, c, n, 1, 0)
        assert.deepStrictEqual(kernels.floats(c, rows * n).slice(), expected)
        kernels.gemmPacked(rows, n, k, a + first * k * 4, k, packed, c, n, 0)
        assert.deepStrictEqual(kernels.floats(c, rows * n).slice(), expected)
      }
    }
  })
})

describe("the variants", () => {
  it("agree but for the rounding of their sums", () => {
    const [m, n, k] = [19, 45, 300]
    const products = variants.map((variant) => {
      const kernels = makeKernels(compileKernels(variant))
      const [a, b, c] = [
        put(kernels, wave(m * k, 1, 1)),
        put(kernels, wave(k * n, 2, 1)),
        put(kernels, wave(m * n, 3, 1))
      ]
      kernels.gemm(m, n, k, a, k, 1, b, n, 1, c, n, 1, 0)
      return kernels.floats(c, m * n).slice()
    })
    for (const product of products) {
      product.forEach((value, i) => assert.approximately(value, products[0]![i]!, 1e-4))
    }
  })
})

describe("softmax", () => {
  it("keeps log-sum-exp exact over the whole range of logits", () => {
    const kernels = makeKernels(module)
    for (const logits of [[0], [5, 5, 5], [-1e4, 0, 1e4], [-200, -100, -90, -87, -50, 0, 3], [88, 88.5, -3, 0.1, 7]]) {
      const x = put(kernels, Float32Array.from(logits))
      const lse = Either.getOrThrow(kernels.allocate(2))
      kernels.logSumExp(1, logits.length, x, lse)
      const top = Math.max(...logits)
      const expected = top + Math.log(logits.reduce((sum, e) => sum + Math.exp(Math.fround(e) - top), 0))
      assert.approximately(new Float64Array(kernels.memory.buffer, lse, 1)[0]!, expected, 1e-6)
    }
  })

  it("lets a NaN through", () => {
    const kernels = makeKernels(module)
    for (const length of [1, 5, 9]) {
      for (let at = 0; at < length; at++) {
        const x = put(kernels, wave(length, 1, 1).map((e, i) => i === at ? NaN : e))
        const lse = Either.getOrThrow(kernels.allocate(2))
        kernels.logSumExp(1, length, x, lse)
        assert.isNaN(new Float64Array(kernels.memory.buffer, lse, 1)[0])
      }
    }
  })
})

describe("uniform", () => {
  it("draws the words of Philox4x32-10", () => {
    // The last known-answer vector of the reference implementation of Salmon et al.
    const out = new Uint32Array(4)
    philox(0xa4093822, 0x299f31d0, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, out)
    assert.deepStrictEqual([...out], [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1])
    const kernels = makeKernels(module)
    const length = 1003
    for (const [seed, stream, bound] of [[0n, 0, 1], [-1n, 3, 0.25], [0x1234_5678_9abc_def0n, 65_540, 2]] as const) {
      const address = put(kernels, new Float32Array(length))
      uniform(kernels, address, length, seed, stream, bound)
      const got = kernels.floats(address, length)
      for (let i = 0; i < length; i++) {
        const low = Number(BigInt.asUintN(32, seed))
        philox(low, Number(BigInt.asUintN(32, seed >> 32n)), i >> 2, 0, stream, 0, out)
        assert.strictEqual(got[i], ((out[i % 4]! >>> 8) / 2 ** 23 - 1) * bound)
      }
    }
  })
})
