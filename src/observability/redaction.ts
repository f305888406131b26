/**
 * The one redactor: what errors, logs, reports, spans, labels and terminals may show of text that came from elsewhere.
 *
 * Secrets are found by value, in every spelling in which software repeats them (JSON escapes, percent-encoding, HTML entities,
 * hexadecimal, base64, any case and any mixture), and besides by what keys look like. Lists of numbers, which are tokens and
 * tensors, and blobs of base64, which are images and tensors, are named by their size.
 */
import * as Redacted from "effect/Redacted"

/** What stands in the place of a secret. */
export const replacement = "<redacted>"

/** Removes secrets from text. */
export interface Redactor {
  (text: string): string
  /** From now on this is a secret too. Said more than once it costs next to nothing. */
  readonly learn: (secret: Redacted.Redacted) => void
}

/** Shorter ones turn up in words by chance. */
const shortestAnywhere = 8
/** Shorter ones are letters. */
const shortestAlone = 4
/** So many characters of the beginning of a secret are a secret too. */
const shortestStart = 12
/** Secrets that were learned and are still looked for, besides those that were given: tokens are renewed every few minutes. */
const mostLearned = 64

const hex = (n: number): string => n.toString(16).padStart(2, "0")

const literal = (character: string): string => character.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&")

const entities: Readonly<Record<string, string>> = {
  "&": "amp",
  "<": "lt",
  ">": "gt",
  "\"": "quot",
  "'": "apos",
  "/": "sol",
  "+": "plus",
  "=": "equals"
}

const encoder = new TextEncoder()

const percent = (bytes: Iterable<number>): string => Array.from(bytes, (byte) => `%(?:25){0,3}${hex(byte)}`).join("")

/** A character in every spelling. The pattern is used without regard to case. */
const spelled = (character: string): string => {
  const code = character.codePointAt(0)!
  const units = Array.from({ length: character.length }, (_, i) => character.charCodeAt(i))
  // the character itself comes last: `&` and `%` begin spellings of their own
  const ways = [
    units.map((unit) => `\\\\{1,8}u${unit.toString(16).padStart(4, "0")}`).join(""),
    percent(encoder.encode(character)),
    `&#0{0,4}${code};`,
    `&#x0{0,4}${code.toString(16)};`
  ]
  if (code < 0x100) ways.push(`\\\\{1,8}x${hex(code)}`)
  if (code > 0x7f && code < 0x100) ways.push(percent([code]))
  if (character === " ") ways.push("\\+")
  if (Object.hasOwn(entities, character)) ways.push(`&${entities[character]};`)
  ways.push(`\\\\{0,8}${literal(character)}`)
  return `(?:${ways.join("|")})`
}

const spelledText = (text: string): string => Array.from(text, spelled).join("")

