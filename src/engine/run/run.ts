/**
 * A training run on a base model: the trained parameters, the optimiser's moments and the gradient accumulator. Plain
 * synchronous code; the service runs it in a worker.
 *
 * A pass first gathers its gradients apart and adds them at the end, so that a pass that fails adds nothing. That is also
 * how workers share a batch: each calls `evaluate` on its part, and all call `accumulate` with every worker's
 * `gradients()` in the same order.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import {
  type AdamParams,
  EngineError,
  type LoraConfig,
  type NamedTensor,
  type PassRequest,
  type PassResult,
  type RunState
} from "../Engine.js"
import type { Kernels } from "../kernels/kernels.js"
import { freezeAdapters, freezeWeights, type FrozenWeights } from "../model/decoder.js"
import { initialiseLora, type LoraLayout, loraLayout, loraProblem, mergeLora, mergesAdapters } from "../model/lora.js"
import type { Model } from "../model/model.js"
import { adapterScratch, flatAdapters, flatWeights, type Weights, withAdapters } from "../model/parameters.js"
import { fillTensors, namedTensors, type TensorRange, tensorsProblem } from "../model/weights.js"
import { beginEvaluation, type Evaluation, type Subject } from "./evaluation.js"
import { preparePass } from "./passInput.js"

export type { Evaluation } from "./evaluation.js"

/** A run. Every method that can fail checks all of its input first and then changes nothing. */
export interface Run {
  readonly model: Model
  readonly lora: LoraConfig | null
  /** Number of trained parameters. */
  readonly size: number
  /** Whether `pass` would take the request. */
  readonly validate: (request: PassRequest) => Either.Either<void, EngineError>
  /** `evaluate`, then with `backward` adds the gradients to the accumulator. */
  readonly pass: (request: PassRequest) => Either.Either<PassResult, EngineError>
  /** Runs a pass; with `backward` its gradients are then in `gradients()` and not yet in the accumulator. */
  readonly evaluate: (request: PassRequest) => Either.Either<PassResult, EngineError>
  /**
   * `evaluate` in slices, for a thread that has other work, and of a part of the data, when workers share it; all of it
   * is checked. Nothing else may be done with the run before the end.
   */
  readonly begin: (
    request: PassRequest,
    part?: { readonly from: number; readonly to: number }
  ) => Either.Either<Evaluation, EngineError>
  /** A copy of the gradients of the last `evaluate` with `backward`, `size` numbers. */
  readonly gradients: () => Float32Array
  /** Adds gradients to the accumulator: their sum, taken in the order given. */
  readonly accumulate: (gradients: ReadonlyArray<Float32Array>) => Either.Either<void, EngineError>
  /** A copy of the accumulator, `size` numbers. */
  readonly accumulated: () => Float32Array
  readonly clearGradients: () => void
  /** One step of AdamW on the accumulated gradients, which are cleared. `gradNorm` is their L2 norm before clipping. */
  readonly optimStep: (params: AdamParams) => Either.Either<{ readonly gradNorm: number }, EngineError>
  readonly exportState: (options: { readonly optimizer: boolean }) => RunState
  /** Replaces weights, and moments or fresh ones; clears the accumulator. */
  readonly importState: (
    state: RunState,
    options: { readonly optimizer: boolean }
  ) => Either.Either<void, EngineError>
  /** The weights that a pass over up to `rows` rows uses now: adapters merged, or beside a base that is shared. */
  readonly weights: (rows: number) => Either.Either<Weights, EngineError>
  /** A copy of those weights for a sampler; of a shared base only the adapters are copied. */
  readonly freeze: () => Either.Either<FrozenWeights, EngineError>
  /** Frees the run's memory; it is not used again. */
  readonly release: () => void
}

const refuse = (detail: string) => Either.left(new EngineError({ reason: "InvalidInput", detail }))

/** The base with a run's adapters: merged into it, once for many passes, or beside it. */
const adapted = (
  model: Model,
  layout: LoraLayout,
  adapters: number,
  version: object,
  rows: number
): Either.Either<Weights, EngineError> => {
  const { config, workspace } = model
  if (!mergesAdapters(model)) {
    return Either.map(
      workspace.block("adapters", adapterScratch(layout, rows)),
      (scratch) => withAdapters(model.weights, layout, scratch, flatAdapters(adapters, layout.rank))
    )
  }
  return Either.map(workspace.merged(), (merged) => {
    if (merged.version !== version) {
      merged.version = version
      mergeLora(model, layout, adapters, merged.address)
    }
    return flatWeights(config, model.layout, merged.address)
  })
}

