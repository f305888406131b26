import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { ProtoReader } from "../../../src/protocol/internal/protoReader.js"
import { ProtoWriter } from "../../../src/protocol/internal/protoWriter.js"

const step = fc.record({
  kind: fc.constantFrom("uint", "present", "int32", "double", "text", "packed"),
  number: fc.maxSafeNat(),
  text: fc.string({ maxLength: 200 })
})

const write = (
  writer: ProtoWriter,
  steps: ReadonlyArray<{ kind: string; number: number; text: string }>
): Uint8Array => {
  for (const { kind, number, text } of steps) {
    const mark = writer.length
    if (kind === "uint") writer.uint(1, number)
    else if (kind === "present") writer.present(1, number)
    else if (kind === "int32") writer.int32(2, -(number % 2 ** 31))
    else if (kind === "double") writer.double(3, number / 7)
    else if (kind === "text") writer.text(4, text)
    else writer.packed(5, [number, 0, number])
    writer.message(6, mark)
  }
  return writer.finish()
}

describe("ProtoWriter", () => {
  it("writes the same bytes however small its first buffer is", () => {
    fc.assert(fc.property(fc.array(step), fc.nat(64), (steps, estimate) => {
      assert.deepStrictEqual(write(new ProtoWriter(estimate), steps), write(new ProtoWriter(65_536), steps))
    }))
  })

  it("writes numbers that the reader reads back", () => {
    fc.assert(fc.property(fc.maxSafeNat(), fc.integer(), fc.double({ noNaN: true }), (uint, int, double) => {
      const writer = new ProtoWriter(0)
      writer.double(3, double)
      writer.int32(2, int)
      writer.present(1, uint)
      const reader = ProtoReader.of(writer.finish(), "test")
      assert.isTrue(reader.next())
      assert.strictEqual(reader.uint(-1), uint)
      if (int !== 0) {
        assert.isTrue(reader.next())
        assert.strictEqual(reader.int32(-1), int)
      }
      assert.isTrue(reader.next())
      assert.strictEqual(reader.double(-1), double)
      assert.isFalse(reader.next())
    }))
  })
})
