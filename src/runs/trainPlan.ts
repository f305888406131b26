/** What `train` was asked for, checked and with its defaults. */
import * as Effect from "effect/Effect"
import type { Datum } from "../protocol/Datum.js"
import { InvalidInput } from "../protocol/InvalidInput.js"
import { type AdamParams, adamParams, type LossFn, type LossFnConfig } from "../protocol/Training.js"
import { check, type Checked } from "./CheckpointPolicy.js"
import * as Dataset from "./Dataset.js"
import type { Json } from "./Journal.js"
import * as Rollouts from "./Rollouts.js"
import type { Adam, CustomPass, StepContext, StepDone, TrainOptions } from "./Run.js"
import { isSchedule } from "./Schedule.js"

export interface Plan<E, R> {
  readonly source:
    | { readonly _tag: "Dataset"; readonly dataset: Dataset.Dataset<Datum, E, R> }
    | {
      readonly _tag: "Function"
      readonly batches: (context: StepContext) => Effect.Effect<ReadonlyArray<Datum>, E, R>
    }
    | { readonly _tag: "Rollouts"; readonly rollouts: Rollouts.Rollouts<E, R> }
  readonly total: number
  readonly depth: number
  readonly prefetch: number
  readonly batchesPerEpoch: number | undefined
  readonly rounds: { readonly updates: number; readonly ahead: number } | undefined
  readonly pass:
    | { readonly _tag: "Loss"; readonly loss: LossFn; readonly config: LossFnConfig | undefined }
    | { readonly _tag: "Custom"; readonly run: CustomPass<E, R> }
  readonly adam: (step: number) => AdamParams
  readonly policy: Checked
  readonly evaluate: TrainOptions<E, R>["evaluate"]
  readonly metrics: ((done: StepDone) => Readonly<Record<string, number>>) | undefined
  /** What the weights depend on. A run goes on only under the same. */
  readonly identity: Readonly<Record<string, Json>>
}

const number = (field: string, value: number, least: number) =>
  Number.isSafeInteger(value) && value >= least
    ? Effect.void
    : new InvalidInput({ field, expected: `a whole number from ${least}`, actual: String(value) })

const adamOf = (adam: Adam | undefined): (step: number) => AdamParams => {
  if (adam === undefined) return () => adamParams()
  if (typeof adam === "function") return (step) => adamParams(adam(step))
  if (isSchedule(adam)) return (step) => adamParams({ learningRate: adam.at(step) })
  const { learningRate, ...rest } = adam
  if (isSchedule(learningRate)) return (step) => adamParams({ ...rest, learningRate: learningRate.at(step) })
  const same = adamParams(learningRate === undefined ? rest : { ...rest, learningRate })
  return () => same
}

/** A function of one's own says nothing of itself: its values at some steps stand for it. */
const described = (adam: Adam | undefined, total: number): Json => {
  const at = adamOf(adam)
  if (isSchedule(adam)) return adam.description
  if (typeof adam === "function") return [0, 1, total >> 1, total - 1].map((step) => JSON.stringify(at(step)))
  if (adam === undefined) return "defaults"
  return Object.fromEntries(
    Object.entries(adam).map(([key, value]) => [key, isSchedule(value) ? value.description : value ?? null])
  )
}

const sourceOf = <E, R>(batches: TrainOptions<E, R>["batches"]): Plan<E, R>["source"] =>
  Dataset.isDataset(batches)
    ? { _tag: "Dataset", dataset: batches }
    : Rollouts.isRollouts(batches)
    ? { _tag: "Rollouts", rollouts: batches }
    : { _tag: "Function", batches }

export const makePlan = <E, R>(options: TrainOptions<E, R>): Effect.Effect<Plan<E, R>, E | InvalidInput, R> =>
  Effect.gen(function*() {
    const source = sourceOf(options.batches)
    const batchesPerEpoch = source._tag === "Dataset" ? source.dataset.batchesPerEpoch : options.batchesPerEpoch
    const total = options.total ?? (batchesPerEpoch === undefined ? undefined : batchesPerEpoch * (options.epochs ?? 1))
    if (total === undefined) {
      return yield* new InvalidInput({
        field: "total",
        expected: "how many steps to train, when the batches are no Dataset",
        actual: "nothing"
      })
    }
    const depth = options.depth ?? 2
    const prefetch = options.prefetch ?? (source._tag === "Dataset" ? 1 : 0)
    yield* number("total", total, 1)
    yield* number("depth", depth, 1)
    yield* number("prefetch", prefetch, 0)
    if (options.evaluate !== undefined) yield* number("evaluate.every", options.evaluate.every, 1)
    if (source._tag === "Rollouts") {
      yield* number("batches.updates", source.rollouts.updates, 1)
      yield* number("batches.ahead", source.rollouts.ahead, 0)
    }
    const { loss, lossConfig } = options
    return {
      source,
      total,
      depth,
      prefetch,
      batchesPerEpoch,
      rounds: source._tag === "Rollouts"
        ? { updates: source.rollouts.updates, ahead: source.rollouts.ahead }
        : undefined,
      pass: typeof loss === "function" ? { _tag: "Custom", run: loss } : { _tag: "Loss", loss, config: lossConfig },
      adam: adamOf(options.adam),
      policy: yield* check(options.checkpoint),
      evaluate: options.evaluate,
      metrics: options.metrics,
      identity: {
        ...options.settings,
        data: source._tag === "Dataset" ? yield* source.dataset.fingerprint : null,
        batch_size: source._tag === "Dataset" ? source.dataset.batchSize : null,
        rounds: source._tag === "Rollouts" ? [source.rollouts.updates, source.rollouts.ahead] : null,
        loss: typeof loss === "function" ? "custom" : loss,
        loss_config: lossConfig === undefined ? null : { ...lossConfig },
        adam: described(options.adam, total)
      }
    }
  })
