/** The pre-trained `tinkex/nano`: its weights are whole, and they know what `scratchpad/measure-nano.ts` measured. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as InProcessEngine from "../../src/engine/host/InProcessEngine.js"
import { nano } from "../../src/engine/model/modelConfig.js"
import { specialTokens, tokenBytes } from "../../src/engine/model/nanoTokens.generated.js"
import * as Shipped from "../../src/engine/model/nanoWeights.generated.js"
import { crc32, decodeNanoWeights, encodeNanoWeights, loadNanoWeights } from "../../src/engine/model/nanoWeights.js"
import { weightLayout } from "../../src/engine/model/weights.js"
import * as Tokenizer from "../../src/tokenizer/Tokenizer.js"

const layout = weightLayout(nano)

describe("the weights that ship", () => {
  it("are whole, finite and within 4 MB twice over: src and dist are both in the package", () => {
    const flat = Either.getOrThrow(loadNanoWeights())
    assert.strictEqual(flat.length, layout.total)
    assert.isTrue(flat.every((x) => Number.isFinite(x)))
    assert.isBelow(2 * Shipped.base64.length, 4_000_000)
  })

  it("were trained: no norm is at its initial value", () => {
    const flat = Either.getOrThrow(loadNanoWeights())
    for (const { length, name, offset } of layout.tensors.filter(({ name }) => name.endsWith("norm.weight"))) {
      assert.isTrue(flat.subarray(offset, offset + length).some((x) => Math.abs(x - 1) > 0.01), name)
    }
  })

  const refused = (shipped: { readonly base64: string; readonly crc32: number }): string =>
    Either.match(decodeNanoWeights(shipped), {
      onLeft: (error) => `${error.reason}: ${error.detail}`,
      onRight: () => "taken"
    })

  it("are refused when a character changed, some are missing, or they are something else", () => {
    const { base64, crc32 } = Shipped
    const other = base64[1000] === "A" ? "B" : "A"
    assert.match(
      refused({ base64: `${base64.slice(0, 1000)}${other}${base64.slice(1001)}`, crc32 }),
      /^Crashed: the weights of tinkex\/nano .* damaged \(their checksum is \d+, not \d+\): install tinkex again$/
    )
    assert.match(refused({ base64: base64.slice(0, -4), crc32 }), /damaged \(\d+ bytes instead of \d+\)/)
    assert.match(refused({ base64: "#", crc32 }), /damaged \(they are not base64\)/)
  })

  it("come back within half a step of their row", () => {
    const flat = Float32Array.from({ length: layout.total }, (_, i) => Math.sin(i * 12.9898) * (1 + (i % 7)))
    flat.fill(0, layout.head, layout.head + nano.dModel)
    const back = Either.getOrThrow(decodeNanoWeights(encodeNanoWeights(flat)))
    for (const { length, name, offset, shape } of layout.tensors) {
      const width = shape.length === 1 ? length : shape[1]!
      for (let row = offset; row < offset + length; row += width) {
        const values = flat.subarray(row, row + width)
        const step = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / 127
        let worst = 0
        for (let i = 0; i < width; i++) worst = Math.max(worst, Math.abs(values[i]! - back[row + i]!))
        assert.isAtMost(worst, step * 0.501, name)
      }
    }
    // What has been rounded once does not move again
    assert.deepStrictEqual(Either.getOrThrow(decodeNanoWeights(encodeNanoWeights(back))), back)
  })

  it("are guarded by the CRC-32 of zlib", () => {
    assert.strictEqual(crc32(new TextEncoder().encode("123456789")), 0xcbf43926)
    assert.strictEqual(crc32(new Uint8Array(0)), 0)
  })
})

const { decode, encode } = Tokenizer.nano

/** The first lines of the greedy continuations. */
const answers = (prompts: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const engine = yield* InProcessEngine.make()
    yield* engine.createSampler("nano", { baseModel: "tinkex/nano" })
    return yield* Effect.forEach(prompts, (prompt) =>
      Effect.map(
        engine.sample("nano", {
          prompt: encode(prompt),
          numSamples: 1,
          maxTokens: 4,
          temperature: 0,
          topK: -1,
          topP: 1,
          seed: 0n,
          stopStrings: ["\n"],
          stopTokens: [Tokenizer.nano.eosToken!],
          promptLogprobs: false,
          topkPromptLogprobs: 0,
          topkSampleLogprobs: 0
        }),
        ({ sequences }) => decode(sequences[0]!.tokens, { skipSpecialTokens: true }).split("\n")[0]!.trim()
      ), { concurrency: "unbounded" })
  })

