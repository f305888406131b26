/**
 * Byte-level BPE in tiktoken's form, for the models (Kimi) whose repositories have a `tiktoken.model` and no `tokenizer.json`.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Tokenizer from "../Tokenizer.js"
import { TokenizerError } from "../TokenizerError.js"

/**
 * How Kimi's tokenizer cuts a text into pieces: Han runs, words (Han apart) with a contraction, up to three digits, marks,
 * line breaks, blanks. Contractions in either case, U+017F being a case of `s`.
 */
const pieces = (() => {
  const upper = "[[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]--\\p{Script=Han}]"
  const lower = "[[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]--\\p{Script=Han}]"
  const lead = "[^\\r\\n\\p{L}\\p{N}]?"
  const contraction = "(?:'(?:[sS\\u017F]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]))?"
  return [
    "\\p{Script=Han}+",
    `${lead}${upper}*${lower}+${contraction}`,
    `${lead}${upper}+${lower}*${contraction}`,
    "\\p{N}{1,3}",
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*",
    "\\s*[\\r\\n]+",
    "\\s+(?!\\S)",
    "\\s+"
  ].join("|")
})()

/** Special tokens have the 256 ids after the ranks; those that the configuration does not name are reserved. */
const reserved = 256

/** Bytes as a string of one UTF-16 unit each, which can be a key of a map. */
const binary = (bytes: Uint8Array): string => {
  let out = ""
  for (const byte of bytes) out += String.fromCharCode(byte)
  return out
}

/** Lines of a token in base64, a blank and its rank. */
const parseRanks = (text: string): Map<string, number> => {
  const ranks = new Map<string, number>()
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue
    const [token = "", rank = ""] = line.trim().split(" ")
    if (!/^\d+$/.test(rank)) throw new Error("a line of tiktoken.model has no rank")
    ranks.set(atob(token), Number(rank))
  }
  if (ranks.size < 256) throw new Error("tiktoken.model has fewer tokens than there are bytes")
  return ranks
}

/** Numbers, of which the smallest comes out first. */
class Heap {
  private readonly items: Array<number> = []

  push(value: number): void {
    const { items } = this
    let i = items.push(value) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (items[parent]! <= value) break
      items[i] = items[parent]!
      i = parent
    }
    items[i] = value
  }

  pop(): number | undefined {
    const { items } = this
    const top = items[0]
    const last = items.pop()
    if (last === undefined || items.length === 0) return top
    let i = 0
    for (let child = 1; child < items.length; child = 2 * i + 1) {
      if (child + 1 < items.length && items[child + 1]! < items[child]!) child++
      if (items[child]! >= last) break
      items[i] = items[child]!
      i = child
    }
    items[i] = last
    return top
  }
}

/**
 * Merges the neighbours whose union has the lowest rank, the leftmost first, until none has a rank. The parts are a linked list;
 * what could be merged waits in a heap, ordered by rank and place, and is looked at again when it comes out.
 */
const encodePiece = (ranks: ReadonlyMap<string, number>, piece: string, out: Array<number>): void => {
  const whole = ranks.get(piece)
  if (whole !== undefined) {
    out.push(whole)
    return
  }
  const n = piece.length
  /** By the place where a part begins: where the next one begins, where the one before, and the rank of both joined. */
  const next = Int32Array.from({ length: n + 1 }, (_, i) => i + 1)
  const before = Int32Array.from({ length: n + 1 }, (_, i) => i - 1)
  const joined = new Float64Array(n + 1).fill(Infinity)
  const heap = new Heap()
  const look = (i: number) => {
    const middle = next[i]!
    const rank = middle < n ? ranks.get(piece.slice(i, next[middle])) ?? Infinity : Infinity
    joined[i] = rank
    if (rank !== Infinity) heap.push(rank * (n + 1) + i)
  }
  for (let i = 0; i < n; i++) look(i)
  for (let key = heap.pop(); key !== undefined; key = heap.pop()) {
    const i = key % (n + 1)
    // merged or joined with another since
    if (joined[i] !== (key - i) / (n + 1)) continue
    const gone = next[i]!
    next[i] = next[gone]!
    before[next[i]!] = i
    joined[gone] = Infinity
    look(i)
    if (before[i]! >= 0) look(before[i]!)
  }
  for (let i = 0; i < n; i = next[i]!) out.push(ranks.get(piece.slice(i, next[i]))!)
}

