/**
 * Continuous batching: all requests of one sampler decode together, one token a step, and join and leave between steps.
 *
 * A prompt is read once, in pieces, and its pages are shared by its samples. What a sample draws depends on its own
 * tokens, its request's seed and its index only, so its result is the same bits whatever else is in the batch.
 */
import * as Either from "effect/Either"
import { EngineError } from "../Engine.js"
import { decodeStep, type FrozenWeights } from "../model/decoder.js"
import {
  type Active,
  asTopk,
  type Done,
  type Job,
  makeJob,
  makeTopk,
  type SamplerModel,
  type Sequence,
  type TopkRows
} from "./jobs.js"
import type { CacheBudget, PageTable } from "./pageCache.js"
import { uniform } from "./philox.js"
import type { SeededRequest } from "./sampleRequest.js"
import { reportedTemperature, type SampledLogprobs } from "./sampling.js"
import { makeStopWatch } from "./stop.js"

/** Samples that decode at the same time. */
const maxSequences = 64
/** Prompt tokens read in one step. */
const promptRows = 64

/** The requests of one sampler. */
export interface Batch {
  /** Takes a valid request; `done` is called once, unless the returned function cancels it first. */
  readonly submit: (request: SeededRequest, done: Done) => () => void
  /** Whether a step would do something. */
  readonly busy: () => boolean
  /** Reads some prompt, and decodes one token of every sample that runs. */
  readonly step: () => void
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
  // In order of arrival.
  const waiting: Array<Job> = []
  let active: Array<Active> = []
  let running: Array<Sequence> = []

  const pushTop = (rows: TopkRows, logits: Float32Array, offset: number, temperature: number): void => {
    drawer.top(logits, offset, temperature, rows.k, topTokens, topLogprobs, 0)
    for (let i = 0; i < rows.k; i++) {
      rows.tokens.push(topTokens[i]!)
      rows.logprobs.push(topLogprobs[i]!)
    }
  }

  /** Takes a request out and gives back all that it holds. The room of one sample is its own from first to last. */
  const leave = (of: Active): void => {
    active = active.filter((other) => other !== of)
    for (const sequence of running) if (sequence.of === of) cache.close(sequence.table)
    running = running.filter((sequence) => sequence.of !== of)
    cache.close(of.table)
    budget.promised -= of.job.promptBytes + Math.max(of.running, 1) * of.job.sampleBytes
  }

  const fail = (of: Active, error: EngineError): void => {
    leave(of)
    of.job.done(Either.left(error))
  }

  const failDiverged = (of: Active): void =>
    fail(
      of,
      new EngineError({
        reason: "InvalidInput",
        detail: "the sampler's logits are not finite: its weights have diverged; train with a lower learning rate"
      })
    )

