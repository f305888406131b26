/**
 * The classes behind `TinkexError`.
 *
 * @internal
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import type { ErrorCategory, QueueState } from "../../protocol/Futures.js"
import { TypeId } from "../../protocol/InvalidInput.js"

/**
 * What every answer with an error status says.
 *
 * @since 0.1.0
 * @category models
 */
export interface Answer {
  /** What was being done, to what: `sample (sampling session s:sample:0)`. */
  readonly operation: string
  readonly status: number
  /** The server's own words. */
  readonly detail: string
  readonly requestId?: string | undefined
  /** The header `x-should-retry`, which wins over every rule. */
  readonly shouldRetry?: boolean | undefined
  /** What the server asks to wait, from `retry-after-ms` or `retry-after`. */
  readonly retryAfter?: Duration.Duration | undefined
}

const suffix = (requestId: string | undefined): string => requestId === undefined ? "" : ` (request ${requestId})`

const answer = (self: Answer, what: string, next: string): string =>
  `${self.operation}: ${self.status} ${what}${self.detail === "" ? "" : `: ${self.detail}`}${
    suffix(self.requestId)
  }. ${next}`

/** Plain values of an error for a log: durations as milliseconds, no cause. */
const plain = (self: object): object => {
  const out: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(self)) {
    if (key === "cause" || value === undefined) continue
    out[key] = Duration.isDuration(value) ? Duration.toMillis(value) : value
  }
  return out
}

/**
 * A setting that is missing or cannot be used. Nothing was sent.
 *
 * @since 0.1.0
 * @category errors
 */