const specialsOf = (config: unknown, base: number): Map<string, number> => {
  const names = new Map<number, string>()
  if (
    Predicate.hasProperty(config, "added_tokens_decoder") && Predicate.isReadonlyRecord(config.added_tokens_decoder)
  ) {
    for (const [id, token] of Object.entries(config.added_tokens_decoder)) {
      if (Predicate.hasProperty(token, "content") && Predicate.isString(token.content)) {
        names.set(Number(id), token.content)
      }
    }
  }
  return new Map(
    Array.from({ length: reserved }, (_, i) => [names.get(base + i) ?? `<|reserved_token_${base + i}|>`, base + i])
  )
}

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&")

const unsafe = (id: string, rankFile: string, configJson: string): Tokenizer.Tokenizer => {
  const config: unknown = JSON.parse(configJson)
  const ranks = parseRanks(rankFile)
  const bytesOf: Array<string> = []
  for (const [bytes, rank] of ranks) bytesOf[rank] = bytes
  const base = bytesOf.length
  const specials = specialsOf(config, base)
  const nameOf = new Map(Array.from(specials, ([name, token]) => [token, name]))
  const longestFirst = Array.from(specials.keys()).sort((a, b) => b.length - a.length)
  const special = new RegExp(`(${longestFirst.map(escape).join("|")})`, "u")
  const piece = new RegExp(pieces, "gv")
  const encoder = new TextEncoder()
  const encode = (text: string, asText: (name: string) => boolean): Int32Array => {
    const out: Array<number> = []
    let plain = ""
    const flush = () => {
      for (const [match] of plain.matchAll(piece)) encodePiece(ranks, binary(encoder.encode(match)), out)
      plain = ""
    }
    for (const part of text.split(special)) {
      const token = asText(part) ? undefined : specials.get(part)
      if (token === undefined) {
        plain += part
        continue
      }
      flush()
      out.push(token)
    }
    flush()
    return Int32Array.from(out)
  }
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  const setting = (name: string): unknown => Predicate.hasProperty(config, name) ? config[name] : undefined
  const [eos, bos, template] = [setting("eos_token"), setting("bos_token"), setting("chat_template")]
  return Tokenizer.make({
    id,
    vocabSize: base + reserved,
    eosToken: Predicate.isString(eos) ? specials.get(eos) : undefined,
    bosToken: Predicate.isString(bos) ? specials.get(bos) : undefined,
    chatTemplate: Predicate.isString(template) ? template : undefined,
    specialTokens: specials,
    has: (token) => bytesOf[token] !== undefined || nameOf.has(token),
    encode: (text) => encode(text, () => false),
    encodeAsText: encode,
    decode: (tokens, skipSpecialTokens) => {
      let text = ""
      let run = ""
      const flush = () => {
        text += decoder.decode(Uint8Array.from(run, (unit) => unit.charCodeAt(0)))
        run = ""
      }
      for (const token of tokens) {
        const name = nameOf.get(token)
        if (name === undefined) {
          run += bytesOf[token]!
        } else {
          flush()
          if (!skipSpecialTokens) text += name
        }
      }
      flush()
      return text
    }
  })
}

/** @internal */
export const fromTiktoken = (options: {
  readonly id: string
  readonly ranks: string
  readonly configJson: string
}): Effect.Effect<Tokenizer.Tokenizer, TokenizerError> =>
  Effect.try({
    try: () => unsafe(options.id, options.ranks, options.configJson),
    catch: (cause) =>
      new TokenizerError({
        reason: "Malformed",
        id: options.id,
        detail: `its tiktoken.model or tokenizer_config.json cannot be used (${String(cause)})`,
        cause
      })
  })
