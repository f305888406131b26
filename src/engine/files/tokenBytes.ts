/**
 * The bytes of every token of a vocabulary, in one stretch of memory: a large vocabulary has 150,000 of them.
 *
 * @since 0.2.0
 */

/** Token `i` has the bytes from `ends[i - 1]` (0 for the first) to `ends[i]`. */
export interface TokenBytes {
  readonly bytes: Uint8Array
  readonly ends: Uint32Array
}

/** The bytes of tokens, each apart or all together. */
export type Vocabulary = ReadonlyArray<Uint8Array> | TokenBytes

const none = new Uint8Array(0)

/** The bytes of a token; empty for a number that is none. */
export const bytesOf = (vocabulary: Vocabulary, token: number): Uint8Array =>
  "ends" in vocabulary
    ? vocabulary.bytes.subarray(token === 0 ? 0 : vocabulary.ends[token - 1] ?? 0, vocabulary.ends[token] ?? 0)
    : vocabulary[token] ?? none

/** Puts the bytes of tokens 0 to `size - 1` together. */
export const packTokenBytes = (size: number, of: (token: number) => Uint8Array): TokenBytes => {
  const ends = new Uint32Array(size)
  let bytes = new Uint8Array(size * 8)
  let at = 0
  for (let token = 0; token < size; token++) {
    const next = of(token)
    if (at + next.length > bytes.length) {
      const larger = new Uint8Array(2 * (at + next.length))
      larger.set(bytes)
      bytes = larger
    }
    bytes.set(next, at)
    at += next.length
    ends[token] = at
  }
  return { bytes: bytes.slice(0, at), ends }
}
