/**
 * The records of sampling: a request as it was submitted, as it runs, and each of its samples.
 */
import type * as Either from "effect/Either"
import type { EngineError, ModelInfo, SampledSequence, SampledTokens, SampleResult, Topk } from "../Engine.js"
import type { Vocabulary } from "../files/tokenBytes.js"
import { pagesFor, pageTokens } from "../model/decoder.js"
import type { Model } from "../model/model.js"
import type { PageCache, PageTable } from "./pageCache.js"
import type { SeededRequest } from "./sampleRequest.js"
import type { Drawer } from "./sampling.js"
import { makeStopRules, type StopRules } from "./stop.js"

/** A base model with what sampling needs to know of it. */
export interface SamplerModel {
  readonly info: ModelInfo
  readonly model: Model
  readonly tokenBytes: Vocabulary
  readonly cache: PageCache
  readonly drawer: Drawer
}

export type Done = (result: Either.Either<SampleResult, EngineError>) => void

/** A request as it was submitted. */
export interface Job {
  readonly request: SeededRequest
  readonly done: Done
  /** Hears of every token as it is drawn. */
  readonly onTokens: ((tokens: SampledTokens) => void) | undefined
  readonly maxTokens: number
  readonly stop: StopRules
  readonly seedLow: number
  readonly seedHigh: number
  /** Bytes of cache promised to the prompt, and to each sample beyond the prompt's whole pages. */
  readonly promptBytes: number
  readonly sampleBytes: number
}

/** A request that has begun. */
export interface Active {
  readonly job: Job
  /** The prompt's pages. */
  readonly table: PageTable
  readonly promptLogprobs: Float32Array | undefined
  readonly topkPrompt: TopkRows | undefined
  readonly sequences: Array<SampledSequence>
  /** Prompt tokens in the cache. */
  read: number
  /** Logits after the prompt, once it is read. */
  first: Float32Array | undefined
  started: number
  running: number
  finished: number
}

/** A sample that runs. */
export interface Sequence {
  readonly of: Active
  readonly index: number
  readonly table: PageTable
  readonly watch: (token: number) => boolean
  readonly tokens: Array<number>
  readonly logprobs: Array<number>
  readonly topk: TopkRows | undefined
}

/** A growing `Topk`. */
export interface TopkRows {
  readonly k: number
  readonly tokens: Array<number>
  readonly logprobs: Array<number>
}

export const makeTopk = (k: number): TopkRows | undefined => k === 0 ? undefined : { k, tokens: [], logprobs: [] }

export const asTopk = ({ k, logprobs, tokens }: TopkRows): Topk => ({
  tokens: Int32Array.from(tokens),
  logprobs: Float32Array.from(logprobs),
  k,
  length: tokens.length / k
})

/** A valid request, with what follows from it. */
export const makeJob = (
  { cache, info, tokenBytes }: SamplerModel,
  request: SeededRequest,
  done: Done,
  onTokens?: (tokens: SampledTokens) => void
): Job => {
  const { prompt, seed, stopStrings, stopTokens } = request
  const maxTokens = request.maxTokens ?? info.maxContext - prompt.length
  // The last token drawn is never put into the cache.
  const pages = pagesFor(prompt.length + Math.max(maxTokens - 1, 0)) - Math.floor(prompt.length / pageTokens)
  return {
    request,
    done,
    onTokens,
    maxTokens,
    stop: makeStopRules({ tokens: stopTokens ?? info.eosTokens, strings: stopStrings ?? [], tokenBytes }),
    seedLow: Number(BigInt.asIntN(32, seed)),
    seedHigh: Number(BigInt.asIntN(32, seed >> 32n)),
    promptBytes: pagesFor(prompt.length) * cache.pageBytes,
    sampleBytes: pages * cache.pageBytes
  }
}
