import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Tracer } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import {
  CustomLoss,
  Datum,
  Future,
  MetricNames,
  Metrics,
  Regularizer,
  ServiceClient,
  Spans,
  Telemetry,
  TelemetryEvent,
  TinkexConfig
} from "tinkex"
import { TestServer } from "tinkex/testing"
import * as Errors from "../../src/TinkexError.js"

const root = fileURLToPath(new URL("../..", import.meta.url))
const read = (path: string) => Fs.readFileSync(Path.join(root, path), "utf8")

/** The source but for the rooms that only define and derive. */
const source = (() => {
  const files = (dir: string): Array<string> =>
    Fs.readdirSync(Path.join(root, dir), { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? files(`${dir}/${entry.name}`) : entry.name.endsWith(".ts") ? [`${dir}/${entry.name}`] : []
    )
  return files("src").filter((path) => !path.startsWith("src/engine"))
})()
const textOf = (holds: (path: string) => boolean) => source.filter(holds).map(read).join("\n")
const producers = textOf((path) =>
  !/observability\/(TelemetryEvent|Spans|MetricNames|ConsoleView)\.ts|observability\/internal\/(describe|consoleView)/
    .test(path)
)

/** The first column of the tables of a page. */
const column = (page: string) => Array.from(read(page).matchAll(/^\| `([^`]+)` \|/gm), ([, name]) => name ?? "")

describe("what is documented is produced, and what is produced is documented", () => {
  it("events", () => {
    const tags = Object.keys(TelemetryEvent.names)
    const documented = column("docs/telemetry.md").filter((name) => /^[A-Z]\w+$/.test(name))
    assert.deepStrictEqual(tags.filter((tag) => !documented.includes(tag)), [], "not documented")
    assert.deepStrictEqual(documented.filter((tag) => !tags.includes(tag)), [], "no event")
    for (const tag of tags) {
      assert.match(producers, new RegExp(`_tag: "${tag}"|_tag: [^\\n]*"${tag}"`), `${tag} is emitted nowhere`)
    }
  })

  it("metrics", () => {
    const names = Object.entries(MetricNames.MetricNames)
    const documented = column("docs/metrics.md").filter((name) => name.startsWith("tinkex."))
    assert.deepStrictEqual(names.filter(([, name]) => !documented.includes(name)), [], "not documented")
    assert.deepStrictEqual(documented.filter((name) => !names.some(([, one]) => one === name)), [], "no metric")
    for (const [key] of names) {
      assert.match(producers, new RegExp(`\\b(?:names|n|MetricNames)\\.${key}\\b`), `${key} is set nowhere`)
    }
  })

  it("spans and their attributes", () => {
    const documented = read("docs/telemetry.md").match(/`(?:\w+Client)?\.\w+`/g) ?? []
    const spans = new Set(
      Array.from(producers.matchAll(/"((?:Service|Training|Sampling)Client\.\w+)"/g), ([, name]) => name)
    )
    for (const name of documented) {
      const method = name.slice(name.indexOf(".") + 1, -1)
      const known = [...spans].some((one) => one?.endsWith(`.${method}`)) || /^(forward|forwardBackward)$/.test(method)
      assert.isTrue(known || !/^`(?:Service|Training|Sampling)Client/.test(name), `${name} is opened nowhere`)
    }
    for (const [key, name] of Object.entries(Spans.attributes)) {
      assert.isTrue(
        producers.includes(`attributes.${key}`) || producers.includes(`"${name}"`),
        `${name} is set nowhere`
      )
    }
  })

  it("errors", () => {
    const documented = column("docs/errors.md").filter((name) => /^[A-Z]\w+$/.test(name))
    const tags = Object.entries(Errors)
      .filter(([name, value]) => /^[A-Z]/.test(name) && typeof value === "function" && value.prototype instanceof Error)
      .map(([name]) => name)
    assert.deepStrictEqual([...documented].sort(), [...tags].sort())
  })

  it("defaults", () => {
    const rows = new Map(
      Array.from(
        read("docs/errors.md").matchAll(/^\| `([a-zA-Z.]+)` \| ([^|]+) \|/gm),
        ([, name, value]) => [name, value]
      )
    )
    const flat: Array<readonly [string, unknown]> = []
    const visit = (value: unknown, path: string): void => {
      if (typeof value !== "object" || value === null || Duration.isDuration(value)) {
        return void flat.push([path, value])
      }
      for (const [key, one] of Object.entries(value)) visit(one, path === "" ? key : `${path}.${key}`)
    }
    visit(TinkexConfig.defaults, "")
    const units: Readonly<Record<string, string>> = { ms: "millis", s: "seconds", min: "minutes", h: "hours" }
    for (const [name, value] of flat) {
      const [count = "", unit = ""] = (rows.get(name) ?? "").trim().split(" ")
      const said = Duration.isDuration(value)
        ? Duration.toMillis(Duration.decode(`${Number(count)} ${units[unit]}` as Duration.DurationInput)) // a unit of the table
        : Number(count)
      assert.strictEqual(said, Duration.isDuration(value) ? Duration.toMillis(value) : value, name)
    }
    assert.strictEqual([...rows.keys()].filter((name) => /^[a-z]/.test(name ?? "")).length, flat.length)
  })
})

