/**
 * The catalogue of built-in metrics: names, kinds, units, labels and what they mean.
 *
 * @since 0.1.0
 */
import type { MetricKind, MetricUnit } from "./MetricSnapshot.js"

/**
 * What is known of a metric beside its values. Applications describe their own to `Metrics.layer`.
 *
 * @since 0.1.0
 * @category models
 */
export interface MetricDefinition {
  /** Dotted, lower case. Times end in `_ms`, sizes in `_bytes`. */
  readonly name: string
  readonly kind: MetricKind
  readonly unit: MetricUnit
  readonly help: string
  /** Labels that its series carry. */
  readonly labels: ReadonlyArray<string>
  /** For gauges: what stands for several series. The value last set unless given. */
  readonly across?: "sum" | "max" | "last" | undefined
}

const counter = (name: string, labels: ReadonlyArray<string>, help: string): MetricDefinition => ({
  name,
  kind: "counter",
  unit: "count",
  help,
  labels
})

const gauge = (
  name: string,
  unit: MetricUnit,
  across: "sum" | "max",
  labels: ReadonlyArray<string>,
  help: string
): MetricDefinition => ({ name, kind: "gauge", unit, help, labels, across })

const histogram = (name: string, unit: MetricUnit, labels: ReadonlyArray<string>, help: string): MetricDefinition => ({
  name,
  kind: "histogram",
  unit,
  help,
  labels
})

const summary = (name: string, unit: MetricUnit, labels: ReadonlyArray<string>, help: string): MetricDefinition => ({
  name,
  kind: "summary",
  unit,
  help,
  labels
})

/**
 * The names, for code that reads a metric.
 *
 * @since 0.1.0
 * @category constants
 */
export const MetricNames = {
  requestsTotal: "tinkex.requests.total",
  requestsSuccess: "tinkex.requests.success",
  requestsFailure: "tinkex.requests.failure",
  requestsInterrupted: "tinkex.requests.interrupted",
  requestsInFlight: "tinkex.requests.in_flight",
  requestDuration: "tinkex.request.duration_ms",
  retries: "tinkex.retries.total",
  rateLimitBackoffs: "tinkex.rate_limit.backoffs",
  rateLimitBackoff: "tinkex.rate_limit.backoff_ms",
  circuitBreakerOpens: "tinkex.circuit_breaker.opens",
  circuitBreakerRejected: "tinkex.circuit_breaker.rejected",
  circuitBreakerState: "tinkex.circuit_breaker.state",
  queueState: "tinkex.queue.state",
  queuePaused: "tinkex.queue.paused",
  queueTransitions: "tinkex.queue.transitions",
  sessionsActive: "tinkex.sessions.active",
  heartbeatAge: "tinkex.session.heartbeat_age_ms",
  heartbeatFailures: "tinkex.session.heartbeat_failures",
  futuresInFlight: "tinkex.futures.in_flight",
  futuresDone: "tinkex.futures.done",
  futureTimeouts: "tinkex.futures.timeouts",
  futurePollIterations: "tinkex.future.poll_iterations",
  futureAge: "tinkex.future.age_ms",
  batchSize: "tinkex.batch.size",
  batchDuration: "tinkex.batch.duration_ms",
  batchItems: "tinkex.batch.items",
  batchFailures: "tinkex.batch.failures",
  trainingSteps: "tinkex.training.steps",
  trainingStepDuration: "tinkex.training.step_duration_ms",
  trainingLoss: "tinkex.training.loss",
  tokensTrained: "tinkex.tokens.trained",
  customLossDuration: "tinkex.custom_loss.duration_ms",
  regularizerLoss: "tinkex.regularizer.loss",
  tokensSampled: "tinkex.tokens.sampled",
  tokensPrompted: "tinkex.tokens.prompted",
  tokensCached: "tinkex.tokens.cached",
  samplingDuration: "tinkex.sampling.duration_ms",
  residentMemory: "tinkex.process.resident_memory_bytes",
  metricsRejected: "tinkex.metrics.rejected"
} as const

const n = MetricNames

/**
 * All built-in metrics, in the order in which the guide lists them.
 *
 * @since 0.1.0
 * @category constants
 */
