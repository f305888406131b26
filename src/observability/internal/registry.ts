/**
 * Where metrics live: plain mutable structures, written synchronously. One thread, so nothing is lost and nothing locks.
 */
import * as MetricNames from "../MetricNames.js"
import type * as Read from "../MetricSnapshot.js"
import type * as QuantileSketch from "../QuantileSketch.js"
import * as Readings from "./readings.js"
import type { Options, Repeat } from "./series.js"
import { CounterSeries, Family, GaugeSeries, HistogramSeries, SummarySeries } from "./series.js"

/** Why an update was left out. */
export interface Refusal {
  readonly name: string
  readonly reason: "not_finite" | "negative" | "kind" | "name"
  readonly message: string
}

/** A gauge that is computed when it is read. */
export type Observe = (now: number) => ReadonlyArray<{ readonly labels: Read.Labels; readonly value: number }>

const article = (kind: Read.MetricKind): string => `a ${kind}`

export class Registry {
  private readonly definitions = new Map<string, MetricNames.MetricDefinition>()
  private readonly counters = new Map<string, Family<CounterSeries>>()
  private readonly gauges = new Map<string, Family<GaugeSeries>>()
  private readonly histograms = new Map<string, Family<HistogramSeries>>()
  private readonly summaries = new Map<string, Family<SummarySeries>>()
  private readonly observed = new Map<string, Set<Observe>>()
  /** Numbers writes, so that the last one can be told. */
  private writes = 0

  constructor(private readonly options: Options, definitions: ReadonlyArray<MetricNames.MetricDefinition>) {
    for (const definition of definitions) this.definitions.set(definition.name, definition)
    for (const definition of MetricNames.definitions) this.definitions.set(definition.name, definition)
  }

  increment(name: string, value: number, labels?: Read.Labels): Refusal | undefined {
    if (!(value >= 0 && value - value === 0)) return this.refuseValue(name, value)
    const family = this.counters.get(name) ??
      this.open(this.counters, name, "counter", (labels, repeat) => new CounterSeries(labels, repeat))
    if (family === undefined) return this.refuseName(name, "counter")
    family.at(labels).add(value)
    return undefined
  }

  setGauge(name: string, value: number, labels?: Read.Labels): Refusal | undefined {
    if (value - value !== 0) return this.refuseValue(name, value)
    const family = this.gauges.get(name) ??
      this.open(this.gauges, name, "gauge", (labels, repeat) => new GaugeSeries(labels, repeat))
    if (family === undefined) return this.refuseName(name, "gauge")
    family.at(labels).set(value, this.writes++)
    return undefined
  }

  recordHistogram(name: string, value: number, now: number, labels?: Read.Labels): Refusal | undefined {
    if (value - value !== 0) return this.refuseValue(name, value)
    const family = this.histograms.get(name) ??
      this.open(
        this.histograms,
        name,
        "histogram",
        (labels, repeat) => new HistogramSeries(labels, repeat, this.options)
      )
    if (family === undefined) return this.refuseName(name, "histogram")
    family.at(labels).record(value, now)
    return undefined
  }

  recordSummary(name: string, value: number, now: number, labels?: Read.Labels): Refusal | undefined {
    if (!(Math.abs(value) <= 1e150)) return this.refuseValue(name, value)
    const family = this.summaries.get(name) ??
      this.open(this.summaries, name, "summary", (labels, repeat) => new SummarySeries(labels, repeat, this.options))
    if (family === undefined) return this.refuseName(name, "summary")
    family.at(labels).record(value, now, this.writes++)
    return undefined
  }

  /** Adds a computed gauge; answers how to take it out again, or why it was refused. */
  observe(name: string, read: Observe): Refusal | (() => void) {
    if (this.define(name, "gauge")?.kind !== "gauge") return this.refuseName(name, "gauge")
    const all = this.observed.get(name) ?? new Set()
    this.observed.set(name, all.add(read))
    return () => {
      all.delete(read)
      if (all.size === 0) this.observed.delete(name)
    }
  }

  private define(name: string, kind: Read.MetricKind): MetricNames.MetricDefinition | undefined {
    const known = this.definitions.get(name)
    if (known !== undefined) return known
    if (!/^[A-Za-z][A-Za-z0-9_.:/-]*$/.test(name)) return undefined
    const made: MetricNames.MetricDefinition = { name, kind, unit: "value", help: `${kind} ${name}`, labels: [] }
    this.definitions.set(name, made)
    return made
  }

