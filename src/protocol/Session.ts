/**
 * Sessions: what a client opens, keeps alive and finishes, and how they are listed.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import {
  defaulted,
  JsonRecord,
  openLiteral,
  optional,
  required,
  StringRecord,
  Timestamp,
  typed,
  unknownMember
} from "./internal/wire.js"

/**
 * Body of `POST /create_session`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CreateSessionRequest = typed("create_session", {
  tags: defaulted(Schema.Array(Schema.String), "tags", () => []),
  userMetadata: defaulted(JsonRecord, "user_metadata", () => ({})),
  sdkVersion: required(Schema.String, "sdk_version"),
  projectId: optional(Schema.String, "project_id"),
  displayName: optional(Schema.String, "display_name")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface CreateSessionRequest extends Schema.Schema.Type<typeof CreateSessionRequest> {}

/**
 * Answer of `POST /create_session`. The messages are for the user and are logged at the level of their name.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CreateSessionResponse = typed("create_session", {
  sessionId: required(Schema.String, "session_id"),
  infoMessage: optional(Schema.String, "info_message"),
  warningMessage: optional(Schema.String, "warning_message"),
  errorMessage: optional(Schema.String, "error_message")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface CreateSessionResponse extends Schema.Schema.Type<typeof CreateSessionResponse> {}

/**
 * Body of `POST /session_heartbeat`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SessionHeartbeatRequest = typed("session_heartbeat", {
  sessionId: required(Schema.String, "session_id")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface SessionHeartbeatRequest extends Schema.Schema.Type<typeof SessionHeartbeatRequest> {}

/**
 * Answer of `POST /session_heartbeat`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SessionHeartbeatResponse = typed("session_heartbeat", {})

/**
 * Why a client says that it is done.
 *
 * @since 0.1.0
 * @category schemas
 */
export const FinishReason = Schema.Struct({ type: openLiteral("success", "errored", "interrupted") })

/**
 * @since 0.1.0
 * @category models
 */
export interface FinishReason extends Schema.Schema.Type<typeof FinishReason> {}

/**
 * Body of `POST /sessions/{id}/finish`; `detail` is sent as an explicit null when there is none.
 *
 * @since 0.1.0
 * @category schemas
 */
export const FinishSessionRequest = Schema.Struct({
  reason: FinishReason,
  detail: Schema.NullOr(Schema.String)
})

/**
 * @since 0.1.0
 * @category models
 */
export interface FinishSessionRequest extends Schema.Schema.Type<typeof FinishSessionRequest> {}

/**
 * Body of `POST /create_sampling_session`: a base model or a `tinker://` path.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CreateSamplingSessionRequest = typed("create_sampling_session", {
  sessionId: required(Schema.String, "session_id"),
  samplingSessionSeqId: required(Schema.Int, "sampling_session_seq_id"),
  baseModel: optional(Schema.String, "base_model"),
  modelPath: optional(Schema.String, "model_path")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface CreateSamplingSessionRequest extends Schema.Schema.Type<typeof CreateSamplingSessionRequest> {}

/**
 * Answer of `POST /create_sampling_session`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CreateSamplingSessionResponse = typed("create_sampling_session", {
  samplingSessionId: required(Schema.String, "sampling_session_id")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface CreateSamplingSessionResponse extends Schema.Schema.Type<typeof CreateSamplingSessionResponse> {}

/**
 * Body of `POST /join_sampling_session`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JoinSamplingSessionRequest = typed("join_sampling_session", {
  samplingSessionId: required(Schema.String, "sampling_session_id")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface JoinSamplingSessionRequest extends Schema.Schema.Type<typeof JoinSamplingSessionRequest> {}

/**
 * Answer of `POST /join_sampling_session`: a number no other client of the sampling session has; the creator is 0.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JoinSamplingSessionResponse = typed("join_sampling_session", {
  clientCounter: required(Schema.Int, "client_counter")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface JoinSamplingSessionResponse extends Schema.Schema.Type<typeof JoinSamplingSessionResponse> {}

/**
 * Answer of `GET /samplers/{id}`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const GetSamplerResponse = Schema.Struct({
  samplerId: required(Schema.String, "sampler_id"),
  baseModel: required(Schema.String, "base_model"),
  modelPath: optional(Schema.String, "model_path")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface GetSamplerResponse extends Schema.Schema.Type<typeof GetSamplerResponse> {}

/**
 * Answer of `GET /sessions`: ids.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ListSessionsResponse = Schema.Struct({ sessions: Schema.Array(Schema.String) })

/**
 * @since 0.1.0
 * @category models
 */
export interface ListSessionsResponse extends Schema.Schema.Type<typeof ListSessionsResponse> {}

/**
 * Answer of `GET /sessions/{id}`: the runs and samplers of a session.
 *
 * @since 0.1.0
 * @category schemas
 */
