/**
 * Learns the vocabulary of `tinkex/nano` and writes it as modules:
 *
 *     npx tsx scratchpad/nano-vocabulary.ts
 *
 * 512 tokens of byte-level BPE: token `b` is the byte `b`, 256 to 258 are the special tokens, the rest are merges learnt on the
 * corpus (Sennrich et al. 2016: merge the most frequent neighbouring pair, here inside the pieces of the pre-tokenizer; of
 * equally frequent pairs the one with the lower ids). Deterministic: the same corpus gives the same bytes.
 *
 * Writes `src/tokenizer/internal/nanoTokenizer.generated.ts` (Hugging Face `tokenizer.json` and `tokenizer_config.json`) and
 * `src/engine/model/nanoTokens.generated.ts` (the bytes of each token).
 */
import * as Fs from "node:fs"
import { loadBooks } from "./nano-corpus.js"
import { seeded, taskDocument, vocabularyMix } from "./nano-tasks.js"

const vocabSize = 512
const specialTokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

/** Words with their leading blank, single digits, runs of marks, line breaks, blanks. */
const pattern =
  "'(?:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/** Byte to the character that stands for it in a `tokenizer.json`: printable Latin-1 for itself, the rest from U+0100 on. */
const characterOf: ReadonlyArray<string> = (() => {
  let next = 256
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
    return String.fromCodePoint(printable ? byte : next++)
  })
})()

const pieces = (): ReadonlyArray<{ readonly count: number; tokens: Array<number> }> => {
  const counts = new Map<string, number>()
  const regex = new RegExp(pattern, "gu")
  const add = (text: string) => {
    for (const [piece] of text.matchAll(regex)) {
      counts.set(piece, (counts.get(piece) ?? 0) + 1)
    }
  }
  for (const book of loadBooks()) {
    add(book.paragraphs.join("\n"))
  }
  const random = seeded(1)
  for (let i = 0; i < 2_000; i++) {
    for (const part of taskDocument(random, vocabularyMix).split(/<\|\w+\|>/)) {
      add(part)
    }
  }
  const encoder = new TextEncoder()
  return Array.from(counts, ([piece, count]) => ({ count, tokens: Array.from(encoder.encode(piece)) }))
}

/** The merges as pairs of ids; the n-th makes the token `256 + specials + n`. */
const learn = (): ReadonlyArray<readonly [number, number]> => {
  const words = pieces()
  const merges: Array<readonly [number, number]> = []
  for (let id = 256 + specialTokens.length; id < vocabSize; id++) {
    const counts = new Map<number, number>()
    for (const { count, tokens } of words) {
      for (let i = 1; i < tokens.length; i++) {
        const pair = tokens[i - 1]! * vocabSize + tokens[i]!
        counts.set(pair, (counts.get(pair) ?? 0) + count)
      }
    }
    let best = -1
    let most = 0
    for (const [pair, count] of counts) {
      if (count > most || (count === most && pair < best)) {
        best = pair
        most = count
      }
    }
    const left = Math.floor(best / vocabSize)
    const right = best % vocabSize
    merges.push([left, right])
    for (const word of words) {
      const merged: Array<number> = []
      for (let i = 0; i < word.tokens.length; i++) {
        if (word.tokens[i] === left && word.tokens[i + 1] === right) {
          merged.push(id)
          i++
        } else {
          merged.push(word.tokens[i]!)
        }
      }
      word.tokens = merged
    }
  }
  return merges
}

const merges = learn()
const bytes: Array<ReadonlyArray<number>> = Array.from({ length: 256 }, (_, byte) => [byte])
for (const content of specialTokens) {
  bytes.push(Array.from(new TextEncoder().encode(content)))
}
for (const [left, right] of merges) {
  bytes.push([...bytes[left]!, ...bytes[right]!])
}
const text = (id: number) => bytes[id]!.map((byte) => characterOf[byte]).join("")
const special = (content: string, i: number) => ({
  id: 256 + i,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true
})

const tokenizer = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: specialTokens.map(special),
  normalizer: null,
  pre_tokenizer: {
    type: "Sequence",
    pretokenizers: [
      { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false },
      { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false }
    ]
  },
  post_processor: null,
  decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    vocab: Object.fromEntries(bytes.map((_, id) => [specialTokens[id - 256] ?? text(id), id])),
    merges: merges.map(([left, right]) => [text(left), text(right)])
  }
}
const config = {
  tokenizer_class: "PreTrainedTokenizerFast",
  add_bos_token: false,
  add_eos_token: false,
  clean_up_tokenization_spaces: false,
  eos_token: specialTokens[0],
  pad_token: specialTokens[0],
  bos_token: null,
  unk_token: null,
  model_max_length: 2048
}

const header = "// Written by scratchpad/nano-vocabulary.ts; do not edit.\n"
Fs.writeFileSync(
  "src/tokenizer/internal/nanoTokenizer.generated.ts",
  `${header}/** \`tokenizer.json\` of \`tinkex/nano\`. */
export const tokenizerJson: string = ${JSON.stringify(JSON.stringify(tokenizer))}

/** \`tokenizer_config.json\` of \`tinkex/nano\`. */
export const tokenizerConfigJson: string = ${JSON.stringify(JSON.stringify(config))}

/** How many tokens there are. */
export const vocabSize = ${vocabSize}

/** The special tokens by name. */
export const specialTokens = {${
    specialTokens.map((name, i) => ` ${JSON.stringify(name)}: ${256 + i}`).join(",")
  } } as const
`
)
const table = bytes.map((token) => Buffer.from(Uint8Array.from(token)).toString("hex")).slice(
  256 + specialTokens.length
)
Fs.writeFileSync(
  "src/engine/model/nanoTokens.generated.ts",
  `${header}/** How many tokens there are: 256 bytes, ${specialTokens.length} special tokens, then merges. */
export const vocabSize = ${vocabSize}

/** The special tokens, ids 256 on; each stands for the bytes of its name. */
export const specialTokens: ReadonlyArray<string> = ${JSON.stringify(specialTokens).replaceAll(",", ", ")}

/** The token that ends a document and, when no \`stop\` is given, a completion. */
export const eosToken = 256

/** The bytes of the tokens ${256 + specialTokens.length} to ${vocabSize - 1} in hexadecimal, separated by blanks. */
const merged =
  "${table.join(" ")}"

const fromHex = (hex: string): Uint8Array =>
  Uint8Array.from({ length: hex.length / 2 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16))

/** The bytes that each token stands for, by id: token \`b\` below 256 is the byte \`b\`. */
export const tokenBytes: ReadonlyArray<Uint8Array> = [
  ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
  ...specialTokens.map((name) => new TextEncoder().encode(name)),
  ...merged.split(" ").map(fromHex)
]
`
)
console.log(merges.map((_, i) => JSON.stringify(text(259 + i).replaceAll("\u0120", " "))).join(" "))
