/**
 * What metrics say when they are read: plain data, ready for `JSON.stringify`.
 *
 * @since 0.1.0
 */

/**
 * What a series is told apart by. Few values each; ids and short hashes, never keys.
 *
 * @since 0.1.0
 * @category models
 */
export type Labels = Readonly<Record<string, string>>

/**
 * @since 0.1.0
 * @category models
 */
export type MetricKind = "counter" | "gauge" | "histogram" | "summary"

/**
 * What values are measured in. `state` is a code whose values the help text lists.
 *
 * @since 0.1.0
 * @category models
 */
export type MetricUnit = "count" | "ms" | "bytes" | "state" | "value"

/**
 * @since 0.1.0
 * @category models
 */
export interface Described {
  readonly name: string
  readonly unit: MetricUnit
  readonly help: string
}

/**
 * A sum that only grows, until it is reset. `value` adds up all series.
 *
 * @since 0.1.0
 * @category models
 */
export interface CounterSnapshot extends Described {
  readonly kind: "counter"
  readonly value: number
  readonly series: ReadonlyArray<{ readonly labels: Labels; readonly value: number }>
}

/**
 * A value at this moment. Over several series, `value` is their sum, their largest or the last that was set, as the catalogue
 * says.
 *
 * @since 0.1.0
 * @category models
 */
export interface GaugeSnapshot extends Described {
  readonly kind: "gauge"
  readonly value: number
  readonly series: ReadonlyArray<{ readonly labels: Labels; readonly value: number }>
}

/**
 * Quantiles within 1 % of the exact ones (see `QuantileSketch`); count, sum, min and max are exact.
 *
 * @since 0.1.0
 * @category models
 */
export interface HistogramStats {
  readonly count: number
  readonly sum: number
  readonly mean: number
  readonly min: number
  readonly max: number
  readonly p50: number
  readonly p90: number
  readonly p95: number
  readonly p99: number
  readonly p999: number
}

/**
 * A distribution: of all values since the start or the last reset, and of the recent ones (`histogramWindow`; `null` if there
 * were none). The figures at the top merge all series.
 *
 * @since 0.1.0
 * @category models
 */
export interface HistogramSnapshot extends Described, HistogramStats {
  readonly kind: "histogram"
  readonly recent: HistogramStats | null
  readonly series: ReadonlyArray<
    HistogramStats & { readonly labels: Labels; readonly recent: HistogramStats | null }
  >
}

/**
 * Mean and spread inside the window (`null` where it is empty), beside the count and sum of all values.
 *
 * @since 0.1.0
 * @category models
 */
export interface SummaryStats {
  /** Values since the start or the last reset. */
  readonly count: number
  readonly sum: number
  /** The newest value. */
  readonly last: number
  readonly recent: {
    readonly count: number
    readonly mean: number
    /** Of the sample (divided by `count - 1`); 0 of a single value. */
    readonly stddev: number
    readonly min: number
    readonly max: number
  } | null
}

/**
 * Mean and standard deviation over a sliding window (`summaryWindow`). The figures at the top merge all series.
 *
 * @since 0.1.0
 * @category models
 */
export interface SummarySnapshot extends Described, SummaryStats {
  readonly kind: "summary"
  readonly series: ReadonlyArray<SummaryStats & { readonly labels: Labels }>
}

/**
 * One metric, read. `kind` tells the members apart.
 *
 * @since 0.1.0
 * @category models
 */
export type MetricSnapshot = CounterSnapshot | GaugeSnapshot | HistogramSnapshot | SummarySnapshot

/**
 * All metrics, read at one moment (`timestamp`: milliseconds since 1970), by dotted name.
 *
 * @since 0.1.0
 * @category models
 */
export interface MetricsSnapshot {
  readonly timestamp: number
  readonly counters: Readonly<Record<string, CounterSnapshot>>
  readonly gauges: Readonly<Record<string, GaugeSnapshot>>
  readonly histograms: Readonly<Record<string, HistogramSnapshot>>
  readonly summaries: Readonly<Record<string, SummarySnapshot>>
}
