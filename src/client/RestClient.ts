/**
 * Looking after what training leaves behind: runs, checkpoints, sessions, samplers, and the account.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { AuditLogEntry } from "../protocol/Audit.js"
import type { BillingUsageResponse, CheckpointStorageResponse } from "../protocol/Billing.js"
import type {
  ArchiveUrl,
  Checkpoint,
  CheckpointsResponse,
  TrainingRun,
  TrainingRunsResponse
} from "../protocol/Checkpoint.js"
import type { ServerCapabilities } from "../protocol/Service.js"
import type {
  GetSamplerResponse,
  GetSessionResponse,
  SearchOwner,
  SessionSearchRequest,
  SessionSummary
} from "../protocol/Session.js"
import type { ExternalWeightsUrlsResponse, WeightsInfoResponse } from "../protocol/Weights.js"
import type { Options, Settings } from "../TinkexConfig.js"
import type { TinkexError } from "../TinkexError.js"
import { HttpTransport, type Requirements, type Transport } from "./HttpTransport.js"
import * as internal from "./rest/restClient.js"
import { ServiceClient } from "./ServiceClient.js"

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
 * Whose things are listed: one's own, or also what others share.
 *
 * @since 0.1.0
 * @category models
 */
export type AccessScope = "owned" | "accessible"

/**
 * @since 0.1.0
 * @category models
 */
export interface ScopeOptions {
  /** `owned` unless given. */
  readonly accessScope?: AccessScope | undefined
}

/**
 * Which part of a list, newest first.
 *
 * @since 0.1.0
 * @category models
 */
export interface PageOptions {
  /** Items to leave out at the front. */
  readonly offset?: number | undefined
  /** Items at most; all unless given. */
  readonly limit?: number | undefined
}

/**
 * How a list is read. Pages are asked for as the stream is read.
 *
 * @since 0.1.0
 * @category models
 */
export interface ListOptions extends PageOptions {
  /** Items of one request, from 1 to 1,000. */
  readonly pageSize?: number | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface RunListOptions extends ListOptions, ScopeOptions {
  readonly projectId?: string | undefined
}

/**
 * Which sessions to find; every condition that is given must hold. Texts of `displayName` match by words.
 *
 * @since 0.1.0
 * @category models
 */
export interface SearchOptions {
  readonly sessionId?: string | undefined
  readonly projectIds?: ReadonlyArray<string> | undefined
  readonly userMetadata?: Readonly<Record<string, string>> | undefined
  readonly displayName?: string | undefined
  /** One's own unless given. */
  readonly owner?: SearchOwner | undefined
  readonly statuses?: SessionSearchRequest["statuses"]
  /** Sessions of one request, from 1 to 200. 50 unless given. */
  readonly pageSize?: number | undefined
}

/**
 * Who the key belongs to. `email` is absent for keys that are not of a person.
 *
 * @since 0.1.0
 * @category models
 */
export interface Identity {
  readonly userUrn: string
  readonly organizationUrn: string
  readonly email: string | undefined
}

/**
 * A client of the service without a session. Paths are `tinker://<run>/<kind>/<name>`; those that are not are refused before
 * anything is sent, as are numbers out of range. Lists are streams that ask for the next page when they are read.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client extends Pipeable, Inspectable.Inspectable {
  readonly [TypeId]: TypeId
  readonly transport: Transport
  readonly getServerCapabilities: Effect.Effect<ServerCapabilities, TinkexError>
  /** The holder of the key, from the claims of a token that the service gives for it. */
  readonly whoami: Effect.Effect<Identity, TinkexError>

  readonly getTrainingRun: (runId: string, options?: ScopeOptions) => Effect.Effect<TrainingRun, TinkexError>
  /** The run that a checkpoint belongs to. */
  readonly getTrainingRunByPath: (path: string, options?: ScopeOptions) => Effect.Effect<TrainingRun, TinkexError>
  readonly listTrainingRuns: (options?: RunListOptions) => Stream.Stream<TrainingRun, TinkexError>
  /** One page, with how many there are. 20 unless `limit` is given. */
  readonly trainingRunsPage: (
    options?: PageOptions & ScopeOptions & { readonly projectId?: string | undefined }
  ) => Effect.Effect<TrainingRunsResponse, TinkexError>

