/**
 * The one truth table: what an error means for retries, breaker and limiter.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { TinkexError } from "../../TinkexError.js"
import { CircuitOpen, ClientClosed, ConnectionError } from "./errors.js"
import { maxRetryAfter } from "./mapping.js"

/**
 * What kind of operation a request belongs to. Each has a breaker and a policy of its own.
 *
 * @since 0.1.0
 * @category models
 */
export type OperationClass = "training" | "session" | "service" | "sampling" | "poll" | "telemetry"

/**
 * Whether the same request may be sent again. It says what is safe and sensible; whether it is done is the policy of the
 * operation class (sampling retries only if its caller asks for it).
 *
 * - `No`: the error is final.
 * - `Backoff`: yes, after the wait of the policy; not more than `atMost` times for what may be an accident of a proxy, and may
 *   be the truth (an answer that cannot be read; on polls, whose result is still there, every refusal).
 * - `After`: yes, after this wait and no earlier.
 * - `Pause`: yes, every `delay` for at most `limit`, telling the user (402).
 * - `Within`: yes, for as long as `window` since it was first seen (404 on a poll).
 * - `Pending`: this is no error but progress (408 on a poll).
 * - `Resubmit`: the request is gone; a sample is submitted again with the same seq, anything else ends (410 on a poll).
 *
 * @since 0.1.0
 * @category models
 */
export type Retry =
  | { readonly _tag: "No" }
  | { readonly _tag: "Backoff"; readonly atMost?: number | undefined }
  | { readonly _tag: "After"; readonly delay: Duration.Duration }
  | { readonly _tag: "Pause"; readonly delay: Duration.Duration; readonly limit: Duration.Duration }
  | { readonly _tag: "Within"; readonly window: Duration.Duration }
  | { readonly _tag: "Pending" }
  | { readonly _tag: "Resubmit" }

/**
 * What an error means.
 *
 * @since 0.1.0
 * @category models
 */
export interface Disposition {
  readonly retry: Retry
  /** What the breaker of the operation class records. `ignore` gives a probe's permit back without a verdict. */
  readonly breaker: "failure" | "success" | "ignore"
  /** How far the tenant's back-off deadline is pushed out, if at all. */
  readonly limiter: Option.Option<Duration.Duration>
  /** No attempt of the call can have arrived: its sequence number can be given back, and it can be made again. */
  readonly certainlyNotSent: boolean
  /** The caller's own mistake; reported to the service's telemetry as such. */
  readonly userError: boolean
}

const no: Retry = { _tag: "No" }
const backoff: Retry = { _tag: "Backoff" }
const few: Retry = { _tag: "Backoff", atMost: 3 }
const pause: Retry = { _tag: "Pause", delay: Duration.seconds(5), limit: Duration.hours(1) }
const within: Retry = { _tag: "Within", window: Duration.seconds(5) }
const pending: Retry = { _tag: "Pending" }
const resubmit: Retry = { _tag: "Resubmit" }

const base: Disposition = {
  retry: no,
  breaker: "ignore",
  limiter: Option.none(),
  certainlyNotSent: false,
  userError: false
}

/**
 * What an error of an operation means for retries, breaker and limiter. The header `x-should-retry` wins over the rest:
 * `false` makes everything final, `true` makes a final answer worth another try.
 *
 * @since 0.1.0
 * @category combinators
 */
export const disposition = (error: TinkexError, operationClass: OperationClass): Disposition => {
  const normal = table(error, operationClass)
  const shouldRetry = "shouldRetry" in error ? error.shouldRetry : undefined
  if (shouldRetry === false) return { ...normal, retry: no }
  if (
    shouldRetry === true && (normal.retry._tag === "No" || normal.retry._tag === "Resubmit" || normal.retry === few)
  ) {
    return { ...normal, retry: "retryAfter" in error ? waited(error.retryAfter) : backoff }
  }
  return normal
}

