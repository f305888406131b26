/** From series to what is read of them. */
import type { MetricDefinition } from "../MetricNames.js"
import type * as Read from "../MetricSnapshot.js"
import * as QuantileSketch from "../QuantileSketch.js"
import { Moments } from "./moments.js"
import type { CounterSeries, Family, HistogramSeries, Options, SummarySeries } from "./series.js"

const stats = (sketch: QuantileSketch.QuantileSketch): Read.HistogramStats => {
  const at = (q: number): number => QuantileSketch.unsafeQuantile(sketch, q)
  return {
    count: sketch.count,
    sum: sketch.sum,
    mean: sketch.sum / sketch.count,
    min: sketch.min,
    max: sketch.max,
    p50: at(0.5),
    p90: at(0.9),
    p95: at(0.95),
    p99: at(0.99),
    p999: at(0.999)
  }
}

const statsOrNull = (sketch: QuantileSketch.QuantileSketch): Read.HistogramStats | null =>
  sketch.count === 0 ? null : stats(sketch)

const moments = ({ count, max, mean, min, stddev }: Moments): Read.SummaryStats["recent"] =>
  count === 0 ? null : { count, mean, stddev, min, max }

/** One series of a gauge; `written` numbers the write. */
export interface Written {
  readonly labels: Read.Labels
  readonly value: number
  readonly written: number
}

/** Of one series at least. */
export const gauge = (definition: MetricDefinition, all: ReadonlyArray<Written>): Read.GaugeSnapshot => {
  const { across, help, name, unit } = definition
  let value = 0
  let written = -1
  if (across === "sum") { for (const one of all) value += one.value }
  else if (across === "max") value = all.reduce((max, one) => Math.max(max, one.value), Number.NEGATIVE_INFINITY)
  else {
    for (const one of all) {
      if (one.written < written) continue
      value = one.value
      written = one.written
    }
  }
  return { kind: "gauge", name, unit, help, value, series: all.map(({ labels, value }) => ({ labels, value })) }
}

export const counter = (family: Family<CounterSeries>): Read.CounterSnapshot => {
  const { help, name, unit } = family.definition
  const series = Array.from(family.series.values(), ({ labels, value }) => ({ labels, value }))
  return { kind: "counter", name, unit, help, value: series.reduce((sum, one) => sum + one.value, 0), series }
}

/** All that a series holds, and what of it is recent. */
const both = (series: HistogramSeries, now: number, options: Options) => {
  const all = QuantileSketch.make(options)
  const recent = QuantileSketch.make(options)
  for (const slice of series.window.live(now)) QuantileSketch.merge(recent, slice)
  QuantileSketch.merge(all, series.archive)
  QuantileSketch.merge(all, recent)
  return { all, recent }
}

/** All series of a name in one sketch. */
export const sketch = (
  family: Family<HistogramSeries>,
  now: number,
  options: Options
): QuantileSketch.QuantileSketch => {
  const whole = QuantileSketch.make(options)
  for (const one of family.series.values()) QuantileSketch.merge(whole, both(one, now, options).all)
  return whole
}

export const histogram = (
  family: Family<HistogramSeries>,
  now: number,
  options: Options
): Read.HistogramSnapshot => {
  const { help, name, unit } = family.definition
  const whole = QuantileSketch.make(options)
  const wholeRecent = QuantileSketch.make(options)
  const series: Array<Read.HistogramSnapshot["series"][number]> = []
  for (const one of family.series.values()) {
    const { all, recent } = both(one, now, options)
    QuantileSketch.merge(whole, all)
    QuantileSketch.merge(wholeRecent, recent)
    series.push({ labels: one.labels, ...stats(all), recent: statsOrNull(recent) })
  }
  return { kind: "histogram", name, unit, help, ...stats(whole), recent: statsOrNull(wholeRecent), series }
}

export const summary = (family: Family<SummarySeries>, now: number): Read.SummarySnapshot => {
  const { help, name, unit } = family.definition
  const whole = new Moments()
  let count = 0
  let sum = 0
  let last = { last: 0, written: -1 }
  const series: Array<Read.SummarySnapshot["series"][number]> = []
  for (const one of family.series.values()) {
    const recent = new Moments()
    for (const slice of one.window.live(now)) recent.merge(slice)
    whole.merge(recent)
    count += one.count
    sum += one.sum
    if (one.written > last.written) last = one
    series.push({ labels: one.labels, count: one.count, sum: one.sum, last: one.last, recent: moments(recent) })
  }
  return { kind: "summary", name, unit, help, count, sum, last: last.last, recent: moments(whole), series }
}