const rightSums = (sums: ReadonlyArray<readonly [number, number]>) =>
  Effect.map(
    answers(sums.map(([a, b]) => `${a} + ${b} =`)),
    (replies) => sums.filter(([a, b], i) => replies[i] === String(a + b)).length
  )

describe("the pre-trained model", () => {
  it.scopedLive("adds one-digit numbers that it was never taught, better than chance", () =>
    Effect.gen(function*() {
      // scratchpad/nano-tasks.ts holds these out in either order; each result is here twice, so a constant gets 2 of 20
      const heldOut = [[1, 6], [2, 3], [2, 7], [3, 5], [3, 8], [4, 6], [4, 9], [5, 7], [6, 8], [7, 9]] as const
      const right = yield* rightSums(heldOut.flatMap(([a, b]) => [[a, b], [b, a]] as const))
      // Measured: 12. A constant that hits each time with probability 0.1 gets 7 or more in one of 400 trials
      assert.isAtLeast(right, 7)
    }))

  it.scopedLive("knows the sums that it was taught", () =>
    Effect.gen(function*() {
      const sums = [[1, 1], [2, 2], [3, 4], [5, 5], [6, 3], [7, 8], [9, 9], [0, 5], [8, 1], [4, 4]] as const
      assert.isAtLeast(yield* rightSums(sums), 8)
    }))

  it.scopedLive("expects English that it has not seen", () =>
    Effect.gen(function*() {
      // From the part of the corpus that is held out: Carroll, Austen twice, the World English Bible twice
      const texts = [
        "\"You couldn't have wanted it much,\" said Alice; \"living at the bottom of the sea.\"\n\"I couldn't afford to learn it.\" said the Mock Turtle with a sigh. \"I only took the regular course.\"",
        "Don't let us be severe, don't let us be in a hurry to condemn him. Let us have patience. I must love him; and now that I am satisfied on one point, the one material point, I am sincerely anxious for its all turning out well, and ready to hope that it may.",
        "He could not then avoid it, but her touch seemed painful to him, and he held her hand only for a moment. During all this time he was evidently struggling for composure. Elinor watched his countenance and saw its expression becoming more tranquil. After a moment's pause, he spoke with calmness.",
        "Then the king sent a captain of fifty with his fifty to him. He went up to him; and behold, he was sitting on the top of the hill. He said to him, \"Man of God, the king has said, 'Come down!'\"",
        "When evening had come, the boat was in the middle of the sea, and he was alone on the land. Seeing them distressed in rowing, for the wind was contrary to them, about the fourth watch of the night he came to them, walking on the sea; and he would have passed by them."
      ]
      const engine = yield* InProcessEngine.make()
      yield* engine.createRun("nano", { baseModel: "tinkex/nano", lora: null })
      const data = texts.map((text) => {
        const tokens = encode(text)
        const shape = [tokens.length - 1]
        return {
          tokens: tokens.slice(0, -1),
          lossInputs: {
            target_tokens: { data: tokens.slice(1), shape },
            weights: { data: new Float32Array(tokens.length - 1).fill(1), shape }
          }
        }
      })
      const { loss } = yield* engine.pass("nano", { data, lossFn: "cross_entropy", lossConfig: {}, backward: false })
      assert.isBelow(loss / data.reduce((sum, { tokens }) => sum + tokens.length, 0), 2.6)
    }))

  it("has the tokenizer's vocabulary", () => {
    assert.strictEqual(tokenBytes.length, nano.vocabSize)
    assert.strictEqual(Tokenizer.nano.vocabSize, nano.vocabSize)
    assert.strictEqual(specialTokens[Tokenizer.nano.eosToken! - 256], "<|endoftext|>")
  })
})
