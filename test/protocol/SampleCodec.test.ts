import { create, fromBinary, toBinary } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import { decodeResponse, encodeResponse } from "../../src/protocol/SampleCodec.js"
import * as Sampling from "../../src/protocol/Sampling.js"
import * as pb from "./gen/tinker_public_pb.js"
import { field, fromHex, sampleResponse, toHex, unaligned, unknownFields } from "./support.js"

const golden =
  "0a160801120805000000060000001a08000000bf000080be0a0612040700000012080000c07f000080bf1a280a10000000000000000009000000000000001210804fc3c7804fc3c7000000bf804fc3c7180220022001"

const known: Sampling.SampleResponse = {
  sequences: [
    { stopReason: "length", tokens: Int32Array.of(5, 6), logprobs: Float32Array.of(-0.5, -0.25) },
    { stopReason: "stop", tokens: Int32Array.of(7) }
  ],
  promptLogprobs: Float32Array.of(Number.NaN, -1),
  topkPromptLogprobs: {
    tokens: Int32Array.of(0, 0, 9, 0),
    logprobs: Float32Array.of(-99999, -99999, -0.5, -99999),
    k: 2,
    length: 2
  },
  promptCacheHitTokens: 1
}

const refused = (hex: string) => Effect.map(Effect.flip(decodeResponse(fromHex(hex))), ({ message }) => message)

describe("SampleResponse", () => {
  it.effect("is the official bytes, both ways", () =>
    Effect.gen(function*() {
      assert.strictEqual(toHex(encodeResponse(known)), golden)
      const read = yield* decodeResponse(fromHex(golden))
      assert.deepStrictEqual(read, known)
      assert.deepStrictEqual(Sampling.toNullable(read.promptLogprobs!), [null, -1])
      assert.deepStrictEqual(Sampling.topkRows(read.topkPromptLogprobs!), [null, [[9, -0.5]]])
    }))

  it.effect("survives encoding and decoding, aligned or not", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(sampleResponse, async (value) => {
          const bytes = encodeResponse(value)
          assert.deepStrictEqual(await Effect.runPromise(decodeResponse(bytes)), value)
          assert.deepStrictEqual(await Effect.runPromise(decodeResponse(unaligned(bytes))), value)
        }),
        { numRuns: 200 }
      )
    ))

  it.effect("means the same to generated code, in both directions", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(sampleResponse, async (value) => {
          const message = fromBinary(pb.SampleResponseSchema, encodeResponse(value))
          assert.isUndefined(message.$unknown)
          assert.strictEqual(message.sequences.length, value.sequences.length)
          assert.strictEqual(message.promptCacheHitTokens, value.promptCacheHitTokens)
          const theirs = toBinary(pb.SampleResponseSchema, message)
          assert.deepStrictEqual(await Effect.runPromise(decodeResponse(theirs)), value)
        }),
        { numRuns: 200 }
      )
    ))

  it.effect("has no log-probabilities where there are no bytes, and no top-k without rows or columns", () =>
    Effect.gen(function*() {
      const message = create(pb.SampleResponseSchema, {
        sequences: [{ logprobs: new Uint8Array(0), topkSampledLogprobs: { k: 0, length: 3 } }],
        promptLogprobs: new Uint8Array(0),
        topkPromptLogprobs: { k: 3, length: 0 }
      })
      assert.deepStrictEqual(yield* decodeResponse(toBinary(pb.SampleResponseSchema, message)), {
        sequences: [{ stopReason: "stop", tokens: new Int32Array(0) }],
        promptCacheHitTokens: 0
      })
    }))

  it.effect("is refused when its parts do not fit", () =>
    Effect.gen(function*() {
      const one = (...body: ReadonlyArray<string>) => field(1, ...body)
      assert.match(yield* refused(one("0802")), /sequences\[0\] has the unknown stop reason 2/)
      assert.match(yield* refused(one("08ffffffffffffffffff01")), /unknown stop reason -1/)
      assert.match(yield* refused(one() + one(field(2, "00"))), /sequences\[1\].tokens has 1 bytes/)
      assert.match(yield* refused(one(field(3, "0000"))), /sequences\[0\].logprobs has 2 bytes/)
      assert.match(yield* refused(one(field(3, "00000000"))), /has 0 tokens but 1 log-probabilities/)
      assert.match(yield* refused(field(2, "000000")), /prompt_logprobs has 3 bytes/)
      assert.match(yield* refused(field(3, field(1, "000000"))), /topk_prompt_logprobs has 3 bytes of token ids/)
      assert.match(yield* refused(field(3, field(1, "00000000"), "1801", "2001")), /does not have 1 rows of 1/)
      assert.match(
        yield* refused(field(3, field(1, "00000000"), field(2, "00000000"), "1802", "2001")),
        /does not have 1 rows of 2/
      )
      assert.match(yield* refused(field(6, field(1, field(1, "00000000"), "1801"))), /does not have both tensors/)
      assert.match(yield* refused(field(5, field(1, "00000000"))), /target_prompt_logprobs has the unknown dtype 0/)
    }))

  it.effect("tolerates fields that are not known here, and known ones of another wire type, at every depth", () =>
    Effect.gen(function*() {
      const floats = field(2, "0000003f")
      const topk = [unknownFields, "0801", "1001", field(1, "05000000"), floats, "1801", "2001", "1a0100", "220100"]
      const tensor = [field(1, "0000003f"), "1801"]
      const sequence = [unknownFields, "0a0100", "1001", "1801", "2001", field(2, "07000000"), field(4, ...topk)]
      const bytes = fromHex([
        unknownFields,
        "0801",
        "1001",
        "1801",
        "220100",
        "2801",
        "3001",
        field(1, ...sequence),
        field(3, ...topk),
        field(6, unknownFields, "0801", "1001", field(1, ...tensor), field(2, ...tensor))
      ].join(""))
      const matrix = { tokens: Int32Array.of(5), logprobs: Float32Array.of(0.5), k: 1, length: 1 }
      const list = { dtype: "float32" as const, data: Float32Array.of(0.5), shape: [1] }
      assert.deepStrictEqual(yield* decodeResponse(bytes), {
        sequences: [{ stopReason: "stop", tokens: Int32Array.of(7), topkLogprobs: matrix }],
        topkPromptLogprobs: matrix,
        promptAltTokens: { tokens: list, logprobs: list },
        promptCacheHitTokens: 0
      })
    }))

  it.effect("that ends early or is nonsense is refused without a crash", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(sampleResponse, fc.nat(), fc.uint8Array({ maxLength: 40 }), async (value, cut, noise) => {
          const bytes = encodeResponse(value)
          for (const bad of [bytes.subarray(0, cut % (bytes.length + 1)), new Uint8Array(noise)]) {
            const result = await Effect.runPromise(Effect.either(decodeResponse(bad)))
            if (result._tag === "Left") assert.strictEqual(result.left._tag, "MalformedMessage")
          }
        }),
        { numRuns: 300 }
      )
    ))
})
