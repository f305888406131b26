/**
 * When a completion ends: stop tokens, and stop strings found in the bytes of the tokens as they come.
 *
 * Text is compared as UTF-8 bytes. A token may hold part of a character and a stop string may span tokens, so each
 * string keeps the state of a Knuth-Morris-Pratt matcher between tokens.
 */
import { bytesOf, type Vocabulary } from "../files/tokenBytes.js"

/** The stop rules of a request, shared by its samples. */
export interface StopRules {
  readonly tokens: ReadonlySet<number>
  readonly strings: ReadonlyArray<Matcher>
  readonly tokenBytes: Vocabulary
}

interface Matcher {
  readonly pattern: Uint8Array
  /** Length of the longest proper border of each prefix. */
  readonly border: Int32Array
}

const makeMatcher = (text: string): Matcher => {
  const pattern = new TextEncoder().encode(text)
  const border = new Int32Array(pattern.length)
  let length = 0
  for (let i = 1; i < pattern.length; i++) {
    while (length > 0 && pattern[i] !== pattern[length]) length = border[length - 1]!
    if (pattern[i] === pattern[length]) length++
    border[i] = length
  }
  return { pattern, border }
}

export const makeStopRules = (options: {
  readonly tokens: ReadonlyArray<number>
  readonly strings: ReadonlyArray<string>
  readonly tokenBytes: Vocabulary
}): StopRules => ({
  tokens: new Set(options.tokens),
  strings: options.strings.map(makeMatcher),
  tokenBytes: options.tokenBytes
})

/** Follows one completion: answers whether the token just drawn ends it. */
export const makeStopWatch = (rules: StopRules): (token: number) => boolean => {
  const matched = new Int32Array(rules.strings.length)
  return (token) => {
    let stop = rules.tokens.has(token)
    if (rules.strings.length > 0) {
      const bytes = bytesOf(rules.tokenBytes, token)
      for (let s = 0; s < matched.length; s++) {
        const { border, pattern } = rules.strings[s]!
        let length = matched[s]!
        for (const byte of bytes) {
          while (length > 0 && byte !== pattern[length]) length = border[length - 1]!
          if (byte === pattern[length]) length++
          if (length === pattern.length) {
            stop = true
            length = border[length - 1]!
          }
        }
        matched[s] = length
      }
    }
    return stop
  }
}
