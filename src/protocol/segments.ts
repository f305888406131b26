/**
 * Runs of tokens with weights, laid out as input, targets and weights of the targets.
 */
import type { Segment, SegmentsOptions } from "./Datum.js"
import { InvalidInput } from "./InvalidInput.js"
import * as ModelInput from "./ModelInput.js"

/** Segments with nothing empty, cut to a length, and without images that nothing comes after. */
const cut = (segments: ReadonlyArray<Segment>, maxLength: number): ReadonlyArray<Segment> => {
  const out: Array<Segment> = []
  let room = maxLength
  for (const segment of segments) {
    const length = "chunk" in segment ? ModelInput.chunkLength(segment.chunk) : segment.tokens.length
    if (length > room && "chunk" in segment) break
    if (length > 0) {
      out.push(length > room && "tokens" in segment ? { ...segment, tokens: segment.tokens.slice(0, room) } : segment)
    }
    room -= length
    if (room <= 0) break
  }
  while ("chunk" in (out.at(-1) ?? {})) out.pop()
  return out
}

/** All runs as one; a single one is not copied. */
export const concat = (runs: ReadonlyArray<ModelInput.Tokens>): ModelInput.Tokens => {
  if (runs.length === 1) return runs[0]!
  const all = new Int32Array(runs.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const run of runs) {
    all.set(run, at)
    at += run.length
  }
  return all
}

const normalize = (weights: Float32Array): void => {
  let sum = 0
  for (let i = 0; i < weights.length; i++) sum += weights[i]!
  if (sum > 0) { for (let i = 0; i < weights.length; i++) weights[i]! /= sum }
}

/** The input is all but the last token, the targets all but the first. Throws `InvalidInput` for fewer than two tokens. */
export const layOut = (segments: ReadonlyArray<Segment>, options: SegmentsOptions) => {
  const kept = cut(segments, options.maxLength ?? Infinity)
  let length = 0
  for (const segment of kept) {
    length += "chunk" in segment
      ? ModelInput.chunkLength(segment.chunk)
      : segment.tokens.length
  }
  if (length < 2) throw new InvalidInput({ field: "segments", expected: "at least 2 tokens", actual: `${length}` })
  const targets = new Int32Array(length - 1)
  const weights = new Float32Array(length - 1)
  const chunks: Array<ModelInput.Chunk> = []
  let run: Array<ModelInput.Tokens> = []
  const flush = () => {
    if (run.length > 0) chunks.push({ type: "encoded_text", tokens: concat(run) })
    run = []
  }
  let at = -1 // of the target that the next token is
  kept.forEach((segment, index) => {
    if ("chunk" in segment) {
      flush()
      chunks.push(segment.chunk)
      at += ModelInput.chunkLength(segment.chunk)
      return
    }
    const { tokens, weight } = segment
    for (let i = 0; i < tokens.length; i++, at++) {
      if (at < 0) continue
      targets[at] = tokens[i]!
      weights[at] = typeof weight === "number" ? weight : weight[i]!
    }
    const input = index === kept.length - 1 ? tokens.slice(0, -1) : tokens
    if (input.length > 0) run.push(input)
  })
  flush()
  if (options.reduction === "mean") normalize(weights)
  return { chunks, targets, weights }
}
