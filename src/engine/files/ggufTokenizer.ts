/**
 * The tokenizer of a GGUF file as the `tokenizer.json` and `tokenizer_config.json` that Hugging Face libraries read.
 */
import type { GgufFile, GgufValue } from "./gguf.js"
import { fail, show } from "./problem.js"

/** The two files of a tokenizer, as text. */
export interface TokenizerFiles {
  readonly tokenizerJson: string
  readonly configJson: string
}

/** Kinds of tokens (llama.cpp's `llama_token_type`). */
const kinds = { unknown: 2, control: 3, userDefined: 4 }

/** Cuts a text with a pattern before bytes are looked at. */
const split = (pattern: string) => ({
  type: "Sequence",
  pretokenizers: [
    { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false },
    { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false }
  ]
})

const gpt2 = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true }

/** Words as Llama 3 and Qwen cut them; they differ in how many digits go together. */
const words = (digits: string): string =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`

/** How byte-level vocabularies cut a text, by llama.cpp's name for it (`tokenizer.ggml.pre`). */
const cuts: Readonly<
  Record<
    string,
    { readonly cut: object; readonly nfc?: boolean; readonly wholeWords?: boolean; readonly bos?: boolean }
  >
> = {
  "default": { cut: gpt2 },
  "gpt-2": { cut: gpt2 },
  "smollm": { cut: { type: "Sequence", pretokenizers: [{ type: "Digits", individual_digits: true }, gpt2] } },
  "llama-bpe": { cut: split(words("\\p{N}{1,3}")), wholeWords: true, bos: true },
  "qwen2": { cut: split(words("\\p{N}")), nfc: true }
}

/** The lists that the metadata must hold, and the settings that it may. */
const reader = (metadata: ReadonlyMap<string, GgufValue>) => {
  const get = (key: string): GgufValue | undefined => metadata.get(`tokenizer.ggml.${key}`)
  const strings = (key: string): ReadonlyArray<string> => {
    const value = get(key)
    return Array.isArray(value) && value.every((entry) => typeof entry === "string")
      ? value
      : fail("Malformed", `the metadata tokenizer.ggml.${key} is missing or no list of texts`)
  }
  const numbers = (key: string): ReadonlyArray<number> => {
    const value = get(key)
    return Array.isArray(value) && value.every((entry) => typeof entry === "number")
      ? value
      : fail("Malformed", `the metadata tokenizer.ggml.${key} is missing or no list of numbers`)
  }
  const flag = (key: string, otherwise: boolean): boolean => {
    const value = get(key) ?? otherwise
    return typeof value === "boolean" ? value : fail("Malformed", `the metadata tokenizer.ggml.${key} is no boolean`)
  }
  return { get, strings, numbers, flag }
}

/**
 * Pairs of pieces in the order in which they are joined, for a vocabulary that has only scores: a piece is made of any two
 * pieces whose joint it is, those with the highest score first (as transformers converts SentencePiece models).
 */
const mergesOf = (
  tokens: ReadonlyArray<string>,
  scores: ReadonlyArray<number>
): ReadonlyArray<readonly [string, string]> => {
  const ids = new Map(tokens.map((token, id) => [token, id]))
  const merges: Array<{ readonly pair: readonly [string, string]; readonly id: number; readonly order: number }> = []
  tokens.forEach((token, id) => {
    const characters = [...token]
    // No piece is longer (SentencePiece's default is 16 characters); a hostile one would be quadratic.
    if (characters.length > 64) return
    for (let at = 1; at < characters.length; at++) {
      const left = characters.slice(0, at).join("")
      const right = characters.slice(at).join("")
      const [l, r] = [ids.get(left), ids.get(right)]
      if (l !== undefined && r !== undefined) merges.push({ pair: [left, right], id, order: l * tokens.length + r })
    }
  })
  return merges
    .sort((a, b) => scores[b.id]! - scores[a.id]! || a.id - b.id || a.order - b.order)
    .map(({ pair }) => pair)
}

/** Adds the begin-of-text token before a text. */
const beginning = (token: string, id: number) => ({
  type: "TemplateProcessing",
  single: [{ SpecialToken: { id: token, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
  pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
  special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } }
})

/** Writes the two files. A vocabulary that is cut in a way that is not known is refused. */
export const tokenizerOfGguf = ({ metadata }: GgufFile): TokenizerFiles => {
  const { flag, get, numbers, strings } = reader(metadata)
  const tokens = strings("tokens")
  const kindOf = numbers("token_type")
  if (kindOf.length !== tokens.length) {
    fail("Malformed", `there are ${tokens.length} tokens and ${kindOf.length} kinds of them`)
  }
  const named = (key: string): readonly [token: string, id: number] | undefined => {
    const id = get(`${key}_token_id`)
    return typeof id === "number" && tokens[id] !== undefined ? [tokens[id], id] : undefined
  }
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]))
  const added = tokens.flatMap((content, id) => {
    const kind = kindOf[id]
    if (kind !== kinds.control && kind !== kinds.userDefined && kind !== kinds.unknown) return []
    const special = kind !== kinds.userDefined
    return [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }]
  })
  const bos = named("bos")
  const model = get("model")
  const pre = get("pre") ?? "default"
  let tokenizer: object
  let adds: boolean
  if (model === "gpt2") {
    const known = typeof pre === "string" && Object.hasOwn(cuts, pre) ? cuts[pre] : undefined
    if (known === undefined) {
      return fail(
        "Unsupported",
        `its tokenizer cuts texts as ${show(String(pre))}; known are ${Object.keys(cuts).join(", ")}`
      )
    }
    adds = flag("add_bos_token", known.bos === true)
    tokenizer = {
      normalizer: known.nfc === true ? { type: "NFC" } : null,
      pre_tokenizer: known.cut,
      decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: known.wholeWords === true,
        vocab,
        merges: strings("merges")
      }
    }
  } else if (model === "llama") {
    const scores = numbers("scores")
    if (scores.length !== tokens.length) {
      fail("Malformed", `there are ${tokens.length} tokens and ${scores.length} scores`)
    }
    const prefix = flag("add_space_prefix", true)
    const blank = { type: "Replace", pattern: { String: " " }, content: "\u2581" }
    adds = flag("add_bos_token", true)
    tokenizer = {
      normalizer: prefix ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "\u2581" }, blank] } : blank,
      pre_tokenizer: null,
      decoder: {
        type: "Sequence",
        decoders: [
          { type: "Replace", pattern: { String: "\u2581" }, content: " " },
          { type: "ByteFallback" },
          { type: "Fuse" },
          ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : [])
        ]
      },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: named("unknown")?.[0] ?? null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: true,
        byte_fallback: true,
        ignore_merges: false,
        vocab,
        merges: mergesOf(tokens, scores)
      }
    }
  } else {
    return fail("Unsupported", `its tokenizer is of kind ${show(String(model))}; known are gpt2 and llama`)
  }
  const template = metadata.get("tokenizer.chat_template")
  return {
    tokenizerJson: JSON.stringify({
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: added,
      post_processor: adds && bos !== undefined ? beginning(...bos) : null,
      ...tokenizer
    }),
    configJson: JSON.stringify({
      tokenizer_class: "PreTrainedTokenizerFast",
      clean_up_tokenization_spaces: false,
      bos_token: bos?.[0],
      eos_token: named("eos")?.[0],
      unk_token: named("unknown")?.[0],
      pad_token: named("padding")?.[0],
      chat_template: typeof template === "string" ? template : undefined
    })
  }
}

/** The tokens that end a completion. */
export const endTokensOfGguf = ({ metadata }: GgufFile, vocabSize: number): ReadonlyArray<number> => {
  const ids = ["eos", "eot", "eom"].map((key) => metadata.get(`tokenizer.ggml.${key}_token_id`))
  return [...new Set(ids.filter((id): id is number => typeof id === "number" && id >= 0 && id < vocabSize))]
}
