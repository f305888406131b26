import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as MetricState from "effect/MetricState"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { MetricNames as names } from "../../src/observability/MetricNames.js"
import * as Metrics from "../../src/observability/Metrics.js"
import type { MetricKind, MetricSnapshot } from "../../src/observability/MetricSnapshot.js"
import * as QuantileSketch from "../../src/observability/QuantileSketch.js"
import * as Telemetry from "../../src/observability/Telemetry.js"
import type { Stamped, TelemetryEvent } from "../../src/observability/TelemetryEvent.js"
import { allEvents, http, httpStop, oneOfEach } from "./events.js"

const make = (options?: Metrics.Options) =>
  Effect.flatMap(
    Layer.build(Metrics.layer(options)),
    (context) => Effect.provide(Effect.all({ metrics: Metrics.Metrics, telemetry: Telemetry.Telemetry }), context)
  )

/** Reads one metric that must be of a kind. */
const read = <Kind extends MetricKind>(
  metrics: Effect.Effect.Success<ReturnType<typeof make>>["metrics"],
  name: string,
  kind: Kind
): Effect.Effect<Extract<MetricSnapshot, { readonly kind: Kind }>> =>
  Effect.map(metrics.snapshot(name), (found) => {
    const snapshot = Option.getOrThrow(found)
    assert.strictEqual(snapshot.kind, kind)
    return snapshot as Extract<MetricSnapshot, { readonly kind: Kind }> // its kind was just compared
  })

