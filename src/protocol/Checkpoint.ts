/**
 * Saved checkpoints and the training runs that they belong to.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { defaulted, openLiteral, optional, required, StringRecord, Timestamp } from "./internal/wire.js"

/**
 * What a checkpoint can be used for: `training` resumes, `sampler` samples, `external` is an export. Open.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CheckpointType = openLiteral("training", "sampler", "external")

/**
 * @since 0.1.0
 * @category models
 */
export type CheckpointType = typeof CheckpointType.Type

/**
 * A saved checkpoint. `checkpointId` has its kind in front, `weights/<name>`; an absent `expiresAt` means never.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Checkpoint = Schema.Struct({
  checkpointId: required(Schema.String, "checkpoint_id"),
  checkpointType: required(CheckpointType, "checkpoint_type"),
  time: Timestamp,
  tinkerPath: required(Schema.String, "tinker_path"),
  sizeBytes: optional(Schema.Int, "size_bytes"),
  public: defaulted(Schema.Boolean, "public", () => false),
  userMetadata: optional(StringRecord, "user_metadata"),
  expiresAt: optional(Timestamp, "expires_at"),
  baseModel: optional(Schema.String, "base_model")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface Checkpoint extends Schema.Schema.Type<typeof Checkpoint> {}

/**
 * A training run.
 *
 * @since 0.1.0
 * @category schemas
 */
export const TrainingRun = Schema.Struct({
  trainingRunId: required(Schema.String, "training_run_id"),
  baseModel: required(Schema.String, "base_model"),
  modelOwner: required(Schema.String, "model_owner"),
  isLora: required(Schema.Boolean, "is_lora"),
  corrupted: defaulted(Schema.Boolean, "corrupted", () => false),
  loraRank: optional(Schema.Int, "lora_rank"),
  lastRequestTime: required(Timestamp, "last_request_time"),
  lastCheckpoint: optional(Checkpoint, "last_checkpoint"),
  lastSamplerCheckpoint: optional(Checkpoint, "last_sampler_checkpoint"),
  userMetadata: optional(StringRecord, "user_metadata")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface TrainingRun extends Schema.Schema.Type<typeof TrainingRun> {}

/**
 * Where a page starts, how long it may be, and how much there is in all.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Cursor = Schema.Struct({
  offset: Schema.Int,
  limit: Schema.Int,
  totalCount: required(Schema.Int, "total_count")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface Cursor extends Schema.Schema.Type<typeof Cursor> {}

/**
 * Answer of `GET /training_runs`, newest first.
 *
 * @since 0.1.0
 * @category schemas
 */
export const TrainingRunsResponse = Schema.Struct({
  trainingRuns: required(Schema.Array(TrainingRun), "training_runs"),
  cursor: Cursor
})

/**
 * @since 0.1.0
 * @category models
 */
export interface TrainingRunsResponse extends Schema.Schema.Type<typeof TrainingRunsResponse> {}

/**
 * Answer of `GET /checkpoints` and `GET /training_runs/{run}/checkpoints`; without a cursor the list is whole.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CheckpointsResponse = Schema.Struct({
  checkpoints: Schema.Array(Checkpoint),
  cursor: optional(Cursor, "cursor")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface CheckpointsResponse extends Schema.Schema.Type<typeof CheckpointsResponse> {}

/**
 * Body of `PUT .../ttl`: seconds from now, `null` removes the expiry.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SetTtlRequest = Schema.Struct({ ttlSeconds: required(Schema.NullOr(Schema.Int), "ttl_seconds") })

/**
 * @since 0.1.0
 * @category models
 */
export interface SetTtlRequest extends Schema.Schema.Type<typeof SetTtlRequest> {}

/**
 * A signed URL of a checkpoint's archive, to be fetched without credentials (docs/protocol/checkpoints.md#archives).
 *
 * @since 0.1.0
 * @category schemas
 */
export const ArchiveUrl = Schema.Struct({ url: Schema.String, expires: Timestamp })

/**
 * @since 0.1.0
 * @category models
 */
export interface ArchiveUrl extends Schema.Schema.Type<typeof ArchiveUrl> {}

/**
 * Query of the paged lists. `accessScope` `accessible` includes what others share.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ListQuery = Schema.Struct({
  limit: Schema.optional(Schema.NumberFromString.pipe(Schema.int(), Schema.nonNegative())),
  offset: Schema.optional(Schema.NumberFromString.pipe(Schema.int(), Schema.nonNegative())),
  accessScope: Schema.optional(openLiteral("owned", "accessible")).pipe(Schema.fromKey("access_scope")),
  projectId: Schema.optional(Schema.String).pipe(Schema.fromKey("project_id"))
})

/**
 * @since 0.1.0
 * @category models
 */
export interface ListQuery extends Schema.Schema.Type<typeof ListQuery> {}