  private open<S>(
    families: Map<string, Family<S>>,
    name: string,
    kind: Read.MetricKind,
    create: (labels: Read.Labels, repeat: Repeat | undefined) => S
  ): Family<S> | undefined {
    const definition = this.define(name, kind)
    if (definition?.kind !== kind) return undefined
    const family = new Family(definition, this.options, create)
    families.set(name, family)
    return family
  }

  private refuseName(name: string, kind: Read.MetricKind): Refusal {
    const is = this.definitions.get(name)?.kind
    const reason = is === undefined ? "name" : "kind"
    this.increment(MetricNames.MetricNames.metricsRejected, 1, { reason })
    return {
      name,
      reason,
      message: is === undefined
        ? `metric name ${JSON.stringify(name)}: expected a letter, then letters, digits and any of _ . : / -`
        : `metric ${name}: cannot be used as ${article(kind)}, it is ${article(is)}`
    }
  }

  private refuseValue(name: string, value: number): Refusal {
    const reason = value < 0 && value > Number.NEGATIVE_INFINITY ? "negative" : "not_finite"
    this.increment(MetricNames.MetricNames.metricsRejected, 1, { reason })
    const message = reason === "negative"
      ? `metric ${name}: a counter cannot be made smaller (${value})`
      : `metric ${name}: left out a value that is not a number of ordinary size (${value})`
    return { name, reason, message }
  }

  /** What the computed gauges of a name say now. One that throws, or gives no finite number, says nothing. */
  private observations(name: string, now: number): ReturnType<Observe> {
    const found: Array<{ readonly labels: Read.Labels; readonly value: number }> = []
    for (const read of this.observed.get(name) ?? []) {
      try {
        for (const one of read(now)) if (Number.isFinite(one.value)) found.push(one)
      } catch {
        continue
      }
    }
    return found
  }

  read(name: string, now: number): Read.MetricSnapshot | undefined {
    const definition = this.definitions.get(name)
    if (definition === undefined) return undefined
    switch (definition.kind) {
      case "counter": {
        const family = this.counters.get(name)
        return family === undefined ? undefined : Readings.counter(family)
      }
      case "gauge": {
        const all: Array<Readings.Written> = Array.from(this.gauges.get(name)?.series.values() ?? [])
        for (const { labels, value } of this.observations(name, now)) all.push({ labels, value, written: this.writes })
        return all.length === 0 ? undefined : Readings.gauge(definition, all)
      }
      case "histogram": {
        const family = this.histograms.get(name)
        return family === undefined ? undefined : Readings.histogram(family, now, this.options)
      }
      case "summary": {
        const family = this.summaries.get(name)
        return family === undefined ? undefined : Readings.summary(family, now)
      }
    }
  }

  readAll(now: number): Read.MetricsSnapshot {
    const counters: Record<string, Read.CounterSnapshot> = {}
    const gauges: Record<string, Read.GaugeSnapshot> = {}
    const histograms: Record<string, Read.HistogramSnapshot> = {}
    const summaries: Record<string, Read.SummarySnapshot> = {}
    for (const name of this.definitions.keys()) {
      const one = this.read(name, now)
      if (one === undefined) continue
      if (one.kind === "counter") counters[name] = one
      else if (one.kind === "gauge") gauges[name] = one
      else if (one.kind === "histogram") histograms[name] = one
      else summaries[name] = one
    }
    return { timestamp: now, counters, gauges, histograms, summaries }
  }

  sketch(name: string, now: number): QuantileSketch.QuantileSketch | undefined {
    const family = this.histograms.get(name)
    return family === undefined ? undefined : Readings.sketch(family, now, this.options)
  }

  /** Repeats the computed gauges to the mirror, which sees all other updates as they happen. */
  mirrorObserved(now: number): void {
    const mirror = this.options.mirror
    if (mirror === undefined) return
    for (const name of this.observed.keys()) {
      const definition = this.definitions.get(name)
      if (definition === undefined) continue
      for (const { labels, value } of this.observations(name, now)) mirror(definition, labels)(value)
    }
  }

  reset(name: string): void {
    for (const families of [this.counters, this.gauges, this.histograms, this.summaries]) families.delete(name)
  }

  resetAll(): void {
    for (const families of [this.counters, this.gauges, this.histograms, this.summaries]) families.clear()
  }
}
