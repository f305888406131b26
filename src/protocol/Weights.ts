/**
 * Saving and loading weights.
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
  typed
} from "./internal/wire.js"
import { OptimizerConfig } from "./Training.js"

/**
 * Body of `POST /save_weights`: weights and optimiser state under a name. `path` is the bare name, `ttlSeconds` is
 * counted from the save, absent means for ever.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SaveWeightsRequest = typed("save_weights", {
  modelId: required(Schema.String, "model_id"),
  path: optional(Schema.String, "path"),
  seqId: optional(Schema.Int, "seq_id"),
  ttlSeconds: optional(Schema.Int, "ttl_seconds"),
  overwrite: defaulted(Schema.Boolean, "overwrite", () => false),
  userMetadata: optional(StringRecord, "user_metadata")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface SaveWeightsRequest extends Schema.Schema.Type<typeof SaveWeightsRequest> {}

/**
 * Result of `save_weights`: the full `tinker://` path.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SaveWeightsResponse = typed("save_weights", { path: Schema.String })

/**
 * @since 0.1.0
 * @category models
 */
export interface SaveWeightsResponse extends Schema.Schema.Type<typeof SaveWeightsResponse> {}

/**
 * Body of `POST /save_weights_for_sampler`: with a `path` (a name) a checkpoint is made, with `samplingSessionSeqId` a
 * sampling session is opened on unnamed weights. `kind` is `snapshot` unless weights are to be followed (SDK 0.38).
 *
 * @since 0.1.0
 * @category schemas
 */
export const SaveWeightsForSamplerRequest = typed("save_weights_for_sampler", {
  modelId: required(Schema.String, "model_id"),
  path: optional(Schema.String, "path"),
  samplingSessionSeqId: optional(Schema.Int, "sampling_session_seq_id"),
  kind: optional(openLiteral("snapshot", "inflight"), "kind"),
  seqId: optional(Schema.Int, "seq_id"),
  ttlSeconds: optional(Schema.Int, "ttl_seconds"),
  userMetadata: optional(StringRecord, "user_metadata")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface SaveWeightsForSamplerRequest extends Schema.Schema.Type<typeof SaveWeightsForSamplerRequest> {}

/**
 * Result of `save_weights_for_sampler`: `path` for a named save, `samplingSessionId` for an unnamed one.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SaveWeightsForSamplerResponse = typed("save_weights_for_sampler", {
  path: optional(Schema.String, "path"),
  samplingSessionId: optional(Schema.String, "sampling_session_id"),
  sizeBytes: optional(Schema.Int, "size_bytes")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface SaveWeightsForSamplerResponse extends Schema.Schema.Type<typeof SaveWeightsForSamplerResponse> {}

/**
 * Body of `POST /save_weights_external`: an export in a common file format.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SaveWeightsExternalRequest = typed("save_weights_external", {
  modelId: required(Schema.String, "model_id"),
  path: Schema.String,
  seqId: optional(Schema.Int, "seq_id"),
  ttlSeconds: optional(Schema.Int, "ttl_seconds"),
  ageEncryptionRecipients: optional(Schema.Array(Schema.String), "age_encryption_recipients")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface SaveWeightsExternalRequest extends Schema.Schema.Type<typeof SaveWeightsExternalRequest> {}

/**
 * Result of `save_weights_external`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SaveWeightsExternalResponse = typed("save_weights_external", {
  path: optional(Schema.String, "path"),
  sizeBytes: optional(Schema.Int, "size_bytes")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface SaveWeightsExternalResponse extends Schema.Schema.Type<typeof SaveWeightsExternalResponse> {}

/**
 * Answer of `GET .../external_weights_urls`: a signed URL per file.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ExternalWeightsUrlsResponse = Schema.Struct({ urls: StringRecord, expires: Timestamp })

/**
 * @since 0.1.0
 * @category models
 */
export interface ExternalWeightsUrlsResponse extends Schema.Schema.Type<typeof ExternalWeightsUrlsResponse> {}

/**
 * Body of `POST /load_weights`. Either `modelId` and `seqId` name an existing model, or `sessionId` and `modelSeqId` make
 * a new one from the checkpoint (docs/protocol/checkpoints.md#loading). `optimizer` says whether the optimiser's state is restored too.
 *
 * @since 0.1.0
 * @category schemas
 */
export const LoadWeightsRequest = typed("load_weights", {
  modelId: optional(Schema.String, "model_id"),
  seqId: optional(Schema.Int, "seq_id"),
  sessionId: optional(Schema.String, "session_id"),
  modelSeqId: optional(Schema.Int, "model_seq_id"),
  baseModel: optional(Schema.String, "base_model"),
  userMetadata: optional(JsonRecord, "user_metadata"),
  path: Schema.String,
  optimizer: Schema.Boolean,
  optimizerConfig: optional(OptimizerConfig, "optimizer_config"),
  weightsAccessToken: optional(Schema.Redacted(Schema.String), "weights_access_token")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface LoadWeightsRequest extends Schema.Schema.Type<typeof LoadWeightsRequest> {}

/**
 * Result of `load_weights`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const LoadWeightsResponse = typed("load_weights", {
  path: optional(Schema.String, "path"),
  modelId: optional(Schema.String, "model_id")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface LoadWeightsResponse extends Schema.Schema.Type<typeof LoadWeightsResponse> {}

/**
 * Body of `POST /weights_info`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const WeightsInfoRequest = Schema.Struct({ tinkerPath: required(Schema.String, "tinker_path") })

/**
 * @since 0.1.0
 * @category models
 */
export interface WeightsInfoRequest extends Schema.Schema.Type<typeof WeightsInfoRequest> {}

/**
 * Answer of `POST /weights_info`: what is needed to make a model that can load the checkpoint.
 *
 * @since 0.1.0
 * @category schemas
 */
export const WeightsInfoResponse = Schema.Struct({
  baseModel: required(Schema.String, "base_model"),
  isLora: required(Schema.Boolean, "is_lora"),
  loraRank: optional(Schema.Int, "lora_rank"),
  trainUnembed: optional(Schema.Boolean, "train_unembed"),
  trainMlp: optional(Schema.Boolean, "train_mlp"),
  trainAttn: optional(Schema.Boolean, "train_attn"),
  optimizerConfig: optional(OptimizerConfig, "optimizer_config")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface WeightsInfoResponse extends Schema.Schema.Type<typeof WeightsInfoResponse> {}

/**
 * Body of `POST /copy_weights`: into a session's run slot, or into a project.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CopyWeightsRequest = Schema.Struct({
  sessionId: optional(Schema.String, "session_id"),
  modelSeqId: optional(Schema.Int, "model_seq_id"),
  destinationProjectId: optional(Schema.String, "destination_project_id"),
  sourcePath: required(Schema.String, "source_path"),
  ttlSeconds: optional(Schema.Int, "ttl_seconds"),
  weightsAccessToken: optional(Schema.Redacted(Schema.String), "weights_access_token")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface CopyWeightsRequest extends Schema.Schema.Type<typeof CopyWeightsRequest> {}

/**
 * Answer of `POST /copy_weights`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CopyWeightsResponse = Schema.Struct({ tinkerPath: required(Schema.String, "tinker_path") })

/**
 * @since 0.1.0
 * @category models
 */
export interface CopyWeightsResponse extends Schema.Schema.Type<typeof CopyWeightsResponse> {}
