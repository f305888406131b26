/**
 * What a service tells its clients: settings, limits, models, health, tokens.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { defaulted, Float, optional, required } from "./internal/wire.js"

/**
 * Body of `POST /client/config` and `POST /client/dynamic_config`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ClientConfigRequest = Schema.Struct({ sdkVersion: required(Schema.String, "sdk_version") })

/**
 * @since 0.1.0
 * @category models
 */
export interface ClientConfigRequest extends Schema.Schema.Type<typeof ClientConfigRequest> {}

/**
 * Answer of `POST /client/config`: flags and limits that the server sets for its clients. A server may leave out any of
 * them; the defaults are the official SDK's (docs/protocol/sessions.md#flags).
 *
 * @since 0.1.0
 * @category schemas
 */
export const ClientConfig = Schema.Struct({
  /** Exchange the key for a JWT before anything else. */
  pjwtAuthEnabled: defaulted(Schema.Boolean, "pjwt_auth_enabled", () => false),
  credentialDefaultSource: defaulted(Schema.String, "credential_default_source", () => "api_key"),
  /** Estimated bytes of sampling requests being submitted at one time. */
  sampleDispatchBytes: defaulted(Schema.Int, "sample_dispatch_bytes_semaphore_size", () => 10_485_760),
  /** Bytes of large results being fetched at one time. */
  inflightResponseBytes: defaulted(Schema.Int, "inflight_response_bytes_semaphore_size", () => 52_428_800),
  parallelFwdbwdChunks: defaulted(Schema.Boolean, "parallel_fwdbwd_chunks", () => true),
  /** Send `forward_backward` bodies compressed with zstd. */
  protoCompressFwdbwd: defaulted(Schema.Boolean, "proto_compress_fwdbwd", () => false),
  /** Data in one `forward_backward` request. */
  fwdbwdMaxChunkLen: defaulted(Schema.Int, "fwdbwd_max_chunk_len", () => 1024),
  /** Estimated bytes of one `forward_backward` request. */
  fwdbwdMaxChunkBytes: defaulted(Schema.Int, "fwdbwd_max_chunk_bytes_count", () => 5_000_000),
  fwdbwdDispatchBytes: defaulted(Schema.Int, "fwdbwd_dispatch_bytes_semaphore_size", () => 50_000_000),
  /** How long a client waits out answers of 402, in seconds. */
  billingMaxPauseSeconds: defaulted(Float, "billing_exception_max_pause_duration_sec", () => 3600),
  sampleNoRetries: defaulted(Schema.Boolean, "sample_no_retries", () => false),
  sampleEnableStuckDetection: defaulted(Schema.Boolean, "sample_enable_stuck_detection", () => true),
  sampleMaxConcurrentRequests: defaulted(Schema.Int, "sample_max_concurrent_requests", () => 2000),
  usePyqwestTransport: defaulted(Schema.Boolean, "use_pyqwest_transport", () => true),
  createModelViaLoadWeights: defaulted(Schema.Boolean, "create_model_via_load_weights", () => false),
  sampleUseRetrieveFutures: defaulted(Schema.Boolean, "sample_use_retrieve_futures", () => false),
  customLossServerSide: defaulted(Schema.Boolean, "custom_loss_server_side", () => false),
  sampleJoinSamplingSession: defaulted(Schema.Boolean, "sample_join_sampling_session", () => false)
})

/**
 * @since 0.1.0
 * @category models
 */
export interface ClientConfig extends Schema.Schema.Type<typeof ClientConfig> {}

/**
 * The limits that the server itself has sent: present keys only. Tells a limit of the server from a default.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ClientLimits = Schema.Struct({
  fwdbwdMaxChunkLen: optional(Schema.Int, "fwdbwd_max_chunk_len"),
  fwdbwdMaxChunkBytes: optional(Schema.Int, "fwdbwd_max_chunk_bytes_count")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface ClientLimits extends Schema.Schema.Type<typeof ClientLimits> {}

/**
 * The settings of a server that sends none.
 *
 * @since 0.1.0
 * @category constants
 */
export const clientConfigDefaults: ClientConfig = Schema.decodeSync(ClientConfig)({})

/**
 * Answer of `POST /client/dynamic_config`, fetched again every `refreshIntervalSec` seconds.
 *
 * @since 0.1.0
 * @category schemas
 */
export const DynamicConfig = Schema.Struct({
  refreshIntervalSec: defaulted(Float, "refresh_interval_sec", () => 300),
  /** The server has `POST /cancel_future` and wants abandoned samples cancelled. */
  sampleCancelEnabled: defaulted(Schema.Boolean, "sample_cancel_enabled", () => false),
  sampleCancelMaxBatchSize: defaulted(Schema.Int, "sample_cancel_max_batch_size", () => 64)
})

/**
 * @since 0.1.0
 * @category models
 */
export interface DynamicConfig extends Schema.Schema.Type<typeof DynamicConfig> {}

/**
 * @since 0.1.0
 * @category constants
 */
export const dynamicConfigDefaults: DynamicConfig = Schema.decodeSync(DynamicConfig)({})

/**
 * Answer of `POST /auth/token`. Kept out of messages, logs and spans.
 *
 * @since 0.1.0
 * @category schemas
 */
export const AuthTokenResponse = Schema.Struct({ jwt: Schema.Redacted(Schema.String) })

/**
 * @since 0.1.0
 * @category models
 */
export interface AuthTokenResponse extends Schema.Schema.Type<typeof AuthTokenResponse> {}

/**
 * Answer of `GET /healthz`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const HealthResponse = Schema.Struct({ status: Schema.String })

/**
 * @since 0.1.0
 * @category models
 */
export interface HealthResponse extends Schema.Schema.Type<typeof HealthResponse> {}

/**
 * A model that a service offers; context lengths are in tokens.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SupportedModel = Schema.Struct({
  modelName: optional(Schema.String, "model_name"),
  maxContextLength: optional(Schema.Int, "max_context_length"),
  trainable: optional(Schema.Boolean, "trainable"),
  sampleable: optional(Schema.Boolean, "sampleable"),
  // What the embedded server tells besides.
  tokenizerId: optional(Schema.String, "tokenizer_id"),
  parameterCount: optional(Schema.Int, "parameter_count"),
  hasChatTemplate: optional(Schema.Boolean, "has_chat_template")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface SupportedModel extends Schema.Schema.Type<typeof SupportedModel> {}

/**
 * Answer of `GET /get_server_capabilities`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ServerCapabilities = Schema.Struct({
  supportedModels: required(Schema.Array(SupportedModel), "supported_models")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface ServerCapabilities extends Schema.Schema.Type<typeof ServerCapabilities> {}

/**
 * Body of every answer that is not a success: `detail` says what was wrong, as text or as a list.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ErrorBody = Schema.Struct({ detail: Schema.Unknown })

/**
 * @since 0.1.0
 * @category models
 */
export interface ErrorBody extends Schema.Schema.Type<typeof ErrorBody> {}
