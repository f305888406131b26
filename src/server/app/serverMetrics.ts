/**
 * What the server counts of itself, for `/metrics`.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as MetricNames from "../../observability/MetricNames.js"
import * as Metrics from "../../observability/Metrics.js"
import * as PrometheusExport from "../../observability/PrometheusExport.js"
import { monotonic } from "../time.js"
import type { Counts } from "./countedEngine.js"
import type { Stats } from "./stats.js"

const gauges: ReadonlyArray<readonly [keyof Stats, string, MetricNames.MetricDefinition["unit"], string]> = [
  ["sessions", "tinkex.server.sessions", "count", "Sessions that have not ended"],
  ["runs", "tinkex.server.runs", "count", "Training runs in memory"],
  ["queuedOperations", "tinkex.server.operations.queued", "count", "Operations that wait or run"],
  ["samplers", "tinkex.server.samplers", "count", "Samplers of live sessions"],
  ["sampleRequests", "tinkex.server.samples.in_flight", "count", "Sample requests that wait or run"],
  ["pendingFutures", "tinkex.server.futures.pending", "count", "Results that are promised"],
  ["heldPolls", "tinkex.server.polls.held", "count", "Polls that are being held"],
  ["keptResults", "tinkex.server.futures.kept", "count", "Results that can be read again"],
  ["keptResultBytes", "tinkex.server.futures.kept_bytes", "bytes", "Their size"]
]

const requests = "tinkex.server.requests"
const duration = "tinkex.server.request_ms"

const counters: ReadonlyArray<readonly [keyof Counts, string, string]> = [
  ["steps", "tinkex.server.steps", "Optimiser steps"],
  ["tokensTrained", "tinkex.server.tokens.trained", "Tokens of passes with gradients"],
  ["tokensPrompted", "tinkex.server.tokens.prompted", "Tokens of the prompts of samples"],
  ["tokensSampled", "tinkex.server.tokens.sampled", "Tokens generated"]
]

const definitions: ReadonlyArray<MetricNames.MetricDefinition> = [
  { name: requests, kind: "counter", unit: "count", help: "Requests answered", labels: ["endpoint", "status"] },
  {
    name: duration,
    kind: "histogram",
    unit: "ms",
    help: "Time to the answer, long polls included",
    labels: ["endpoint"]
  },
  ...gauges.map(([, name, unit, help]): MetricNames.MetricDefinition => ({
    name,
    kind: "gauge",
    unit,
    help,
    labels: []
  })),
  ...counters.map(([, name, help]): MetricNames.MetricDefinition => ({
    name,
    kind: "counter",
    unit: "count",
    help,
    labels: []
  }))
]

/** @internal */
export const make = Effect.fnUntraced(function*(stats: Effect.Effect<Stats>, work: Readonly<Counts>) {
  const metrics = yield* Metrics.make({ snapshotInterval: "off", definitions })
  yield* metrics.observeGauge(MetricNames.MetricNames.residentMemory, () => process.memoryUsage.rss())
  const told: Counts = { steps: 0, tokensTrained: 0, tokensPrompted: 0, tokensSampled: 0 }
  const tell = Effect.forEach(counters, ([key, name]) => {
    const more = work[key] - told[key]
    told[key] = work[key]
    return metrics.increment(name, more)
  }, { discard: true })
  return {
    /** Counts an answer; `started` is when its request came. */
    answered: (endpoint: string, status: number, started: number): Effect.Effect<void> =>
      Effect.flatMap(monotonic, (now) =>
        Effect.zipRight(
          metrics.increment(requests, 1, { endpoint, status: String(status) }),
          metrics.recordHistogram(duration, now - started, { endpoint })
        )),
    app: Effect.flatMap(
      stats,
      (now) => Effect.forEach(gauges, ([key, name]) => metrics.setGauge(name, now[key]), { discard: true })
    ).pipe(
      Effect.zipRight(tell),
      Effect.zipRight(PrometheusExport.httpApp),
      Effect.provideService(Metrics.Metrics, metrics)
    )
  }
})