describe("Metrics", () => {
  describe("counters, gauges, histograms, summaries", () => {
    it.scoped("a counter adds up, by its labels in any order", () =>
      Effect.gen(function*() {
        const { metrics } = yield* make()
        yield* metrics.increment("app.hits")
        yield* metrics.increment("app.hits", 2.5)
        yield* metrics.increment("app.hits", 1, { a: "1", b: "2" })
        yield* metrics.increment("app.hits", 1, { b: "2", a: "1" })
        const hits = yield* read(metrics, "app.hits", "counter")
        assert.deepStrictEqual(hits, {
          kind: "counter",
          name: "app.hits",
          unit: "value",
          help: "counter app.hits",
          value: 5.5,
          series: [{ labels: {}, value: 3.5 }, { labels: { a: "1", b: "2" }, value: 2 }]
        })
      }))

    it.scoped("a gauge keeps the last write; over several series the catalogue says what stands for them", () =>
      Effect.gen(function*() {
        const { metrics } = yield* make({
          definitions: [
            { name: "app.sum", kind: "gauge", unit: "count", help: "a sum", labels: ["x"], across: "sum" },
            { name: "app.max", kind: "gauge", unit: "count", help: "a maximum", labels: ["x"], across: "max" }
          ]
        })
        for (const name of ["app.sum", "app.max", "app.last"]) {
          yield* metrics.setGauge(name, 5, { x: "1" })
          yield* metrics.setGauge(name, 7, { x: "2" })
          yield* metrics.setGauge(name, 3, { x: "1" })
        }
        assert.strictEqual((yield* read(metrics, "app.sum", "gauge")).value, 10)
        assert.strictEqual((yield* read(metrics, "app.max", "gauge")).value, 7)
        const last = yield* read(metrics, "app.last", "gauge")
        assert.strictEqual(last.value, 3)
        assert.deepStrictEqual(last.series, [{ labels: { x: "1" }, value: 3 }, { labels: { x: "2" }, value: 7 }])
        assert.strictEqual((yield* read(metrics, "app.max", "gauge")).help, "a maximum")
      }))

    it.scoped("a computed gauge is read when metrics are, until its scope closes", () =>
      Effect.gen(function*() {
        const { metrics } = yield* make()
        let value = 1
        const scope = yield* Scope.make()
        yield* Scope.extend(metrics.observeGauge("app.size", () => value, { pool: "a" }), scope)
        yield* Scope.extend(metrics.observeGauge("app.size", () => Number.NaN, { pool: "nan" }), scope)
        yield* Scope.extend(
          metrics.observeGauge("app.size", () => {
            throw new Error("broken")
          }, { pool: "broken" }),
          scope
        )
        value = 2
        assert.deepStrictEqual((yield* read(metrics, "app.size", "gauge")).series, [{
          labels: { pool: "a" },
          value: 2
        }])
        yield* metrics.reset
        assert.strictEqual((yield* read(metrics, "app.size", "gauge")).value, 2)
        yield* Scope.close(scope, Exit.void)
        assert.isTrue(Option.isNone(yield* metrics.snapshot("app.size")))
      }))

    it.scoped("a histogram gives quantiles of all values, and of the recent ones", () =>
      Effect.gen(function*() {
        const { metrics } = yield* make({ histogramWindow: "10 seconds" })
        for (let i = 1; i <= 1000; i++) yield* metrics.recordHistogram("app.time", i, { x: "1" })
        yield* TestClock.adjust("1 minute")
        for (let i = 1; i <= 10; i++) yield* metrics.recordHistogram("app.time", 1_000_000, { x: "2" })
        const time = yield* read(metrics, "app.time", "histogram")
        assert.strictEqual(time.count, 1010)
        assert.strictEqual(time.sum, 500_500 + 10_000_000)
        assert.strictEqual(time.mean, time.sum / 1010)
        assert.strictEqual(time.min, 1)
        assert.strictEqual(time.max, 1_000_000)
        for (const [key, rank] of [["p50", 505], ["p90", 909], ["p95", 959], ["p99", 999]] as const) {
          assert.approximately(time[key], rank, 0.01 * rank)
        }
        assert.approximately(time.p999, 1_000_000, 10_000)
        assert.strictEqual(time.recent?.count, 10)
        assert.strictEqual(time.recent?.p50, 1_000_000)
        assert.deepStrictEqual(time.series.map(({ count, labels, recent }) => [labels, count, recent?.count]), [
          [{ x: "1" }, 1000, undefined],
          [{ x: "2" }, 10, 10]
        ])
        const sketch = Option.getOrThrow(yield* metrics.sketch("app.time"))
        assert.strictEqual(sketch.count, 1010)
        // What is read is a copy.
        QuantileSketch.add(sketch, 1)
        assert.strictEqual((yield* read(metrics, "app.time", "histogram")).count, 1010)
        assert.isTrue(Option.isNone(yield* metrics.sketch("app.none")))
      }))

    it.scoped("a summary gives mean and deviation of the window", () =>
      Effect.gen(function*() {
        const { metrics } = yield* make({ summaryWindow: "1 minute" })
        yield* metrics.recordSummary("app.loss", 100)
        yield* TestClock.adjust("2 minutes")
        for (const value of [2, 4, 4, 4, 5, 5, 7, 9]) yield* metrics.recordSummary("app.loss", value, { x: "1" })
        const loss = yield* read(metrics, "app.loss", "summary")
        assert.strictEqual(loss.count, 9)
        assert.strictEqual(loss.sum, 140)
        assert.strictEqual(loss.last, 9)
        assert.strictEqual(loss.recent?.count, 8)
        assert.strictEqual(loss.recent?.mean, 5)
        assert.approximately(loss.recent?.stddev ?? 0, Math.sqrt(32 / 7), 1e-12)
        assert.deepStrictEqual(loss.series.map(({ labels, recent }) => [labels, recent?.count]), [
          [{}, undefined],
          [{ x: "1" }, 8]
        ])
      }))

    it.scoped("100 fibers with 10,000 updates each lose nothing", () =>
      Effect.gen(function*() {
        const { metrics, telemetry } = yield* make()
        const update = Effect.fnUntraced(function*(fiber: number) {
          for (let i = 0; i < 2500; i++) {
            yield* metrics.increment("app.count")
            yield* metrics.recordHistogram("app.time", (i % 100) + 1)
            yield* metrics.recordSummary("app.loss", fiber)
            yield* telemetry.emit(oneOfEach.HttpStart)
            if (i % 500 === 0) yield* Effect.yieldNow()
          }
        })
        yield* Effect.forEach(Array.from({ length: 100 }, (_, i) => i), update, { concurrency: "unbounded" })
        assert.strictEqual((yield* read(metrics, "app.count", "counter")).value, 250_000)
        const time = yield* read(metrics, "app.time", "histogram")
        assert.strictEqual(time.count, 250_000)
        assert.strictEqual(time.sum, 50.5 * 250_000)
        assert.strictEqual((yield* read(metrics, "app.loss", "summary")).count, 250_000)
        assert.strictEqual((yield* read(metrics, names.requestsInFlight, "gauge")).value, 250_000)
      }))
  })

  describe("what makes no sense", () => {
    it.scoped("is left out, counted and said once", () => {
      const lines: Array<unknown> = []
      const logger = Logger.make(({ message }) => {
        lines.push(message)
      })
      return Effect.gen(function*() {
        const { metrics } = yield* make()
        yield* metrics.increment("app.count", -1)
        yield* metrics.increment("app.count", Number.NaN)
        yield* metrics.setGauge("app.gauge", Number.POSITIVE_INFINITY)
        yield* metrics.recordHistogram("app.time", Number.NaN)
        yield* metrics.recordSummary("app.loss", 1e200)
        yield* metrics.increment("app.count")
        yield* metrics.setGauge("app.count", 1)
        yield* metrics.recordHistogram("app.count", 1)
        yield* metrics.recordSummary(names.requestsTotal, 1)
        yield* metrics.increment("__proto__")
        yield* Effect.scoped(metrics.observeGauge("app.count", () => 1))
        yield* metrics.increment(names.queueState)
        assert.strictEqual((yield* read(metrics, "app.count", "counter")).value, 1)
        const rejected = yield* read(metrics, names.metricsRejected, "counter")
        assert.deepStrictEqual(
          Object.fromEntries(rejected.series.map(({ labels, value }) => [labels["reason"], value])),
          { negative: 1, not_finite: 4, kind: 5, name: 1 }
        )
        assert.deepStrictEqual(lines, [
          ["metric app.count: a counter cannot be made smaller (-1)"],
          ["metric app.count: left out a value that is not a number of ordinary size (NaN)"],
          ["metric app.gauge: left out a value that is not a number of ordinary size (Infinity)"],
          ["metric app.time: left out a value that is not a number of ordinary size (NaN)"],
          ["metric app.loss: left out a value that is not a number of ordinary size (1e+200)"],
          ["metric app.count: cannot be used as a gauge, it is a counter"],
          ["metric tinkex.requests.total: cannot be used as a summary, it is a counter"],
          ["metric name \"__proto__\": expected a letter, then letters, digits and any of _ . : / -"],
          ["metric tinkex.queue.state: cannot be used as a counter, it is a gauge"]
        ])
        assert.deepStrictEqual(Object.keys((yield* metrics.all).counters), [names.metricsRejected, "app.count"])
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
    })

    it.scoped("too many label sets share one series, so memory stays bounded", () =>
      Effect.gen(function*() {
        const { metrics } = yield* make({ maxSeries: 10 })
        for (let i = 0; i < 1000; i++) yield* metrics.increment("app.count", 1, { user: `u${i}` })
        yield* metrics.increment("app.count", 1, { user: "u3" })
        const count = yield* read(metrics, "app.count", "counter")
        assert.strictEqual(count.value, 1001)
        assert.strictEqual(count.series.length, 11)
        assert.deepStrictEqual(count.series.find(({ labels }) => labels["overflow"] === "true")?.value, 990)
        assert.deepStrictEqual(count.series.find(({ labels }) => labels["user"] === "u3")?.value, 2)
      }))

    it.scoped("a label cannot leak a key, and its name is made fit", () =>
      Effect.gen(function*() {
        const { metrics } = yield* make()
        yield* metrics.increment("app.count", 1, { "tenant key": "tml-abcdefgh12345678", "__proto__x": "a\nb" })
        yield* metrics.increment("app.count", 1, { long: "x".repeat(500), "": "eyJhbGciOiJIUzI1NiJ9.e30.sig" })
        const { series } = yield* read(metrics, "app.count", "counter")
        assert.deepStrictEqual(series[0]?.labels, { proto__x: "a b", tenant_key: "<redacted>" })
        assert.strictEqual(series[1]?.labels["long"]?.length, 128)
        assert.strictEqual(series[1]?.labels["label"], "<redacted>")
      }))

    it.effect("options out of range are refused, naming the field", () =>
      Effect.gen(function*() {
        for (
          const [options, message] of [
            [{ maxSeries: 0 }, "maxSeries: expected an integer of at least 1, got 0"],
            [{ maxBins: 1 }, "maxBins: expected an integer of at least 2, got 1"],
            [{ relativeAccuracy: 2 }, "relativeAccuracy: expected a number between 0 and 1, got 2"],
            [{ histogramWindow: 0 }, "histogramWindow: expected a finite time above zero, got 0 ms"],
            [
              { snapshotInterval: "0 seconds" },
              "snapshotInterval: expected a finite time above zero, got 0 ms"
            ]
          ] as const
        ) {
          const exit = yield* Effect.exit(Effect.scoped(make(options)))
          assert.strictEqual(Exit.isFailure(exit) && String(Cause.squash(exit.cause)), `InvalidInput: ${message}`)
        }
      }))
  })

  describe("reading and resetting", () => {
    it.scoped("what was never written is not there", () =>
      Effect.gen(function*() {
        const { metrics } = yield* make()
        assert.isTrue(Option.isNone(yield* metrics.snapshot("no.such")))
        for (const name of [names.requestsTotal, names.requestDuration, names.trainingLoss, names.residentMemory]) {
          assert.isTrue(Option.isNone(yield* metrics.snapshot(name)))
        }
        assert.deepStrictEqual(yield* metrics.all, {
          timestamp: 0,
          counters: {},
          gauges: {},
          histograms: {},
          summaries: {}
        })
      }))

    it.scoped("all is plain data: JSON loses nothing", () =>
      Effect.gen(function*() {
        const { metrics, telemetry } = yield* make({ histogramWindow: "1 second", summaryWindow: "1 second" })
        yield* Effect.forEach(allEvents, telemetry.emit)
        yield* TestClock.adjust("1 minute")
        yield* Effect.forEach(allEvents.slice(0, 4), telemetry.emit)
        const all = yield* metrics.all
        assert.strictEqual(all.timestamp, 60_000)
        assert.deepStrictEqual(JSON.parse(JSON.stringify(all)), all)
        assert.isAbove(Object.keys(all.counters).length, 10)
        assert.isNull(all.summaries[names.trainingLoss]?.recent)
      }))

    it.scoped("reset starts everything anew, resetName one metric; what is current stays", () =>
      Effect.gen(function*() {
        const { metrics, telemetry } = yield* make()
        yield* telemetry.emit(oneOfEach.HttpStart)
        yield* telemetry.emit(oneOfEach.SessionStart)
        yield* Effect.forEach(["a", "b"], (name) => metrics.increment(name))
        yield* metrics.recordHistogram("h", 1)
        yield* metrics.resetName("a")
        assert.isTrue(Option.isNone(yield* metrics.snapshot("a")))
        assert.strictEqual((yield* read(metrics, "b", "counter")).value, 1)
        yield* metrics.reset
        assert.isTrue(Option.isNone(yield* metrics.snapshot("b")))
        assert.isTrue(Option.isNone(yield* metrics.snapshot("h")))
        assert.strictEqual((yield* read(metrics, names.requestsInFlight, "gauge")).value, 1)
        yield* telemetry.emit(httpStop())
        assert.strictEqual((yield* read(metrics, names.requestsInFlight, "gauge")).value, 0)
        assert.strictEqual((yield* read(metrics, names.requestsTotal, "counter")).value, 1)
        yield* metrics.increment("a", 3)
        assert.strictEqual((yield* read(metrics, "a", "counter")).value, 3)
      }))
  })

  describe("built-in metrics come from events alone", () => {
    const after = (events: ReadonlyArray<TelemetryEvent>) =>
      Effect.gen(function*() {
        const { metrics, telemetry } = yield* make()
        yield* Effect.forEach(events, telemetry.emit)
        return metrics
      })
    const value = (metrics: Parameters<typeof read>[0], name: string, labels: Record<string, string> = {}) =>
      Effect.map(metrics.snapshot(name), (found) => {
        const snapshot = Option.getOrThrow(found)
        if (snapshot.kind !== "counter" && snapshot.kind !== "gauge") {
          return assert.fail(`${name} is a ${snapshot.kind}`)
        }
        return snapshot.series
          .filter((one) => Object.entries(labels).every(([label, wanted]) => one.labels[label] === wanted))
          .reduce((sum, one) => sum + one.value, 0)
      })

    it.scoped("requests: total, success, failure, interrupted, in flight, duration by operation and tenant", () =>
      Effect.gen(function*() {
        const start = oneOfEach.HttpStart
        const metrics = yield* after([
          ...Array.from({ length: 8 }, () => start),
          { ...start, operation: "futures" },
          httpStop({ status: 200, durationMs: 10 }),
          httpStop({ status: 302, durationMs: 20 }),
          httpStop({ status: 408 }),
          httpStop({ status: 429 }),
          httpStop({ status: 500, tenant: "other" }),
          httpStop({ operation: "futures", status: 408 }),
          { ...oneOfEach.HttpException, error: "Timeout" },
          { ...oneOfEach.HttpException, error: "Interrupted" }
        ])
        assert.strictEqual(yield* value(metrics, names.requestsTotal), 8)
        assert.strictEqual(yield* value(metrics, names.requestsSuccess), 3)
        assert.strictEqual(yield* value(metrics, names.requestsSuccess, { operation: "futures" }), 1)
        assert.strictEqual(yield* value(metrics, names.requestsFailure), 4)
        assert.strictEqual(yield* value(metrics, names.requestsFailure, { tenant: "other" }), 1)
        assert.strictEqual(yield* value(metrics, names.requestsInterrupted), 1)
        // The answer for "other" had no start: it takes nothing below zero.
        assert.strictEqual(yield* value(metrics, names.requestsInFlight), 2)
        assert.strictEqual(yield* value(metrics, names.requestsInFlight, { operation: "futures" }), 0)
        const duration = yield* read(metrics, names.requestDuration, "histogram")
        assert.strictEqual(duration.count, 8)
        assert.strictEqual(duration.series.find(({ labels }) => labels["operation"] === "futures")?.count, 1)
      }))

    it.scoped("retries, back-off and its remaining time", () =>
      Effect.gen(function*() {
        const metrics = yield* after([
          oneOfEach.Retry,
          { ...oneOfEach.Retry, reason: "Timeout" },
          oneOfEach.RateLimited,
          { ...oneOfEach.RateLimited, tenant: "other", delayMs: 60_000, status: 402 },
          { ...oneOfEach.RateLimited, tenant: "third" },
          { _tag: "RateLimitCleared", tenant: "third" }
        ])
        assert.strictEqual(yield* value(metrics, names.retries), 2)
        assert.strictEqual(yield* value(metrics, names.retries, { reason: "503" }), 1)
        assert.strictEqual(yield* value(metrics, names.rateLimitBackoffs), 3)
        assert.strictEqual(yield* value(metrics, names.rateLimitBackoffs, { status: "402" }), 1)
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(yield* value(metrics, names.rateLimitBackoff, { tenant: http.tenant }), 3000)
        assert.strictEqual((yield* read(metrics, names.rateLimitBackoff, "gauge")).value, 58_000)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* value(metrics, names.rateLimitBackoff, { tenant: http.tenant }), 0)
        assert.strictEqual(yield* value(metrics, names.rateLimitBackoff, { tenant: "third" }), 0)
      }))

    it.scoped("circuit breakers: opens, refusals, state", () =>
      Effect.gen(function*() {
        const change = oneOfEach.BreakerTransition
        const metrics = yield* after([
          change,
          { ...change, from: "open", to: "half_open" },
          { ...change, from: "half_open", to: "open" },
          oneOfEach.BreakerRejected,
          { ...change, operation: "sampling", from: "open", to: "half_open" },
          { ...change, operation: "session", from: "half_open", to: "closed" }
        ])
        assert.strictEqual(yield* value(metrics, names.circuitBreakerOpens), 2)
        assert.strictEqual(yield* value(metrics, names.circuitBreakerRejected), 1)
        const state = (operation: string) => value(metrics, names.circuitBreakerState, { operation })
        assert.deepStrictEqual([yield* state("training"), yield* state("sampling"), yield* state("session")], [1, 2, 0])
      }))

    it.scoped("queue states: the worst of each source, how many are paused, transitions", () =>
      Effect.gen(function*() {
        const change = oneOfEach.QueueState
        const metrics = yield* after([
          change,
          { ...change, id: "model-2", state: "paused_rate_limit" },
          { ...change, source: "sampling", id: "s", state: "unknown" },
          { ...change, source: "sampling", id: "s", state: "active" },
          { ...change, source: "model_creation", id: "m", state: "unknown" }
        ])
        const series = (name: string) =>
          Effect.map(read(metrics, name, "gauge"), (gauge) =>
            Object.fromEntries(gauge.series.map(({ labels, value }) => [labels["source"], value])))
        assert.deepStrictEqual(yield* series(names.queueState), { training: 2, sampling: 0, model_creation: 3 })
        assert.deepStrictEqual(yield* series(names.queuePaused), { training: 2, sampling: 0, model_creation: 1 })
        assert.strictEqual(yield* value(metrics, names.queueTransitions, { source: "sampling" }), 2)
      }))

    it.scoped("sessions: how many, how old the oldest heartbeat is, failures", () =>
      Effect.gen(function*() {
        const { metrics, telemetry } = yield* make()
        const start = oneOfEach.SessionStart
        yield* telemetry.emit(start)
        yield* telemetry.emit({ ...start, sessionId: "s2" })
        yield* TestClock.adjust("10 seconds")
        yield* telemetry.emit(oneOfEach.SessionHeartbeat)
        yield* telemetry.emit({ ...oneOfEach.SessionHeartbeatFailed, sessionId: "s2" })
        assert.strictEqual(yield* value(metrics, names.sessionsActive), 2)
        assert.strictEqual(yield* value(metrics, names.heartbeatAge), 10_000)
        assert.strictEqual(yield* value(metrics, names.heartbeatFailures), 1)
        yield* telemetry.emit({ ...oneOfEach.SessionRecovered, sessionId: "s3", replacedSessionId: "s2" })
        assert.strictEqual(yield* value(metrics, names.sessionsActive), 2)
        assert.strictEqual(yield* value(metrics, names.heartbeatAge), 0)
        yield* telemetry.emit(oneOfEach.SessionEnd)
        yield* telemetry.emit({ ...oneOfEach.SessionEnd, sessionId: "s3" })
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* value(metrics, names.sessionsActive), 0)
        assert.strictEqual(yield* value(metrics, names.heartbeatAge), 0)
      }))

    it.scoped("futures: in flight, outcomes, timeouts, iterations, age", () =>
      Effect.gen(function*() {
        const metrics = yield* after([
          oneOfEach.FutureStart,
          { ...oneOfEach.FutureStart, requestId: "r2" },
          { ...oneOfEach.FutureStart, requestId: "r3" },
          oneOfEach.FuturePoll,
          oneOfEach.FutureDone,
          oneOfEach.FutureTimeout
        ])
        assert.strictEqual(yield* value(metrics, names.futuresInFlight), 1)
        assert.strictEqual(yield* value(metrics, names.futuresDone, { outcome: "success" }), 1)
        assert.strictEqual(yield* value(metrics, names.futuresDone, { outcome: "timeout" }), 1)
        assert.strictEqual(yield* value(metrics, names.futureTimeouts), 1)
        assert.strictEqual((yield* read(metrics, names.futurePollIterations, "histogram")).sum, 42)
        assert.strictEqual((yield* read(metrics, names.futureAge, "histogram")).max, 1_800_000)
      }))

    it.scoped("batches, training, custom losses, sampling", () =>
      Effect.gen(function*() {
        const metrics = yield* after([
          oneOfEach.BatchStart,
          oneOfEach.BatchStop,
          oneOfEach.TrainingPass,
          { ...oneOfEach.TrainingPass, loss: 7, weight: undefined },
          { ...oneOfEach.TrainingPass, loss: 9, weight: 0 },
          { ...oneOfEach.TrainingPass, loss: undefined },
          oneOfEach.TrainingStep,
          oneOfEach.CustomLoss,
          oneOfEach.Sampled,
          oneOfEach.MetricsReading
        ])
        assert.strictEqual((yield* read(metrics, names.batchSize, "histogram")).sum, 4)
        assert.strictEqual((yield* read(metrics, names.batchDuration, "histogram")).sum, 900)
        assert.strictEqual(yield* value(metrics, names.batchItems, { kind: "forward_backward" }), 4)
        assert.strictEqual(yield* value(metrics, names.batchFailures), 1)
        assert.strictEqual(yield* value(metrics, names.tokensTrained), 4000)
        const loss = yield* read(metrics, names.trainingLoss, "summary")
        // 500 over a weight of 250, then the sums as they are.
        assert.deepStrictEqual([loss.count, loss.sum, loss.last], [3, 18, 9])
        assert.strictEqual(yield* value(metrics, names.trainingSteps), 1)
        assert.strictEqual((yield* read(metrics, names.trainingStepDuration, "histogram")).sum, 800)
        assert.strictEqual((yield* read(metrics, names.customLossDuration, "histogram")).sum, 15)
        const regularizers = yield* read(metrics, names.regularizerLoss, "summary")
        assert.deepStrictEqual(
          regularizers.series.map(({ labels, last }) => [labels["regularizer"], last]),
          [["l2", 0.25], ["entropy", 0.125]]
        )
        assert.strictEqual(yield* value(metrics, names.tokensSampled), 64)
        assert.strictEqual(yield* value(metrics, names.tokensPrompted), 10)
        assert.strictEqual(yield* value(metrics, names.tokensCached), 4)
        assert.strictEqual((yield* read(metrics, names.samplingDuration, "histogram")).sum, 300)
      }))

    it.scoped("keeps a bounded number of sources apart", () =>
      Effect.gen(function*() {
        const { metrics, telemetry } = yield* make()
        for (let i = 0; i < 10_050; i++) yield* telemetry.emit({ ...oneOfEach.QueueState, id: `model-${i}` })
        for (let i = 0; i < 10_050; i++) yield* telemetry.emit({ ...oneOfEach.HttpStart, tenant: `t${i}` })
        assert.strictEqual(yield* value(metrics, names.queuePaused), 10_000)
        assert.strictEqual(yield* value(metrics, names.requestsInFlight), 10_000)
      }))
  })

  describe("periodic reading", () => {
    it.scoped("every interval, as event and on changes", () =>
      Effect.gen(function*() {
        const { metrics, telemetry } = yield* make()
        const seen: Array<Stamped> = []
        yield* telemetry.listen((event) => {
          if (event._tag === "MetricsReading") seen.push(event)
        })
        const stream = yield* metrics.changes
        const fiber = yield* Effect.fork(Stream.runCollect(Stream.take(stream, 2)))
        yield* metrics.increment("app.count")
        yield* TestClock.adjust("59 seconds")
        assert.strictEqual(seen.length, 0)
        yield* TestClock.adjust("1 second")
        yield* metrics.increment("app.count")
        yield* TestClock.adjust("60 seconds")
        const readings = Chunk.toReadonlyArray(yield* Fiber.join(fiber))
        assert.deepStrictEqual(readings.map(({ counters, timestamp }) => [timestamp, counters["app.count"]?.value]), [
          [60_000, 1],
          [120_000, 2]
        ])
        assert.deepStrictEqual(seen.map((event) => event._tag === "MetricsReading" && event.metrics), [...readings])
      }))

    it.scoped("goes on when a subscriber fails", () =>
      Effect.gen(function*() {
        const { metrics, telemetry } = yield* make({ snapshotInterval: "1 second" })
        let calls = 0
        yield* telemetry.listen(() => {
          calls++
          throw new Error("a subscriber's own fault")
        })
        const dying = yield* metrics.changes
        yield* Effect.fork(Stream.runForEach(dying, () => Effect.dieMessage("another")))
        const stream = yield* metrics.changes
        const fiber = yield* Effect.fork(Stream.runCollect(Stream.take(stream, 3)))
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual(Chunk.size(yield* Fiber.join(fiber)), 3)
        assert.strictEqual(calls, 3)
      }))

    it.scoped("off runs nothing", () =>
      Effect.gen(function*() {
        const { metrics, telemetry } = yield* make({ snapshotInterval: "off" })
        let calls = 0
        yield* telemetry.listen(() => {
          calls++
        })
        yield* metrics.increment("app.count")
        yield* TestClock.adjust("1 day")
        assert.strictEqual(calls, 0)
        assert.deepStrictEqual(yield* TestClock.sleeps(), Chunk.empty())
      }))
  })

  describe("layers", () => {
    it.scoped("uses the telemetry below it, or makes its own", () =>
      Effect.gen(function*() {
        const below = yield* Layer.build(Metrics.layer().pipe(Layer.provideMerge(Telemetry.layer())))
        yield* Effect.provide(Telemetry.emit(httpStop()), below)
        const total = (context: typeof below) =>
          Effect.provide(
            Effect.flatMap(Metrics.Metrics, (metrics) => read(metrics, names.requestsTotal, "counter")),
            context
          )
        assert.strictEqual((yield* total(below)).value, 1)
        const own = yield* Layer.build(Metrics.layer())
        yield* Effect.provide(Telemetry.emit(httpStop()), own)
        assert.strictEqual((yield* total(own)).value, 1)
      }))

    it.scoped("disabled keeps nothing", () =>
      Effect.gen(function*() {
        const metrics = yield* Metrics.Metrics
        yield* metrics.increment("a")
        yield* metrics.setGauge("b", 1)
        yield* metrics.observeGauge("c", () => 1)
        yield* metrics.recordHistogram("d", 1)
        yield* metrics.recordSummary("e", 1)
        yield* metrics.reset
        yield* metrics.resetName("a")
        assert.isTrue(Option.isNone(yield* metrics.snapshot("a")))
        assert.isTrue(Option.isNone(yield* metrics.sketch("d")))
        assert.deepStrictEqual(yield* metrics.all, {
          timestamp: 0,
          counters: {},
          gauges: {},
          histograms: {},
          summaries: {}
        })
        assert.strictEqual(yield* Stream.runCount(yield* metrics.changes), 0)
      }).pipe(Effect.provide(Metrics.layerDisabled)))
  })

  describe("bridge to Effect's Metric", () => {
    const found = (name: string) =>
      Metric.unsafeSnapshot().filter(({ metricKey }) => metricKey.name === name).map(({ metricKey, metricState }) => ({
        tags: Object.fromEntries(Array.from(metricKey.tags, ({ key, value }) => [key, value])),
        state: metricState
      }))

    it.scoped("repeats every update, only if asked to", () =>
      Effect.gen(function*() {
        const plain = yield* make()
        yield* plain.metrics.increment("bridge.none")
        assert.deepStrictEqual(found("bridge.none"), [])

        const { metrics, telemetry } = yield* make({ effectMetrics: true })
        yield* metrics.increment("bridge.count", 2, { a: "1" })
        yield* metrics.increment("bridge.count", 3, { a: "1" })
        yield* metrics.setGauge("bridge.gauge", 7)
        yield* metrics.recordHistogram("bridge.histogram", 3)
        yield* metrics.recordHistogram("bridge.histogram", 5000)
        yield* metrics.recordSummary("bridge.summary", 0.5)
        yield* metrics.observeGauge("bridge.observed", () => 42)
        yield* telemetry.emit(httpStop({ tenant: "bridged", durationMs: 100 }))
        yield* TestClock.adjust("5 seconds")

        const [count] = found("bridge.count")
        assert.deepStrictEqual(count?.tags, { a: "1" })
        assert.isTrue(count !== undefined && MetricState.isCounterState(count.state) && count.state.count === 5)
        const gaugeOf = (name: string) => {
          const state = found(name)[0]?.state
          return state !== undefined && MetricState.isGaugeState(state) ? state.value : undefined
        }
        assert.strictEqual(gaugeOf("bridge.gauge"), 7)
        assert.strictEqual(gaugeOf("bridge.summary"), 0.5)
        assert.strictEqual(gaugeOf("bridge.observed"), 42)
        const histogram = found("bridge.histogram")[0]?.state
        assert.isTrue(histogram !== undefined && MetricState.isHistogramState(histogram))
        if (histogram !== undefined && MetricState.isHistogramState(histogram)) {
          assert.deepStrictEqual([histogram.count, histogram.sum, histogram.min, histogram.max], [2, 5003, 3, 5000])
          const cumulative = new Map(histogram.buckets)
          assert.deepStrictEqual([2, 4, 4096, 8192].map((boundary) => cumulative.get(boundary)), [0, 1, 1, 2])
        }
        const duration = found(names.requestDuration).find(({ tags }) => tags["tenant"] === "bridged")
        assert.deepStrictEqual(duration?.tags, { operation: "training", tenant: "bridged", unit: "ms" })
      }))
  })
})
