/**
 * Text to tokens and back: a tokenizer as a plain value.
 *
 * @since 0.1.0
 */
import * as Hf from "@huggingface/tokenizers"
import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"
import * as Inspectable from "effect/Inspectable"
import * as Predicate from "effect/Predicate"
import * as ModelInput from "../protocol/ModelInput.js"
import { known } from "../protocol/options.js"
import * as NanoFiles from "./internal/nanoTokenizer.generated.js"
import * as Pipeline from "./internal/pipeline.js"
import { TokenizerError } from "./TokenizerError.js"

/**
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/Tokenizer")

/**
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * - `addSpecialTokens`: whether the tokenizer puts around the text what it puts there of its own accord. Default yes.
 * - `splitSpecialTokens`: whether the names of all special tokens in the text stay text, as transformers' option of this name.
 *   For text of strangers. Default no.
 * - `asText`: names of tokens for which it holds stay the text they are: `<|im_end|>` in a message of a stranger is ten
 *   characters then, and not the end of a turn. Default: names in a text become tokens.
 *
 * @since 0.2.0
 * @category models
 */
export interface EncodeOptions {
  readonly addSpecialTokens?: boolean | undefined
  readonly splitSpecialTokens?: boolean | undefined
  readonly asText?: ((name: string) => boolean) | undefined
}

/**
 * A tokenizer. `encode` and `decode` are plain functions that need no `this`:
 *
 * ```ts
 * import { Tokenizer } from "tinkex"
 *
 * const { decode, encode } = Tokenizer.nano
 * decode(encode("2 + 2 =")) // "2 + 2 ="
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Tokenizer extends Inspectable.Inspectable {
  readonly [TypeId]: TypeId
  /** The resolved id it was loaded by, for example `tinkex/nano` or `Qwen/Qwen3-8B`. */
  readonly id: string
  /** One more than the largest token. */
  readonly vocabSize: number
  /** The token that ends a text, when the tokenizer names one. */
  readonly eosToken: number | undefined
  /** The token that begins a text, when the tokenizer names one. */
  readonly bosToken?: number | undefined
  /** The chat template (Jinja) of the model's repository, when its `tokenizer_config.json` or file carries one. */
  readonly chatTemplate?: string | undefined
  /** Whether a number is one of its tokens. */
  readonly has: (token: number) => boolean
  /** The special tokens by name, for example `<|im_end|>`. */
  readonly specialTokens: ReadonlyMap<string, number>
  /**
   * The tokens of a text. Names of special tokens in the text become those tokens. What the tokenizer puts around a text of
   * its own accord (Llama's begin-of-text) is put there, as the official SDK does; continue a text with
   * `{ addSpecialTokens: false }`. Lone surrogates count as U+FFFD.
   */
  readonly encode: (text: string, options?: EncodeOptions) => Int32Array
  /**
   * The text of tokens, special tokens by name unless `skipSpecialTokens`. Bytes that are not UTF-8 and numbers that are not
   * tokens (models may have a larger head than their tokenizer) come out as U+FFFD; `decodeChecked` refuses the latter.
   */
  readonly decode: (
    tokens: ArrayLike<number>,
    options?: { readonly skipSpecialTokens?: boolean | undefined }
  ) => string
}

/**
 * @since 0.1.0
 * @category guards
 */
export const isTokenizer = (u: unknown): u is Tokenizer => Predicate.hasProperty(u, TypeId)

const replacement = "\uFFFD"

const all = (): boolean => true

const encodeNames = known<EncodeOptions>("encode", { addSpecialTokens: true, asText: true, splitSpecialTokens: true })

/** As text all names that `asText` holds for, by taking them apart after their first character. */
const encodeApart = (
  encode: (text: string, addSpecialTokens: boolean) => Int32Array,
  names: Iterable<string>,
  text: string,
  asText: (name: string) => boolean
): Int32Array => {
  const out: Array<number> = []
  const kept = Array.from(names).filter((name) => name !== "" && asText(name))
  let from = 0
  for (let at = 0; at < text.length; at++) {
    if (!kept.some((name) => text.startsWith(name, at))) continue
    for (const token of encode(text.slice(from, at + 1), false)) out.push(token)
    from = at + 1
  }
  for (const token of encode(text.slice(from), false)) out.push(token)
  return Int32Array.from(out)
}

