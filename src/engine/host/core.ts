/**
 * The engine on one thread: models, runs and samplers, and a queue of slices of work. Plain synchronous code: who drives
 * it (a worker's loop, or the calling thread) calls `slice` as long as it answers true.
 *
 * Operations on one run are done in the order in which they are submitted. Runs and samplers share the thread by time: a
 * slice is one micro-batch of a pass, or one token of every sequence of a sampler.
 */
import * as Either from "effect/Either"
import type { RunState } from "../Engine.js"
import { type Kernels, makeKernels } from "../kernels/kernels.js"
import type { SharedMemory } from "../kernels/sharedMemory.js"
import { freezeBase } from "../model/decoder.js"
import { makeModel } from "../model/model.js"
import { info, isStored, type ModelDefinition } from "../model/Models.js"
import { loadNanoWeights } from "../model/nanoWeights.js"
import { loadStored, sharedPlace } from "../model/storedWeights.js"
import { makeRun } from "../run/run.js"
import type { SamplerModel } from "../sampler/jobs.js"
import { type CacheBudget, makeCacheBudget, makePageCache } from "../sampler/pageCache.js"
import { makeDrawer, type SampledLogprobs } from "../sampler/sampling.js"
import { type OnTokens, type Operation, type Outcome, type PeerMessage, toOutcome } from "./messages.js"
import {
  makeMailbox,
  once,
  type OpenRun,
  passTask,
  type Peers,
  quote,
  refuse,
  type Result,
  type Task
} from "./runLane.js"
import { makeRuns } from "./runs.js"
import { makeSamplers } from "./samplers.js"
import { makeScheduler } from "./scheduler.js"

/** How much one engine may hold. */
export interface Limits {
  readonly runs: number
  readonly samplers: number
  /** Bytes, over everything the engine holds. */
  readonly memory: number
}

export interface CoreOptions {
  readonly models: ReadonlyArray<ModelDefinition>
  readonly sampledLogprobs: SampledLogprobs
  readonly limits: Limits
  /** Milliseconds; decides turns, never results. */
  readonly now: () => number
  readonly peers: Peers
  /** A memory that other threads share, with a block for each model out of files in their order; absent: one of its own. */
  readonly shared?: SharedMemory | undefined
}

export interface EngineCore {
  /**
   * Queues an operation; `done` is called once, unless the returned function is called first. That takes back a sample;
   * anything else is done all the same. `onTokens` hears of the tokens of a sample that streams.
   * Workers that share batches give an operation the same `id`.
   */
  readonly submit: (
    id: number,
    operation: Operation,
    done: (outcome: Outcome) => void,
    onTokens?: OnTokens
  ) => () => void
  /** What another worker sent. */
  readonly receive: (rank: number, message: PeerMessage) => void
  /** Does one slice of work; answers whether there is more. */
  readonly slice: () => boolean
  /** Bytes held now. */
  readonly held: () => number
}

/** The base models by name, each loaded when it is first asked for. */
const makeModelTable = (
  kernels: Kernels,
  models: ReadonlyArray<ModelDefinition>,
  budget: CacheBudget,
  shared: SharedMemory | undefined
): (name: string) => Result<SamplerModel> => {
  const loaded = new Map<string, SamplerModel>()
  const blocks = models.filter(isStored)
  const placeOf = (definition: ModelDefinition) =>
    shared === undefined ? undefined : sharedPlace(shared, blocks.indexOf(definition))
  return (name) =>
    Either.gen(function*() {
      const present = loaded.get(name)
      if (present !== undefined) return present
      const definition = models.find((model) => model.name === name)
      if (definition === undefined) {
        return yield* refuse(
          "UnknownModel",
          `there is no model ${quote(name)}: there are ${models.map(({ name }) => name).join(", ")}`
        )
      }
      const { shape, tokenBytes, weights } = definition
      const model = "stored" in weights
        ? yield* loadStored(kernels, name, shape, weights.stored, placeOf(definition))
        : yield* makeModel(kernels, shape, "shipped" in weights ? { flat: yield* loadNanoWeights() } : weights)
      const drawer = yield* makeDrawer(kernels, shape.vocabSize)
      const made = { info: info(definition), model, tokenBytes, cache: makePageCache(model, budget), drawer }
      loaded.set(name, made)
      return made
    })
}

