/**
 * Metrics as a page that Prometheus and its relatives scrape.
 *
 * @since 0.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import { Metrics } from "./Metrics.js"
import type { Labels, MetricKind, MetricsSnapshot, MetricUnit } from "./MetricSnapshot.js"

/**
 * The media type of the text format, version 0.0.4.
 *
 * @since 0.1.0
 * @category constants
 */
export const contentType = "text/plain; version=0.0.4; charset=utf-8"

/**
 * The name under which a metric is exported: underscores for dots, seconds for milliseconds (Prometheus wants base units), and
 * `_total` at the end of counters and of nothing else. `tinkex.request.duration_ms` becomes
 * `tinkex_request_duration_seconds`.
 *
 * @since 0.1.0
 * @category conversions
 */
export const exportedName = (name: string, kind: MetricKind, unit: MetricUnit): string => {
  let exported = name.replace(/[^A-Za-z0-9_]/g, "_")
  if (unit === "ms") exported = `${exported.replace(/_ms$/, "")}_seconds`
  if (kind === "counter") return exported.endsWith("_total") ? exported : `${exported}_total`
  return exported.replace(/_total$/, "")
}

const number = (value: number): string =>
  Number.isNaN(value) ? "NaN" : value === Infinity ? "+Inf" : value === -Infinity ? "-Inf" : String(value)

const escapeHelp = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")
const escapeLabel = (text: string): string => escapeHelp(text).replaceAll("\"", "\\\"")

/** `quantile` and `le` mean something to the format itself. */
const labelName = (name: string): string => name === "quantile" || name === "le" ? `label_${name}` : name

const labelled = (labels: Labels, more?: string): string => {
  const pairs = Object.entries(labels).map(([name, value]) => `${labelName(name)}="${escapeLabel(value)}"`)
  if (more !== undefined) pairs.push(more)
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`
}

/**
 * All metrics in the text format. Histograms come as summaries: their quantiles are of the recent values (`histogramWindow`),
 * their count and sum of all. Summaries come as one with count and sum, and two gauges with `_mean` and `_stddev`.
 *
 * @since 0.1.0
 * @category conversions
 */
export const toText = (metrics: MetricsSnapshot): string => {
  const taken = new Set<string>()
  const lines: Array<string> = []
  /** Writes the head of a family and answers its name; no sample of another family is called as one of it. */
  const family = (wanted: string, type: "counter" | "gauge" | "summary", help: string): string => {
    const samples = (name: string) => type === "summary" ? [name, `${name}_sum`, `${name}_count`] : [name]
    let name = wanted
    for (let i = 2; samples(name).some((sample) => taken.has(sample)); i++) name = `${wanted}_${i}`
    for (const sample of samples(name)) taken.add(sample)
    lines.push(`# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} ${type}`)
    return name
  }
  const sample = (name: string, labels: string, value: number): void => {
    lines.push(`${name}${labels} ${number(value)}`)
  }

  for (const metric of [...Object.values(metrics.counters), ...Object.values(metrics.gauges)]) {
    const factor = metric.unit === "ms" ? 1e-3 : 1
    const name = family(exportedName(metric.name, metric.kind, metric.unit), metric.kind, metric.help)
    for (const { labels, value } of metric.series) sample(name, labelled(labels), value * factor)
  }
  for (const metric of Object.values(metrics.histograms)) {
    const factor = metric.unit === "ms" ? 1e-3 : 1
    const name = family(exportedName(metric.name, metric.kind, metric.unit), "summary", metric.help)
    for (const { count, labels, recent, sum } of metric.series) {
      for (const [q, key] of [[0.5, "p50"], [0.9, "p90"], [0.95, "p95"], [0.99, "p99"], [0.999, "p999"]] as const) {
        sample(name, labelled(labels, `quantile="${q}"`), recent === null ? Number.NaN : recent[key] * factor)
      }
      sample(`${name}_sum`, labelled(labels), sum * factor)
      sample(`${name}_count`, labelled(labels), count)
    }
  }
  for (const metric of Object.values(metrics.summaries)) {
    const factor = metric.unit === "ms" ? 1e-3 : 1
    const base = exportedName(metric.name, metric.kind, metric.unit)
    const name = family(base, "summary", metric.help)
    for (const { count, labels, sum } of metric.series) {
      sample(`${name}_sum`, labelled(labels), sum * factor)
      sample(`${name}_count`, labelled(labels), count)
    }
    for (const key of ["mean", "stddev"] as const) {
      const gauge = family(`${base}_${key}`, "gauge", `${metric.help} (${key} of the recent values)`)
      for (const { labels, recent } of metric.series) {
        if (recent !== null) sample(gauge, labelled(labels), recent[key] * factor)
      }
    }
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`
}

/**
 * An HTTP app that answers with the metrics of now: mount it at `/metrics`.
 *
 * ```ts
 * import { HttpRouter } from "@effect/platform"
 * import { PrometheusExport } from "tinkex"
 *
 * export const router = HttpRouter.empty.pipe(HttpRouter.get("/metrics", PrometheusExport.httpApp))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const httpApp: HttpApp.Default<never, Metrics> = Effect.flatMap(
  Metrics,
  (metrics) => Effect.map(metrics.all, (all) => HttpServerResponse.text(toText(all), { contentType }))
)
