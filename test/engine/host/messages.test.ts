import { assert, describe, it } from "@effect/vitest"
import { buffersOf, pack } from "../../../src/engine/host/messages.js"

describe("pack", () => {
  const message = {
    id: 3,
    seed: 12345678901234567890n,
    nothing: undefined,
    none: null,
    data: [{ tokens: Int32Array.of(1, -2, 3), logprobs: Float32Array.of(0.5, NaN) }, { tokens: new Int32Array(0) }]
  }

  it("copies plain data, its arrays into one buffer that can be handed over", () => {
    const { buffer, value } = pack(message)
    assert.deepStrictEqual(value, message)
    assert.strictEqual(buffer.byteLength, 20)
    assert.isTrue(
      value.data.every(({ logprobs, tokens }) => tokens.buffer === buffer && (logprobs ?? tokens).buffer === buffer)
    )
    value.data[0]!.tokens[0] = 9
    assert.strictEqual(message.data[0]!.tokens[0], 1)
    assert.deepStrictEqual(structuredClone(value, { transfer: [buffer] }).data[0]!.tokens, Int32Array.of(9, -2, 3))
    assert.strictEqual(buffer.byteLength, 0)
  })

  it("copies of a view only what is seen", () => {
    const { buffer, value } = pack({ part: Float32Array.of(1, 2, 3, 4).subarray(1, 3) })
    assert.strictEqual(buffer.byteLength, 8)
    assert.deepStrictEqual(value.part, Float32Array.of(2, 3))
  })
})

describe("buffersOf", () => {
  it("finds every buffer once", () => {
    const shared = Float32Array.of(1, 2, 3)
    const own = Int32Array.of(4)
    const value = { a: [shared.subarray(1), { b: own }], c: shared, d: null, e: "text" }
    assert.deepStrictEqual(buffersOf(value), [shared.buffer, own.buffer])
  })
})