/** Addresses of what a step changes, `size` numbers each. */
interface Trainable {
  readonly size: number
  readonly parameters: number
  readonly gradients: number
  readonly firstMoment: number
  readonly secondMoment: number
}

/** Step number `step` of AdamW, from 1; gives the norm of the gradients before clipping. */
const adamw = (
  kernels: Kernels,
  { beta1, beta2, eps, gradClipNorm, learningRate, weightDecay }: AdamParams,
  step: number,
  { firstMoment, gradients, parameters, secondMoment, size }: Trainable
): number => {
  const gradNorm = Math.sqrt(kernels.sumOfSquares(size, gradients))
  kernels.adamw(
    Math.ceil(size / 4) * 4,
    parameters,
    gradients,
    firstMoment,
    secondMoment,
    gradClipNorm > 0 && gradNorm > gradClipNorm ? gradClipNorm / gradNorm : 1,
    1 - learningRate * weightDecay,
    beta1,
    1 - beta1,
    beta2,
    1 - beta2,
    learningRate / (1 - Math.pow(beta1, step)),
    1 / Math.sqrt(1 - Math.pow(beta2, step)),
    eps
  )
  return gradNorm
}

/** Writes the sum of several workers' gradients, taken in their order, to an address. */
const sumOf = (
  { kernels, workspace }: Model,
  size: number,
  parts: ReadonlyArray<Float32Array>,
  to: number
): Either.Either<void, EngineError> =>
  Either.map(workspace.block("gradients", size), (scratch) => {
    kernels.floats(to, size).fill(0)
    for (const part of parts) {
      kernels.floats(scratch, size).set(part)
      kernels.add(size, scratch, to)
    }
  })

/** Makes a run on a base model known as `baseModel`; `lora: null` trains a copy of every parameter. */
export const makeRun = (
  model: Model,
  options: { readonly baseModel: string; readonly lora: LoraConfig | null }
): Either.Either<Run, EngineError> =>
  Either.gen(function*() {
    const { baseModel, lora } = options
    const { kernels } = model
    const problem = lora === null ? undefined : loraProblem(lora)
    if (problem !== undefined) return yield* refuse(`the run cannot be made: ${problem}`)
    if (lora === null && model.flat === 0) {
      return yield* refuse(`the run cannot be made: ${baseModel} is trained through adapters only; give lora_config`)
    }
    const adapters = lora === null ? undefined : loraLayout(model.config, lora)
    const { tensors, total: size } = adapters ?? model.layout
    const stretch = Math.ceil(size / 16) * 16 * 4
    const parameters = yield* kernels.allocate(5 * stretch / 4)
    const accumulator = parameters + stretch
    const pending = accumulator + stretch
    const firstMoment = pending + stretch
    const secondMoment = firstMoment + stretch
    const trainable = { size, parameters, gradients: accumulator, firstMoment, secondMoment }
    const flat = (address: number): Float32Array => kernels.floats(address, size)
    if (lora === null) flat(parameters).set(kernels.floats(model.flat, size))
    else initialiseLora(model, adapters!, parameters, lora.seed)
    let step = 0
    /** Changes with the parameters, so that adapters are merged once for many passes. */
    let version = {}

    const weights: Run["weights"] = (rows) =>
      adapters === undefined
        ? Either.right(flatWeights(model.config, model.layout, parameters))
        : adapted(model, adapters, parameters, version, rows)

    const subject: Subject = {
      model,
      weights,
      parameters,
      adapters: adapters === undefined ? undefined : { layout: adapters, adapters: parameters },
      gradients: pending,
      size
    }
    const begin: Run["begin"] = (request, part) =>
      Either.map(preparePass(model.config, request), (prepared) => {
        const data = part === undefined ? prepared.data : prepared.data.slice(part.from, part.to)
        return beginEvaluation(subject, { ...prepared, data }, request.backward)
      })

    const evaluate: Run["evaluate"] = (request) =>
      Either.gen(function*() {
        const { finish, step } = yield* begin(request)
        while (yield* step());
        return yield* finish()
      })

    const run: Run = {
      model,
      lora,
      size,
      validate: (request) => Either.map(preparePass(model.config, request), () => undefined),
      begin,
      evaluate,
      pass: (request) =>
        Either.map(evaluate(request), (result) => {
          if (request.backward) kernels.add(size, pending, accumulator)
          return result
        }),
      gradients: () => flat(pending).slice(),
      accumulated: () => flat(accumulator).slice(),
      accumulate: (gradients) => {
        const wrong = gradients.findIndex((part) => part.length !== size)
        if (wrong >= 0) return refuse(`gradients[${wrong}] has ${gradients[wrong]!.length} numbers, not ${size}`)
        return Either.map(sumOf(model, size, gradients, pending), () => kernels.add(size, pending, accumulator))
      },
      clearGradients: () => void flat(accumulator).fill(0),
      optimStep: (params) => {
        const problem = adamProblem(params)
        if (problem !== undefined) return refuse(`adam_params.${problem}`)
        step++
        const gradNorm = adamw(kernels, params, step, trainable)
        flat(accumulator).fill(0)
        version = {}
        return Either.right({ gradNorm })
      },
      exportState: ({ optimizer }) => ({
        baseModel,
        lora,
        weights: namedTensors(tensors, flat(parameters)),
        optimizer: optimizer
          ? { step, m: namedTensors(tensors, flat(firstMoment)), v: namedTensors(tensors, flat(secondMoment)) }
          : null
      }),
      importState: (state, { optimizer }) => {
        const moments = optimizer ? state.optimizer : null
        const problem = stateProblem(state, { baseModel, lora }) ?? tensorsProblem(tensors, state.weights) ??
          (moments === null ? undefined : momentsProblem(tensors, moments)) ??
          (optimizer && moments === null ? "it holds no optimiser state" : undefined)
        if (problem !== undefined) return refuse(`the state cannot be loaded: ${problem}`)
        fillTensors(tensors, state.weights, flat(parameters))
        for (const address of [accumulator, firstMoment, secondMoment]) flat(address).fill(0)
        step = 0
        if (moments !== null) {
          fillTensors(tensors, moments.m, flat(firstMoment))
          fillTensors(tensors, moments.v, flat(secondMoment))
          step = moments.step
        }
        version = {}
        return Either.right(undefined)
      },
      weights,
      freeze: () =>
        adapters === undefined || mergesAdapters(model)
          ? Either.flatMap(weights(0), (flat) => freezeWeights(model, flat))
          : freezeAdapters(model, adapters, parameters),
      release: () => kernels.release(parameters)
    }

    return run
  })