export const GetSessionResponse = Schema.Struct({
  trainingRunIds: required(Schema.Array(Schema.String), "training_run_ids"),
  samplerIds: required(Schema.Array(Schema.String), "sampler_ids"),
  userMetadata: optional(StringRecord, "user_metadata"),
  displayName: optional(Schema.String, "display_name")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface GetSessionResponse extends Schema.Schema.Type<typeof GetSessionResponse> {}

/**
 * Body of `PUT /sessions/{id}/project`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SetSessionProjectRequest = Schema.Struct({ projectId: required(Schema.String, "project_id") })

/**
 * @since 0.1.0
 * @category models
 */
export interface SetSessionProjectRequest extends Schema.Schema.Type<typeof SetSessionProjectRequest> {}

/**
 * Answer of `GET /sessions/{id}/trace_export`: poll while `pending`; `ready` has a signed `url`, `failed` an `error`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const TraceExportResponse = Schema.Struct({
  status: openLiteral("pending", "ready", "failed"),
  url: optional(Schema.String, "url"),
  error: optional(Schema.String, "error")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface TraceExportResponse extends Schema.Schema.Type<typeof TraceExportResponse> {}

const Failed = Schema.Struct({
  type: Schema.Literal("failed"),
  category: openLiteral("user", "internal"),
  reason: JsonRecord,
  message: Schema.String
})
const Cancelled = Schema.Struct({ type: Schema.Literal("cancelled"), detail: optional(Schema.String, "detail") })
const ClientFinished = Schema.Struct({
  type: Schema.Literal("client_finished"),
  reason: FinishReason,
  detail: optional(Schema.String, "detail")
})
const Active = Schema.Struct({ type: Schema.Literal("active") })

/**
 * How a session stands. One of a newer server is `{ type: "unknown", wire: <its type> }`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SessionStatus = Schema.Union(
  Failed,
  Cancelled,
  ClientFinished,
  Active,
  unknownMember("type")
)

/**
 * @since 0.1.0
 * @category models
 */
export type SessionStatus = typeof SessionStatus.Type

/**
 * Whose sessions a search looks at.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SearchOwner = Schema.Union(
  Schema.Struct({ type: Schema.Literal("own", "accessible") }),
  Schema.Struct({
    type: Schema.Literal("user"),
    ownerUrns: required(Schema.Array(Schema.String).pipe(Schema.minItems(1), Schema.maxItems(10)), "owner_urns")
  })
)

/**
 * @since 0.1.0
 * @category models
 */
export type SearchOwner = typeof SearchOwner.Type

const SearchCursor = Schema.Struct({
  lastCreatedAt: required(Schema.String, "last_created_at"),
  lastSessionId: required(Schema.String, "last_session_id")
})

/**
 * Body of `POST /sessions/search` (docs/protocol-notes.md#what-newer-sdks-changed-and-what-tinkex-does). `limit` is 1 to 200.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SessionSearchRequest = Schema.Struct({
  sessionId: optional(Schema.String, "session_id"),
  projectIds: optional(Schema.Array(Schema.String), "project_ids"),
  userMetadata: defaulted(StringRecord, "user_metadata", () => ({})),
  displayName: optional(Schema.NonEmptyString, "display_name"),
  owner: defaulted(SearchOwner, "owner", () => ({ type: "own" as const })),
  statuses: optional(
    Schema.Array(Schema.Struct({
      type: openLiteral("active", "cancelled", "failed", "client_finished"),
      reasons: optional(Schema.Array(Schema.String), "reasons")
    })),
    "statuses"
  ),
  limit: defaulted(Schema.Int.pipe(Schema.between(1, 200)), "limit", () => 50),
  cursor: optional(SearchCursor, "cursor")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface SessionSearchRequest extends Schema.Schema.Type<typeof SessionSearchRequest> {}

/**
 * One session of a search.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SessionSummary = Schema.Struct({
  sessionId: required(Schema.String, "session_id"),
  createdAt: required(Timestamp, "created_at"),
  owner: Schema.String,
  projectId: required(Schema.String, "project_id"),
  status: optional(SessionStatus, "status"),
  checkpointsCount: required(Schema.Int, "checkpoints_count"),
  displayName: optional(Schema.String, "display_name"),
  userMetadata: optional(StringRecord, "user_metadata"),
  checkpointStorageBytes: optional(Schema.Int, "checkpoint_storage_bytes")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface SessionSummary extends Schema.Schema.Type<typeof SessionSummary> {}

/**
 * Answer of `POST /sessions/search`, newest first. Pass `nextCursor` back unchanged; it is absent on the last page.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SessionSearchResponse = Schema.Struct({
  sessions: Schema.Array(SessionSummary),
  nextCursor: optional(SearchCursor, "next_cursor")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface SessionSearchResponse extends Schema.Schema.Type<typeof SessionSearchResponse> {}