/**
 * A tokenizer from its parts, for one that no `tokenizer.json` describes. `decode` is only given tokens for which `has`
 * holds. `encodeAsText` encodes a text without the tokens whose names `asText` holds for, and adds no special tokens around
 * it; without it such names are taken apart after their first character.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: {
  readonly id: string
  readonly vocabSize: number
  readonly eosToken: number | undefined
  readonly specialTokens: ReadonlyMap<string, number>
  readonly has: (token: number) => boolean
  readonly bosToken?: number | undefined
  readonly chatTemplate?: string | undefined
  readonly encode: (text: string, addSpecialTokens: boolean) => Int32Array
  readonly encodeAsText?: ((text: string, asText: (name: string) => boolean) => Int32Array) | undefined
  readonly decode: (tokens: Array<number>, skipSpecialTokens: boolean) => string
}): Tokenizer => {
  const toJSON = () => ({ _id: "tinkex/Tokenizer", id: options.id, vocabSize: options.vocabSize })
  const encodeAsText = options.encodeAsText ??
    ((text, asText) => encodeApart(options.encode, options.specialTokens.keys(), text, asText))
  return {
    [TypeId]: TypeId,
    id: options.id,
    vocabSize: options.vocabSize,
    eosToken: options.eosToken,
    specialTokens: options.specialTokens,
    has: options.has,
    bosToken: options.bosToken,
    chatTemplate: options.chatTemplate,
    encode: (text, given = {}) => {
      encodeNames(given)
      const asText = given.asText ?? (given.splitSpecialTokens === true ? all : undefined)
      return asText === undefined ? options.encode(text, given.addSpecialTokens ?? true) : encodeAsText(text, asText)
    },
    decode: (tokens, { skipSpecialTokens = false } = {}) => {
      let text = ""
      let run: Array<number> = []
      for (let i = 0; i <= tokens.length; i++) {
        const token = tokens[i]
        if (token !== undefined && options.has(token)) {
          run.push(token)
          continue
        }
        if (run.length > 0) text += options.decode(run, skipSpecialTokens)
        if (i < tokens.length) text += replacement
        run = []
      }
      return text
    },
    toJSON,
    toString: () => `Tokenizer(${options.id})`,
    [Inspectable.NodeInspectSymbol]: toJSON
  }
}

/** The name of a special token in `tokenizer_config.json`: a string, or an object with the string as `content`. */
const nameOf = (u: unknown): string | undefined =>
  Predicate.isString(u)
    ? u
    : Predicate.hasProperty(u, "content") && Predicate.isString(u.content)
    ? u.content
    : undefined

/** The chat template of `tokenizer_config.json`: a string, or a list of named ones of which one is the default. */
const templateOf = (u: unknown): string | undefined => {
  if (!Array.isArray(u)) return Predicate.isString(u) ? u : undefined
  const named: ReadonlyArray<unknown> = u
  const found = named.find((one) => Predicate.hasProperty(one, "name") && one.name === "default") ?? named[0]
  return Predicate.hasProperty(found, "template") && Predicate.isString(found.template) ? found.template : undefined
}

/** Encodes without the added tokens whose names are to stay text: what is between the others goes straight to the model. */
const asTextOf = (hf: Hf.Tokenizer): (text: string, asText: (name: string) => boolean) => Int32Array => {
  const added = Array.from(hf.get_added_tokens_decoder(), ([token, { content }]) => ({ token, content }))
    .sort((a, b) => b.content.length - a.content.length)
  const plain = (text: string, out: Array<number>): void => {
    const normalized = hf.normalizer === null ? text : hf.normalizer._call(text)
    if (normalized === "") return
    const words = hf.pre_tokenizer === null ? [normalized] : hf.pre_tokenizer._call(normalized)
    for (const piece of hf.model?._call(words) ?? []) {
      const token = hf.token_to_id(piece)
      if (token !== undefined) out.push(token)
    }
  }
  return (text, asText) => {
    const out: Array<number> = []
    const kept = added.filter(({ content }) => !asText(content) && text.includes(content))
    let from = 0
    for (let at = 0; kept.length > 0 && at < text.length;) {
      const found = kept.find(({ content }) => text.startsWith(content, at))
      if (found === undefined) {
        at++
        continue
      }
      plain(text.slice(from, at), out)
      out.push(found.token)
      at += found.content.length
      from = at
    }
    plain(text.slice(from), out)
    return Int32Array.from(out)
  }
}