export const definitions: ReadonlyArray<MetricDefinition> = [
  counter(n.requestsTotal, ["operation", "tenant"], "HTTP attempts that ended, however they ended"),
  counter(
    n.requestsSuccess,
    ["operation", "tenant"],
    "HTTP attempts answered below 400, and polls answered 408, which means not yet"
  ),
  counter(n.requestsFailure, ["operation", "tenant"], "HTTP attempts answered with an error, or not answered"),
  counter(n.requestsInterrupted, ["operation", "tenant"], "HTTP attempts that their caller gave up"),
  gauge(n.requestsInFlight, "count", "sum", ["operation", "tenant"], "HTTP attempts that wait for their answer"),
  histogram(n.requestDuration, "ms", ["operation", "tenant"], "Time from sending an attempt to its answer or error"),
  counter(
    n.retries,
    ["operation", "tenant", "reason"],
    "Attempts that are repeated, by the status or error that came first"
  ),
  counter(
    n.rateLimitBackoffs,
    ["tenant", "status"],
    "Times that a back-off deadline was set or extended (429, or 402 for billing)"
  ),
  gauge(n.rateLimitBackoff, "ms", "max", ["tenant"], "Time for which nothing will be sent yet"),
  counter(n.circuitBreakerOpens, ["operation", "tenant"], "Times that a circuit breaker opened"),
  counter(n.circuitBreakerRejected, ["operation", "tenant"], "Calls that an open circuit breaker refused"),
  gauge(n.circuitBreakerState, "state", "max", ["operation", "tenant"], "0 closed, 1 open, 2 half open"),
  gauge(
    n.queueState,
    "state",
    "max",
    ["source"],
    "Worst queue state of any model or sampler: 0 active, 1 paused by a rate limit, 2 paused for capacity, 3 unknown"
  ),
  gauge(n.queuePaused, "count", "sum", ["source"], "Models or samplers whose queue is not active"),
  counter(n.queueTransitions, ["source", "state"], "Transitions into a queue state"),
  gauge(n.sessionsActive, "count", "sum", ["tenant"], "Sessions that are open"),
  gauge(
    n.heartbeatAge,
    "ms",
    "max",
    ["tenant"],
    "Time since the last answered heartbeat of the session that waits longest"
  ),
  counter(n.heartbeatFailures, ["tenant"], "Heartbeats that were not answered"),
  gauge(n.futuresInFlight, "count", "sum", ["operation"], "Accepted operations whose result is awaited"),
  counter(n.futuresDone, ["operation", "outcome"], "Operations that ended, by outcome"),
  counter(n.futureTimeouts, ["operation"], "Operations that were given up at their deadline"),
  histogram(n.futurePollIterations, "count", ["operation"], "Polls until a result was there"),
  histogram(n.futureAge, "ms", ["operation"], "Time from acceptance of an operation to its result"),
  histogram(n.batchSize, "count", ["kind"], "Items in a batch"),
  histogram(n.batchDuration, "ms", ["kind"], "Time from the start of a batch to its last result"),
  counter(n.batchItems, ["kind"], "Items of finished batches"),
  counter(n.batchFailures, ["kind"], "Items of finished batches that failed"),
  counter(n.trainingSteps, [], "Optimiser steps"),
  histogram(n.trainingStepDuration, "ms", [], "Time of an optimiser step"),
  summary(
    n.trainingLoss,
    "value",
    [],
    "Loss of a forward-backward pass: per unit of weight where the weights are known, otherwise the sum that the service reports"
  ),
  counter(n.tokensTrained, [], "Tokens of forward-backward passes"),
  histogram(n.customLossDuration, "ms", [], "Time that a custom loss took on the client"),
  summary(n.regularizerLoss, "value", ["regularizer"], "Value of a regulariser"),
  counter(n.tokensSampled, [], "Tokens generated"),
  counter(n.tokensPrompted, [], "Tokens of the prompts of sampling requests"),
  counter(n.tokensCached, [], "Tokens of prompts that the service had in its cache"),
  histogram(n.samplingDuration, "ms", [], "Time of a sampling request from submission to its sequences"),
  gauge(n.residentMemory, "bytes", "max", [], "Resident memory of the process, where it is observed (Node)"),
  counter(
    n.metricsRejected,
    ["reason"],
    "Updates that were left out: not finite, a counter made smaller, or a name of another kind"
  )
]

/**
 * The catalogue as a Markdown table: the one in `docs/metrics.md`.
 *
 * @since 0.1.0
 * @category conversions
 */
export const toMarkdown = (metrics: ReadonlyArray<MetricDefinition> = definitions): string =>
  [
    "| name | kind | unit | labels | meaning |",
    "| --- | --- | --- | --- | --- |",
    ...metrics.map(({ help, kind, labels, name, unit }) =>
      `| \`${name}\` | ${kind} | ${unit} | ${labels.join(", ")} | ${help} |`
    )
  ].join("\n")
