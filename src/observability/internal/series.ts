/** The values of one name under one set of labels, and all of one name together. */
import type { MetricDefinition } from "../MetricNames.js"
import type { Labels } from "../MetricSnapshot.js"
import * as QuantileSketch from "../QuantileSketch.js"
import { Moments } from "./moments.js"
import { scrub } from "./scrub.js"
import * as Slices from "./slices.js"

export interface Options {
  readonly relativeAccuracy: number
  readonly maxBins: number
  /** Milliseconds. */
  readonly histogramWindow: number
  readonly summaryWindow: number
  /** Most label sets of one name. */
  readonly maxSeries: number
  readonly mirror: Mirror | undefined
}

/** Repeats an update elsewhere. */
export type Repeat = (value: number) => void

/** Where every update is repeated: the bridge to Effect's metrics. Answers what to call with each value of a series. */
export type Mirror = (definition: MetricDefinition, labels: Labels) => Repeat

export interface Series {
  readonly labels: Labels
  readonly mirror: Repeat | undefined
}

export class CounterSeries implements Series {
  value = 0
  constructor(readonly labels: Labels, readonly mirror: Repeat | undefined) {}
  add(value: number): void {
    this.value += value
    if (this.mirror !== undefined) this.mirror(value)
  }
}

export class GaugeSeries implements Series {
  value = 0
  /** Number of the write, so that the last one can be told. */
  written = 0
  constructor(readonly labels: Labels, readonly mirror: Repeat | undefined) {}
  set(value: number, written: number): void {
    this.value = value
    this.written = written
    if (this.mirror !== undefined) this.mirror(value)
  }
}

export class HistogramSeries implements Series {
  /** What has left the window. One insert a value: slices go to the archive when they slide out. */
  readonly archive: QuantileSketch.QuantileSketch
  readonly window: Slices.Slices<QuantileSketch.QuantileSketch>
  constructor(
    readonly labels: Labels,
    readonly mirror: Repeat | undefined,
    options: Options
  ) {
    this.archive = QuantileSketch.make(options)
    this.window = Slices.make({
      duration: options.histogramWindow,
      slices: 5,
      make: () => QuantileSketch.make(options),
      expire: (sketch) => {
        QuantileSketch.merge(this.archive, sketch)
        QuantileSketch.clear(sketch)
      }
    })
  }
  record(value: number, now: number): void {
    QuantileSketch.add(this.window.at(now), value)
    if (this.mirror !== undefined) this.mirror(value)
  }
}

export class SummarySeries implements Series {
  readonly window: Slices.Slices<Moments>
  count = 0
  sum = 0
  last = 0
  written = 0
  constructor(
    readonly labels: Labels,
    readonly mirror: Repeat | undefined,
    options: Options
  ) {
    this.window = Slices.make({
      duration: options.summaryWindow,
      slices: 6,
      make: () => new Moments(),
      expire: (moments) => moments.clear()
    })
  }
  record(value: number, now: number, written: number): void {
    this.window.at(now).add(value)
    this.count++
    this.sum += value
    this.last = value
    this.written = written
    if (this.mirror !== undefined) this.mirror(value)
  }
}

const overflowLabels: Labels = { overflow: "true" }
const noLabels: Labels = {}

const labelName = (name: string): string => name.replace(/[^A-Za-z0-9_]/g, "_").replace(/^[^A-Za-z]+/, "") || "label"

/** Where a way through label names and values leads. */
interface Step<S> {
  series: S | undefined
  next: Map<string, Map<string, Step<S>>> | undefined
}

/** All series of one name. */
export class Family<S> {
  readonly series = new Map<string, S>()
  /** Series by their labels as they were written, in whatever order: the way in on the hot path. Builds no string. */
  private readonly ways: Step<S> = { series: undefined, next: undefined }
  private wayCount = 0

  constructor(
    readonly definition: MetricDefinition,
    private readonly options: Options,
    private readonly create: (labels: Labels, mirror: Repeat | undefined) => S
  ) {}

  at(labels: Labels | undefined): S {
    let step = this.ways
    if (labels !== undefined) {
      for (const name in labels) {
        const next = step.next?.get(name)?.get(labels[name]!)
        if (next === undefined) return this.enter(labels)
        step = next
      }
    }
    return step.series ?? this.enter(labels ?? noLabels)
  }

  private enter(labels: Labels): S {
    const wanted: Record<string, string> = {}
    for (const name of Object.keys(labels).sort()) wanted[labelName(name)] = scrub(String(labels[name]), 128)
    let clean: Labels = wanted
    let key = JSON.stringify(clean)
    const full = !this.series.has(key) && this.series.size >= this.options.maxSeries
    if (full) {
      clean = overflowLabels
      key = JSON.stringify(clean)
    }
    let series = this.series.get(key)
    if (series === undefined) {
      series = this.create(clean, this.options.mirror?.(this.definition, clean))
      this.series.set(key, series)
    }
    // Spellings are remembered within reason: what overflows is looked up the long way each time.
    if (!full && this.wayCount < 4 * this.options.maxSeries) this.remember(labels, series)
    return series
  }

  private remember(labels: Labels, series: S): void {
    let step = this.ways
    for (const name in labels) {
      step.next ??= new Map()
      const values = step.next.get(name) ?? new Map<string, Step<S>>()
      step.next.set(name, values)
      const value = labels[name]!
      const next = values.get(value) ?? { series: undefined, next: undefined }
      values.set(value, next)
      step = next
    }
    step.series = series
    this.wayCount++
  }
}