/**
 * The error of a call of which another attempt, or an earlier request, may have arrived: it no longer claims that nothing was
 * sent. For whoever makes one call of several requests.
 *
 * @since 0.2.0
 * @category combinators
 */
export const mayHaveArrived = <E>(error: E): E => {
  if (!(error instanceof ConnectionError || error instanceof CircuitOpen || error instanceof ClientClosed)) return error
  if (!error.certainlyNotSent) return error
  const fields = { ...error, certainlyNotSent: false }
  // the same class, of the same fields
  return (error instanceof ConnectionError
    ? new ConnectionError(fields as ConnectionError)
    : error instanceof CircuitOpen
    ? new CircuitOpen(fields as CircuitOpen)
    : new ClientClosed(fields as ClientClosed)) as E
}

/** A wait that the server asks for, when it is one that is honoured. */
const waited = (retryAfter: Duration.Duration | undefined): Retry =>
  retryAfter !== undefined && Duration.greaterThan(retryAfter, Duration.zero) &&
    Duration.lessThanOrEqualTo(retryAfter, maxRetryAfter)
    ? { _tag: "After", delay: retryAfter }
    : backoff

const table = (error: TinkexError, operationClass: OperationClass): Disposition => {
  const polling = operationClass === "poll"
  switch (error._tag) {
    case "RateLimited":
      return {
        ...base,
        // a poll is asked again when the longest wait is over, however long the server wants
        retry: polling || Duration.lessThanOrEqualTo(error.retryAfter, maxRetryAfter)
          ? { _tag: "After", delay: Duration.min(error.retryAfter, maxRetryAfter) }
          : no,
        limiter: Option.some(Duration.min(error.retryAfter, maxRetryAfter))
      }
    case "BillingPaused":
      return { ...base, retry: pause }
    case "RequestTimeout":
      // 408 is an answer: on a poll "not yet". Without an answer it counts against the service.
      return error.status === undefined
        ? { ...base, retry: backoff, breaker: "failure" }
        : polling
        ? { ...base, retry: pending, breaker: "success" }
        : { ...base, retry: waited(error.retryAfter) }
    case "ServerError":
      // a 500 is the service's answer to this request; that it is not there is what 502, 503 and 504 say
      return {
        ...base,
        retry: waited(error.retryAfter),
        breaker: error.status >= 502 && error.status <= 504 ? "failure" : "ignore"
      }
    case "ConnectionError":
      return error.reason === "request"
        ? { ...base, certainlyNotSent: error.certainlyNotSent, userError: true }
        : {
          ...base,
          retry: backoff,
          // a gateway and this machine say nothing about the service
          breaker: error.reason === "edge" || error.reason === "local" ? "ignore" : "failure",
          certainlyNotSent: error.certainlyNotSent
        }
    case "NotFound":
      return { ...base, retry: polling ? within : no, breaker: "success", userError: true }
    case "FutureExpired":
      return { ...base, retry: resubmit, breaker: "success" }
    case "Unauthorized":
    case "PermissionDenied":
    case "Conflict":
      return { ...base, retry: polling ? few : no, breaker: "success", userError: true }
    case "BadRequest":
      return polling && error.status === 410
        ? { ...base, retry: resubmit, breaker: "success" }
        : { ...base, retry: polling ? few : no, breaker: "success", userError: true }
    case "RequestFailed":
      return { ...base, breaker: "success", userError: error.category === "user" }
    case "UnexpectedStatus":
      return { ...base, retry: polling ? few : no, breaker: "success" }
    case "MalformedResponse":
      return { ...base, retry: few, breaker: "success" }
    case "CircuitOpen":
      return { ...base, certainlyNotSent: error.certainlyNotSent }
    case "ClientClosed":
      return { ...base, certainlyNotSent: error.certainlyNotSent, userError: true }
    case "InvalidInput":
    case "ConfigurationError":
      return { ...base, certainlyNotSent: true, userError: true }
    case "FutureTimeout":
      return base
  }
}
