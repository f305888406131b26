/** Repeats updates to Effect's own metric registry, which `@effect/opentelemetry` and others export. */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricLabel from "effect/MetricLabel"
import type { MetricDefinition } from "../MetricNames.js"
import type { Labels } from "../MetricSnapshot.js"
import type { Repeat } from "./series.js"

/** 1, 2, 4 … 2^22: for milliseconds, up to 70 minutes. */
const boundaries = MetricBoundaries.exponential({ start: 1, factor: 2, count: 24 })

const metricOf = (
  { help, kind, name }: MetricDefinition
): { readonly unsafeUpdate: Metric.Metric<unknown, number, unknown>["unsafeUpdate"] } => {
  switch (kind) {
    case "counter":
      return Metric.counter(name, { description: help, incremental: true })
    case "gauge":
    case "summary":
      return Metric.gauge(name, { description: help })
    case "histogram":
      return Metric.histogram(name, boundaries, help)
  }
}

export const mirror = (definition: MetricDefinition, labels: Labels): Repeat => {
  const metric = metricOf(definition)
  const tags = Object.entries(labels).map(([key, value]) => MetricLabel.make(key, value))
  if (definition.unit === "ms" || definition.unit === "bytes") {
    tags.push(MetricLabel.make("unit", definition.unit === "ms" ? "ms" : "By"))
  }
  return (value) => metric.unsafeUpdate(value, tags)
}
