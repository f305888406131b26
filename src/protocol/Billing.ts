/**
 * What was used and what it costs (docs/protocol/account.md#usage).
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { defaulted, Float, optional, required, StringRecord, Timestamp, unknownMember } from "./internal/wire.js"

const tokenCount = required(Schema.Int, "token_count")

/**
 * The kind of a usage event and its quantity. One of a newer server is `{ type: "unknown", wire: <its type> }`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const BillingEventInfo = Schema.Union(
  Schema.Struct({ type: Schema.Literal("training"), tokenCount }),
  Schema.Struct({ type: Schema.Literal("sampling_prefill"), cached: Schema.Boolean, tokenCount }),
  Schema.Struct({ type: Schema.Literal("sampling_sample"), tokenCount }),
  Schema.Struct({ type: Schema.Literal("checkpoint"), count: Schema.Int }),
  Schema.Struct({
    type: Schema.Literal("storage"),
    free: defaulted(Schema.Boolean, "free", () => false),
    gigabyteHours: required(Float, "gigabyte_hours")
  }),
  unknownMember("type")
)

/**
 * @since 0.1.0
 * @category models
 */
export type BillingEventInfo = typeof BillingEventInfo.Type

/**
 * Usage of one hour, of one kind. Costs are estimates in US dollars before credits, absent when not known.
 *
 * @since 0.1.0
 * @category schemas
 */
export const BillingUsageEvent = Schema.Struct({
  bucketStart: required(Timestamp, "bucket_start"),
  bucketEnd: required(Timestamp, "bucket_end"),
  baseModel: optional(Schema.String, "base_model"),
  userId: optional(Schema.String, "user_id"),
  userName: optional(Schema.String, "user_name"),
  sessionId: optional(Schema.String, "session_id"),
  projectId: optional(Schema.String, "project_id"),
  estimatedCostUsd: optional(Float, "estimated_cost_usd"),
  rateUsdPerMillionTokens: optional(Float, "effective_rate_usd_per_million_tokens"),
  rateUsdPerGigabyteMonth: optional(Float, "effective_rate_usd_per_gigabyte_month"),
  eventInfo: required(BillingEventInfo, "event_info")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface BillingUsageEvent extends Schema.Schema.Type<typeof BillingUsageEvent> {}

/**
 * Answer of `GET /billing/usage/events`. `sessions` describes every session that appears in `data`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const BillingUsageResponse = Schema.Struct({
  data: Schema.Array(BillingUsageEvent),
  sessions: defaulted(
    Schema.Record({
      key: Schema.String,
      value: Schema.Struct({ userMetadata: optional(StringRecord, "user_metadata") })
    }),
    "sessions",
    () => ({})
  ),
  costDataThrough: optional(Timestamp, "cost_data_through")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface BillingUsageResponse extends Schema.Schema.Type<typeof BillingUsageResponse> {}

/**
 * Answer of `GET /billing/usage/checkpoints/current`: storage by project and owner.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CheckpointStorageResponse = Schema.Struct({
  rateUsdPerGigabyteMonth: optional(Float, "effective_rate_usd_per_gigabyte_month"),
  data: Schema.Array(Schema.Struct({
    projectId: optional(Schema.String, "project_id"),
    orgUserUrn: optional(Schema.String, "org_user_urn"),
    userEmail: optional(Schema.String, "user_email"),
    userName: optional(Schema.String, "user_name"),
    checkpointCount: required(Schema.Int, "checkpoint_count"),
    sizeBytes: required(Schema.Int, "size_bytes"),
    sizeGigabytes: required(Float, "size_gigabytes"),
    estimatedMonthlyCostUsd: optional(Float, "estimated_monthly_cost_usd")
  }))
})

/**
 * @since 0.1.0
 * @category models
 */
export interface CheckpointStorageResponse extends Schema.Schema.Type<typeof CheckpointStorageResponse> {}
