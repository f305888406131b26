/**
 * Stretches of a rendered conversation that are tokenised as one: text of the template, in which names of control tokens
 * become those tokens, and text of messages, in which they are text.
 *
 * @internal
 */
import type { Tokenizer } from "../tokenizer/Tokenizer.js"

/** Text of a message inside a chunk. @internal */
export interface Said {
  readonly said: string
}

/** @internal */
export type Piece = string | Said

/** Pieces that are tokenised together: a merge of the tokenizer may cross from one to the next, but not out of the chunk. @internal */
export type Chunk = ReadonlyArray<Piece>

/** @internal */
export const said = (text: string): Said => ({ said: text })

/** @internal */
export const textOf = (chunk: Chunk): string => {
  let out = ""
  for (const piece of chunk) out += typeof piece === "string" ? piece : piece.said
  return out
}

/** Tokens of chunks by one tokenizer and the control tokens of one format. @internal */
export interface Encoder {
  readonly encode: (chunk: Chunk) => Int32Array
  /** The token of a name, when the tokenizer has it as one. */
  readonly token: (name: string) => number | undefined
}

/** How many different chunks of template text are remembered; formats have a handful, roles and names add some. */
const maxRemembered = 256

/**
 * `controls` are the names that mark turns and calls in the format; with the tokenizer's special tokens they are what text of
 * messages must not become, unless `allowControls`.
 *
 * @internal
 */
export const encoder = (
  tokenizer: Tokenizer,
  controls: ReadonlyArray<string>,
  allowControls: boolean
): Encoder => {
  const names = new Set([...tokenizer.specialTokens.keys(), ...controls].filter((name) => name !== ""))
  const isControl = (name: string) => names.has(name)
  const find = finder(names)
  const plain = (text: string) => tokenizer.encode(text, { addSpecialTokens: false })
  const remembered = new Map<string, Int32Array>()

  const encodeTemplate = (text: string): Int32Array => {
    const known = remembered.get(text)
    if (known !== undefined) return known
    const tokens = plain(text)
    if (remembered.size < maxRemembered) remembered.set(text, tokens)
    return tokens
  }

  /** Where text of messages begins and ends in the text of the chunk: pairs. */
  const boundsOf = (chunk: Chunk): ReadonlyArray<number> => {
    const bounds: Array<number> = []
    let at = 0
    for (const piece of chunk) {
      const length = typeof piece === "string" ? piece.length : piece.said.length
      if (typeof piece !== "string") bounds.push(at, at + length)
      at += length
    }
    return bounds
  }

  /** Control names of the template as tokens, everything between them as text. */
  const encodeApart = (text: string, bounds: ReadonlyArray<number>): Int32Array => {
    const out: Array<number> = []
    const flush = (from: number, to: number) => {
      if (to > from) {
        for (const token of tokenizer.encode(text.slice(from, to), { asText: isControl })) {
          out.push(token)
        }
      }
    }
    let from = 0
    for (let found = find(text, 0); found !== undefined; found = find(text, found.at + found.name.length)) {
      if (overlaps(found, bounds)) continue
      flush(from, found.at)
      for (const token of plain(found.name)) out.push(token)
      from = found.at + found.name.length
    }
    flush(from, text.length)
    return Int32Array.from(out)
  }

  return {
    token: (name) => {
      const tokens = plain(name)
      return tokens.length === 1 ? tokens[0] : undefined
    },
    encode: (chunk) => {
      const text = textOf(chunk)
      if (text === "") return new Int32Array(0)
      if (chunk.every((piece) => typeof piece === "string")) return encodeTemplate(text)
      if (allowControls) return plain(text)
      const bounds = boundsOf(chunk)
      for (let found = find(text, 0); found !== undefined; found = find(text, found.at + found.name.length)) {
        if (overlaps(found, bounds)) return encodeApart(text, bounds)
      }
      return plain(text)
    }
  }
}

interface Found {
  readonly at: number
  readonly name: string
}

const overlaps = ({ at, name }: Found, bounds: ReadonlyArray<number>): boolean => {
  for (let i = 0; i < bounds.length; i += 2) {
    if (at < bounds[i + 1]! && at + name.length > bounds[i]!) return true
  }
  return false
}

/** The next name in a text, the longest of those that begin at the same place. Names share few beginnings: those are looked for. */
const finder = (names: ReadonlySet<string>): (text: string, from: number) => Found | undefined => {
  const byStart = new Map<string, Array<string>>()
  for (const name of Array.from(names).sort((a, b) => b.length - a.length)) {
    const start = name.slice(0, 2)
    byStart.set(start, [...byStart.get(start) ?? [], name])
  }
  const escape = (text: string) => text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&")
  if (byStart.size === 0) return () => undefined
  const starts = new RegExp(Array.from(byStart.keys(), escape).join("|"), "g")
  return (text, from) => {
    starts.lastIndex = from
    for (let start = starts.exec(text); start !== null; start = starts.exec(text)) {
      const name = byStart.get(start[0])?.find((name) => text.startsWith(name, start.index))
      if (name !== undefined) return { at: start.index, name }
      starts.lastIndex = start.index + 1
    }
    return undefined
  }
}