  const finish = (sequence: Sequence, stopReason: "stop" | "length"): void => {
    const { index, of, table, topk } = sequence
    running = running.filter((other) => other !== sequence)
    cache.close(table)
    of.running--
    if (of.running > 0) budget.promised -= of.job.sampleBytes
    of.finished++
    of.sequences[index] = {
      stopReason,
      tokens: Int32Array.from(sequence.tokens),
      logprobs: Float32Array.from(sequence.logprobs),
      topk: topk === undefined ? undefined : asTopk(topk)
    }
    if (of.finished < of.job.request.numSamples) return
    leave(of)
    of.job.done(Either.right({
      sequences: of.sequences,
      promptLogprobs: of.promptLogprobs,
      topkPromptLogprobs: of.topkPrompt === undefined ? undefined : asTopk(of.topkPrompt)
    }))
  }

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
    if (sequence.watch(token)) finish(sequence, "stop")
    else if (tokens.length === maxTokens) finish(sequence, "length")
  }

  const start = (of: Active, first: Float32Array): void => {
    const { maxTokens, request: { prompt, topkSampleLogprobs }, sampleBytes, stop } = of.job
    const opened = cache.open({ table: of.table, tokens: prompt.length })
    if (Either.isLeft(opened)) return fail(of, opened.left)
    if (of.running > 0) budget.promised += sampleBytes
    const sequence: Sequence = {
      of,
      index: of.started++,
      table: opened.right,
      watch: makeStopWatch(stop),
      tokens: [],
      logprobs: [],
      topk: makeTopk(topkSampleLogprobs)
    }
    of.running++
    running.push(sequence)
    if (maxTokens === 0) finish(sequence, "length")
    else draw(sequence, first, 0)
  }

  const begin = (job: Job): void => {
    const { promptLogprobs, prompt, topkPromptLogprobs } = job.request
    const opened = cache.open()
    if (Either.isLeft(opened)) return job.done(Either.left(opened.left))
    const topkPrompt = makeTopk(topkPromptLogprobs)
    for (let i = 0; i < topkPromptLogprobs; i++) {
      topkPrompt?.tokens.push(0)
      topkPrompt?.logprobs.push(-99999)
    }
    budget.promised += job.promptBytes + job.sampleBytes
    active.push({
      job,
      table: opened.right,
      promptLogprobs: promptLogprobs ? new Float32Array(prompt.length).fill(NaN) : undefined,
      topkPrompt,
      sequences: [],
      read: 0,
      first: undefined,
      started: 0,
      running: 0,
      finished: 0
    })
  }

  /** Begins requests, then samples of the request that has fewest, while there are places and room. */
  const admit = (): void => {
    let places = maxSequences - running.length - active.filter(({ first }) => first === undefined).length
    for (let job = waiting[0]; job !== undefined && places > 0; job = waiting[0]) {
      const need = job.promptBytes + job.sampleBytes
      if (need > budget.available()) {
        if (budget.promised > 0) break
        job.done(Either.left(
          new EngineError({
            reason: "LimitReached",
            detail:
              `a sample of ${job.request.prompt.length} prompt tokens and ${job.maxTokens} more needs ${need} bytes ` +
              `of memory and ${Math.max(0, budget.available())} are left: lower maxTokens or release runs and samplers`
          })
        ))
      } else {
        begin(job)
        places--
      }
      waiting.shift()
    }
    for (
      ;
      places > 0;
      places = maxSequences - running.length - active.filter(({ first }) => first === undefined).length
    ) {
      let next: Active | undefined
      for (const of of active) {
        if (of.first === undefined || of.started === of.job.request.numSamples) continue
        if (of.running > 0 && of.job.sampleBytes > budget.available()) continue
        if (next === undefined || of.running < next.running) next = of
      }
      if (next?.first === undefined) return
      start(next, next.first)
    }
  }

  const wantsRow = ({ job, promptLogprobs, topkPrompt }: Active, position: number): boolean =>
    promptLogprobs !== undefined || topkPrompt !== undefined || position + 1 === job.request.prompt.length

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

  const step = (): void => {
    admit()
    for (const { of, table, tokens } of running) {
      if (!active.includes(of)) continue
      const extended = cache.extend(table, of.job.request.prompt.length + tokens.length)
      if (Either.isLeft(extended)) fail(of, extended.left)
    }
    const pieces: Array<{ readonly of: Active; readonly from: number; readonly to: number }> = []
    let room = promptRows
    for (const of of active) {
      const to = Math.min(of.job.request.prompt.length, of.read + room)
      if (to === of.read) continue
      const extended = cache.extend(of.table, to)
      if (Either.isLeft(extended)) {
        fail(of, extended.left)
        continue
      }
      pieces.push({ of, from: of.read, to })
      room -= to - of.read
    }
    const decoding = running
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
    for (const sequence of decoding) {
      const drawn = sequence.tokens.length
      row(sequence.tokens[drawn - 1]!, sequence.of.job.request.prompt.length + drawn - 1, sequence.table, true)
    }
    for (const { from, of, to } of pieces) {
      for (let p = from; p < to; p++) row(of.job.request.prompt[p]!, p, of.table, wantsRow(of, p))
    }
    if (tokens.length === 0) return
    const computed = decodeStep(model, weights, { count: tokens.length, tokens, positions, tables, wanted })
    if (Either.isLeft(computed)) {
      for (const of of active) fail(of, computed.left)
      return
    }
    const logits = computed.right
    let at = 0
    for (const sequence of decoding) {
      // A sibling may have found the weights diverged and ended the request.
      if (active.includes(sequence.of)) draw(sequence, logits, at * vocabSize)
      at++
    }
    for (const { from, of, to } of pieces) {
      of.read = to
      for (let p = from; p < to; p++) {
        if (!wantsRow(of, p)) continue
        if (active.includes(of)) readLogits(of, p, logits, at * vocabSize)
        at++
      }
    }
  }

  return {
    submit: (request, done) => {
      const job = makeJob(base, request, done)
      waiting.push(job)
      return () => {
        const queued = waiting.indexOf(job)
        if (queued >= 0) waiting.splice(queued, 1)
        const of = active.find((of) => of.job === job)
        if (of !== undefined) leave(of)
      }
    },
    busy: () => waiting.length + active.length > 0,
    step
  }
}