/** What is wrong with a state for a run of such a base model and such adapters, tensors apart. */
const stateProblem = (
  state: RunState,
  { baseModel, lora }: { readonly baseModel: string; readonly lora: LoraConfig | null }
): string | undefined => {
  if (state.baseModel !== baseModel) return `it belongs to another base model than ${baseModel}`
  if ((state.lora === null) !== (lora === null)) {
    return lora === null
      ? "it holds adapters, the run trains every parameter"
      : "it holds no adapters, the run does"
  }
  if (lora === null || state.lora === null) return undefined
  if (state.lora.rank !== lora.rank) return `its rank is ${state.lora.rank}, the run's ${lora.rank}`
  return undefined
}

const momentsProblem = (
  ranges: ReadonlyArray<TensorRange>,
  moments: NonNullable<RunState["optimizer"]>
): string | undefined => {
  if (!Number.isSafeInteger(moments.step) || moments.step < 0) return "its step count is not a whole number"
  const first = tensorsProblem(ranges, moments.m)
  if (first !== undefined) return `first moments: ${first}`
  const second = tensorsProblem(ranges, moments.v) ?? negative(moments.v)
  return second === undefined ? undefined : `second moments: ${second}`
}

const negative = (tensors: ReadonlyArray<NamedTensor>): string | undefined => {
  for (const { data, name } of tensors) {
    const at = data.findIndex((x) => x < 0)
    if (at >= 0) return `${name}[${at}] is negative`
  }
  return undefined
}

const adamProblem = (params: AdamParams): string | undefined => {
  const moment = "at least 0 and below 1"
  const amount = "a finite number, not negative"
  const rules: ReadonlyArray<readonly [name: string, value: number, below: number, rule: string]> = [
    ["learning_rate", params.learningRate, Infinity, amount],
    ["beta1", params.beta1, 1, moment],
    ["beta2", params.beta2, 1, moment],
    ["eps", params.eps, Infinity, amount],
    ["weight_decay", params.weightDecay, Infinity, amount],
    ["grad_clip_norm", params.gradClipNorm, Infinity, `${amount} (0: no clipping)`]
  ]
  const broken = rules.find(([, value, below]) => !(value >= 0 && value < below))
  return broken === undefined ? undefined : `${broken[0]} must be ${broken[3]}`
}
