/**
 * The steps of a `tokenizer.json` as the Python library runs them. The JavaScript library leaves some of their settings out
 * without a word; those are put right here, or refused by name where that is not possible.
 *
 * @internal
 */
import type * as Hf from "@huggingface/tokenizers"
import * as Predicate from "effect/Predicate"

type Config = Readonly<Record<string, unknown>>

/** A step of the library: a function with fields, whose methods can be replaced one by one. */
interface Step {
  pre_tokenize_text?: (text: string, options?: unknown) => Array<string>
  decode_chain?: (tokens: Array<string>) => Array<string>
  normalize?: (text: string) => string
  readonly pattern?: RegExp | null
}

const isConfig = (u: unknown): u is Config => Predicate.isReadonlyRecord(u)

const at = (u: unknown, key: string): unknown => Predicate.hasProperty(u, key) ? u[key] : undefined

const listOf = (u: unknown): ReadonlyArray<unknown> => Array.isArray(u) ? u : []

/** Every step of a kind with its configuration: the step itself, or those of a sequence in the order of the sequence's list. */
const stepsOf = (step: unknown, config: unknown, field: string, members: string): Array<readonly [Step, Config]> => {
  if (!isConfig(config) || step === null || step === undefined) return []
  if (config["type"] !== "Sequence") return [[step as Step, config]] // the library made it from this configuration
  const inner = listOf(at(step, members))
  return listOf(config[field]).flatMap((one, i) => stepsOf(inner[i], one, field, members))
}

/** Throws the name of what neither the library nor this module does as the Python library would. */
export const refuseUnsupported = (json: unknown): void => {
  const refuse = (what: string): never => {
    throw new Error(`${what} is not supported`)
  }
  const model = at(json, "model")
  if (Predicate.isNumber(at(model, "dropout")) && at(model, "dropout") !== 0) refuse("a model with dropout")
  const prefix = at(model, "continuing_subword_prefix")
  if (at(model, "type") === "BPE" && Predicate.isString(prefix) && prefix !== "") {
    refuse("BPE with continuing_subword_prefix")
  }
  for (const token of listOf(at(json, "added_tokens"))) {
    if (at(token, "single_word") === true) refuse(`the added token ${String(at(token, "content"))} with single_word`)
  }
  const normalizers = (config: unknown): void => {
    if (at(config, "type") === "Precompiled") refuse("a Precompiled normalizer")
    for (const one of listOf(at(config, "normalizers"))) normalizers(one)
  }
  normalizers(at(json, "normalizer"))
  const splits = (config: unknown): void => {
    const behavior = String(at(config, "behavior") ?? "").toLowerCase()
    if (at(config, "type") === "Split" && at(config, "invert") === true && !/^(?:isolated|removed|)$/.test(behavior)) {
      refuse(`a Split with invert and ${behavior}`)
    }
    for (const one of listOf(at(config, "pretokenizers"))) splits(one)
  }
  splits(at(json, "pre_tokenizer"))
}

const blank = "\\p{White_Space}"
const punctuation = "\\p{P}\\u0021-\\u002F\\u003A-\\u0040\\u005B-\\u0060\\u007B-\\u007E"
const word = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200C\\u200D"

const match = (pattern: RegExp) => (text: string): Array<string> => text.match(pattern) ?? []

/** Cuts a text at what a pattern finds, and joins what is found as the behaviour says. */
const cut = (pattern: RegExp, behavior: string) => (text: string): Array<string> => {
  const out: Array<string> = []
  /** Whether the last piece was found, and whether the next one goes to it. */
  let found = false
  let open = false
  const put = (piece: string, isFound: boolean) => {
    if (piece === "") return
    const joins = behavior === "mergedwithprevious"
      ? isFound && out.length > 0 && !found
      : behavior === "mergedwithnext"
      ? open && !isFound
      : behavior === "contiguous" && isFound && found
    if (joins) out[out.length - 1] += piece
    else if (!(isFound && behavior === "removed")) out.push(piece)
    open = behavior === "mergedwithnext" && isFound
    found = isFound
  }
  let last = 0
  for (const one of text.matchAll(pattern)) {
    put(text.slice(last, one.index), false)
    put(one[0], true)
    last = one.index + one[0].length
  }
  put(text.slice(last), false)
  return out
}

