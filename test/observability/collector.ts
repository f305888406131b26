/** A stand-in for an OpenTelemetry collector, and what it is sent. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

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
export const collector = Effect.acquireRelease(
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

const bodies = <A, I>(
  received: ReadonlyArray<readonly [string, unknown]>,
  path: string,
  schema: Schema.Schema<A, I>
): ReadonlyArray<A> => received.filter(([at]) => at === path).map(([, body]) => Schema.decodeUnknownSync(schema)(body))

export const spansOf = (received: ReadonlyArray<readonly [string, unknown]>) =>
  bodies(received, "/v1/traces", Traces).flatMap(({ resourceSpans }) => resourceSpans)
    .flatMap(({ scopeSpans }) => scopeSpans).flatMap(({ spans }) => spans)

/** By name, the last that was sent of each. */
export const metricsOf = (received: ReadonlyArray<readonly [string, unknown]>) =>
  new Map(
    bodies(received, "/v1/metrics", Metric).flatMap(({ resourceMetrics }) => resourceMetrics)
      .flatMap(({ scopeMetrics }) => scopeMetrics).flatMap(({ metrics }) => metrics)
      .map((metric) => [metric.name, metric])
  )