/** Throws what the parser throws, for content that is no tokenizer. */
const unsafeFromJson = (id: string, tokenizerJson: string, configJson: string): Tokenizer => {
  const config: unknown = JSON.parse(configJson)
  const json = JSON.parse(tokenizerJson)
  Pipeline.refuseUnsupported(json)
  const hf = new Hf.Tokenizer(json, {
    // Neither the library's default (tidy up) nor transformers 4's survives a round trip: tidy up only where it is asked for
    clean_up_tokenization_spaces: false,
    ...(Predicate.isReadonlyRecord(config) ? config : {})
  })
  Pipeline.mend(hf, json)
  const specialTokens = new Map<string, number>()
  for (const [token, added] of hf.get_added_tokens_decoder()) {
    if (added.special) specialTokens.set(added.content, token)
  }
  let vocabSize = 0
  for (const token of hf.get_vocab().values()) vocabSize = Math.max(vocabSize, token + 1)
  const setting = (name: string): unknown => Predicate.hasProperty(config, name) ? config[name] : undefined
  const idOf = (name: string | undefined) => name === undefined ? undefined : hf.token_to_id(name)
  return make({
    id,
    vocabSize,
    eosToken: idOf(nameOf(setting("eos_token"))),
    bosToken: idOf(nameOf(setting("bos_token"))),
    chatTemplate: templateOf(setting("chat_template")),
    encodeAsText: asTextOf(hf),
    specialTokens,
    has: (token) => hf.id_to_token(token) !== undefined,
    encode: (text, addSpecialTokens) => {
      const { ids } = hf.encode(text, { add_special_tokens: addSpecialTokens })
      return Int32Array.from(ids)
    },
    decode: (tokens, skipSpecialTokens) => hf.decode(tokens, { skip_special_tokens: skipSpecialTokens })
  })
}

/**
 * A tokenizer from the text of a Hugging Face `tokenizer.json` and, when there is one, of its `tokenizer_config.json`, which
 * names the end-of-text token. Fails with `Malformed`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromJson = (options: {
  readonly id: string
  readonly tokenizerJson: string
  readonly configJson?: string | undefined
}): Effect.Effect<Tokenizer, TokenizerError> =>
  Effect.try({
    try: () => unsafeFromJson(options.id, options.tokenizerJson, options.configJson ?? "{}"),
    catch: (cause) =>
      new TokenizerError({
        reason: "Malformed",
        id: options.id,
        detail: `its files do not describe a tokenizer that can be used (${
          cause instanceof SyntaxError ? "they are not JSON" : String(cause)
        })`,
        cause
      })
  })

const nanoId = "tinkex/nano"

/** Built on first use: importing this module parses nothing. */
const loaded = (): Tokenizer =>
  globalValue(
    "tinkex/Tokenizer/nano",
    () => unsafeFromJson(nanoId, NanoFiles.tokenizerJson, NanoFiles.tokenizerConfigJson)
  )

/**
 * The tokenizer of the built-in models `tinkex/nano` and `tinkex/nano-random`: byte-level BPE of 512 tokens, where token `b`
 * below 256 is the byte `b` and every text survives the round trip.
 *
 * @since 0.1.0
 * @category constructors
 */
export const nano: Tokenizer = make({
  id: nanoId,
  vocabSize: NanoFiles.vocabSize,
  eosToken: NanoFiles.specialTokens["<|endoftext|>"],
  specialTokens: new Map(Object.entries(NanoFiles.specialTokens)),
  has: (token) => Number.isInteger(token) && token >= 0 && token < NanoFiles.vocabSize,
  encode: (text, addSpecialTokens) => loaded().encode(text, { addSpecialTokens }),
  decode: (tokens, skipSpecialTokens) => loaded().decode(tokens, { skipSpecialTokens })
})

/**
 * As `decode`, but a number that is no token of the tokenizer fails with `UnknownToken` and its position.
 *
 * @since 0.1.0
 * @category combinators
 */
export const decodeChecked = (
  self: Tokenizer,
  tokens: ArrayLike<number>,
  options?: { readonly skipSpecialTokens?: boolean | undefined }
): Effect.Effect<string, TokenizerError> =>
  Effect.suspend(() => {
    for (let i = 0; i < tokens.length; i++) {
      if (!self.has(tokens[i]!)) {
        return Effect.fail(
          new TokenizerError({
            reason: "UnknownToken",
            id: self.id,
            index: i,
            detail: `the number at position ${i} of ${tokens.length} is not one of its ${self.vocabSize} tokens`
          })
        )
      }
    }
    return Effect.sync(() => self.decode(tokens, options))
  })

/**
 * A model input of the tokens of a text, in one chunk. No chat template is applied.
 *
 * @since 0.1.0
 * @category combinators
 */
export const modelInput = (self: Tokenizer, text: string): ModelInput.ModelInput =>
  ModelInput.fromTokens(self.encode(text))