const mendPreTokenizer = (step: Step, config: Config): void => {
  const behavior = String(config["behavior"] ?? "").toLowerCase().replaceAll("_", "")
  switch (config["type"]) {
    case "Split":
      if (!(step.pattern instanceof RegExp) || !/^(?:mergedwithprevious|mergedwithnext|contiguous)$/.test(behavior)) {
        return
      }
      step.pre_tokenize_text = cut(step.pattern, behavior)
      return
    case "Punctuation":
      step.pre_tokenize_text = cut(new RegExp(`[${punctuation}]`, "gu"), behavior === "" ? "isolated" : behavior)
      return
    case "Digits":
      step.pre_tokenize_text = cut(/\p{N}/gu, config["individual_digits"] === true ? "isolated" : "contiguous")
      return
    case "WhitespaceSplit":
      step.pre_tokenize_text = match(new RegExp(`[^${blank}]+`, "gu"))
      return
    case "Whitespace":
      step.pre_tokenize_text = match(new RegExp(`[${word}]+|[^${word}${blank}]+`, "gu"))
      return
    case "BertPreTokenizer":
      step.pre_tokenize_text = match(new RegExp(`[^${blank}${punctuation}]+|[${punctuation}]`, "gu"))
      return
    case "Metaspace": {
      if (config["split"] === false || step.pre_tokenize_text === undefined) return
      const whole = step.pre_tokenize_text.bind(step)
      const replacement = Predicate.isString(config["replacement"]) ? config["replacement"] : "\u2581"
      const apart = cut(new RegExp(replacement.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"), "gu"), "mergedwithnext")
      step.pre_tokenize_text = (text, options) => whole(text, options).flatMap(apart)
    }
  }
}

const leading = new RegExp(`^[${blank}]+`, "u")
const trailing = new RegExp(`[${blank}]+$`, "u")

const trimmed = (start: boolean, end: boolean) => (text: string): string => {
  const rest = start ? text.replace(leading, "") : text
  return end ? rest.replace(trailing, "") : rest
}

const mendNormalizer = (step: Step, config: Config): void => {
  if (config["type"] === "Strip") {
    step.normalize = trimmed(config["strip_left"] === true, config["strip_right"] === true)
  }
}

const byteToken = /^<0x([0-9A-Fa-f]{2})>$/

/** Runs of byte tokens become the text that they are the UTF-8 of; of a run that is none, every byte becomes U+FFFD. */
const decodeBytes = (tokens: ReadonlyArray<string>): Array<string> => {
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  const out: Array<string> = []
  let run: Array<number> = []
  const flush = () => {
    if (run.length === 0) return
    try {
      out.push(utf8.decode(Uint8Array.from(run)))
    } catch {
      for (let i = 0; i < run.length; i++) out.push("\uFFFD")
    }
    run = []
  }
  for (const token of tokens) {
    const byte = byteToken.exec(token)?.[1]
    if (byte === undefined) {
      flush()
      out.push(token)
    } else run.push(Number.parseInt(byte, 16))
  }
  flush()
  return out
}

const mendDecoder = (step: Step, config: Config): void => {
  if (config["type"] === "ByteFallback") {
    step.decode_chain = decodeBytes
  } else if (
    config["type"] === "Metaspace" && (config["prepend_scheme"] === "never" || config["add_prefix_space"] === false)
  ) {
    const replacement = Predicate.isString(config["replacement"]) ? config["replacement"] : "\u2581"
    step.decode_chain = (tokens) => tokens.map((token) => token.replaceAll(replacement, " "))
  }
}

interface Model {
  encode: (words: Array<string>) => Array<string>
  readonly tokens_to_ids: ReadonlyMap<string, number>
}

/** What the vocabulary lacks becomes its UTF-8 bytes, where all of them are tokens. */
const mendUnigram = (model: Model): void => {
  const encode = model.encode.bind(model)
  const utf8 = new TextEncoder()
  model.encode = (words) =>
    encode(words).flatMap((token) => {
      if (model.tokens_to_ids.has(token)) return [token]
      const bytes = Array.from(
        utf8.encode(token),
        (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`
      )
      return bytes.every((byte) => model.tokens_to_ids.has(byte)) ? bytes : [token]
    })
}

/** Makes the steps of a tokenizer do what its file says. */
export const mend = (hf: Hf.Tokenizer, json: unknown): void => {
  for (const [step, config] of stepsOf(hf.normalizer, at(json, "normalizer"), "normalizers", "normalizers")) {
    mendNormalizer(step, config)
  }
  for (const [step, config] of stepsOf(hf.pre_tokenizer, at(json, "pre_tokenizer"), "pretokenizers", "tokenizers")) {
    mendPreTokenizer(step, config)
  }
  for (const [step, config] of stepsOf(hf.decoder, at(json, "decoder"), "decoders", "decoders")) {
    mendDecoder(step, config)
  }
  const model = at(json, "model")
  const isUnigram = at(model, "type") === "Unigram" || Array.isArray(at(model, "vocab"))
  if (isUnigram && at(model, "byte_fallback") === true) mendUnigram(hf.model as unknown as Model) // a Unigram has these fields
}
