/** Stored weights: products with them have the bits of products with the numbers that they stand for. */
import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import { fromHalf } from "../../src/engine/files/tensorTypes.js"
import { makeKernels } from "../../src/engine/kernels/kernels.js"
import {
  embedPanels,
  type Form,
  multiplyPanels,
  multiplyPanelsTransposed,
  type Panels,
  panelsBytes,
  storeBlocks,
  storeFloats,
  toBlocks,
  toHalf
} from "../../src/engine/kernels/panels.js"
import { matrix, multiply, transposed } from "../../src/engine/kernels/views.js"
import { wave } from "./models.js"

const get = Either.getOrThrow

/** Whether products and sums are rounded once: the variant of this runtime, and the machine's instructions for it. */
const fused = (() => {
  const kernels = makeKernels()
  const at = get(kernels.allocate(5))
  // -1 + (1 + t) (1 - t) is -t^2, unless the product is rounded first.
  const t = 2 ** -13
  kernels.floats(at, 5).set([-1, 1 + t, 1, 1 - t])
  kernels.gemm(1, 1, 2, at, 2, 1, at + 8, 1, 1, at + 16, 1, 1, 0)
  return kernels.floats(at, 5)[4] !== 0
})()

/** Stores a matrix; gives it with the row-major numbers that it then stands for. */
const store = (form: Form, output: number, input: number) => {
  const kernels = makeKernels()
  const size = { output, input, form }
  const panels: Panels = { ...size, at: get(kernels.allocate(panelsBytes(size) / 4)) }
  const plain = matrix(get(kernels.allocate(output * input)), output, input)
  const values = wave(output * input, 3, 0.2, 0.01)
  for (let row = 0; row < output; row++) {
    const numbers = values.slice(row * input, (row + 1) * input)
    if (form === "q8") {
      const blocks = toBlocks(numbers)
      storeBlocks(kernels, panels, row, blocks)
      numbers.forEach((_, i) => {
        const block = Math.floor(i / 32)
        const [scale, q, min] = [blocks.scale[block]!, blocks.q[i]!, blocks.min[block]!]
        numbers[i] = fused ? scale * q + min : Math.fround(scale * q) + min
      })
    } else {
      storeFloats(kernels, panels, row, numbers)
      if (form === "f16") numbers.forEach((x, i) => numbers[i] = fromHalf(toHalf(x)))
    }
    kernels.floats(plain.at + row * input * 4, input).set(numbers)
  }
  const fresh = (rows: number, columns: number, seed: number) => {
    const view = matrix(get(kernels.allocate(rows * columns)), rows, columns)
    kernels.floats(view.at, rows * columns).set(wave(rows * columns, seed, 1))
    return view
  }
  const read = ({ at, columns, rows }: ReturnType<typeof fresh>) => kernels.floats(at, rows * columns).slice()
  return { kernels, panels, plain, values, fresh, read }
}

const shapes: ReadonlyArray<readonly [output: number, input: number]> = [[7, 20], [64, 256], [85, 300], [400, 516]]

for (const form of ["f32", "f16", "q8"] as const) {
  describe(`weights as ${form}`, () => {
    for (const [output, input] of shapes) {
      for (const rows of [1, 3, 4, 37]) {
        it(`${rows} rows by [${output}][${input}]: the bits of gemm`, () => {
          const { fresh, kernels, panels, plain, read } = store(form, output, input)
          const x = fresh(rows, input, 1)
          const dy = fresh(rows, output, 2)
          for (const accumulate of [false, true]) {
            const [y, expected] = [fresh(rows, output, 5), fresh(rows, output, 5)]
            multiplyPanels(kernels, y, x, panels, 0.5, accumulate)
            multiply(kernels, expected, x, transposed(plain), 0.5, accumulate)
            assert.deepStrictEqual(read(y), read(expected))
          }
          const [dx, expected] = [fresh(rows, input, 5), fresh(rows, input, 5)]
          multiplyPanelsTransposed(kernels, dx, dy, panels)
          multiply(kernels, expected, dy, plain)
          assert.deepStrictEqual(read(dx), read(expected))
        })
      }
      it(`rows of a table [${output}][${input}]`, () => {
        const { fresh, kernels, panels, plain, read } = store(form, output, input)
        const tokens = [0, output - 1, 5, 5]
        const at = get(kernels.allocate(tokens.length))
        kernels.ints(at, tokens.length).set(tokens)
        const [out, expected] = [fresh(tokens.length, input, 1), fresh(tokens.length, input, 2)]
        embedPanels(kernels, out, at, panels)
        kernels.embed(tokens.length, input, at, plain.at, expected.at)
        assert.deepStrictEqual(read(out), read(expected))
      })
    }
  })
}

describe("8-bit blocks", () => {
  it("are within half a step of the numbers, over a row that ends in a part of a block", () => {
    const row = wave(50, 1, 3, -1)
    const { min, q, scale } = toBlocks(row)
    row.forEach((x, i) => {
      const block = Math.floor(i / 32)
      assert.isAtMost(Math.abs(scale[block]! * q[i]! + min[block]! - x), scale[block]! * 0.501)
      assert.isBelow(scale[block]!, 6 / 255 * 1.001)
    })
  })

  it("hold a constant exactly", () => {
    const { min, q, scale } = toBlocks(new Float32Array(32).fill(0.1))
    assert.strictEqual(Math.fround(scale[0]! * q[3]!) + min[0]!, Math.fround(0.1))
  })
})
