/**
 * Training a model: passes over data, optimiser steps, saving and loading, in the order in which they are asked for.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { Datum } from "../protocol/Datum.js"
import type { InvalidInput } from "../protocol/InvalidInput.js"
import type { GetInfoResponse } from "../protocol/Model.js"
import type {
  AdamParams,
  ForwardBackwardOutput,
  LossFn,
  LossFnConfig,
  OptimStepResponse
} from "../protocol/Training.js"
import type { LoadWeightsResponse, SaveWeightsExternalResponse, SaveWeightsResponse } from "../protocol/Weights.js"
import type { TinkexError } from "../TinkexError.js"
import type { Tokenizer } from "../tokenizer/Tokenizer.js"
import type { TokenizerError } from "../tokenizer/TokenizerError.js"
import type { Future } from "./Future.js"
import type * as SamplingClient from "./SamplingClient.js"
import { type LoraOptions, ServiceClient, type StateOptions } from "./ServiceClient.js"
import * as internal from "./training/trainingClient.js"

/**
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = internal.TypeId

/**
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * How long a checkpoint is kept, for ever unless given, and what is noted with it.
 *
 * @since 0.1.0
 * @category models
 */
export interface SaveOptions {
  /** Whole seconds, from 1. */
  readonly ttl?: Duration.DurationInput | undefined
  readonly userMetadata?: Readonly<Record<string, string>> | undefined
}

/**
 * A model in training. An operation is acknowledged when its effect completes, and gives a future of its result: the next one
 * can be submitted before the first is done. Operations reach the service in the order in which their effects were started;
 * one that fails or is interrupted before it is acknowledged passes its turn on and never holds up the next.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client extends Pipeable, Inspectable.Inspectable {
  readonly [TypeId]: TypeId
  readonly modelId: string
  readonly baseModel: string | undefined
  /** Refuses what `forwardBackward` would refuse before sending, and sends nothing. */
  readonly check: (
    data: ReadonlyArray<Datum>,
    lossFn: LossFn,
    config?: LossFnConfig
  ) => Effect.Effect<void, InvalidInput>
  /**
   * Several operations in one turn: those that the given client submits follow each other without a gap, and nothing that
   * others submit comes between. The turn ends with the effect, so wait for results outside of it.
   */
  readonly inOneTurn: <A, E, R>(use: (client: Client) => Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** A forward pass: outputs and losses, no gradients. */
  readonly forward: (
    data: ReadonlyArray<Datum>,
    lossFn: LossFn,
    config?: LossFnConfig
  ) => Effect.Effect<Future<ForwardBackwardOutput>, TinkexError>
  /**
   * A forward and backward pass. Losses are sums; gradients add up until the next `optimStep`. Data beyond the limits of one
   * request go out in several, in order; the result is joined. Should one of several requests fail, those accepted before it
   * have added their gradients all the same.
   */
  readonly forwardBackward: (
    data: ReadonlyArray<Datum>,
    lossFn: LossFn,
    config?: LossFnConfig
  ) => Effect.Effect<Future<ForwardBackwardOutput>, TinkexError>
  /** Applies the gradients that have added up, by AdamW, and clears them. */
  readonly optimStep: (params?: Partial<AdamParams>) => Effect.Effect<Future<OptimStepResponse>, TinkexError>
  /** Saves weights and optimiser state under a name. Without `overwrite` a name can be used once. */
  readonly saveState: (
    name: string,
    options?: SaveOptions & { readonly overwrite?: boolean | undefined }
  ) => Effect.Effect<Future<SaveWeightsResponse>, TinkexError>
  /** Loads the weights of a checkpoint, and its optimiser state if `optimizer` says so. */
  readonly loadState: (
    path: string,
    options?: {
      readonly optimizer?: boolean | undefined
      /** A key of the account that owns the checkpoint, when that is another one. */
      readonly weightsAccessToken?: Redacted.Redacted | undefined
    }
  ) => Effect.Effect<Future<LoadWeightsResponse>, TinkexError>
  /** Saves weights for sampling under a name: `createSamplingClient({ modelPath: path })` reads them. */
  readonly saveWeightsForSampler: (
    name: string,
    options?: SaveOptions
  ) => Effect.Effect<Future<{ readonly path: string }>, TinkexError>
  /**
   * Exports weights in a common file format under a name: `RestClient.getExternalWeightsUrls` and `Download.download` read them.
   * With `ageEncryptionRecipients` the files are encrypted for the holders of those keys (`age1…`).
   *
   * @since 0.2.0
   */
  readonly saveWeightsExternal: (
    name: string,
    options?: {
      /** Whole seconds, from 1. */
      readonly ttl?: Duration.DurationInput | undefined
      readonly ageEncryptionRecipients?: ReadonlyArray<string> | undefined
    }
  ) => Effect.Effect<Future<SaveWeightsExternalResponse>, TinkexError>
  /** A sampler of the weights as they are now, in the order of the operations, without a checkpoint. */
  readonly saveWeightsAndGetSamplingClient: Effect.Effect<SamplingClient.Client, TinkexError, Scope.Scope>
  /**
   * The same in two steps, for `inOneTurn`: completes when it is acknowledged, with an effect that waits for the sampler. Run
   * that effect once.
   *
   * @since 0.2.0
   */
  readonly snapshot: Effect.Effect<Effect.Effect<SamplingClient.Client, TinkexError, Scope.Scope>, TinkexError>
  readonly getInfo: Effect.Effect<GetInfoResponse, TinkexError>
  readonly tokenizer: Effect.Effect<Tokenizer, TinkexError | TokenizerError>
  /** Frees the model at the service. Saved weights stay; nothing more can be done with this client. */
  readonly unload: Effect.Effect<Future<void>, TinkexError>
}

/**
 * A model in training as a service, for stages of a program that need one.
 *
 * @since 0.1.0
 * @category services
 */
export class TrainingClient extends Context.Tag("tinkex/TrainingClient")<TrainingClient, Client>() {}

/**
 * @since 0.1.0
 * @category guards
 */
export const isTrainingClient = (u: unknown): u is Client => Predicate.hasProperty(u, TypeId)

/**
 * A new model with a LoRA adapter, for as long as the layer is in use.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerLora = (options: LoraOptions): Layer.Layer<TrainingClient, TinkexError, ServiceClient> =>
  Layer.scoped(TrainingClient, Effect.flatMap(ServiceClient, (service) => service.createLoraTrainingClient(options)))

/**
 * A new model with the weights of a checkpoint, and its optimiser state if `optimizer` says so.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFromState = (
  path: string,
  { optimizer, ...options }: StateOptions & { readonly optimizer?: boolean | undefined } = {}
): Layer.Layer<TrainingClient, TinkexError, ServiceClient> =>
  Layer.scoped(
    TrainingClient,
    Effect.flatMap(ServiceClient, (service) =>
      optimizer === true
        ? service.createTrainingClientFromStateWithOptimizer(path, options)
        : service.createTrainingClientFromState(path, options))
  )
