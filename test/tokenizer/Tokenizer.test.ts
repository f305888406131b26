import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { specialTokens, tokenBytes, vocabSize } from "../../src/engine/model/nanoTokens.generated.js"
import * as ModelInput from "../../src/protocol/ModelInput.js"
import { tokenizerConfigJson, tokenizerJson } from "../../src/tokenizer/internal/nanoTokenizer.generated.js"
import * as Tokenizer from "../../src/tokenizer/Tokenizer.js"
import { isTokenizerError } from "../../src/tokenizer/TokenizerError.js"

const { decode, encode } = Tokenizer.nano

/** What a text is in well-formed UTF-16. */
const wellFormed = (text: string) =>
  new TextDecoder("utf-8", { ignoreBOM: true }).decode(new TextEncoder().encode(text))

const bytesOf = (tokens: ArrayLike<number>) => Buffer.concat(Array.from(tokens, (token) => tokenBytes[token]!))

const texts = FastCheck.oneof(
  FastCheck.string({ unit: "binary", maxLength: 60 }),
  FastCheck.string({ unit: "grapheme", maxLength: 60 }),
  FastCheck.array(
    FastCheck.constantFrom(
      "the ",
      "2 + 2 = ",
      " 4",
      "\n",
      "  ",
      "\t",
      "\uFEFF",
      "Question: ",
      "don't",
      "<|im_end|>",
      "<|im_",
      "\u0120",
      "\0"
    ),
    { maxLength: 12 }
  ).map((parts) => parts.join(""))
)

describe("nano", () => {
  it("brings every text back", () => {
    FastCheck.assert(
      FastCheck.property(texts, (text) => {
        assert.strictEqual(decode(encode(text)), wellFormed(text))
      }),
      { numRuns: 2000 }
    )
  })

  it("stands for the bytes of the engine's table", () => {
    FastCheck.assert(
      FastCheck.property(texts, (text) => {
        const tokens = encode(text)
        assert.strictEqual(bytesOf(tokens).toString("hex"), Buffer.from(wellFormed(text)).toString("hex"))
        assert.isTrue(tokens.every((token) => Tokenizer.nano.has(token)))
      }),
      { numRuns: 1000 }
    )
  })

  it("decodes every token and every pair of tokens as their bytes", () => {
    const text = (tokens: ReadonlyArray<number>) =>
      new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytesOf(tokens))
    for (let a = 0; a < vocabSize; a++) {
      assert.strictEqual(decode([a]), text([a]))
      const b = (a * 257 + 101) % vocabSize
      // A special token ends the bytes before it, so a broken character does not reach over it
      if (a < 256 || a >= 256 + specialTokens.length) assert.strictEqual(decode([a, b]), text([a, b]))
    }
  })

  it("splits numbers into digits, so that sums look alike", () => {
    assert.deepStrictEqual(
      Array.from(encode("2 + 2 =")).concat(Array.from(encode(" 4"))),
      Array.from(encode("2 + 2 = 4"))
    )
    assert.deepStrictEqual(Array.from(encode("1234")), ["1", "2", "3", "4"].map((digit) => digit.charCodeAt(0)))
  })

  it("knows its special tokens", () => {
    assert.strictEqual(Tokenizer.nano.id, "tinkex/nano")
    assert.strictEqual(Tokenizer.nano.vocabSize, 512)
    assert.strictEqual(Tokenizer.nano.eosToken, 256)
    assert.deepStrictEqual(Array.from(Tokenizer.nano.specialTokens.keys()), Array.from(specialTokens))
    const chat = encode("<|im_start|>user\nhi<|im_end|>")
    assert.strictEqual(chat[0], Tokenizer.nano.specialTokens.get("<|im_start|>"))
    assert.strictEqual(chat.at(-1), Tokenizer.nano.specialTokens.get("<|im_end|>"))
    assert.strictEqual(decode(chat, { skipSpecialTokens: true }), "user\nhi")
  })

  it("takes an empty text and no tokens", () => {
    assert.strictEqual(encode("").length, 0)
    assert.strictEqual(decode([]), "")
  })

  it("needs no this and shows no contents", () => {
    assert.strictEqual(JSON.stringify(Tokenizer.nano), `{"_id":"tinkex/Tokenizer","id":"tinkex/nano","vocabSize":512}`)
    assert.strictEqual(String(Tokenizer.nano), "Tokenizer(tinkex/nano)")
    assert.isTrue(Tokenizer.isTokenizer(Tokenizer.nano))
    assert.isFalse(Tokenizer.isTokenizer({ encode, decode }))
  })

  it("shows numbers that are no tokens as U+FFFD", () => {
    const [a] = encode("a")
    assert.strictEqual(decode([512, a!, -1, 0.5, a!, a!]), "\uFFFDa\uFFFD\uFFFDaa")
  })

  it.effect("refuses them by position when checked", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Tokenizer.decodeChecked(Tokenizer.nano, [97, 98, 512]))
      assert.isTrue(isTokenizerError(error))
      assert.strictEqual(error.reason, "UnknownToken")
      assert.strictEqual(error.index, 2)
      assert.strictEqual(
        error.message,
        "tokenizer tinkex/nano: the number at position 2 of 3 is not one of its 512 tokens"
      )
      assert.strictEqual(yield* Tokenizer.decodeChecked(Tokenizer.nano, encode("all well")), "all well")
    }))

  it("makes a model input of one chunk", () => {
    assert.deepStrictEqual(Tokenizer.modelInput(Tokenizer.nano, "hi there"), ModelInput.fromTokens(encode("hi there")))
  })
})

