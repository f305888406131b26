import * as HttpApp from "@effect/platform/HttpApp"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/TestClock"
import { spawnSync } from "node:child_process"
import * as MetricNames from "../../src/observability/MetricNames.js"
import * as Metrics from "../../src/observability/Metrics.js"
import * as PrometheusExport from "../../src/observability/PrometheusExport.js"
import * as Telemetry from "../../src/observability/Telemetry.js"
import { allEvents } from "./events.js"

fc.configureGlobal({ seed: 20250 })

interface Family {
  readonly type: string
  readonly help: string
  readonly samples: Map<string, number>
}

/** Reads the text format 0.0.4, strictly: a line that does not fit fails the test. */
const parse = (text: string): Map<string, Family> => {
  const families = new Map<string, Family>()
  let help: readonly [string, string] | undefined
  let current: readonly [string, Family] | undefined
  assert.isTrue(text === "" || text.endsWith("\n"))
  for (const line of text.split("\n").slice(0, -1)) {
    const head = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/.exec(line)
    if (head !== null) {
      if (head[1] === "HELP") {
        help = [head[2]!, head[3]!.replace(/\\(.)/g, (_, c: string) => c === "n" ? "\n" : c)]
        continue
      }
      assert.strictEqual(help?.[0], head[2], line)
      assert.isFalse(families.has(head[2]!), `family twice: ${line}`)
      current = [head[2]!, { type: head[3]!, help: help?.[1] ?? "", samples: new Map() }]
      families.set(...current)
      continue
    }
    const found = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$/
      .exec(line)
    assert.isNotNull(found, `not a sample: ${line}`)
    const [, name, , inside = "", number] = found!
    assert.isTrue(
      name === current?.[0] ||
        (current?.[1].type === "summary" && (name === `${current[0]}_sum` || name === `${current[0]}_count`)),
      `outside its family: ${line}`
    )
    const labels = Array.from(
      inside.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g),
      ([, label, value]) => [label, value!.replace(/\\(.)/g, (_, c: string) => c === "n" ? "\n" : c)] as const
    )
    const value = number === "NaN"
      ? Number.NaN
      : number === "+Inf"
      ? Infinity
      : number === "-Inf"
      ? -Infinity
      : Number(number)
    assert.isTrue(number === "NaN" || !Number.isNaN(value), line)
    const key = JSON.stringify([name, ...labels.sort(([a], [b]) => a! < b! ? -1 : 1)])
    assert.isFalse(current![1].samples.has(key), `sample twice: ${line}`)
    current![1].samples.set(key, value)
  }
  return families
}

const scrape = (options?: Metrics.Options) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(Metrics.layer(options))
    const text = Effect.provide(
      Effect.flatMap(Metrics.Metrics, ({ all }) => Effect.map(all, PrometheusExport.toText)),
      context
    )
    return { context, text }
  })

const quiet = Logger.none
const hasPromtool = spawnSync("promtool", ["--version"]).status === 0

/** Everything that is built in, and some of an application's own. */
const full = Effect.gen(function*() {
  const { context, text } = yield* scrape({
    definitions: [{
      name: "app.queue.wait_ms",
      kind: "summary",
      unit: "ms",
      help: "a \\ and\na new line",
      labels: ["name"]
    }]
  })
  yield* Effect.provide(
    Effect.gen(function*() {
      yield* Effect.forEach(allEvents, Telemetry.emit)
      const metrics = yield* Metrics.Metrics
      yield* metrics.increment("app.jobs", 3, { path: "C:\\x \"y\"\nz", quantile: "q", le: "l" })
      yield* metrics.setGauge("app.depth.total", -0.5)
      yield* metrics.recordHistogram("app.size", 10)
      yield* metrics.recordSummary("app.queue.wait_ms", 1500, { name: "a" })
      yield* metrics.recordSummary("app.queue.wait_ms", 2500, { name: "a" })
      yield* metrics.setGauge("tinkex.process.resident_memory_bytes", 1e21)
      yield* metrics.increment("app.bad", Number.NaN)
    }),
    context
  )
  return text
})