/** A tracer that keeps what it is told. */
const recorder = (spans: Map<string, Map<string, unknown>>) =>
  Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = spans.get(name) ?? new Map<string, unknown>()
      spans.set(name, attributes)
      return {
        _tag: "Span",
        name,
        spanId: name,
        traceId: "trace",
        parent,
        context,
        status: { _tag: "Started", startTime },
        attributes,
        links,
        sampled: true,
        kind,
        end: () => undefined,
        attribute: (key, value) => void attributes.set(key, value),
        event: () => undefined,
        addLinks: () => undefined
      }
    },
    context: (f) => f()
  })

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.make({ baseUrl: TestServer.baseUrl, telemetry: false })
  const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 1 })
  const data = [Datum.fromCompletion([1, 2], [3, 4])]
  yield* Effect.flatMap(training.forwardBackward(data, "cross_entropy"), Future.await)
  yield* Effect.flatMap(training.optimStep({ learningRate: 1e-3 }), Future.await)
  const sum: CustomLoss.CustomLoss = (_, logprobs) => ({
    loss: -logprobs.reduce((total, { values }) => total + values.reduce((a, b) => a + b, 0), 0),
    gradients: logprobs.map(({ values }) => new Float64Array(values.length).fill(-1))
  })
  const loss = CustomLoss.regularized(sum, [Regularizer.l2({ name: "small", weight: 0.5 })])
  yield* Effect.flatMap(CustomLoss.forwardBackwardCustom(training, data, loss), Future.await)
  const sampler = yield* service.createSamplingClient({ baseModel: "tinkex/nano" })
  yield* sampler.sample({ prompt: [1, 2, 3], maxTokens: 2, numSamples: 2 })
  return { training, sampler }
})

describe("spans of methods and events of custom losses", () => {
  it.scopedLive("are there for a tracer that does something with them", () =>
    Effect.gen(function*() {
      const spans = new Map<string, Map<string, unknown>>()
      const events: Array<TelemetryEvent.TelemetryEvent> = []
      yield* (yield* Telemetry.Telemetry).listen((event) => events.push(event))
      const { sampler, training } = yield* Effect.withTracer(program, recorder(spans))
      const pass = spans.get("TrainingClient.forwardBackward")
      assert.strictEqual(pass?.get(Spans.attributes.modelId), training.modelId)
      assert.strictEqual(pass?.get(Spans.attributes.lossFn), "cross_entropy")
      assert.strictEqual(pass?.get(Spans.attributes.examples), 1)
      assert.strictEqual(pass?.get(Spans.attributes.tokens), 3)
      assert.isString(pass?.get(Spans.attributes.requestId))
      const sample = spans.get("SamplingClient.sample")
      assert.strictEqual(sample?.get(Spans.attributes.samplerId), sampler.samplingSessionId)
      assert.strictEqual(sample?.get(Spans.attributes.promptTokens), 3)
      assert.strictEqual(sample?.get(Spans.attributes.maxTokens), 2)
      assert.strictEqual(sample?.get(Spans.attributes.numSamples), 2)
      assert.isNumber(sample?.get(Spans.attributes.tokens))
      assert.isTrue(spans.has("TrainingClient.optimStep"))
      assert.strictEqual(
        spans.get("ServiceClient.createLoraTrainingClient")?.get(Spans.attributes.baseModel),
        "tinkex/nano"
      )
      const custom = events.find((event) => event._tag === "CustomLoss")
      assert.strictEqual(custom?._tag === "CustomLoss" ? custom.modelId : undefined, training.modelId)
      assert.strictEqual(custom?._tag === "CustomLoss" ? Object.keys(custom.regularizers).length : 0, 1)
      const { histograms } = yield* (yield* Metrics.Metrics).all
      assert.include(Object.keys(histograms).join(), MetricNames.MetricNames.customLossDuration)
    }).pipe(Effect.provide(TestServer.layerServer({ metrics: { snapshotInterval: "off" } }))))

  it.scopedLive("are not opened where nobody traces", () =>
    Effect.gen(function*() {
      // Effect's own tracer shows its spans to nobody
      const spans: Array<string> = []
      const own = yield* Effect.tracer
      const span = own.span.bind(own)
      Object.assign(own, {
        span: (...args: Parameters<typeof span>) => {
          spans.push(args[0])
          return span(...args)
        }
      })
      yield* Effect.ensuring(program, Effect.sync(() => Object.assign(own, { span })))
      assert.deepStrictEqual(spans.filter((name) => /Client\./.test(name)), [])
    }).pipe(Effect.provide(TestServer.layerServer({ metrics: false }))))
})
