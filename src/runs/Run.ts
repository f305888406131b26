/**
 * Runs that are exact: whatever dies, after `Run.open` every batch has contributed once to the weights that survive.
 *
 * @since 0.2.0
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import type * as Effect from "effect/Effect"
import type { ParseError } from "effect/ParseResult"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Future from "../client/Future.js"
import type { Requirements } from "../client/HttpTransport.js"
import type { SamplingRegistry } from "../client/SamplingRegistry.js"
import type * as ServiceClient from "../client/ServiceClient.js"
import type * as TrainingClient from "../client/TrainingClient.js"
import type { Datum } from "../protocol/Datum.js"
import type {
  AdamParams,
  LossFn,
  LossFnConfig,
  LossFnOutput,
  Metrics,
  OptimStepResponse
} from "../protocol/Training.js"
import type { InvalidInput, TinkexError } from "../TinkexError.js"
import type { Tokenizers } from "../tokenizer/Tokenizers.js"
import type * as Recovery from "../training/Recovery.js"
import type { BudgetExceeded } from "./Budget.js"
import type { CheckpointPolicy } from "./CheckpointPolicy.js"
import type * as Cost from "./Cost.js"
import type * as Dataset from "./Dataset.js"
import type { Json } from "./Journal.js"
import type { MetricSink } from "./MetricSink.js"
import type * as Rollouts from "./Rollouts.js"
import type { Row } from "./RunDirectory.js"
import type * as RunErrors from "./RunError.js"
import * as internal from "./runHandle.js"
import type { Saved } from "./runState.js"
import type { Schedule } from "./Schedule.js"

/**
 * @since 0.2.0
 * @category symbols
 */
export const TypeId: unique symbol = internal.TypeId

/**
 * @since 0.2.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * What a run trains: a model, and whatever else is worth keeping with it. All of it is written to `config.json`, and a run is
 * gone on with only under the same.
 *
 * @since 0.2.0
 * @category models
 */
export interface Config extends Omit<ServiceClient.LoraOptions, "userMetadata"> {
  /** Weights to begin with, of a checkpoint; the optimiser is fresh. */
  readonly loadCheckpoint?: string | undefined
  /** How conversations were turned into tokens; noted with the model at the service. */
  readonly renderer?: string | undefined
  /** Anything else. */
  readonly [key: string]: Json | undefined
}

/**
 * How a run is opened.
 *
 * @since 0.2.0
 * @category models
 */
export interface OpenOptions {
  readonly config: Config
  /** Of everything that is drawn: order of data, initial adapter, samples. A whole number; 0 unless given. */
  readonly seed?: number | undefined
  /** Settings that may differ from those under which the run was begun, by their dotted path. */
  readonly accept?: ReadonlyArray<string> | undefined
  /** Where the figures of steps go beside `metrics.jsonl`. */
  readonly sinks?: ReadonlyArray<MetricSink> | undefined
  /** How often to try, and how long to wait, when the client or its session is lost. */
  readonly recovery?: Omit<Recovery.Policy, "checkpoint" | "restoreOptimizer"> | undefined
}

/**
 * What a step is made for.
 *
 * @since 0.2.0
 * @category models
 */
export interface StepContext {
  /** From 0: as many updates as the weights hold. */
  readonly step: number
  readonly epoch: number
  /** Of the epoch, from 0. */
  readonly batch: number
  /** The same for the same step of the same run. */
  readonly seed: number
  /** The client that works. It is another one after a recovery. */
  readonly client: TrainingClient.Client
  readonly service: ServiceClient.Client
}

/**
 * What a pass over a batch gives, as far as a run looks at it.
 *
 * @since 0.2.0
 * @category models
 */
export interface PassOutput {
  readonly metrics: Metrics
  readonly lossFnOutputs?: ReadonlyArray<LossFnOutput> | undefined
}

/**
 * A pass of one's own, as `CustomLoss.forwardBackwardCustom`: leaves gradients behind. It may wait for results.
 *
 * @since 0.2.0
 * @category models
 */
export interface CustomPass<out E, out R> {
  (
    client: TrainingClient.Client,
    data: ReadonlyArray<Datum>,
    context: StepContext
  ): Effect.Effect<Future.Future<PassOutput>, E | TinkexError, R>
}

/**
 * A step that is done.
 *
 * @since 0.2.0
 * @category models
 */
export interface StepDone {
  readonly step: number
  readonly data: ReadonlyArray<Datum>
  readonly output: PassOutput
  readonly update: OptimStepResponse
}

/**
 * Settings of the updates: a learning rate, all of AdamW's, or a function of the step.
 *
 * @since 0.2.0
 * @category models
 */
export type Adam =
  | Schedule
  | (Omit<Partial<AdamParams>, "learningRate"> & { readonly learningRate?: number | Schedule | undefined })
  | ((step: number) => Partial<AdamParams>)

/**
 * What to train, and how.
 *
 * @since 0.2.0
 * @category models
 */