  /** The checkpoints of one run. */
  readonly listCheckpoints: (runId: string) => Stream.Stream<Checkpoint, TinkexError>
  /** The checkpoints of all runs. */
  readonly listUserCheckpoints: (options?: ListOptions) => Stream.Stream<Checkpoint, TinkexError>
  /** One page, with how many there are. 100 unless `limit` is given. */
  readonly userCheckpointsPage: (options?: PageOptions) => Effect.Effect<CheckpointsResponse, TinkexError>
  /** A checkpoint as its run lists it. */
  readonly getCheckpoint: (path: string) => Effect.Effect<Checkpoint, TinkexError>
  /** What is needed to make a model that can load the checkpoint. */
  readonly getWeightsInfo: (path: string) => Effect.Effect<WeightsInfoResponse, TinkexError>
  /**
   * A signed URL of the checkpoint's archive. While the service builds it, it is asked again every 30 s, six times in all
   * (docs/protocol/checkpoints.md#archives).
   */
  readonly getCheckpointArchiveUrl: (path: string) => Effect.Effect<ArchiveUrl, TinkexError>
  /** A signed URL for every file of an export (`external_weights`). */
  readonly getExternalWeightsUrls: (path: string) => Effect.Effect<ExternalWeightsUrlsResponse, TinkexError>
  readonly deleteCheckpoint: (path: string) => Effect.Effect<void, TinkexError>
  /** Lets everybody read the checkpoint. */
  readonly publishCheckpoint: (path: string) => Effect.Effect<void, TinkexError>
  readonly unpublishCheckpoint: (path: string) => Effect.Effect<void, TinkexError>
  /** Lets the checkpoint expire so long from now, in whole seconds from 1; `null`: never. */
  readonly setCheckpointTtl: (path: string, ttl: Duration.DurationInput | null) => Effect.Effect<void, TinkexError>
  /** Copies a checkpoint into a project, and gives the path of the copy. */
  readonly copyWeights: (
    path: string,
    options?: {
      /** That of the settings unless given. */
      readonly projectId?: string | undefined
      readonly ttl?: Duration.DurationInput | undefined
      /** A key of the account that owns the checkpoint, when that is another one. */
      readonly weightsAccessToken?: Redacted.Redacted | undefined
    }
  ) => Effect.Effect<string, TinkexError>

  readonly getSession: (sessionId: string, options?: ScopeOptions) => Effect.Effect<GetSessionResponse, TinkexError>
  /** The ids of sessions. */
  readonly listSessions: (options?: ListOptions & ScopeOptions) => Stream.Stream<string, TinkexError>
  readonly searchSessions: (options?: SearchOptions) => Stream.Stream<SessionSummary, TinkexError>
  readonly assignSessionProject: (sessionId: string, projectId: string) => Effect.Effect<void, TinkexError>
  /** A signed URL of the session's timeline, once the service has made it. */
  readonly exportSessionTrace: (sessionId: string) => Effect.Effect<string, TinkexError>
  readonly getSampler: (samplerId: string) => Effect.Effect<GetSamplerResponse, TinkexError>

  /** What was used from `startingOn` up to `endingBefore`: whole hours of UTC, at most 14 days (docs/protocol/account.md#usage). */
  readonly getBillingUsage: (
    startingOn: DateTime.Utc,
    endingBefore: DateTime.Utc
  ) => Effect.Effect<BillingUsageResponse, TinkexError>
  readonly getCheckpointStorage: (
    options?: { readonly projectId?: string | undefined }
  ) => Effect.Effect<CheckpointStorageResponse, TinkexError>
  /** What happened in the organisation on a day of UTC, today unless given. */
  readonly getAuditLog: (
    options?: {
      readonly eventType?: "all" | "checkpoints" | "projects" | "teams" | "organizations" | undefined
      /** `YYYY-MM-DD` */
      readonly day?: string | undefined
    }
  ) => Effect.Effect<ReadonlyArray<AuditLogEntry>, TinkexError>
}

/**
 * The client as a service.
 *
 * @since 0.1.0
 * @category services
 */
export class RestClient extends Context.Tag("tinkex/RestClient")<RestClient, Client>() {}

/**
 * @since 0.1.0
 * @category guards
 */
export const isRestClient = (u: unknown): u is Client => Predicate.hasProperty(u, TypeId)

/**
 * A client over a transport that has its credential.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<Client, never, HttpTransport | HttpClient.HttpClient> = Effect.flatMap(
  HttpTransport,
  internal.over
)

/**
 * A client of its own, without a session: nothing is kept alive at the service. Where the service wants tokens, the key is
 * exchanged for one, which is renewed until the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const connect: (
  config: Settings | Options
) => Effect.Effect<Client, TinkexError, Requirements | Scope.Scope> = internal.connect

/**
 * A client over the transport of the service client in use.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<RestClient, never, ServiceClient | HttpClient.HttpClient> = Layer.effect(
  RestClient,
  Effect.flatMap(ServiceClient, ({ transport }) => internal.over(transport))
)

/**
 * A client of its own, without a session, for as long as the layer is in use.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConnect = (config: Settings | Options): Layer.Layer<RestClient, TinkexError, Requirements> =>
  Layer.scoped(RestClient, connect(config))
