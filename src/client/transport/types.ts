/** What goes through a transport, and what a transport is. */
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Redactor } from "../../observability/redaction.js"
import type { Operation } from "../../observability/TelemetryEvent.js"
import type { ClientConfig } from "../../protocol/Service.js"
import type * as CircuitBreaker from "../../resilience/CircuitBreaker.js"
import type * as ConcurrencyGate from "../../resilience/ConcurrencyGate.js"
import type * as RateLimiter from "../../resilience/RateLimiter.js"
import type * as RetryBudget from "../../resilience/RetryBudget.js"
import type { Settings } from "../../TinkexConfig.js"
import type { BillingPaused, TransportError } from "../../TinkexError.js"

/**
 * A body as bytes, encoded once and sent as often as the request is repeated.
 *
 * @since 0.1.0
 * @category models
 */
export interface Body {
  readonly bytes: Uint8Array
  readonly contentType: string
  readonly contentEncoding?: string | undefined
}

/**
 * Whether a request may have reached the service, over all its attempts. A sequence number that certainly did not can be used
 * again. Starts as `{ maybe: false }`; the transport sets it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Delivery {
  maybe: boolean
}

/**
 * One logical call.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  /** What is being done, to what, as errors say it: `optim_step (model s:train:0)`. */
  readonly operation: string
  readonly method: "GET" | "POST" | "PUT" | "DELETE"
  /** Below `/api/v1/`, ready for the URL. */
  readonly path: string
  /** The template of the path, for metrics and events, where it holds an id. */
  readonly route?: string | undefined
  /** Which gate it passes, and whose breaker judges it. */
  readonly pool: Operation
  /** Names in the order in which they are sent; what is undefined or empty is left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined
  readonly body?: Body | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Of one attempt, when not the configured one. */
  readonly timeout?: Duration.Duration | undefined
  /** Repeats after the first attempt, when not the configured ones. */
  readonly times?: number | undefined
  /** What it weighs at its gate, in bytes, when that is not the size of its body. */
  readonly weight?: number | undefined
  /** Only the gate: for what has to go out whatever else is refused, as heartbeats. */
  readonly unguarded?: boolean | undefined
  /** Whether a redirect is an answer, to be read, instead of an error. No redirect is ever followed with the credential. */
  readonly redirects?: boolean | undefined
  /** Sent instead of the credential in force: for the exchange of a key for a token. */
  readonly credential?: Redacted.Redacted | undefined
  readonly delivery?: Delivery | undefined
}

/**
 * A successful answer, read to its end. `bytes` for protobuf and other binary bodies, `text` for the rest.
 *
 * @since 0.1.0
 * @category models
 */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body:
    | { readonly _tag: "Text"; readonly text: string }
    | { readonly _tag: "Bytes"; readonly bytes: Uint8Array }
}

/**
 * The way to one service for one tenant.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transport {
  readonly settings: Settings
  /**
   * The server's words, made fit for an error or a log: without the key and the other secrets of this client in any spelling,
   * without lists of tokens and numbers. Secrets that only some requests carry are told to `learn` before they are sent.
   *
   * @since 0.2.0
   */
  readonly redact: Redactor
  readonly limiter: RateLimiter.RateLimiter
  /** The breaker of a kind of call; polls and telemetry have none. */
  readonly breaker: (pool: Operation) => CircuitBreaker.CircuitBreaker | undefined
  readonly gate: (pool: Operation) => ConcurrencyGate.ConcurrencyGate
  /**
   * Sends a request and repeats it as `TinkexError.disposition` allows. Every attempt passes breaker, limiter and gate; nothing is
   * held while waiting or between attempts. With a breaker open, a call that repeats waits for the next probe within its deadline,
   * one that does not fails at once. Polls, heartbeats and telemetry pass only the gate: they have to go out, and say nothing
   * about the service's health.
   */
  readonly send: (request: Request) => Effect.Effect<Answer, TransportError>
  /** `send`, and the answer decoded; one that cannot be read counts as a failed attempt. */
  readonly json: <A, I>(request: Request, schema: Schema.Schema<A, I>) => Effect.Effect<A, TransportError>
}

/**
 * Takes over a request on its way that nobody waits for any more: the rest of the attempt, which has to be run, in a region that
 * cannot be interrupted before it begins. Without it such a request is dropped.
 */
export interface Left<A> {
  (answer: Effect.Effect<A, TransportError>): Effect.Effect<void>
}

/** What the rest of the client may do with a transport, besides sending. */
export interface InternalTransport extends Transport {
  readonly json: <A, I>(
    request: Request,
    schema: Schema.Schema<A, I>,
    left?: Left<A>
  ) => Effect.Effect<A, TransportError>
  /**
   * Does what the service's configuration says: its limits, how long a 402 is waited out, whether keys are exchanged for tokens,
   * which are kept fresh until the scope closes.
   */
  readonly adopt: (config: ClientConfig) => Effect.Effect<void, TransportError, Scope.Scope>
  /** Waits a moment of a 402 out and says `true`, or `false` when it has lasted too long. */
  readonly pauseForBilling: (error: BillingPaused, delay: Duration.Duration) => Effect.Effect<boolean>
  /** For how many milliseconds nothing at all has been heard of the service, though it was asked. */
  readonly silentFor: () => number
}

/**
 * What transports share: limiters, breakers, gates and retry budgets, each kept per tenant.
 *
 * @since 0.1.0
 * @category models
 */
export type Parts =
  | RateLimiter.RateLimiters
  | CircuitBreaker.CircuitBreakers
  | ConcurrencyGate.ConcurrencyGates
  | RetryBudget.RetryBudgets

/**
 * What a transport needs: an HTTP client, and the parts that transports share.
 *
 * @since 0.1.0
 * @category models
 */
export type Requirements = HttpClient.HttpClient | Parts
