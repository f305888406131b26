/**
 * The audit log of an organisation (docs/protocol/account.md#audit).
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { defaulted, JsonRecord, optional, required, Timestamp } from "./internal/wire.js"

/**
 * One event, named `<resource>_<action>`. `modelId`, `tinkerPath` and `purpose` are older forms of what `eventDetails` has.
 *
 * @since 0.1.0
 * @category schemas
 */
export const AuditLogEntry = Schema.Struct({
  timestamp: Timestamp,
  event: required(Schema.String, "event"),
  eventDetails: defaulted(JsonRecord, "event_details", () => ({})),
  modelId: optional(Schema.String, "model_id"),
  tinkerPath: optional(Schema.String, "tinker_path"),
  purpose: optional(Schema.String, "purpose")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface AuditLogEntry extends Schema.Schema.Type<typeof AuditLogEntry> {}

/**
 * Answer of `GET /audit`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const AuditLogResponse = Schema.Struct({ entries: Schema.Array(AuditLogEntry) })

/**
 * @since 0.1.0
 * @category models
 */
export interface AuditLogResponse extends Schema.Schema.Type<typeof AuditLogResponse> {}
