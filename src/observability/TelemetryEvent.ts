/**
 * What happens inside, as plain data: ids, counts and times, never a key, a prompt or a tensor.
 *
 * @since 0.1.0
 */
import { scrub } from "./internal/scrub.js"
import type { MetricsSnapshot } from "./MetricSnapshot.js"

/**
 * Which kind of call: the label of metrics and the pool that carries it.
 *
 * @since 0.1.0
 * @category models
 */
export type Operation = "training" | "sampling" | "futures" | "session" | "service" | "telemetry"

/**
 * What the fields of one HTTP attempt are. `attempt` starts at 0. `route` is the template (`/api/v1/models/{model_id}`), never
 * the path that was sent. `tenant` is the short hash of `TenantKey`, never the key.
 *
 * @since 0.1.0
 * @category models
 */
export interface HttpFields {
  readonly method: string
  readonly route: string
  readonly operation: Operation
  readonly tenant: string
  readonly attempt: number
  readonly requestId?: string | undefined
}

/**
 * States of the service's queue (docs/protocol/futures.md#queues).
 *
 * @since 0.1.0
 * @category models
 */
export type QueueStateName = "active" | "paused_rate_limit" | "paused_capacity" | "unknown"

/**
 * What waits in the service's queue: the creation of a model (`id`: base model, or the model that is loaded), the operations
 * of a model, or the requests of a sampler.
 *
 * @since 0.1.0
 * @category models
 */
export type QueueSource = "model_creation" | "training" | "sampling"

/**
 * States of a circuit breaker.
 *
 * @since 0.1.0
 * @category models
 */
export type BreakerStateName = "closed" | "open" | "half_open"

/**
 * How a future can end.
 *
 * @since 0.1.0
 * @category models
 */
export type FutureOutcome = "success" | "user_error" | "server_error" | "expired" | "interrupted" | "failed"

/**
 * Everything that can happen, by `_tag`, with what is told of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Events {
  /** An attempt is about to be sent. Exactly one `HttpStop` or `HttpException` follows. */
  readonly HttpStart: HttpFields
  /** An attempt was answered, with whatever status. */
  readonly HttpStop: HttpFields & {
    readonly status: number
    readonly durationMs: number
  }
  /**
   * An attempt ended without an answer. `error` is the tag of the error (`Timeout`, `ConnectionError`), or
   * `Interrupted`.
   */
  readonly HttpException: HttpFields & {
    readonly error: string
    readonly durationMs: number
  }
  /**
   * A failed attempt will be repeated after `delayMs`. `attempt` is the number of the attempt that failed; `reason` its
   * status or the tag of its error.
   */
  readonly Retry: {
    readonly route: string
    readonly operation: Operation
    readonly tenant: string
    readonly attempt: number
    readonly delayMs: number
    readonly reason: string
  }
  /**
   * The tenant's back-off deadline was set or extended: nothing is sent for `delayMs`. `status` is 429, or 402 for a
   * pause over billing.
   */
  readonly RateLimited: {
    readonly tenant: string
    readonly delayMs: number
    readonly status: number
  }
  /** The tenant's back-off deadline was cleared. */
  readonly RateLimitCleared: {
    readonly tenant: string
  }
  /** The queue state of a source changed. Only on a transition. `reason` is the server's `queue_state_reason`. */
  readonly QueueState: {
    readonly source: QueueSource
    readonly id: string
    readonly state: QueueStateName
    readonly previous: QueueStateName
    readonly reason?: string | undefined
    readonly requestId?: string | undefined
  }
  /** A circuit breaker changed its state. `opensForMs` where it opened. */
  readonly BreakerTransition: {
    readonly tenant: string
    readonly operation: Operation
    readonly from: BreakerStateName
    readonly to: BreakerStateName
    readonly opensForMs?: number | undefined
  }
  /** A circuit breaker refused a call. */
  readonly BreakerRejected: {
    readonly tenant: string
    readonly operation: Operation
  }
  /**
   * A batch of several items was begun. `kind` is the operation of its items (`forward_backward`, `forward`, `sample`).
   */
  readonly BatchStart: {
    readonly kind: string
    readonly items: number
  }
  /** A batch was finished; `requests` is into how many it was merged, `failed` how many of its items failed. */
  readonly BatchStop: {
    readonly kind: string
    readonly items: number
    readonly requests: number
    readonly failed: number
    readonly durationMs: number
  }
  /** A session was created at the service. */
  readonly SessionStart: {
    readonly tenant: string
    readonly sessionId: string
  }
  /** A heartbeat was answered. */
  readonly SessionHeartbeat: {
    readonly tenant: string
    readonly sessionId: string
  }
  /**
   * A heartbeat was not answered; `failures` counts those in a row, `sinceSuccessMs` the time since the last that was.
   */
  readonly SessionHeartbeatFailed: {
    readonly tenant: string
    readonly sessionId: string
    readonly failures: number
    readonly sinceSuccessMs: number
    readonly error: string
  }
  /** Heartbeats are answered again after `failures` that were not, or a lost session was replaced by this one. */
  readonly SessionRecovered: {
    readonly tenant: string
    readonly sessionId: string
    readonly failures: number
    readonly replacedSessionId?: string | undefined
  }
  /** A session is over. */
  readonly SessionEnd: {
    readonly tenant: string
    readonly sessionId: string
    readonly durationMs: number
  }
  /**
   * The service has accepted an operation and polling for its result begins. Exactly one `FutureDone` or
   * `FutureTimeout` follows.
   */
  readonly FutureStart: {
    readonly requestId: string
    readonly operation: Operation
  }
  /** A poll was answered with "not yet". `iteration` starts at 1. */
  readonly FuturePoll: {
    readonly requestId: string
    readonly operation: Operation
    readonly iteration: number
    readonly ageMs: number
  }
  /** A future has its result. `iterations` counts all polls, `ageMs` the time since the operation was accepted. */
  readonly FutureDone: {
    readonly requestId: string
    readonly operation: Operation
    readonly outcome: FutureOutcome
    readonly iterations: number
    readonly ageMs: number
  }
  /** A future was given up at its deadline. */
  readonly FutureTimeout: {
    readonly requestId: string
    readonly operation: Operation
    readonly iterations: number
    readonly ageMs: number
  }
  /**
   * A forward-backward pass gave its result. `tokens` and `examples` count what was trained on; `loss` is the sum that
   * the service reports, over all tokens, and `weight` the sum of the loss weights, where they are known.
   */
  readonly TrainingPass: {
    readonly modelId: string
    readonly examples: number
    readonly tokens: number
    readonly loss?: number | undefined
    readonly weight?: number | undefined
  }
  /** An optimiser step was made; `step` counts those of this client from 1. */
  readonly TrainingStep: {
    readonly modelId: string
    readonly step: number
    readonly durationMs: number
  }
  /** A custom loss was computed on the client. `regularizers` are values by name. */
  readonly CustomLoss: {
    readonly modelId: string
    readonly loss: number
    readonly regularizers: Readonly<Record<string, number>>
    readonly durationMs: number
  }
  /** Sequences were sampled; `tokens` counts what was generated. */
  readonly Sampled: {
    readonly samplerId: string
    readonly sequences: number
    readonly tokens: number
    readonly promptTokens: number
    /** Those of the prompt that the service had in its cache. */
    readonly cachedTokens?: number | undefined
    readonly durationMs: number
  }
  /** The periodic reading of all metrics (`Metrics.Options.snapshotInterval`). */
  readonly MetricsReading: {
    readonly metrics: MetricsSnapshot
  }
}

