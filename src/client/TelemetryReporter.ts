/**
 * What a client reports to the service of itself: that its session began and ended, and what went wrong in between.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Severity } from "../protocol/TelemetryEvents.js"
import * as report from "./reporting/report.js"
import * as internal from "./reporting/telemetryReporter.js"
import type { Transport } from "./transport/types.js"

/**
 * What became of the events so far.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stats {
  /** Waiting to be sent. */
  readonly queued: number
  readonly sent: number
  /** Never queued: the queue was full. */
  readonly dropped: number
  /** Given up: the service did not take them. */
  readonly lost: number
}

/**
 * Reports to the service (docs/protocol/sessions.md#reports). Nothing here fails, and nothing but `flush` waits. No key, no prompt, no
 * tensor and no text of an error is ever in a report: of an error it holds its type, what was being done, status and request id.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reporter {
  /** `false` where `TINKER_TELEMETRY` or the option `telemetry` says so; then everything here does nothing. */
  readonly enabled: boolean
  /**
   * Reports an event of the program. `eventName` should be one of few. In `eventData` keys are redacted, long texts cut and lists
   * of numbers counted instead of sent. `false` if it was dropped.
   */
  readonly log: (
    eventName: string,
    eventData?: Readonly<Record<string, unknown>>,
    severity?: Severity
  ) => Effect.Effect<boolean>
  /**
   * Reports an error, at once, and only once: as the event `user_error` if it is the caller's own mistake (`isUserError`), as an
   * unhandled exception otherwise. `false` if it was dropped, or reported before.
   */
  readonly exception: (error: unknown, severity?: Severity) => Effect.Effect<boolean>
  /** Reports how an effect fails, if it does. An interruption is no failure. */
  readonly capture: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Sends what is queued now, and waits until it is sent or given up: `false` after 30 s. */
  readonly flush: Effect.Effect<boolean>
  readonly stats: Effect.Effect<Stats>
}

/**
 * Where to report to, and for whom.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly transport: Transport
  /** Without one (a client without a session) reports carry an id of their own and no session begins or ends. */
  readonly sessionId: string | undefined
}

/**
 * A reporter for as long as the scope is open. It sends up to 100 events at a time, every 10 s, or at once when an error or 100
 * events wait; keeps at most 10,000; and repeats a batch three times at most, then gives it up. A service without the endpoint is
 * not asked again. On close it says how the scope ended and has the time of `timeouts.finish` to send the rest.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (options: Options) => Effect.Effect<Reporter, never, Scope.Scope> = internal.make

/**
 * A reporter that is off.
 *
 * @since 0.1.0
 * @category constructors
 */
export const disabled: Reporter = internal.disabled

/**
 * Whether an error, or anything in the chain of its causes, is the caller's own mistake: a status from 400 to 499 but 408 and
 * 429, a future that failed with the category `user`, or input that was refused before it was sent (docs/protocol/sessions.md#reports).
 *
 * @since 0.1.0
 * @category guards
 */
export const isUserError = (error: unknown): boolean => report.userErrorOf(error) !== undefined
