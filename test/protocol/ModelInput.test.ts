import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { InvalidInput } from "../../src/protocol/InvalidInput.js"
import * as ModelInput from "../../src/protocol/ModelInput.js"
import { chunk } from "./support.js"

const image = { type: "image" as const, data: Uint8Array.of(1, 2, 3), format: "png" }

const refusal = (evaluate: () => unknown): InvalidInput => {
  try {
    evaluate()
  } catch (cause) {
    assert.instanceOf(cause, InvalidInput)
    return cause
  }
  return assert.fail("nothing was refused")
}

describe("constructors", () => {
  it("keep ids as they are given", () => {
    const typed = Int32Array.of(1, 2)
    const list = [1, 2]
    for (const ids of [typed, list]) {
      const [only] = ModelInput.fromTokens(ids).chunks
      assert.strictEqual(only!.type === "encoded_text" && only.tokens, ids)
    }
    assert.strictEqual(ModelInput.tokens(ModelInput.fromTokens(typed)), typed)
    assert.deepStrictEqual(ModelInput.tokens(ModelInput.fromTokens(list)), typed)
    assert.deepStrictEqual(ModelInput.tokens(ModelInput.empty), new Int32Array(0))
  })

  it("take an input or ids where both are allowed", () => {
    const input = ModelInput.fromChunks(image)
    assert.strictEqual(ModelInput.from(input), input)
    assert.strictEqual(ModelInput.length(ModelInput.from([1, 2, 3])), 3)
    assert.isFalse(ModelInput.isModelInput([1]))
    assert.isFalse(ModelInput.isModelInput({ chunks: 1 }))
  })
})

describe("append", () => {
  it("adds chunks, ids and inputs behind", () => {
    const input = ModelInput.append(ModelInput.append(ModelInput.fromTokens([1]), Int32Array.of(2, 3)), image)
    assert.deepStrictEqual(input.chunks.map(({ type }) => type), ["encoded_text", "encoded_text", "image"])
    assert.strictEqual(ModelInput.append(input, input).chunks.length, 6)
    assert.deepStrictEqual(
      ModelInput.tokens(ModelInput.append(ModelInput.fromTokens([1]), [2, 3])),
      Int32Array.of(1, 2, 3)
    )
  })
})

describe("length", () => {
  it("adds up text, announced images and audio", () => {
    const dmel = { type: "dmel" as const, dmel: Uint8Array.of(4, 2, 5, 80) }
    const pointer = { type: "image_asset_pointer" as const, location: "l", format: "png", expectedTokens: 3 }
    assert.strictEqual(
      ModelInput.length(
        ModelInput.fromChunks({ type: "encoded_text", tokens: [1, 2] }, dmel, pointer, { ...image, expectedTokens: 4 })
      ),
      14
    )
  })

  it("reads marked headers and long dimensions of audio", () => {
    const dmel = (...bytes: ReadonlyArray<number>) =>
      ModelInput.chunkLength({ type: "dmel", dmel: Uint8Array.from(bytes) })
    assert.strictEqual(dmel(254, 4, 1, 0xac, 0x02), 300)
    assert.strictEqual(dmel(0, 2, 0, 7), 0)
    for (
      const bad of [[], [8, 1, 1], [254], [4], [4, 0], [4, 1, 0x80], [
        4,
        ...Array.from({ length: 11 }, () => 0x80)
      ]]
    ) {
      assert.strictEqual(refusal(() => dmel(...bad)).field, "dmel")
    }
  })

  it("is refused for an image whose tokens are not announced, and tokens of anything but text", () => {
    assert.strictEqual(refusal(() => ModelInput.length(ModelInput.fromChunks(image))).field, "expectedTokens")
    const mixed = ModelInput.append(ModelInput.fromTokens([1]), image)
    assert.strictEqual(refusal(() => ModelInput.tokens(mixed)).field, "chunks[1]")
  })
})

describe("JSON", () => {
  const decode = Schema.decodeUnknownSync(ModelInput.ModelInputSchema)
  const encode = Schema.encodeSync(ModelInput.ModelInputSchema)

  it("has the wire's names and base64", () => {
    const input = ModelInput.fromChunks(
      { type: "encoded_text", tokens: Int32Array.of(1, 2) },
      { ...image, expectedTokens: 3 },
      { type: "image_asset_pointer", location: "l", format: "jpeg" },
      { type: "dmel", dmel: Uint8Array.of(255) }
    )
    assert.strictEqual(
      JSON.stringify(encode(input)),
      "{\"chunks\":[{\"tokens\":[1,2],\"type\":\"encoded_text\"},{\"data\":\"AQID\",\"format\":\"png\",\"expected_tokens\":3,\"type\":\"image\"},{\"format\":\"jpeg\",\"location\":\"l\",\"type\":\"image_asset_pointer\"},{\"dmel\":\"/w==\",\"type\":\"dmel\"}]}"
    )
  })

  it("keeps every input; ids come back as a list", () => {
    fc.assert(fc.property(fc.array(chunk, { maxLength: 4 }), (chunks) => {
      const lists = chunks.map((one) => one.type === "encoded_text" ? { ...one, tokens: Array.from(one.tokens) } : one)
      assert.deepStrictEqual(decode(JSON.parse(JSON.stringify(encode({ chunks })))), { chunks: lists })
    }))
  })

  it("drops unknown keys, takes unknown formats, refuses broken base64 and ids", () => {
    assert.deepStrictEqual(
      decode({ chunks: [{ type: "image", data: "AQ==", format: "webp", expected_tokens: null, more: 1 }], more: 1 }),
      { chunks: [{ type: "image", data: Uint8Array.of(1), format: "webp" }] }
    )
    assert.throws(() => decode({ chunks: [{ type: "image", data: "*", format: "png" }] }))
    assert.throws(() => decode({ chunks: [{ type: "encoded_text", tokens: [1.5] }] }))
    assert.throws(() => decode({ chunks: [{ type: "video" }] }))
  })
})