describe("PrometheusExport", () => {
  it("names follow Prometheus' rules", () => {
    const name = PrometheusExport.exportedName
    assert.strictEqual(name("tinkex.requests.total", "counter", "count"), "tinkex_requests_total")
    assert.strictEqual(name("tinkex.circuit_breaker.opens", "counter", "count"), "tinkex_circuit_breaker_opens_total")
    assert.strictEqual(name("tinkex.request.duration_ms", "histogram", "ms"), "tinkex_request_duration_seconds")
    assert.strictEqual(name("app.wait", "gauge", "ms"), "app_wait_seconds")
    assert.strictEqual(name("app.depth.total", "gauge", "count"), "app_depth")
    assert.strictEqual(name("loss:sum/a-b", "summary", "value"), "loss_sum_a_b")
  })

  it("no two built-in metrics share an exported name", () => {
    const names = MetricNames.definitions.map(({ kind, name, unit }) => PrometheusExport.exportedName(name, kind, unit))
    assert.strictEqual(new Set(names).size, names.length)
  })

  it("built-in names keep the rules that promtool checks", () => {
    const banned = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"]
    const notBase = /^(?:pico|nano|micro|milli|centi|deci|deca|hecto|kilo|kibi|mega|mibi|giga|gibi|tera|tebi|peta|pebi)/
    for (const { help, kind, labels, name, unit } of MetricNames.definitions) {
      const exported = PrometheusExport.exportedName(name, kind, unit)
      assert.match(exported, /^[a-z][a-z0-9_]*$/)
      assert.strictEqual(exported.endsWith("_total"), kind === "counter", exported)
      assert.isAbove(help.length, 5)
      for (const part of exported.split("_")) {
        assert.isFalse(banned.includes(part), `${exported}: abbreviated unit`)
        assert.isFalse(
          ["counter", "gauge", "summary", "histogram", "bucket", "minutes", "hours", "days"].includes(part),
          exported
        )
        assert.notMatch(part, notBase, exported)
      }
      if (kind === "gauge" || kind === "counter") assert.notMatch(exported, /_(?:count|sum)$/)
      for (const label of labels) assert.match(label, /^[a-z][a-z_]*$/)
    }
  })

  it.scoped("parses back to what was recorded", () =>
    Effect.gen(function*() {
      const text = yield* full
      const families = parse(yield* text)
      const value = (family: string, ...key: ReadonlyArray<unknown>) =>
        families.get(family)?.samples.get(JSON.stringify(key))
      const training = [["operation", "training"], ["tenant", "ab12cd34"]] as const
      assert.strictEqual(value("tinkex_requests_total", "tinkex_requests_total", ...training), 2)
      assert.strictEqual(families.get("tinkex_requests_total")?.type, "counter")
      assert.strictEqual(families.get("tinkex_requests_in_flight")?.type, "gauge")
      const duration = families.get("tinkex_request_duration_seconds")
      assert.strictEqual(duration?.type, "summary")
      assert.approximately(
        value("tinkex_request_duration_seconds", "tinkex_request_duration_seconds_sum", ...training) ?? 0,
        60.012,
        1e-9
      )
      assert.strictEqual(
        value("tinkex_request_duration_seconds", "tinkex_request_duration_seconds_count", ...training),
        2
      )
      const p99 = value("tinkex_request_duration_seconds", "tinkex_request_duration_seconds", training[0], [
        "quantile",
        "0.99"
      ], training[1])
      assert.approximately(p99 ?? 0, 0.012, 0.00012)
      assert.strictEqual(
        value("app_jobs_total", "app_jobs_total", ["label_le", "l"], ["label_quantile", "q"], [
          "path",
          "C:\\x \"y\" z"
        ]),
        3
      )
      assert.strictEqual(value("app_depth", "app_depth"), -0.5)
      assert.strictEqual(families.get("app_queue_wait_seconds")?.help, "a \\ and\na new line")
      assert.strictEqual(value("app_queue_wait_seconds", "app_queue_wait_seconds_sum", ["name", "a"]), 4)
      assert.strictEqual(value("app_queue_wait_seconds_mean", "app_queue_wait_seconds_mean", ["name", "a"]), 2)
      assert.approximately(
        value("app_queue_wait_seconds_stddev", "app_queue_wait_seconds_stddev", ["name", "a"]) ?? 0,
        Math.SQRT1_2,
        1e-12
      )
      assert.strictEqual(value("tinkex_process_resident_memory_bytes", "tinkex_process_resident_memory_bytes"), 1e21)
      // Quantiles of what is no longer recent are not known; counts stay.
      yield* TestClock.adjust("1 hour")
      const later = parse(yield* text)
      assert.isNaN(later.get("app_size")?.samples.get(JSON.stringify(["app_size", ["quantile", "0.5"]])))
      assert.strictEqual(later.get("app_size")?.samples.get(JSON.stringify(["app_size_count"])), 1)
      assert.strictEqual(later.get("app_queue_wait_seconds_mean")?.samples.size, 0)
    }))

  it("any name and any label value give a page that parses back", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(
            fc.string({ maxLength: 12 }),
            fc.string({ maxLength: 12 }),
            fc.string(),
            fc.double({ min: 0, noNaN: true })
          ),
          {
            maxLength: 8
          }
        ),
        (updates) =>
          Effect.runPromise(
            Effect.scoped(Effect.gen(function*() {
              const { context, text } = yield* scrape({ snapshotInterval: "off" })
              const metrics = yield* Effect.provide(Metrics.Metrics, context)
              for (const [name, label, value, amount] of updates) {
                yield* metrics.increment(`a${name}`, amount, { [label]: value })
                yield* metrics.setGauge(`g${name}`, amount, { [label]: value })
              }
              const counters = Object.values((yield* metrics.all).counters)
              const families = parse(yield* text)
              const total = counters.reduce((sum, { series }) => sum + series.length, 0)
              let found = 0
              for (const { samples, type } of families.values()) if (type === "counter") found += samples.size
              assert.strictEqual(found, total)
            })).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, quiet)))
          )
      ),
      { numRuns: 100 }
    ))

  it.scoped("two names that would be exported alike are kept apart", () =>
    Effect.gen(function*() {
      const { context, text } = yield* scrape()
      const metrics = yield* Effect.provide(Metrics.Metrics, context)
      yield* metrics.increment("a.b")
      yield* metrics.increment("a_b")
      yield* metrics.setGauge("a.b-total", 7)
      yield* metrics.setGauge("s.sum", 7)
      yield* metrics.recordHistogram("s", 7)
      assert.deepStrictEqual(Array.from(parse(yield* text).keys()), ["a_b_total", "a_b_total_2", "a_b", "s_sum", "s_2"])
    }))

  it.scoped("an empty registry is an empty page", () =>
    Effect.gen(function*() {
      const { text } = yield* scrape()
      assert.strictEqual(yield* text, "")
    }))

  it.effect("answers over HTTP with its media type", () =>
    Effect.gen(function*() {
      yield* Telemetry.emit(allEvents[1]!)
      const handler = yield* Effect.map(Effect.runtime<Metrics.Metrics>(), (runtime) =>
        HttpApp.toWebHandlerRuntime(runtime)(PrometheusExport.httpApp))
      const response = yield* Effect.promise(() =>
        handler(new Request("http://localhost/metrics"))
      )
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8")
      const families = parse(yield* Effect.promise(() => response.text()))
      assert.isTrue(families.has("tinkex_requests_success_total"))
    }).pipe(Effect.provide(Metrics.layer())))

  // `promtool` is Debian's package prometheus; CI has it.
  it.scoped.skipIf(!hasPromtool)("promtool accepts the page", () =>
    Effect.gen(function*() {
      const page = yield* yield* full
      const { status, stderr, stdout } = spawnSync("promtool", ["check", "metrics"], { input: page, encoding: "utf8" })
      assert.deepStrictEqual({ status, stdout, stderr }, { status: 0, stdout: "", stderr: "" })
    }))
})
