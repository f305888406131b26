/**
 * Metrics: what an update costs, and how far tail quantiles are off, beside prom-client's Summary and a sorted window of the
 * last 1,000 values.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { Summary } from "prom-client"
import * as Metrics from "../../src/observability/Metrics.js"
import * as QuantileSketch from "../../src/observability/QuantileSketch.js"
import * as Telemetry from "../../src/observability/Telemetry.js"
import type { Row } from "./Row.js"

const median = (values: ReadonlyArray<number>): number => [...values].sort((a, b) => a - b)[values.length >> 1]!

/** Nanoseconds of one of `count` calls, median of five rounds after one that warms up. */
const nanos = (count: number, run: () => void): number => {
  run()
  const rounds = Array.from({ length: 5 }, () => {
    const start = performance.now()
    run()
    return (performance.now() - start) * 1e6 / count
  })
  return median(rounds)
}

const nanosOf = async (count: number, effect: Effect.Effect<void>): Promise<number> => {
  await Effect.runPromise(effect)
  const rounds: Array<number> = []
  for (let i = 0; i < 5; i++) {
    const start = performance.now()
    await Effect.runPromise(effect)
    rounds.push((performance.now() - start) * 1e6 / count)
  }
  return median(rounds)
}

const random = (seed: number): () => number => {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const draws: Record<string, (next: () => number) => number> = (() => {
  const gaussian = (next: () => number) => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
  return {
    lognormal: (next) => Math.exp(3 + 1.5 * gaussian(next)),
    bimodal: (next) => next() < 0.9 ? 20 + 2 * gaussian(next) : 4000 + 300 * gaussian(next),
    pareto: (next) => (1 - next()) ** (-1 / 1.1)
  }
})()

const sorted = (values: ArrayLike<number>): Float64Array => Float64Array.from(values).sort()
const exact = (values: Float64Array, q: number): number => values[Math.floor(q * (values.length - 1))]!

const repeat = (count: number, update: (i: number) => Effect.Effect<void>): Effect.Effect<void> => {
  let i = 0
  return Effect.suspend(() => {
    i = 0
    return Effect.whileLoop({ while: () => i < count, body: () => update(i++), step: () => {} })
  })
}

export const rows = async (): Promise<ReadonlyArray<Row>> => {
  const size = 200_000
  const next = random(42)
  const inputs = Object.entries(draws).map(([name, draw]) =>
    [name, Float64Array.from({ length: size }, () => draw(next))] as const
  )
  const latencies = inputs[0]![1]

  const insert = nanos(size, () => {
    const sketch = QuantileSketch.make()
    for (let i = 0; i < size; i++) QuantileSketch.add(sketch, latencies[i]!)
  })

  const scope = Effect.runSync(Scope.make())
  const context = Effect.runSync(Layer.buildWithScope(Metrics.layer({ snapshotInterval: "off" }), scope))
  const metrics = Context.get(context, Metrics.Metrics)
  const telemetry = Effect.runSync(Scope.extend(Telemetry.make(), scope))
  const labels = { operation: "sampling", tenant: "ab12cd34" }
  const loop = await nanosOf(size, repeat(size, () => Effect.void))
  const record = await nanosOf(
    size,
    repeat(size, (i) => metrics.recordHistogram("bench.time_ms", latencies[i]!, labels))
  )
  const increment = await nanosOf(size, repeat(size, () => metrics.increment("bench.count", 1, labels)))
  const silent = await nanosOf(
    size,
    repeat(size, (i) => telemetry.emit({ _tag: "TrainingStep", modelId: "model", step: i, durationMs: 1 }))
  )
  const { emit } = Context.get(context, Telemetry.Telemetry)
  const event = {
    _tag: "HttpStop",
    method: "POST",
    route: "/api/v1/asample",
    operation: "sampling",
    tenant: "ab12cd34",
    attempt: 0,
    status: 200,
    durationMs: 12
  } as const
  const heard = await nanosOf(size, repeat(size, () => emit(event)))
  await Effect.runPromise(Scope.close(scope, Exit.void))

  /** The largest error over the three distributions, in percent. */
  const worst = (estimate: (name: string, values: Float64Array) => number): number =>
    Math.max(...inputs.map(([name, values]) => {
      const truth = exact(sorted(values), 0.999)
      return Math.abs(estimate(name, values) - truth) / truth * 100
    }))

  const ours = worst((_, values) => {
    // As a fleet would: eight processes, then one sketch.
    const parts = Array.from({ length: 8 }, () => QuantileSketch.make())
    values.forEach((value, i) => QuantileSketch.add(parts[i % 8]!, value))
    const whole = QuantileSketch.make()
    for (const part of parts) QuantileSketch.merge(whole, part)
    return Option.getOrThrow(QuantileSketch.quantile(whole, 0.999))
  })
  const last = worst((_, values) => exact(sorted(values.subarray(size - 1000)), 0.999))
  const prom: Array<number> = []
  let observe = 0
  for (const [name, values] of inputs) {
    const summary = new Summary({
      name,
      help: name,
      percentiles: [0.999],
      maxAgeSeconds: 600,
      ageBuckets: 5,
      registers: []
    })
    const start = performance.now()
    for (const value of values) summary.observe(value)
    observe = Math.max(observe, (performance.now() - start) * 1e6 / size)
    const read = (await summary.get()).values.find(({ labels }) => "quantile" in labels)?.value ?? Number.NaN
    const truth = exact(sorted(values), 0.999)
    prom.push(Math.abs(read - truth) / truth * 100)
  }

  const row = (name: string, value: number, unit: string, target: number | null): Row => ({
    name,
    value,
    unit,
    target,
    better: "lower"
  })
  return [
    row("sketch insert", insert, "ns", 300),
    row("Metrics.recordHistogram, with two labels, as an Effect", record, "ns", 1500),
    row("Metrics.increment, with two labels, as an Effect", increment, "ns", null),
    row("Telemetry.emit with nobody listening, as an Effect", silent, "ns", null),
    row("Telemetry.emit of HttpStop, with metrics listening", heard, "ns", null),
    row("an Effect that does nothing, in the same loop", loop, "ns", null),
    row("prom-client Summary.observe", observe, "ns", null),
    row(`p99.9 error, worst of ${inputs.length} distributions: ours, 8 sketches merged`, ours, "%", 1),
    row(`p99.9 error, worst of ${inputs.length}: prom-client Summary`, Math.max(...prom), "%", null),
    row(`p99.9 error, worst of ${inputs.length}: last 1,000 values sorted`, last, "%", null),
    row("bytes of one sketch of lognormal latencies", bytesOf(latencies), "B", null)
  ]
}

const bytesOf = (values: Float64Array): number => {
  const sketch = QuantileSketch.make()
  for (const value of values) QuantileSketch.add(sketch, value)
  return sketch.bytes
}
