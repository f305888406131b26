/**
 * Log-probabilities in OpenAI's two shapes. Tokens are told as text; a token that is no text by itself by its number, as `token:523`.
 */
import { type TopkLogprobs, topkRows } from "../../protocol/Sampling.js"
import type { Tokenizer } from "../../tokenizer/Tokenizer.js"

const replacement = "\uFFFD"

/**
 * The text that each token adds to those before it. A character of several tokens belongs to the last of them; the others are
 * told by number, so that no two tokens look alike.
 */
const textsOf = (tokenizer: Tokenizer, tokens: ArrayLike<number>): ReadonlyArray<string> => {
  const texts: Array<string> = []
  let held: Array<number> = []
  let before: Array<number> = []
  for (let i = 0; i < tokens.length; i++) {
    held.push(tokens[i]!) // i is below the length
    const prefix = tokenizer.decode(before)
    const text = tokenizer.decode([...before, ...held]).slice(prefix.length)
    if (text.endsWith(replacement) && held.length < 8 && i < tokens.length - 1) {
      texts.push("")
      continue
    }
    texts.push(text)
    before = held
    held = []
  }
  return texts
}

/** The name of one token by itself. */
export const nameOf = (tokenizer: Tokenizer, token: number): string => {
  const text = tokenizer.decode([token])
  return text.includes(replacement) ? `token:${token}` : text
}

const bytesOf = (text: string): ReadonlyArray<number> => [...new TextEncoder().encode(text)]

const finite = (logprob: number): number => Number.isFinite(logprob) ? logprob : -9999

/** `choices[].logprobs` of a chat completion. */
export const ofChat = (
  tokenizer: Tokenizer,
  tokens: ArrayLike<number>,
  logprobs: ArrayLike<number>,
  top: TopkLogprobs | undefined
): unknown => {
  const rows = top === undefined ? [] : topkRows(top)
  const texts = textsOf(tokenizer, tokens)
  return {
    content: Array.from(tokens, (_, i) => ({
      token: texts[i] ?? "",
      logprob: finite(logprobs[i] ?? Number.NaN),
      bytes: bytesOf(texts[i] ?? ""),
      top_logprobs: (rows[i] ?? []).map(([token, logprob]) => {
        const text = nameOf(tokenizer, token)
        return { token: text, logprob: finite(logprob), bytes: bytesOf(text) }
      })
    })),
    refusal: null
  }
}

/** One position of a completion: a token, its log-probability, and the likeliest tokens there. */
export interface Position {
  readonly token: number
  /** None for the first token of a prompt. */
  readonly logprob: number | undefined
  readonly top: ReadonlyArray<readonly [token: number, logprob: number]> | undefined
}

/** `choices[].logprobs` of a completion. The token itself is always among the likeliest that are told, as OpenAI has it. */
export const ofCompletion = (
  tokenizer: Tokenizer,
  positions: ReadonlyArray<Position>,
  offset: number
): unknown => {
  const texts = textsOf(tokenizer, positions.map(({ token }) => token))
  let at = offset
  const offsets = texts.map((text) => {
    const start = at
    at += text.length
    return start
  })
  return {
    tokens: texts,
    token_logprobs: positions.map(({ logprob }) => logprob === undefined ? null : finite(logprob)),
    top_logprobs: positions.map(({ logprob, token, top }) => {
      if (logprob === undefined || top === undefined) return null
      const told: Record<string, number> = {}
      for (const [other, value] of top) told[nameOf(tokenizer, other)] = finite(value)
      told[nameOf(tokenizer, token)] ??= finite(logprob)
      return told
    }),
    text_offset: offsets
  }
}
