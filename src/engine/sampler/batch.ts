/**
 * Continuous batching: all requests of one sampler decode together, one token a step, and join and leave between steps.
 *
 * A prompt is read once, in pieces, and its pages are shared by its samples. What a sample draws depends on its own
 * tokens, its request's seed and its index only, so its result is the same bits whatever else is in the batch.
 */
import * as Either from "effect/Either"
import { EngineError, type SampledTokens } from "../Engine.js"
import { decodeStep, type FrozenWeights } from "../model/decoder.js"
import { type Active, type Done, makeJob, type SamplerModel, type Sequence, type TopkRows } from "./jobs.js"
import type { CacheBudget, PageTable } from "./pageCache.js"
import { uniform } from "./philox.js"
import type { SeededRequest } from "./sampleRequest.js"
import { reportedTemperature, type SampledLogprobs } from "./sampling.js"
import { makeSeats, tell } from "./seats.js"

/** Prompt tokens read in one step. */
const promptRows = 64

/** The requests of one sampler. */
export interface Batch {
  /**
   * Takes a valid request; `done` is called once, unless the returned function cancels it first. `onTokens` is called
   * before that with each token as it is drawn.
   */
  readonly submit: (request: SeededRequest, done: Done, onTokens?: (tokens: SampledTokens) => void) => () => void
  /** Whether a step would do something. */
  readonly busy: () => boolean
  /** Reads some prompt, and decodes one token of every sample that runs. */
  readonly step: () => void
}

/** A stretch of a prompt that a step reads. */
interface Piece {
  readonly of: Active
  readonly from: number
  readonly to: number
}

const wantsRow = ({ job, promptLogprobs, topkPrompt }: Active, position: number): boolean =>
  promptLogprobs !== undefined || topkPrompt !== undefined || position + 1 === job.request.prompt.length

/** The rows of a step: the last token of each sample, then the pieces of prompts. */
const rowsOf = (decoding: ReadonlyArray<Sequence>, pieces: ReadonlyArray<Piece>) => {
  const tokens: Array<number> = []
  const positions: Array<number> = []
  const tables: Array<number> = []
  const wanted: Array<number> = []
  const row = (token: number, position: number, table: PageTable, wants: boolean): void => {
    if (wants) wanted.push(tokens.length)
    tokens.push(token)
    positions.push(position)
    tables.push(table.address)
  }
  for (const { of, table, tokens } of decoding) {
    row(tokens[tokens.length - 1]!, of.job.request.prompt.length + tokens.length - 1, table, true)
  }
  for (const { from, of, to } of pieces) {
    for (let p = from; p < to; p++) row(of.job.request.prompt[p]!, p, of.table, wantsRow(of, p))
  }
  return { count: tokens.length, tokens, positions, tables, wanted }
}

export const makeBatch = (
  base: SamplerModel,
  weights: FrozenWeights,
  budget: CacheBudget,
  logprobs: SampledLogprobs
): Batch => {
  const { cache, drawer, model } = base
  const { vocabSize } = model.config
  const topTokens = new Int32Array(vocabSize)
  const topLogprobs = new Float32Array(vocabSize)
  const seats = makeSeats(cache, budget)

  const pushTop = (rows: TopkRows, logits: Float32Array, offset: number, temperature: number): void => {
    drawer.top(logits, offset, temperature, rows.k, topTokens, topLogprobs, 0)
    for (let i = 0; i < rows.k; i++) {
      rows.tokens.push(topTokens[i]!)
      rows.logprobs.push(topLogprobs[i]!)
    }
  }

  const failDiverged = (of: Active): void =>
    seats.fail(
      of,
      new EngineError({
        reason: "InvalidInput",
        detail: "the sampler's logits are not finite: its weights have diverged; train with a lower learning rate"
      })
    )

  /** Draws the next token of a sample, and ends the sample if that was its last. */
  const draw = (sequence: Sequence, logits: Float32Array, offset: number): void => {
    const { index, of, tokens, topk } = sequence
    const { maxTokens, request: { temperature, topK, topP }, seedHigh, seedLow } = of.job
    const u = uniform(seedLow, seedHigh, index, tokens.length)
    const token = drawer.draw(logits, offset, { temperature, topK, topP, logprobs }, u)
    if (token < 0) return failDiverged(of)
    tokens.push(token)
    sequence.logprobs.push(drawer.logprob)
    if (topk !== undefined) pushTop(topk, logits, offset, reportedTemperature(temperature, logprobs))
    const ends = sequence.watch(token) ? "stop" : tokens.length === maxTokens ? "length" : undefined
    tell(sequence, 1, ends)
    // Who hears of a token may have taken the request back.
    if (ends !== undefined && seats.running().includes(sequence)) seats.finish(sequence, ends)
  }

  /** What the logits of a prompt's row say about the token that follows it. */
  const readLogits = (of: Active, position: number, logits: Float32Array, offset: number): void => {
    const { prompt } = of.job.request
    if (position + 1 === prompt.length) {
      of.first = logits.slice(offset, offset + vocabSize)
      return
    }
    const score = drawer.score(logits, offset, prompt[position + 1]!)
    if (Number.isNaN(score)) return failDiverged(of)
    if (of.promptLogprobs !== undefined) of.promptLogprobs[position + 1] = score
    if (of.topkPrompt !== undefined) pushTop(of.topkPrompt, logits, offset, 1)
  }

  /** Gives every sample a place for its next token, and chooses what is read of prompts. */
  const prepare = (): ReadonlyArray<Piece> => {
    for (const { of, table, tokens } of seats.running()) {
      if (!seats.active().includes(of)) continue
      const extended = cache.extend(table, of.job.request.prompt.length + tokens.length)
      if (Either.isLeft(extended)) seats.fail(of, extended.left)
    }
    const pieces: Array<Piece> = []
    let room = promptRows
    for (const of of seats.active()) {
      const to = Math.min(of.job.request.prompt.length, of.read + room)
      if (to === of.read) continue
      const extended = cache.extend(of.table, to)
      if (Either.isLeft(extended)) {
        seats.fail(of, extended.left)
        continue
      }
      pieces.push({ of, from: of.read, to })
      room -= to - of.read
    }
    return pieces
  }

  const step = (): void => {
    seats.admit((sequence, logits) => draw(sequence, logits, 0))
    const pieces = prepare()
    const decoding = seats.running()
    const rows = rowsOf(decoding, pieces)
    if (rows.count === 0) return
    const computed = decodeStep(model, weights, rows)
    if (Either.isLeft(computed)) {
      for (const of of seats.active()) seats.fail(of, computed.left)
      return
    }
    const logits = computed.right
    let at = 0
    for (const sequence of decoding) {
      // A sibling may have found the weights diverged and ended the request.
      if (seats.active().includes(sequence.of)) draw(sequence, logits, at * vocabSize)
      at++
    }
    for (const { from, of, to } of pieces) {
      of.read = to
      for (let p = from; p < to; p++) {
        if (!wantsRow(of, p)) continue
        if (seats.active().includes(of)) readLogits(of, p, logits, at * vocabSize)
        at++
      }
    }
  }

  return {
    submit: (request, done, onTokens) => {
      const job = makeJob(base, request, done, onTokens)
      seats.queue(job)
      return () => seats.withdraw(job)
    },
    busy: () => seats.waiting().length + seats.active().length > 0,
    step
  }
}
