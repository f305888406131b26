/**
 * Going on when a training run breaks at the service: it is watched, and restored from its newest checkpoint.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Requirements } from "../client/HttpTransport.js"
import type * as RestClient from "../client/RestClient.js"
import type { SamplingRegistry } from "../client/SamplingRegistry.js"
import type * as ServiceClient from "../client/ServiceClient.js"
import type * as TrainingClient from "../client/TrainingClient.js"
import type { InvalidInput, TinkexError } from "../TinkexError.js"
import type { Tokenizers } from "../tokenizer/Tokenizers.js"
import * as internal from "./internal/recovery.js"
import type { RecoveryError } from "./internal/recoveryError.js"

/**
 * When and how to recover.
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy {
  /** How often the run is looked at. 30 s unless given. */
  readonly pollInterval?: Duration.DurationInput | undefined
  /** Attempts at one recovery, from 1. 3 unless given. */
  readonly maxAttempts?: number | undefined
  /** The wait before the second attempt; each further one is twice as long, up to `backoffCap`. 5 s unless given. */
  readonly backoff?: Duration.DurationInput | undefined
  /** A minute unless given. */
  readonly backoffCap?: Duration.DurationInput | undefined
  /** Which checkpoint to go back to: the newest of the run, or this one. `latest` unless given. */
  readonly checkpoint?: "latest" | { readonly path: string } | undefined
  /** Whether the optimiser's state comes back too. Without it training goes on with a fresh one. `true` unless given. */
  readonly restoreOptimizer?: boolean | undefined
}

/**
 * What happens in a recovery. `attempt` starts at 1.
 *
 * @since 0.1.0
 * @category models
 */
export type RecoveryEvent =
  /** The service says that the run is corrupted. */
  | { readonly _tag: "Detected"; readonly runId: string }
  | { readonly _tag: "Started"; readonly runId: string; readonly attempt: number }
  | { readonly _tag: "CheckpointSelected"; readonly runId: string; readonly attempt: number; readonly path: string }
  | { readonly _tag: "ClientCreated"; readonly runId: string; readonly attempt: number; readonly newRunId: string }
  | { readonly _tag: "Completed"; readonly runId: string; readonly newRunId: string; readonly path: string }
  /** An attempt failed; another follows unless `Exhausted` does. */
  | { readonly _tag: "Failed"; readonly runId: string; readonly attempt: number; readonly error: TinkexError }
  | { readonly _tag: "Exhausted"; readonly runId: string; readonly attempts: number }
  /** The run could not be looked at; it will be again. */
  | { readonly _tag: "PollError"; readonly runId: string; readonly error: TinkexError }

export {
  /**
   * The run could not be restored.
   *
   * @since 0.1.0
   * @category errors
   */
  RecoveryError
} from "./internal/recoveryError.js"

/**
 * A session, and what asks about it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Connection {
  readonly service: ServiceClient.Client
  readonly rest: RestClient.Client
}

/**
 * Something to restore a run from.
 *
 * @since 0.2.0
 * @category models
 */
export interface Source {
  /** Names it in events, and in `restoredFrom`. */
  readonly path: string
  readonly open: (service: ServiceClient.Client) => Effect.Effect<TrainingClient.Client, TinkexError, Scope.Scope>
}

/**
 * When and how to open a client, and to open it again.
 *
 * @since 0.2.0
 * @category models
 */
export interface OpenPolicy extends Omit<Policy, "checkpoint" | "restoreOptimizer"> {
  /** What to begin with and go back to, the best first; asked for at every attempt. */
  readonly sources: (rest: RestClient.Client) => Effect.Effect<ReadonlyArray<Source>, TinkexError>
  /** Whether a failure of a program means that its client is lost. */
  readonly isLost: (error: unknown, incarnation: Incarnation) => Effect.Effect<boolean>
}

/**
 * A client, and where it comes from.
 *
 * @since 0.1.0
 * @category models
 */
export interface Incarnation extends Connection {
  readonly client: TrainingClient.Client
  /** 0 for the first client; one more with every recovery. */
  readonly generation: number
  /** The checkpoint it was restored from; what was done after it has to be done again. */
  readonly restoredFrom: string | undefined
}

/**
 * A training run under watch.
 *
 * @since 0.1.0
 * @category models
 */
export interface Recovery {
  /** The client that works; waits while one is being restored. */
  readonly current: Effect.Effect<Incarnation, RecoveryError>
  /**
   * Runs a program on the current client. When the run turns out to be corrupted, the program is interrupted if it still runs,
   * and started again on the restored client: it should begin where `restoredFrom` was saved. Its own failures are its own.
   */
  readonly use: <A, E, R>(
    program: (incarnation: Incarnation) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | RecoveryError, R>
  /** Looks at the run now, and restores it if it is corrupted; tells whether it was. */
  readonly check: Effect.Effect<boolean, RecoveryError>
  /** What happens from now on. The subscription exists when this returns. */
  readonly events: Effect.Effect<Stream.Stream<RecoveryEvent>, never, Scope.Scope>
}

/**
 * Watches a run for as long as the scope, and restores it when the service says that it is corrupted: a new run from the newest
 * training checkpoint of the old one. A checkpoint that the service refuses is passed over for the one before it. There is
 * never more than one recovery of a run at a time.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { type Datum, Future, Recovery, type TrainingClient } from "tinkex"
 *
 * export const train = (client: TrainingClient.Client, data: ReadonlyArray<Datum.Datum>) =>
 *   Effect.gen(function*() {
 *     const recovery = yield* Recovery.make(client, { pollInterval: "10 seconds" })
 *     yield* recovery.use(({ client, restoredFrom }) =>
 *       Effect.gen(function*() {
 *         const start = restoredFrom === undefined ? 0 : Number(restoredFrom.split("-").at(-1))
 *         for (let step = start; step < 100; step++) {
 *           yield* client.forwardBackward(data, "cross_entropy")
 *           yield* Effect.flatMap(client.optimStep(), Future.await)
 *           if (step % 10 === 9) yield* Effect.flatMap(client.saveState(`step-${step + 1}`), Future.await)
 *         }
 *       })
 *     )
 *   })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  client: TrainingClient.Client,
  policy?: Policy
) => Effect.Effect<Recovery, InvalidInput, ServiceClient.ServiceClient | RestClient.RestClient | Scope.Scope> =
  internal.make

/**
 * Opens a client from the best of its sources when it is first used, and again when it is lost: when a program fails with an
 * error that `isLost` says so of, or when the service says that the run is corrupted. Each client after the first has a session
 * of its own, so that the loss of a session is one loss among others.
 *
 * @since 0.2.0
 * @category constructors
 */
export const open: (
  policy: OpenPolicy
) => Effect.Effect<
  Recovery,
  InvalidInput,
  ServiceClient.ServiceClient | HttpClient.HttpClient | Requirements | SamplingRegistry | Tokenizers | Scope.Scope
> = internal.open
