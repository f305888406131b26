/**
 * The samplers of an engine: frozen weights, each with the batch of its requests.
 */
import * as Either from "effect/Either"
import type { ModelInfo } from "../Engine.js"
import type { Kernels } from "../kernels/kernels.js"
import type { FrozenWeights } from "../model/decoder.js"
import { type Batch, makeBatch } from "../sampler/batch.js"
import type { SamplerModel } from "../sampler/jobs.js"
import type { CacheBudget } from "../sampler/pageCache.js"
import { requestProblem } from "../sampler/sampleRequest.js"
import type { SampledLogprobs } from "../sampler/sampling.js"
import { type OnTokens, type Operations, type Outcome, toOutcome } from "./messages.js"
import { quote, refuse, type Result } from "./runLane.js"
import type { Lane, Scheduler } from "./scheduler.js"

interface Sampler {
  readonly info: ModelInfo
  readonly weights: FrozenWeights
  readonly batch: Batch
  readonly lane: Lane
  state: "open" | "released" | "freed"
}

export interface Samplers {
  /** Makes a sampler of what `freeze` gives. */
  readonly open: (samplerId: string, of: SamplerModel, freeze: () => Result<FrozenWeights>) => Result<void>
  /** Takes no further requests; the sampler is freed when the last one that it has ends. */
  readonly release: (samplerId: string) => void
  /** Begins a request, or refuses it; gives what takes it back. */
  readonly sample: (
    input: Operations["sample"]["input"],
    done: (outcome: Outcome) => void,
    onTokens?: OnTokens
  ) => () => void
}

export interface SamplersOptions {
  readonly kernels: Kernels
  /** Most samplers at a time. */
  readonly limit: number
  readonly scheduler: Scheduler
  readonly budget: CacheBudget
  readonly sampledLogprobs: SampledLogprobs
  /** What was made, or, if it takes too much memory, a refusal after `undo`. */
  readonly within: <A>(what: string, made: A, undo: () => void) => Result<A>
}

export const makeSamplers = (options: SamplersOptions): Samplers => {
  const { budget, kernels, limit, sampledLogprobs, scheduler, within } = options
  const samplers = new Map<string, Sampler>()

  const open: Samplers["open"] = (samplerId, of, freeze) => {
    if (samplers.has(samplerId)) return refuse("InvalidInput", `there is a sampler ${quote(samplerId)} already`)
    if (samplers.size >= limit) {
      return refuse("LimitReached", `the engine holds ${samplers.size} samplers, its limit: release one`)
    }
    const frozen = Either.flatMap(
      freeze(),
      (weights) => within(`sampler ${quote(samplerId)}`, weights, () => weights.blocks.forEach(kernels.release))
    )
    return Either.map(frozen, (weights) => {
      const batch = makeBatch(of, weights, budget, sampledLogprobs)
      const lane: Lane = {
        ready: batch.busy,
        slice: () => {
          batch.step()
          discard(sampler)
        }
      }
      const sampler: Sampler = { info: of.info, weights, batch, lane, state: "open" }
      samplers.set(samplerId, sampler)
      scheduler.add(lane)
    })
  }

  /** Frees a released sampler that has nothing more to do. */
  const discard = (sampler: Sampler): void => {
    if (sampler.state !== "released" || sampler.batch.busy()) return
    sampler.state = "freed"
    scheduler.remove(sampler.lane)
    sampler.weights.blocks.forEach(kernels.release)
  }

  const release: Samplers["release"] = (samplerId) => {
    const sampler = samplers.get(samplerId)
    if (sampler === undefined) return
    samplers.delete(samplerId)
    sampler.state = "released"
    discard(sampler)
  }

  const sample: Samplers["sample"] = ({ request, samplerId, streams }, done, onTokens) => {
    const sampler = samplers.get(samplerId)
    const begun = Either.gen(function*() {
      if (sampler === undefined) return yield* refuse("UnknownSampler", `there is no sampler ${quote(samplerId)}`)
      const problem = requestProblem(sampler.info, request)
      if (problem !== undefined) return yield* refuse("InvalidInput", problem)
      scheduler.wake(sampler.lane)
      const cancel = sampler.batch.submit(
        request,
        (result) => done(toOutcome(result)),
        streams ? onTokens : undefined
      )
      return () => {
        cancel()
        discard(sampler)
      }
    })
    return Either.getOrElse(begun, (error) => {
      done(toOutcome(Either.left(error)))
      return () => {}
    })
  }

  return { open, release, sample }
}