export const makeCore = ({ limits, models, now, peers, sampledLogprobs, shared }: CoreOptions): EngineCore => {
  const kernels = makeKernels(undefined, shared)
  const budget = makeCacheBudget(kernels, limits.memory)
  const scheduler = makeScheduler(now)
  const mailbox = makeMailbox()
  const held = (): number => kernels.allocated() * 4

  /** What was made, unless it has taken the engine over its memory: then it is undone. */
  const within = <A>(what: string, made: A, undo: () => void): Result<A> => {
    const bytes = held()
    if (bytes <= limits.memory) return Either.right(made)
    undo()
    return refuse(
      "LimitReached",
      `${what} would take the engine to ${bytes} bytes of memory, its limit is ${limits.memory}: release a run or a sampler`
    )
  }

  const modelOf = makeModelTable(kernels, models, budget, shared)
  const { enqueue, open, release, restore, withRun } = makeRuns({ limit: limits.runs, scheduler, within, modelOf })
  // Samplers.

  const samplers = makeSamplers({ kernels, limit: limits.samplers, scheduler, budget, sampledLogprobs, within })

  const samplerOfRun = (samplerId: string, { of, run }: OpenRun): Result<void> =>
    samplers.open(samplerId, of, run.freeze)

  const samplerOfState = (samplerId: string, state: RunState): Result<void> =>
    Either.flatMap(restore(state, { optimizer: false }), (open) => {
      const opened = samplerOfRun(samplerId, open)
      open.run.release()
      return opened
    })

  const samplerOfBase = (samplerId: string, baseModel: string): Result<void> =>
    Either.flatMap(
      modelOf(baseModel),
      (of) => samplers.open(samplerId, of, () => freezeBase(of.model))
    )

  const submit: EngineCore["submit"] = (id, operation, done, onTokens) => {
    const inTurn = (runId: string, task: Task): () => void => {
      enqueue(runId, task, done)
      return () => {}
    }
    const now = (result: Result<void>): () => void => {
      done(toOutcome(result))
      return () => {}
    }
    switch (operation.name) {
      case "createRun": {
        const { baseModel, lora, runId } = operation.input
        const make = () =>
          Either.flatMap(
            modelOf(baseModel),
            (of) => Either.map(makeRun(of.model, { baseModel, lora }), (run) => ({ run, of }))
          )
        return inTurn(runId, once(() => open(runId, make)))
      }
      case "importRun": {
        const { optimizer, runId, state } = operation.input
        return inTurn(runId, once(() => open(runId, () => restore(state, { optimizer }))))
      }
      case "loadRun": {
        const { optimizer, runId, state } = operation.input
        return inTurn(runId, once(() => withRun(runId)(({ run }) => run.importState(state, { optimizer }))))
      }
      case "exportRun": {
        const { optimizer, runId } = operation.input
        return inTurn(runId, once(() => withRun(runId)(({ run }) => Either.right(run.exportState({ optimizer })))))
      }
      case "releaseRun":
        return inTurn(operation.input.runId, once(() => release(operation.input.runId)))
      case "pass": {
        const { request, runId } = operation.input
        return inTurn(runId, passTask(id, request, withRun(runId), peers, mailbox))
      }
      case "optimStep": {
        const { params, runId } = operation.input
        return inTurn(runId, once(() => withRun(runId)(({ run }) => run.optimStep(params))))
      }
      case "createSampler": {
        const { samplerId, source } = operation.input
        if ("state" in source) return now(samplerOfState(samplerId, source.state))
        if ("baseModel" in source) return now(samplerOfBase(samplerId, source.baseModel))
        const { runId } = source
        return inTurn(runId, once(() => withRun(runId)((open) => samplerOfRun(samplerId, open))))
      }
      case "releaseSampler":
        return now(Either.right(samplers.release(operation.input.samplerId)))
      case "sample":
        return samplers.sample(operation.input, done, onTokens)
    }
  }

  return { submit, receive: mailbox.put, slice: scheduler.slice, held }
}
