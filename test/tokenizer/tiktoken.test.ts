import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { fromTiktoken } from "../../src/tokenizer/internal/tiktoken.js"

const merged = ["th", "the", " t", " the", "in", "ing", "12", "123", "中文", "\n\n", "er", "he", "  "]
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64")
const ranks = [
  ...Array.from({ length: 256 }, (_, byte) => `${base64(Uint8Array.of(byte))} ${byte}`),
  ...merged.map((text, i) => `${base64(new TextEncoder().encode(text))} ${256 + i}`)
].join("\n")
const base = 256 + merged.length
const configJson = JSON.stringify({
  eos_token: "[EOS]",
  added_tokens_decoder: {
    [base]: { content: "[BOS]" },
    [base + 1]: { content: "[EOS]" },
    [base + 5]: { content: "<|im_end|>" }
  }
})
const make = fromTiktoken({ id: "moonshotai/Kimi", ranks, configJson })
const id = (text: string) => 256 + merged.indexOf(text)
const byte = (text: string) => text.charCodeAt(0)

describe("tiktoken", () => {
  it.effect("merges by rank, the leftmost of equals first", () =>
    Effect.gen(function*() {
      const { encode } = yield* make
      assert.deepStrictEqual(Array.from(encode("the")), [id("the")])
      // "th" ranks before "he": th, e, r
      assert.deepStrictEqual(Array.from(encode("her")), [byte("h"), id("er")])
      assert.deepStrictEqual(Array.from(encode("thinging")), [id("th"), id("ing"), id("ing")])
      assert.deepStrictEqual(Array.from(encode("the the")), [id("the"), id(" the")])
    }))

  it.effect("merges as the plain algorithm does, and in proportion to the text", () =>
    Effect.gen(function*() {
      const letters = Array.from("abcd")
      const words = [...letters.flatMap((a) => letters.map((b) => a + b)), "abc", "aab", "abab", "ddd", "bcda"]
      const table = new Map(
        [...Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)), ...words].map((w, i) => [w, i])
      )
      const { encode } = yield* fromTiktoken({
        id: "a/b",
        ranks: Array.from(table, ([word, rank]) => `${Buffer.from(word, "latin1").toString("base64")} ${rank}`).join(
          "\n"
        ),
        configJson: "{}"
      })
      /** Looks at all pairs before every merge. */
      const plain = (text: string): Array<number> => {
        const parts = Array.from(text)
        if (table.has(text)) return [table.get(text)!]
        for (;;) {
          const joined = parts.slice(1).map((part, i) => table.get(parts[i] + part) ?? Infinity)
          const least = Math.min(...joined)
          if (least === Infinity) return parts.map((part) => table.get(part)!)
          const at = joined.indexOf(least)
          parts.splice(at, 2, parts[at]! + parts[at + 1]!)
        }
      }
      const text = FastCheck.array(FastCheck.constantFrom(...letters), { minLength: 1, maxLength: 40 })
      FastCheck.assert(
        FastCheck.property(text, (list) =>
          assert.deepStrictEqual(Array.from(encode(list.join(""))), plain(list.join("")))),
        { numRuns: 500, seed: 1 }
      )
      // what is counted is work, not time: the same text eight times as long is looked up about eight times as often
      const lookups = (size: number) => {
        let count = 0
        const get = Map.prototype.get
        Map.prototype.get = function(key) {
          count++
          return get.call(this, key)
        }
        try {
          encode("abcdabdcaadb".repeat(size))
        } finally {
          Map.prototype.get = get
        }
        return count
      }
      assert.isAtMost(lookups(5_600), 10 * lookups(700))
    }))

  it.effect("cuts numbers after three digits, Han from letters, words from contractions", () =>
    Effect.gen(function*() {
      const { encode } = yield* make
      assert.deepStrictEqual(Array.from(encode("1234")), [id("123"), byte("4")])
      assert.deepStrictEqual(Array.from(encode("the中文")), [id("the"), id("中文")])
      assert.deepStrictEqual(Array.from(encode("in\n\nin")), [id("in"), id("\n\n"), id("in")])
      // Three blanks before a word: two, and one that belongs to the word
      assert.deepStrictEqual(Array.from(encode("in   the")), [id("in"), id("  "), id(" the")])
    }))

  it.effect("takes special tokens in the text for what they are, and reserves 256", () =>
    Effect.gen(function*() {
      const tokenizer = yield* make
      assert.deepStrictEqual(Array.from(tokenizer.encode("[BOS]the<|im_end|>")), [base, id("the"), base + 5])
      assert.deepStrictEqual(Array.from(tokenizer.encode(`<|reserved_token_${base + 7}|>`)), [base + 7])
      assert.strictEqual(tokenizer.eosToken, base + 1)
      assert.strictEqual(tokenizer.vocabSize, base + 256)
      assert.strictEqual(tokenizer.decode([base, id("the"), base + 256]), "[BOS]the\uFFFD")
      assert.strictEqual(tokenizer.decode([base, id("the")], { skipSpecialTokens: true }), "the")
    }))

  it.effect("brings every text back", () =>
    Effect.gen(function*() {
      const { decode, encode } = yield* make
      FastCheck.assert(
        FastCheck.property(FastCheck.string({ unit: "binary", maxLength: 40 }), (text) => {
          const wellFormed = new TextDecoder("utf-8", { ignoreBOM: true }).decode(new TextEncoder().encode(text))
          assert.strictEqual(decode(encode(text)), wellFormed)
        }),
        { numRuns: 500 }
      )
    }))

  for (
    const [what, file] of [["without ranks", "YQ==\nYg=="], ["too short for bytes", "YQ== 0"], [
      "that is no base64",
      "? 0"
    ]] as const
  ) {
    it.effect(`refuses a file ${what}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(fromTiktoken({ id: "a/b", ranks: file, configJson }))
        assert.strictEqual(error.reason, "Malformed")
        assert.match(error.message, /^tokenizer a\/b: its tiktoken\.model/)
      }))
  }
})