export class ConfigurationError extends Data.TaggedError("ConfigurationError")<{
  /** The option or environment variable. */
  readonly setting: string
  /** What is wrong and what would be right, without the value. */
  readonly detail: string
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return `${this.setting}: ${this.detail}`
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * 401: the key is missing, wrong or expired. Never retried.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unauthorized extends Data.TaggedError("Unauthorized")<Answer> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return answer(this, "the key was not accepted", "Check TINKER_API_KEY or the apiKey option")
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * 403: the key is known but may not do this.
 *
 * @since 0.1.0
 * @category errors
 */
export class PermissionDenied extends Data.TaggedError("PermissionDenied")<Answer> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return answer(this, "not allowed for this key", "Use a key of the owner, or ask for access")
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * 404: the model, session, checkpoint or route does not exist here, or no longer.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotFound extends Data.TaggedError("NotFound")<Answer> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return answer(this, "not found", "Check the id or path, and that the base URL is a Tinker service")
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * 409: it exists already, or is in use under the same number. Never retried: nothing about it changes by waiting.
 *
 * @since 0.1.0
 * @category errors
 */
export class Conflict extends Data.TaggedError("Conflict")<Answer> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return answer(this, "conflict", "Choose another name, or allow overwriting where the operation has that option")
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * Any other 4xx: the service refused the request as it is. `status` tells 400, 413, 415 and 422 apart.
 *
 * @since 0.1.0
 * @category errors
 */
export class BadRequest extends Data.TaggedError("BadRequest")<Answer> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return answer(this, "the service refused the request", "Sending it again unchanged will not help")
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * 429: too many requests for this key. `retryAfter` is what the server asked for, or the default wait.
 *
 * @since 0.1.0
 * @category errors
 */
export class RateLimited
  extends Data.TaggedError("RateLimited")<Omit<Answer, "retryAfter"> & { readonly retryAfter: Duration.Duration }>
{
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return answer(this, "rate limited", `Wait ${Duration.format(this.retryAfter)} before the next request`)
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * 402: the account has to be topped up. Requests wait for that, at most an hour.
 *
 * @since 0.1.0
 * @category errors
 */
export class BillingPaused extends Data.TaggedError("BillingPaused")<Answer> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return answer(this, "paused for billing", "Add credit to the account; work resumes by itself while it is waiting")
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * 5xx: the service failed. Safe to send again where the operation says so.
 *
 * @since 0.1.0
 * @category errors
 */
export class ServerError extends Data.TaggedError("ServerError")<Answer> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return answer(this, "the service failed", "Try again later; if it stays, report the request id")
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * A status that is neither success nor error, as an unexpected redirect.
 *
 * @since 0.1.0
 * @category errors
 */
export class UnexpectedStatus extends Data.TaggedError("UnexpectedStatus")<Answer> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return answer(this, "is not an answer of this operation", "Check that the base URL is a Tinker service")
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * How a connection failed. `protocol`: what came back is not HTTP that can be read. `local`: this machine refused, for want of
 * descriptors, memory or permission. `edge`: a gateway turned the request away. `request`: it could not be formed.
 *
 * @since 0.1.0
 * @category models
 */
export type ConnectionReason =
  | "refused"
  | "dns"
  | "reset"
  | "timeout"
  | "tls"
  | "protocol"
  | "local"
  | "edge"
  | "request"
  | "unknown"

/**
 * No answer: the connection could not be made or broke. With `certainlyNotSent` no attempt of the call can have arrived, so it
 * can be made again whatever it does, and its sequence number was not used.
 *
 * @since 0.1.0
 * @category errors
 */
export class ConnectionError extends Data.TaggedError("ConnectionError")<{
  readonly operation: string
  /** Where to: scheme, host and port. */
  readonly origin: string
  readonly reason: ConnectionReason
  readonly certainlyNotSent: boolean
  /** The system's own words. */
  readonly detail: string
  /**
   * It broke before any of the answer came, and had served other requests before: the other side may have closed it while it was
   * idle. Such a request is sent again at once.
   *
   * @since 0.2.0
   */
  readonly wasIdle?: boolean | undefined
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return `${this.operation}: no connection to ${this.origin} (${this.reason}${
      this.detail === "" ? "" : `: ${this.detail}`
    }). ${connectionAdvice[this.reason]}`
  }
  override toJSON(): object {
    return plain(this)
  }
}

const connectionAdvice: Readonly<Record<ConnectionReason, string>> = {
  refused: "Check that the server runs and that the base URL has its port",
  dns: "Check the host name in the base URL",
  reset: "The connection broke; try again",
  timeout: "The server did not accept the connection in time; try again",
  tls: "Check the certificate and whether the base URL should be http or https",
  protocol: "What came back is no HTTP answer that can be read; check what listens there and what a proxy adds",
  local: "This machine refused: check its limits (open files, memory) and its rules for outgoing connections",
  edge: "A gateway in front of the service turned the request away; try again",
  request: "The request could not be formed; check the base URL",
  unknown: "Check the network and the base URL"
}

/**
 * The request was sent and no answer came in time (or the service answered 408). It may or may not have been done.
 *
 * @since 0.1.0
 * @category errors
 */
export class RequestTimeout extends Data.TaggedError("RequestTimeout")<{
  readonly operation: string
  /** The limit of one attempt, when it was ours. */
  readonly timeout?: Duration.Duration | undefined
  /** 408, when the service gave up. */
  readonly status?: number | undefined
  readonly detail: string
  readonly requestId?: string | undefined
  readonly shouldRetry?: boolean | undefined
  readonly retryAfter?: Duration.Duration | undefined
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    const what = this.timeout === undefined
      ? `${this.status ?? ""} the service gave up waiting`
      : `no answer within ${Duration.format(this.timeout)}`
    return `${this.operation}: ${what.trim()}${this.detail === "" ? "" : `: ${this.detail}`}${
      suffix(this.requestId)
    }. Try again, or raise the timeout`
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * The answer is not what the protocol says. Names the place in it, never the contents.
 *
 * @since 0.1.0
 * @category errors
 */
export class MalformedResponse extends Data.TaggedError("MalformedResponse")<{
  readonly operation: string
  readonly detail: string
  readonly status?: number | undefined
  readonly requestId?: string | undefined
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return `${this.operation}: the answer could not be read: ${this.detail}${
      suffix(this.requestId)
    }. The service may speak a newer protocol; check the base URL and the version of tinkex`
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * The service took the request, worked on it and failed it. Final, whatever the category: `user` is a mistake in the
 * request, `server` is theirs.
 *
 * @since 0.1.0
 * @category errors
 */
export class RequestFailed extends Data.TaggedError("RequestFailed")<{
  readonly operation: string
  readonly requestId: string
  readonly category: ErrorCategory
  readonly detail: string
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    const next = this.category === "user" ? "Correct the request" : "Submit it again, or report the request id"
    return `${this.operation}: failed on the service (${this.category}): ${this.detail} (request ${this.requestId}). ${next}`
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * 410 on a poll: the service no longer has the result. A sample can be submitted again; a training step may have happened.
 *
 * @since 0.1.0
 * @category errors
 */
export class FutureExpired extends Data.TaggedError("FutureExpired")<{
  readonly operation: string
  readonly requestId: string
  readonly detail: string
  readonly status?: number | undefined
  readonly shouldRetry?: boolean | undefined
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return `${this.operation}: the result is gone${
      this.detail === "" ? "" : `: ${this.detail}`
    } (request ${this.requestId}). Sample again, or go back to a checkpoint`
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * A result did not come before its deadline. The request itself may still be running: `Future.await` asks for it again.
 *
 * @since 0.1.0
 * @category errors
 */
export class FutureTimeout extends Data.TaggedError("FutureTimeout")<{
  readonly operation: string
  readonly requestId: string
  /** Time since the submission was acknowledged. */
  readonly age: Duration.Duration
  readonly polls: number
  readonly lastQueueState: QueueState
  /** What the service gave as the reason of the queue, in its words. */
  readonly reason?: string | undefined
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return `${this.operation}: no result after ${
      Duration.format(this.age)
    } and ${this.polls} polls; the queue was ${this.lastQueueState}${
      this.reason === undefined ? "" : ` (${this.reason})`
    } (request ${this.requestId}). Await it again to go on asking, or raise timeouts.future`
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * Refused here, because requests of this kind have been failing. With `certainlyNotSent` no attempt of the call can have arrived;
 * without it an earlier attempt may have, and making the call again may do its work twice.
 *
 * @since 0.1.0
 * @category errors
 */
export class CircuitOpen extends Data.TaggedError("CircuitOpen")<{
  readonly operation: string
  /** Which circuit: the operation class. */
  readonly circuit: string
  /** When the next request is let through; infinite when it was opened by hand. */
  readonly reopensIn: Duration.Duration
  readonly certainlyNotSent: boolean
  /** The last failure of those that opened it. */
  readonly cause?: unknown
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    const what = this.certainlyNotSent ? "not sent" : "given up, though an attempt may have arrived"
    const why = this.cause instanceof Error ? `. The last failure: ${this.cause.message}` : ""
    return `${this.operation}: ${what}, ${
      Duration.isFinite(this.reopensIn)
        ? `${this.circuit} requests have been failing; the next one is let through in ${
          Duration.format(this.reopensIn)
        }`
        : `${this.circuit} requests are refused until their circuit is reset`
    }${why}`
  }
  override toJSON(): object {
    return plain(this)
  }
}

/**
 * The client was closed, because its scope ended or its session was finished. Without `certainlyNotSent` it was closed while the
 * result was awaited: the service has the request.
 *
 * @since 0.1.0
 * @category errors
 */
export class ClientClosed extends Data.TaggedError("ClientClosed")<{
  readonly operation: string
  /** Which client, with its id. */
  readonly client: string
  readonly certainlyNotSent: boolean
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    const when = this.certainlyNotSent ? "" : ", and the service has the request"
    return `${this.operation}: ${this.client} is closed${when}. Make a new one, or keep its scope open for as long as it is used`
  }
  override toJSON(): object {
    return plain(this)
  }
}
