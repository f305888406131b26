import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { readFileSync } from "node:fs"
import {
  decodeFloats,
  fromHalf,
  rowBytes,
  type TensorType,
  tensorTypes
} from "../../../src/engine/files/tensorTypes.js"
import { toHalf } from "../../../src/engine/kernels/panels.js"

const blocks: Record<string, { readonly bytes: string; readonly values: string }> = JSON.parse(
  readFileSync(new URL("./fixtures/blocks.json", import.meta.url), "utf8")
)

const decode = (type: TensorType, bytes: Uint8Array, count: number): Float32Array => {
  const out = new Float32Array(count)
  decodeFloats(type, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, count, out)
  return out
}

describe("quantised forms", () => {
  for (const [type, { bytes, values }] of Object.entries(blocks)) {
    it(`${type} gives the numbers that the package gguf gives, to the bit`, () => {
      const raw = new Uint8Array(Buffer.from(bytes, "base64"))
      const expected = new Float32Array(new Uint8Array(Buffer.from(values, "base64")).buffer)
      const count = expected.length
      assert.strictEqual(raw.length, rowBytes(type as TensorType, count))
      // Adding 0 makes -0 and 0 the same.
      assert.deepStrictEqual(decode(type as TensorType, raw, count).map((x) => x + 0), expected.map((x) => x + 0))
    })
  }

  it("are all tried", () => {
    const quantised = Object.entries(tensorTypes).filter(([, { block }]) => block > 1).map(([name]) => name)
    assert.sameMembers(Object.keys(blocks), quantised)
  })

  it("have rows of whole blocks only", () => {
    assert.strictEqual(rowBytes("Q4_0", 33), undefined)
    assert.strictEqual(rowBytes("Q6_K", 128), undefined)
    assert.strictEqual(rowBytes("Q6_K", 512), 420)
    assert.strictEqual(rowBytes("BF16", 3), 6)
  })
})

describe("plain forms", () => {
  it("read float32, float16 and bfloat16", () => {
    const bytes = new Uint8Array(new Float32Array([1.5, -0.1]).buffer)
    assert.deepStrictEqual(decode("F32", bytes, 2), new Float32Array([1.5, -0.1]))
    assert.deepStrictEqual(
      decode("BF16", new Uint8Array([0xc0, 0x3f, 0x80, 0x7f]), 2),
      new Float32Array([1.5, Infinity])
    )
    assert.deepStrictEqual(
      decode("F16", new Uint8Array(new Uint16Array([0x3e00, 0x0001, 0x8400, 0x7c00]).buffer), 4),
      new Float32Array([1.5, 2 ** -24, -(2 ** -14), Infinity])
    )
  })

  it("halves survive the way to single precision and back", () => {
    const isNaNHalf = (half: number) => (half & 0x7fff) > 0x7c00
    for (let half = 0; half < 65_536; half++) {
      const back = fromHalf(half)
      const good = isNaNHalf(half) ? Number.isNaN(back) : toHalf(back) === half
      if (!good) assert.fail(`${half} becomes ${back}`)
    }
  })

  it("single precision becomes the nearest half", () =>
    FastCheck.assert(FastCheck.property(FastCheck.float({ noNaN: true, min: -65_000, max: 65_000 }), (x) => {
      const half = toHalf(x)
      const magnitude = half & 0x7fff
      const distance = Math.abs(fromHalf(half) - x)
      const neighbours = [magnitude - 1, magnitude + 1].filter((other) => other >= 0)
      for (const other of neighbours) {
        assert.isAtMost(distance, Math.abs(fromHalf((half & 0x8000) | other) - x))
      }
    })))
})
