/**
 * Events that a client reports to the service (docs/protocol/sessions.md#reports).
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { defaulted, JsonRecord, openLiteral, optional, required, Timestamp, unknownMember } from "./internal/wire.js"

/**
 * How serious an event is.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Severity = openLiteral("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

/**
 * @since 0.1.0
 * @category models
 */
export type Severity = typeof Severity.Type

const common = {
  eventId: required(Schema.String, "event_id"),
  /** Counts the events of one reporter from 0. */
  eventSessionIndex: required(Schema.Int, "event_session_index"),
  severity: Severity,
  timestamp: Timestamp
}

const SessionStart = Schema.Struct({ event: Schema.Literal("SESSION_START"), ...common })

const SessionEnd = Schema.Struct({
  event: Schema.Literal("SESSION_END"),
  /** `H:MM:SS.ffffff`, as the official SDK writes it. */
  duration: Schema.String,
  ...common
})

const UnhandledException = Schema.Struct({
  event: Schema.Literal("UNHANDLED_EXCEPTION"),
  errorMessage: required(Schema.String, "error_message"),
  errorType: required(Schema.String, "error_type"),
  traceback: optional(Schema.String, "traceback"),
  ...common
})

const Generic = Schema.Struct({
  event: Schema.Literal("GENERIC_EVENT"),
  /** Of few different values. */
  eventName: required(Schema.String, "event_name"),
  eventData: defaulted(JsonRecord, "event_data", () => ({})),
  ...common
})

/**
 * An event, told apart by `event`. One of a newer client is `{ event: "unknown", wire: <its event> }`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const TelemetryEvent = Schema.Union(
  SessionStart,
  SessionEnd,
  UnhandledException,
  Generic,
  unknownMember("event")
)

/**
 * @since 0.1.0
 * @category models
 */
export type TelemetryEvent = typeof TelemetryEvent.Type

/**
 * Body of `POST /telemetry`: at most 100 events. `processUuid` is one per process, `platform` the name of the system.
 *
 * @since 0.1.0
 * @category schemas
 */
export const TelemetrySendRequest = Schema.Struct({
  events: Schema.Array(TelemetryEvent),
  platform: Schema.String,
  sdkVersion: required(Schema.String, "sdk_version"),
  sessionId: required(Schema.String, "session_id"),
  processUuid: defaulted(Schema.String, "process_uuid", () => "")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface TelemetrySendRequest extends Schema.Schema.Type<typeof TelemetrySendRequest> {}

/**
 * Answer of `POST /telemetry`, `accepted`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const TelemetryResponse = Schema.Struct({ status: Schema.String })

/**
 * @since 0.1.0
 * @category models
 */
export interface TelemetryResponse extends Schema.Schema.Type<typeof TelemetryResponse> {}

/**
 * A duration as the official SDK writes it in `SESSION_END`: `H:MM:SS.ffffff`, with `N day(s), ` in front from a day on.
 *
 * @since 0.1.0
 * @category encoding
 */
export const formatDuration = (millis: number): string => {
  const total = Math.round(millis * 1000)
  const micros = total % 1_000_000
  const seconds = Math.floor(total / 1_000_000)
  const two = (n: number): string => String(n).padStart(2, "0")
  const days = Math.floor(seconds / 86_400)
  const clock = `${Math.floor(seconds / 3600) % 24}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
  const fraction = micros === 0 ? "" : `.${String(micros).padStart(6, "0")}`
  return `${days === 0 ? "" : days === 1 ? "1 day, " : `${days} days, `}${clock}${fraction}`
}
