import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Safetensors from "../../../src/server/checkpoints/Safetensors.js"

const tensors = FastCheck.uniqueArray(
  FastCheck.record({
    name: FastCheck.string({ minLength: 1, maxLength: 20 }).filter((name) =>
      name !== "__metadata__" && name !== "__proto__"
    ),
    shape: FastCheck.array(FastCheck.integer({ min: 0, max: 4 }), { maxLength: 3 })
  }).map(({ name, shape }) => ({
    name,
    shape,
    data: Float32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => i / 3)
  })),
  { selector: ({ name }) => name, maxLength: 5 }
)

describe("Safetensors", () => {
  it("gives back what it wrote, aligned", () => {
    FastCheck.assert(FastCheck.property(tensors, (list) => {
      const bytes = Safetensors.encode(list, { step: "3" })
      const { metadata, tensors } = Either.getOrThrow(Safetensors.decode(bytes))
      const byName = (a: { name: string }, b: { name: string }) => a.name < b.name ? -1 : 1
      assert.deepStrictEqual([...tensors].sort(byName), [...list].sort(byName))
      assert.strictEqual(metadata["step"], "3")
      const headerLength = Number(new DataView(bytes.buffer).getBigUint64(0, true))
      assert.strictEqual((8 + headerLength) % 8, 0)
    }))
  })

  it("reads a file of the reference library", () => {
    // safetensors.numpy.save({"a": np.array([1.5, -2], dtype=np.float32)})
    const header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}     "
    const bytes = new Uint8Array(8 + header.length + 8)
    new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true)
    bytes.set(new TextEncoder().encode(header), 8)
    new DataView(bytes.buffer).setFloat32(8 + header.length, 1.5, true)
    new DataView(bytes.buffer).setFloat32(12 + header.length, -2, true)
    assert.deepStrictEqual(Either.getOrThrow(Safetensors.decode(bytes)).tensors, [
      { name: "a", shape: [2], data: Float32Array.of(1.5, -2) }
    ])
  })

  it("refuses files that are cut off or changed, and never throws", () => {
    const whole = Safetensors.encode([{ name: "a", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }])
    for (let length = 0; length < whole.length; length++) {
      assert.isTrue(Either.isLeft(Safetensors.decode(whole.subarray(0, length))), `${length}`)
    }
    FastCheck.assert(
      FastCheck.property(FastCheck.nat(whole.length - 17), FastCheck.nat(255), (at, byte) => {
        const bytes = whole.slice()
        bytes[at] = byte
        Safetensors.decode(bytes)
      })
    )
    FastCheck.assert(FastCheck.property(FastCheck.uint8Array(), (bytes) => void Safetensors.decode(bytes)))
  })
})