/** A tokenizer with a begin-of-text token that it adds by itself, as Llama's does, and a gap in its numbers. */
const withBos = JSON.stringify({
  version: "1.0",
  added_tokens: [
    { id: 10, content: "<bos>", special: true },
    { id: 11, content: "<eos>", special: true },
    { id: 12, content: "<tool>", special: false }
  ],
  normalizer: null,
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
  post_processor: {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<bos>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [],
    special_tokens: { "<bos>": { id: "<bos>", ids: [10], tokens: ["<bos>"] } }
  },
  decoder: { type: "ByteLevel" },
  model: { type: "BPE", vocab: { a: 0, b: 1, "Ġ": 2, ".": 3, ab: 4 }, merges: ["a b"] }
})

describe("fromJson", () => {
  it.effect("gives back nano from nano's files", () =>
    Effect.gen(function*() {
      const tokenizer = yield* Tokenizer.fromJson({ id: "x/y", tokenizerJson, configJson: tokenizerConfigJson })
      assert.strictEqual(tokenizer.id, "x/y")
      assert.strictEqual(tokenizer.vocabSize, vocabSize)
      assert.strictEqual(tokenizer.eosToken, 256)
      assert.deepStrictEqual(Array.from(tokenizer.specialTokens), Array.from(Tokenizer.nano.specialTokens))
      assert.deepStrictEqual(tokenizer.encode("the same"), encode("the same"))
      assert.deepStrictEqual(
        Array.from({ length: 600 }, (_, token) => tokenizer.has(token)),
        Array.from({ length: 600 }, (_, token) => Tokenizer.nano.has(token))
      )
    }))

  it.effect("adds what the tokenizer adds by itself unless told not to", () =>
    Effect.gen(function*() {
      const tokenizer = yield* Tokenizer.fromJson({
        id: "x/y",
        tokenizerJson: withBos,
        configJson: JSON.stringify({ eos_token: { content: "<eos>" } })
      })
      assert.deepStrictEqual(Array.from(tokenizer.encode("ab a")), [10, 4, 2, 0])
      assert.deepStrictEqual(Array.from(tokenizer.encode("ab a", { addSpecialTokens: false })), [4, 2, 0])
      assert.strictEqual(tokenizer.eosToken, 11)
      assert.strictEqual(tokenizer.vocabSize, 13)
      assert.deepStrictEqual(Array.from(tokenizer.specialTokens.keys()), ["<bos>", "<eos>"])
      assert.isFalse(tokenizer.has(7))
      assert.strictEqual(tokenizer.decode([10, 4, 7, 12]), "<bos>ab\uFFFD<tool>")
      assert.strictEqual(tokenizer.decode([10, 4, 12], { skipSpecialTokens: true }), "ab<tool>")
      // No tidying up of blanks before marks
      assert.strictEqual(tokenizer.decode([0, 2, 3]), "a .")
    }))

  it.effect("tidies up where the configuration asks for it, and names no end where there is none", () =>
    Effect.gen(function*() {
      const tokenizer = yield* Tokenizer.fromJson({
        id: "x/y",
        tokenizerJson: withBos,
        configJson: JSON.stringify({ clean_up_tokenization_spaces: true, eos_token: null })
      })
      assert.strictEqual(tokenizer.decode([0, 2, 3]), "a.")
      assert.isUndefined(tokenizer.eosToken)
    }))

  for (
    const [what, json] of [
      ["no JSON", "{"],
      ["another JSON", "[]"],
      ["an unknown model", tokenizerJson.replace("\"BPE\"", "\"Other\"").replace("\"vocab\"", "\"words\"")]
    ] as const
  ) {
    it.effect(`fails with Malformed for ${what}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Tokenizer.fromJson({ id: "x/y", tokenizerJson: json }))
        assert.strictEqual(error.reason, "Malformed")
        assert.match(error.message, /^tokenizer x\/y: its files do not describe a tokenizer/)
      }))
  }
})