/**
 * One kind of event: `Of<"HttpStop">`.
 *
 * @since 0.1.0
 * @category models
 */
export type Of<Tag extends keyof Events> = { readonly _tag: Tag } & Events[Tag]

/**
 * Any event. `_tag` tells the members apart.
 *
 * @since 0.1.0
 * @category models
 */
export type TelemetryEvent = { [Tag in keyof Events]: Of<Tag> }[keyof Events]

/**
 * The dotted names of events, as logs and other tools show them.
 *
 * @since 0.1.0
 * @category constants
 */
export const names = {
  HttpStart: "tinkex.http.request.start",
  HttpStop: "tinkex.http.request.stop",
  HttpException: "tinkex.http.request.exception",
  Retry: "tinkex.retry",
  RateLimited: "tinkex.rate_limit.backoff",
  RateLimitCleared: "tinkex.rate_limit.cleared",
  QueueState: "tinkex.queue.state_change",
  BreakerTransition: "tinkex.circuit_breaker.state_change",
  BreakerRejected: "tinkex.circuit_breaker.rejected",
  BatchStart: "tinkex.batch.start",
  BatchStop: "tinkex.batch.stop",
  SessionStart: "tinkex.session.start",
  SessionHeartbeat: "tinkex.session.heartbeat",
  SessionHeartbeatFailed: "tinkex.session.heartbeat_failed",
  SessionRecovered: "tinkex.session.recovered",
  SessionEnd: "tinkex.session.end",
  FutureStart: "tinkex.future.start",
  FuturePoll: "tinkex.future.poll",
  FutureDone: "tinkex.future.done",
  FutureTimeout: "tinkex.future.timeout",
  TrainingPass: "tinkex.training.pass",
  TrainingStep: "tinkex.training.step",
  CustomLoss: "tinkex.training.custom_loss",
  Sampled: "tinkex.sampling.done",
  MetricsReading: "tinkex.metrics.snapshot"
} as const satisfies { readonly [K in TelemetryEvent["_tag"]]: string }

/**
 * The dotted name of an event. A breaker's transition and a batch say which: `tinkex.circuit_breaker.open`,
 * `tinkex.batch.forward_backward.stop`.
 *
 * @since 0.1.0
 * @category getters
 */
export const nameOf = (event: TelemetryEvent): string => {
  switch (event._tag) {
    case "BreakerTransition":
      return `tinkex.circuit_breaker.${event.to}`
    case "BatchStart":
      return `tinkex.batch.${event.kind}.start`
    case "BatchStop":
      return `tinkex.batch.${event.kind}.stop`
    default:
      return names[event._tag]
  }
}

/**
 * An event with the time at which it was emitted, in milliseconds since 1970.
 *
 * @since 0.1.0
 * @category models
 */
export type Stamped = TelemetryEvent & { readonly timestamp: number }

/**
 * What to tell the user about a queue that is paused, in the words of the official SDK (docs/protocol/futures.md#queues), with the server's
 * reason where it gave one.
 *
 * @since 0.1.0
 * @category getters
 */
export const queueMessage = ({ id, reason, source, state }: Of<"QueueState">): string => {
  const why = reason !== undefined && reason !== ""
    ? scrub(reason, 256)
    : state === "paused_rate_limit"
    ? source === "sampling" ? "concurrent sampler weights limit hit" : "concurrent training clients rate limit hit"
    : state === "paused_capacity"
    ? "Tinker backend is running short on capacity, please wait"
    : "unknown"
  const what = scrub(id, 128)
  switch (source) {
    case "model_creation":
      return `Model creation for ${what} is paused. Reason: ${why}.`
    case "training":
      return `Training for ${what} is paused. Reason: ${why}.`
    case "sampling":
      return `Sampling is paused for sampler ${what}. Reason: ${why}`
  }
}
