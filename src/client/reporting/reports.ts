/** What the client reports by itself, and where. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { TinkexError, TransportError } from "../../TinkexError.js"
import type { Reporter } from "../TelemetryReporter.js"
import type { InternalTransport, Request } from "../transport/types.js"
import { userErrorOf } from "./report.js"

/** Errors that say nothing of the service: what was never sent. */
const local = (error: unknown): boolean =>
  Predicate.isTagged(error, "ClientClosed") || Predicate.isTagged(error, "CircuitOpen")

/** Reports how an operation failed, unless nothing was sent. */
export const failed = (reporter: Reporter, error: unknown): Effect.Effect<unknown> =>
  local(error) ? Effect.void : reporter.exception(error)

/**
 * A transport whose failures are reported. Polls and samples are not: those are asked again, and whoever asks knows when they
 * have failed for good; nor is what is sent whatever happens, as heartbeats.
 */
export const watched = (transport: InternalTransport, reporter: Reporter): InternalTransport => {
  if (!reporter.enabled) return transport
  const watch = <A>(request: Request, call: Effect.Effect<A, TransportError>): Effect.Effect<A, TransportError> =>
    request.unguarded === true || request.pool === "futures" || request.pool === "sampling" ||
      request.pool === "telemetry"
      ? call
      : Effect.tapError(call, (error) => failed(reporter, error))
  return {
    ...transport,
    send: (request) => watch(request, transport.send(request)),
    json: (request, schema, left) => watch(request, transport.json(request, schema, left))
  }
}

/** How the official SDK calls what can happen to a poll (docs/protocol/sessions.md#reports). */
const nameOf = (error: TinkexError, last: boolean): string | undefined => {
  switch (error._tag) {
    // the pause is told in another way, and 408 is no error
    case "BillingPaused":
      return undefined
    case "RequestTimeout":
      return last || error.status !== undefined ? undefined : "connection_error"
    case "RequestFailed":
      return "application_error"
    case "FutureTimeout":
      return "timeout"
    case "MalformedResponse":
      return "validation_error"
    default:
      return last ? undefined : "status" in error ? "api_status_error" : "connection_error"
  }
}

/** Reports a poll that failed, and, as the last of a future, how that failed. */
export const poll = (
  reporter: Reporter,
  error: TinkexError,
  last: boolean,
  about: {
    readonly requestId: string
    readonly requestType: string
    readonly iteration: number
    readonly ageMs: number
  }
): Effect.Effect<unknown> => {
  const name = reporter.enabled ? nameOf(error, last) : undefined
  if (name === undefined) return Effect.void
  const user = userErrorOf(error) !== undefined
  return reporter.log(`APIFuture.result_async.${name}`, {
    request_id: about.requestId,
    request_type: about.requestType,
    error_type: error._tag,
    ...("status" in error && error.status !== undefined ? { status_code: error.status } : {}),
    is_user_error: user,
    iteration: about.iteration,
    elapsed_time: about.ageMs / 1000
  }, last && !user ? "ERROR" : "WARNING")
}
