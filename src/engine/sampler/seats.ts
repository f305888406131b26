/**
 * Who is in a batch: requests that wait, requests that run with their samples, and the memory promised to them.
 */
import * as Either from "effect/Either"
import { EngineError, type SampledTokens } from "../Engine.js"
import { type Active, asTopk, type Job, makeTopk, type Sequence } from "./jobs.js"
import type { CacheBudget, PageCache, PageTable } from "./pageCache.js"
import { makeStopWatch } from "./stop.js"

/** Samples that decode at the same time. */
const maxSequences = 64

export interface Seats {
  /** In order of arrival. */
  readonly waiting: () => ReadonlyArray<Job>
  readonly active: () => ReadonlyArray<Active>
  readonly running: () => ReadonlyArray<Sequence>
  readonly queue: (job: Job) => void
  /** Takes a request out wherever it is. */
  readonly withdraw: (job: Job) => void
  /** Lets waiting requests begin, then samples of requests whose prompt is read, as far as there are places and room. */
  readonly admit: (drawFirst: (sequence: Sequence, logits: Float32Array) => void) => void
  /** Ends a sample, and with the last of them its request. */
  readonly finish: (sequence: Sequence, stopReason: "stop" | "length") => void
  /** Ends a request without a result. */
  readonly fail: (of: Active, error: EngineError) => void
}

const noRoom = ({ maxTokens, request: { prompt } }: Job, need: number, left: number): EngineError =>
  new EngineError({
    reason: "LimitReached",
    detail: `a sample of ${prompt.length} prompt tokens and ${maxTokens} more needs ${need} bytes of memory and ` +
      `${Math.max(0, left)} are left: lower maxTokens or release runs and samplers`
  })

/** A request that begins, with the table of its prompt's pages. */
const activeOf = (job: Job, table: PageTable): Active => {
  const { prompt, promptLogprobs, topkPromptLogprobs } = job.request
  const topkPrompt = makeTopk(topkPromptLogprobs)
  for (let i = 0; i < topkPromptLogprobs; i++) {
    topkPrompt?.tokens.push(0)
    topkPrompt?.logprobs.push(-99999)
  }
  return {
    job,
    table,
    promptLogprobs: promptLogprobs ? new Float32Array(prompt.length).fill(NaN) : undefined,
    topkPrompt,
    sequences: [],
    read: 0,
    first: undefined,
    started: 0,
    running: 0,
    finished: 0
  }
}

export const makeSeats = (cache: PageCache, budget: CacheBudget): Seats => {
  const waiting: Array<Job> = []
  let active: ReadonlyArray<Active> = []
  let running: ReadonlyArray<Sequence> = []

  const places = (): number => maxSequences - running.length - active.filter(({ first }) => first === undefined).length

  /** Takes a request out and gives back all that it holds. The room of one sample is its own from first to last. */
  const leave = (of: Active): void => {
    active = active.filter((other) => other !== of)
    for (const sequence of running) if (sequence.of === of) cache.close(sequence.table)
    running = running.filter((sequence) => sequence.of !== of)
    cache.close(of.table)
    budget.promised -= of.job.promptBytes + Math.max(of.running, 1) * of.job.sampleBytes
  }

  const fail: Seats["fail"] = (of, error) => {
    leave(of)
    of.job.done(Either.left(error))
  }

  const finish: Seats["finish"] = (sequence, stopReason) => {
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

  const begin = (job: Job): void => {
    const opened = cache.open()
    if (Either.isLeft(opened)) return job.done(Either.left(opened.left))
    budget.promised += job.promptBytes + job.sampleBytes
    active = [...active, activeOf(job, opened.right)]
  }

  const start = (of: Active, first: Float32Array, drawFirst: Parameters<Seats["admit"]>[0]): void => {
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
    running = [...running, sequence]
    if (maxTokens > 0) return drawFirst(sequence, first)
    tell(sequence, 0, "length")
    finish(sequence, "length")
  }

  const beginWaiting = (): void => {
    let free = places()
    for (let job = waiting[0]; job !== undefined && free > 0; job = waiting[0]) {
      const need = job.promptBytes + job.sampleBytes
      if (need <= budget.available()) {
        begin(job)
        free--
      } else if (budget.promised > 0) return
      else {
        job.done(Either.left(noRoom(job, need, budget.available())))
      }
      waiting.shift()
    }
  }

  /** Of the requests that may start a sample, the one with fewest that run. */
  const next = (): Active | undefined => {
    let least: Active | undefined
    for (const of of active) {
      if (of.first === undefined || of.started === of.job.request.numSamples) continue
      if (of.running > 0 && of.job.sampleBytes > budget.available()) continue
      if (least === undefined || of.running < least.running) least = of
    }
    return least
  }

  return {
    waiting: () => waiting,
    active: () => active,
    running: () => running,
    queue: (job) => void waiting.push(job),
    withdraw: (job) => {
      const queued = waiting.indexOf(job)
      if (queued >= 0) waiting.splice(queued, 1)
      const of = active.find((of) => of.job === job)
      if (of !== undefined) leave(of)
    },
    admit: (drawFirst) => {
      beginWaiting()
      while (places() > 0) {
        const of = next()
        if (of?.first === undefined) return
        start(of, of.first, drawFirst)
      }
    },
    finish,
    fail
  }
}

/** Tells the request's listener, if it has one, of the last `count` tokens of a sample. */
export const tell = (
  { index, logprobs, of: { job: { onTokens } }, tokens, topk }: Sequence,
  count: number,
  stopReason: SampledTokens["stopReason"]
): void => {
  if (onTokens === undefined) return
  onTokens({
    index,
    tokens: Int32Array.from(tokens.slice(tokens.length - count)),
    logprobs: Float32Array.from(logprobs.slice(logprobs.length - count)),
    topk: topk === undefined ? undefined : asTopk({
      k: topk.k,
      tokens: topk.tokens.slice(topk.tokens.length - count * topk.k),
      logprobs: topk.logprobs.slice(topk.logprobs.length - count * topk.k)
    }),
    stopReason
  })
}