export interface TrainOptions<E = never, R = never> {
  /** A data set, what a step's batch is made by, or rounds of sampling. Each a pure function of seed and step. */
  readonly batches:
    | Dataset.Dataset<Datum, E, R>
    | ((context: StepContext) => Effect.Effect<ReadonlyArray<Datum>, E, R>)
    | Rollouts.Rollouts<E, R>
  readonly loss: LossFn | CustomPass<E, R>
  readonly lossConfig?: LossFnConfig | undefined
  readonly adam?: Adam | undefined
  /** Updates in all, from the beginning of the run. `epochs` of the data set unless given. */
  readonly total?: number | undefined
  /** Of a data set; 1 unless given. */
  readonly epochs?: number | undefined
  /** How the steps of other batches than a data set's are counted into epochs. */
  readonly batchesPerEpoch?: number | undefined
  /** Most steps that are handed in and not done, from 1; 2 unless given. */
  readonly depth?: number | undefined
  /** Batches that are made before their turn: 1 for a data set, else none unless given. */
  readonly prefetch?: number | undefined
  readonly checkpoint?: CheckpointPolicy | undefined
  /** Figures of the weights before a step, for its row: `test/nll` and the like. */
  readonly evaluate?:
    | {
      readonly every: number
      readonly run: (context: StepContext) => Effect.Effect<Readonly<Record<string, number>>, E, R>
    }
    | undefined
  /** More figures of a step, for its row. */
  readonly metrics?: ((done: StepDone) => Readonly<Record<string, number>>) | undefined
  /** What else the weights depend on, as the version of a loss of one's own. A run is gone on with only under the same. */
  readonly settings?: Readonly<Record<string, Json>> | undefined
}

/**
 * What happens in a run.
 *
 * @since 0.2.0
 * @category models
 */
export type RunEvent =
  | { readonly _tag: "Step"; readonly step: number; readonly row: Row }
  /** Training begins at `step`, for the first time or again. */
  | { readonly _tag: "Began"; readonly step: number; readonly total: number; readonly from: string | undefined }
  | { readonly _tag: "Sampled"; readonly index: number; readonly updates: number }
  | {
    readonly _tag: "CheckpointSaved"
    readonly path: string
    readonly updates: number
    readonly kind: "periodic" | "rolling" | "final"
  }
  | {
    readonly _tag: "CheckpointFailed"
    readonly name: string
    readonly updates: number
    readonly error: TinkexError
  }
  | { readonly _tag: "CheckpointRemoved"; readonly path: string; readonly updates: number }
  | { readonly _tag: "Recovery"; readonly event: Recovery.RecoveryEvent }

/**
 * A checkpoint that is complete.
 *
 * @since 0.2.0
 * @category models
 */
export interface Checkpoint extends Saved {}

/**
 * Where training came to.
 *
 * @since 0.2.0
 * @category models
 */
export interface Summary {
  /** Updates in all, in this life of the run and before. */
  readonly updates: number
  readonly usage: Cost.Usage
  readonly checkpoint: Checkpoint | undefined
}

/**
 * @since 0.2.0
 * @category errors
 */
export type TrainError =
  | TinkexError
  | RunErrors.RunStorageError
  | RunErrors.RunMismatch
  | BudgetExceeded
  | Recovery.RecoveryError

/**
 * What opening a run needs.
 *
 * @since 0.2.0
 * @category models
 */
export type Needs =
  | ServiceClient.ServiceClient
  | HttpClient.HttpClient
  | Requirements
  | SamplingRegistry
  | Tokenizers
  | FileSystem.FileSystem
  | Path.Path

/**
 * A run that is open: nobody else writes in its directory until the scope closes.
 *
 * @since 0.2.0
 * @category models
 */
export interface Run extends Pipeable {
  readonly [TypeId]: TypeId
  readonly directory: string
  readonly config: Config
  readonly seed: number
  /** How often the run has been opened, with this time. */
  readonly attempt: number
  /** Trains from where the run is to the end. Done already, it does nothing. */
  readonly train: <E = never, R = never>(options: TrainOptions<E, R>) => Effect.Effect<Summary, E | TrainError, R>
  /** Tokens and price of such a training, counted from its data. Sends nothing. */
  readonly estimate: <E = never, R = never>(
    options: TrainOptions<E, R>
  ) => Effect.Effect<Cost.Estimate, E | InvalidInput, R>
  /** A program on the client that works, its weights being where the run is. Started again if the client is lost. */
  readonly use: <A, E, R>(
    program: (incarnation: Recovery.Incarnation) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | TrainError, R>
  /** A value that is made once in the life of the run and found again ever after: the path of a reference, a sample to show. */
  readonly once: <A, I, E, R>(
    key: string,
    schema: Schema.Schema<A, I>,
    make: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | RunErrors.RunStorageError | ParseError, R>
  /** Complete checkpoints, oldest first. */
  readonly checkpoints: Effect.Effect<ReadonlyArray<Checkpoint>>
  /** Tokens of everything that the run has handed in, also of what was done again. */
  readonly usage: Effect.Effect<Cost.Usage>
  /** What happens from now on. The subscription exists when this returns. */
  readonly events: Effect.Effect<Stream.Stream<RunEvent>, never, Scope.Scope>
}

/**
 * @since 0.2.0
 * @category guards
 */
export const isRun = (u: unknown): u is Run => Predicate.hasProperty(u, TypeId)

/**
 * Opens the run in a directory: a new one, or one that goes on exactly where its newest complete checkpoint is.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Dataset, type Datum, Run, Schedule } from "tinkex"
 *
 * const program = (examples: ReadonlyArray<Datum.Datum>) =>
 *   Effect.scoped(Effect.gen(function*() {
 *     const run = yield* Run.open("runs/my-sft", { config: { baseModel: "tinkex/nano", rank: 16 }, seed: 1 })
 *     const batches = yield* Dataset.fromArray(examples, { batchSize: 16 })
 *     yield* run.train({
 *       batches,
 *       loss: "cross_entropy",
 *       adam: Schedule.linear(1e-4, batches.batchesPerEpoch),
 *       checkpoint: { every: 20, keep: 3 }
 *     })
 *   }))
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const open: (
  directory: string,
  options: OpenOptions
) => Effect.Effect<Run, RunErrors.RunError | InvalidInput, Needs | Scope.Scope> = internal.open
