/**
 * The way in: one session at the service, and the clients that train and sample in it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { QueueState } from "../protocol/Futures.js"
import type { ClientConfig, ServerCapabilities } from "../protocol/Service.js"
import type { Options, Settings } from "../TinkexConfig.js"
import type { TinkexError, TransportError } from "../TinkexError.js"
import type { Tokenizer } from "../tokenizer/Tokenizer.js"
import type { TokenizerError } from "../tokenizer/TokenizerError.js"
import type { Model, Tokenizers } from "../tokenizer/Tokenizers.js"
import type * as SamplingClient from "./SamplingClient.js"
import type { SamplingRegistry } from "./SamplingRegistry.js"
import * as internal from "./service/serviceClient.js"
import type { Reporter } from "./TelemetryReporter.js"
import type * as TrainingClient from "./TrainingClient.js"
import type { Requirements, Transport } from "./transport/types.js"

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
 * How a session is: heartbeats are answered, they are not, or it is over. Times in milliseconds since 1970.
 *
 * @since 0.1.0
 * @category models
 */
export type SessionState =
  | { readonly _tag: "Live"; readonly lastSuccess: number }
  | {
    readonly _tag: "Degraded"
    readonly lastSuccess: number
    readonly failures: number
    readonly error: TransportError
  }
  | { readonly _tag: "Ended"; readonly reason: string }

/**
 * A request that has been accepted and has no result yet.
 *
 * @since 0.1.0
 * @category models
 */
export interface Pending {
  readonly requestId: string
  readonly operation: string
  /** Since it was accepted. */
  readonly age: Duration.Duration
  readonly polls: number
  readonly queueState: QueueState
  readonly reason: string | undefined
}

/**
 * What to train from the start: a LoRA adapter on a base model.
 *
 * @since 0.1.0
 * @category models
 */
export interface LoraOptions {
  readonly baseModel: string
  /** From 1. 32 unless given. */
  readonly rank?: number | undefined
  /** Of the initial weights. */
  readonly seed?: number | undefined
  /** Which layers get an adapter; at least one, all unless given. */
  readonly trainMlp?: boolean | undefined
  readonly trainAttn?: boolean | undefined
  readonly trainUnembed?: boolean | undefined
  readonly userMetadata?: Readonly<Record<string, unknown>> | undefined
}

/**
 * How to go on from saved weights.
 *
 * @since 0.1.0
 * @category models
 */
export interface StateOptions {
  /** Another variant of the checkpoint's base model, as one of another context length. */
  readonly baseModel?: string | undefined
  readonly userMetadata?: Readonly<Record<string, unknown>> | undefined
  /** A key of the account that owns the checkpoint, when that is another one. */
  readonly weightsAccessToken?: Redacted.Redacted | undefined
}

/**
 * A client of one service, with a session in it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client extends Pipeable, Inspectable.Inspectable {
  readonly [TypeId]: TypeId
  readonly settings: Settings
  /** The way of requests that have no method here. */
  readonly transport: Transport
  /** What is reported to the service, beside the failures that the client reports by itself. */
  readonly reporter: Reporter
  readonly sessionId: string
  readonly sessionState: Effect.Effect<SessionState>
  /** The state of the session, from the present one on. */
  readonly sessionChanges: Stream.Stream<SessionState>
  /** What the service has set for its clients. */
  readonly clientConfig: ClientConfig
  /** A new model with a LoRA adapter to train. It is polled and reported in the scope. */
  readonly createLoraTrainingClient: (
    options: LoraOptions
  ) => Effect.Effect<TrainingClient.Client, TinkexError, Scope.Scope>
  /** A new model with the weights of a checkpoint, and a fresh optimiser. */
  readonly createTrainingClientFromState: (
    path: string,
    options?: StateOptions
  ) => Effect.Effect<TrainingClient.Client, TinkexError, Scope.Scope>
  /** A new model with the weights and the optimiser's state of a checkpoint. */
  readonly createTrainingClientFromStateWithOptimizer: (
    path: string,
    options?: StateOptions
  ) => Effect.Effect<TrainingClient.Client, TinkexError, Scope.Scope>
  /** A sampler, registered as long as the scope. */
  readonly createSamplingClient: (
    options: SamplingClient.ModelOptions
  ) => Effect.Effect<SamplingClient.Client, TinkexError, Scope.Scope>
  readonly serverCapabilities: Effect.Effect<ServerCapabilities, TinkexError>
  /** The tokenizer of a model. */
  readonly tokenizer: (model: string | Model) => Effect.Effect<Tokenizer, TokenizerError>
  /** What has been accepted and has no result yet, oldest first. */
  readonly pending: Effect.Effect<ReadonlyArray<Pending>>
}

/**
 * The client as a service.
 *
 * @since 0.1.0
 * @category services
 */
export class ServiceClient extends Context.Tag("tinkex/ServiceClient")<ServiceClient, Client>() {}

/**
 * @since 0.1.0
 * @category guards
 */
export const isServiceClient = (u: unknown): u is Client => Predicate.hasProperty(u, TypeId)

/**
 * A client with a session of its own, until the scope closes; then the service is told how it ended. Can be made as often as
 * wanted over the same shared parts (`Tinkex.layerShared`): clients of one tenant share limiter, breakers, gates and budget,
 * those of different tenants nothing.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  config: Settings | Options
) => Effect.Effect<Client, TinkexError, Requirements | SamplingRegistry | Tokenizers | Scope.Scope> = internal.make

/**
 * A client with a session for as long as the layer is in use.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  config: Settings | Options
): Layer.Layer<ServiceClient, TinkexError, Requirements | SamplingRegistry | Tokenizers> =>
  Layer.scoped(ServiceClient, make(config))