/** The whole text, or as much of its beginning as gives it away. */
const startsOf = (text: string): string => {
  const characters = Array.from(text, spelled)
  const least = Math.max(shortestStart, Math.ceil(characters.length / 2))
  return characters.slice(0, least).join("") +
    characters.slice(least).reduceRight((rest, character) => `(?:${character}${rest})?`, "")
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

/** Base64 of a text that stands somewhere in a longer one: of the three ways in which it can lie, what its neighbours do not touch. */
const base64Of = (bytes: Uint8Array): ReadonlyArray<string> =>
  [0, 1, 2].map((offset) => {
    const bits = bytes.length * 8
    let out = ""
    for (let at = (6 - (offset * 8) % 6) % 6; at + 6 <= bits; at += 6) {
      const byte = at >> 3
      const pair = (bytes[byte]! << 8) | (bytes[byte + 1] ?? 0)
      const character = alphabet[(pair >> (10 - (at & 7))) & 63]!
      out += character === "+"
        ? "(?:[+-]|%2b|\\\\{1,8}u002b)"
        : character === "/"
        ? "(?:\\\\{0,8}\\/|_|%2f)"
        : character
    }
    return `[a-z0-9+/_-]{0,2}${out}[a-z0-9+/_-]{0,2}(?:=|%3d|\\\\{1,8}u003d){0,2}`
  })

const patternsOf = (secret: string): ReadonlyArray<string> => {
  if (secret.length < shortestAnywhere) {
    // a short word would take ordinary text with it
    return secret.length < shortestAlone || /^[a-z]+$/i.test(secret)
      ? []
      : [`(?<![a-z0-9_-])${spelledText(secret)}(?![a-z0-9_-])`]
  }
  const bytes = encoder.encode(secret)
  return [
    secret.length > shortestStart ? startsOf(secret) : spelledText(secret),
    Array.from(bytes, hex).join(""),
    ...base64Of(bytes)
  ]
}

/** A character of a key, whichever way it is written. */
const keyCharacter = "(?:[a-z0-9._~+/=-]|\\\\{1,8}\\/|\\\\{1,8}u00[0-9a-f]{2}|%(?:25){0,3}[0-9a-f]{2})"

/** What keys and tokens of the services look like that this package speaks to. `html-` is not the beginning of a key. */
const keyShaped = [
  `(?<!h)tml(?:-|%(?:25){0,3}2d|\\\\{1,8}u002d)${keyCharacter}{6,}`,
  `eyJ${keyCharacter}{6,}`,
  `(?<![a-z0-9])hf_[a-z0-9]{10,}`,
  `(?<=(?:bearer|basic)(?:\\s|%20|\\+){1,3})${keyCharacter}{8,}`
]

const compile = (patterns: ReadonlyArray<string>): RegExp => new RegExp(patterns.join("|"), "gi")

const shaped = compile(keyShaped)

/** Without anything that is shaped like a key. */
export const withoutKeys = (text: string): string => text.replace(shaped, replacement)

const textOf = (secret: string | Redacted.Redacted): string =>
  typeof secret === "string" ? secret : Redacted.value(secret)

/** Removes these secrets, those learned later, and whatever looks like a key. */
export const make = (secrets: Iterable<string | Redacted.Redacted>): Redactor => {
  const given = new Set(Array.from(secrets, textOf))
  const learned = new Set<string>()
  let last: Redacted.Redacted | undefined
  let pattern: RegExp | undefined
  const redact = (text: string): string => {
    // made when first needed: most programs never see an error
    pattern ??= compile([
      ...[...given, ...learned].sort((a, b) => b.length - a.length).flatMap(patternsOf),
      ...keyShaped
    ])
    return text.replace(pattern, replacement)
  }
  const learn = (secret: Redacted.Redacted): void => {
    if (secret === last) return
    last = secret
    const text = Redacted.value(secret)
    if (given.has(text) || learned.has(text)) return
    learned.add(text)
    if (learned.size > mostLearned) {
      const [oldest] = learned
      if (oldest !== undefined) learned.delete(oldest)
    }
    pattern = undefined
  }
  return Object.assign(redact, { learn })
}

const number = "[-+]?\\d[\\d.]*(?:e[-+]?\\d+)?"
const between = "(?:[\\s,;|\"'()\\[\\]{}]|\\\\[nrt\"])+"
/** Three in brackets, or four anywhere, are a list; less is a shape, a range or a position. */
const numbers = new RegExp(
  `(?<![\\w.-])(?:(?<=\\[\\s{0,16})${number}(?:${between}${number}){2,}(?=\\s*\\])|${number}(?:${between}${number}){3,})(?![\\w-])`,
  "gi"
)
const blob = /[A-Za-z0-9+/]{120,}={0,2}/g
/** What every long text in base64 has. */
const mixed = [/[a-z]/, /[A-Z]/, /[0-9]/]

/** Without lists of numbers and blobs: what a server repeats of a request holds prompts, tokens, tensors and images. */
export const withoutData = (text: string): string =>
  text
    .replace(numbers, (list) => `<${list.match(new RegExp(number, "gi"))?.length ?? 0} numbers>`)
    .replace(blob, (data) => mixed.every((kind) => kind.test(data)) ? `<${data.length} characters>` : data)
