import * as Otlp from "@effect/opentelemetry/Otlp"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { MetricNames as names } from "../../src/observability/MetricNames.js"
import * as Metrics from "../../src/observability/Metrics.js"
import * as Spans from "../../src/observability/Spans.js"
import * as Telemetry from "../../src/observability/Telemetry.js"
import { httpStop, oneOfEach } from "./events.js"

const Attributes = Schema.Array(Schema.Struct({
  key: Schema.String,
  value: Schema.Record({ key: Schema.String, value: Schema.Unknown })
}))
const Traces = Schema.Struct({
  resourceSpans: Schema.Array(Schema.Struct({
    scopeSpans: Schema.Array(Schema.Struct({
      spans: Schema.Array(Schema.Struct({ name: Schema.String, attributes: Attributes }))
    }))
  }))
})
const Points = Schema.Struct({
  isMonotonic: Schema.optional(Schema.Boolean),
  dataPoints: Schema.Array(Schema.Struct({
    attributes: Attributes,
    asDouble: Schema.optional(Schema.Number),
    count: Schema.optional(Schema.Number),
    sum: Schema.optional(Schema.Number),
    max: Schema.optional(Schema.Number),
    bucketCounts: Schema.optional(Schema.Array(Schema.Number)),
    explicitBounds: Schema.optional(Schema.Array(Schema.Number))
  }))
})
const Metric = Schema.Struct({
  resourceMetrics: Schema.Array(Schema.Struct({
    scopeMetrics: Schema.Array(Schema.Struct({
      metrics: Schema.Array(Schema.Struct({
        name: Schema.String,
        unit: Schema.String,
        sum: Schema.optional(Points),
        gauge: Schema.optional(Points),
        histogram: Schema.optional(Points)
      }))
    }))
  }))
})

/** A collector that keeps what it is sent: `[path, body]`. */
const collector = Effect.acquireRelease(
  Effect.async<
    { readonly url: string; readonly received: ReadonlyArray<readonly [string, unknown]>; readonly close: () => void }
  >((resume) => {
    const received: Array<readonly [string, unknown]> = []
    const server = createServer((request, response) => {
      const chunks: Array<Buffer> = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", () => {
        received.push([request.url ?? "", JSON.parse(Buffer.concat(chunks).toString("utf8"))])
        response.setHeader("content-type", "application/json")
        response.end("{}")
      })
    })
    server.listen(0, "127.0.0.1", () => {
      // A server that listens on a port has an address of this kind.
      const { port } = server.address() as AddressInfo
      resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, received, close: () => server.close() }))
    })
  }),
  ({ close }) => Effect.sync(close)
)

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

      const bodies = <A, I>(path: string, schema: Schema.Schema<A, I>) =>
        received.filter(([at]) => at === path).map(([, body]) => Schema.decodeUnknownSync(schema)(body))
      const spans = bodies("/v1/traces", Traces).flatMap(({ resourceSpans }) => resourceSpans)
        .flatMap(({ scopeSpans }) => scopeSpans).flatMap(({ spans }) => spans)
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

      const metrics = new Map(
        bodies("/v1/metrics", Metric).flatMap(({ resourceMetrics }) => resourceMetrics)
          .flatMap(({ scopeMetrics }) => scopeMetrics).flatMap(({ metrics }) => metrics)
          .map((metric) => [metric.name, metric])
      )
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
