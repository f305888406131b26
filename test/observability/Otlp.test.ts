import * as Otlp from "@effect/opentelemetry/Otlp"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { MetricNames as names } from "../../src/observability/MetricNames.js"
import * as Metrics from "../../src/observability/Metrics.js"
import * as Spans from "../../src/observability/Spans.js"
import * as Telemetry from "../../src/observability/Telemetry.js"
import { collector, metricsOf, spansOf } from "./collector.js"
import { httpStop, oneOfEach } from "./events.js"

describe("OpenTelemetry", () => {
  it.scopedLive("a collector receives traces and metrics of a small program through @effect/opentelemetry/Otlp", () =>
    Effect.gen(function*() {
      const { received, url } = yield* collector
      const otlp = Otlp.layerJson({ baseUrl: url, resource: { serviceName: "tinkex-test" } }).pipe(
        Layer.provide(FetchHttpClient.layer)
      )
      const step = Effect.fn("TrainingClient.forwardBackward")(function*(tokens: number) {
        yield* Effect.annotateCurrentSpan({ [Spans.attributes.modelId]: "model-1", [Spans.attributes.tokens]: tokens })
        yield* Telemetry.emit(httpStop({ tenant: "otlp", durationMs: 25 }))
        yield* Telemetry.emit({ ...oneOfEach.TrainingPass, tokens, loss: 3, weight: 2 })
      })
      yield* Effect.forEach([100, 200, 300], step).pipe(
        Effect.provide(Metrics.layer({ effectMetrics: true, snapshotInterval: "off" }).pipe(Layer.provideMerge(otlp)))
      )

      const spans = spansOf(received)
      assert.deepStrictEqual(
        spans.map(({ name }) => name),
        Array.from({ length: 3 }, () => "TrainingClient.forwardBackward")
      )
      assert.deepInclude(
        Object.fromEntries(spans[2]!.attributes.map(({ key, value }) => [key, Object.values(value)[0]])),
        {
          "tinkex.model_id": "model-1",
          "tinkex.tokens": 300
        }
      )

      const metrics = metricsOf(received)
      const point = (name: string, kind: "sum" | "gauge" | "histogram", tenant?: string) => {
        const found = metrics.get(name)?.[kind]?.dataPoints.find(({ attributes }) =>
          tenant === undefined || attributes.some(({ value }) => value["stringValue"] === tenant)
        )
        assert.isDefined(found, name)
        return found!
      }
      assert.strictEqual(point(names.requestsTotal, "sum", "otlp").asDouble, 3)
      assert.isTrue(metrics.get(names.requestsTotal)?.sum?.isMonotonic)
      const duration = point(names.requestDuration, "histogram", "otlp")
      assert.deepStrictEqual([duration.count, duration.sum, duration.max], [3, 75, 25])
      assert.strictEqual(metrics.get(names.requestDuration)?.unit, "ms")
      assert.strictEqual(duration.bucketCounts?.[duration.explicitBounds?.indexOf(32) ?? -1], 3)
      assert.strictEqual(point(names.trainingLoss, "gauge").asDouble, 1.5)
      assert.strictEqual(point(names.tokensTrained, "sum").asDouble, 600)
      assert.strictEqual(point(names.requestsInFlight, "gauge", "otlp").asDouble, 0)
    }))
})
