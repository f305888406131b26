import * as Otlp from "@effect/opentelemetry/Otlp"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Logger, LogLevel, Option, Scope } from "effect"
import { Datum, Future, MetricNames, Metrics, ServiceClient, Telemetry, type TelemetryEvent } from "tinkex"
import { TestServer } from "tinkex/testing"
import { teach } from "../../src/cli/commands/teach.js"
import { layerOver, makeFake, rushed, serviceOf } from "../client/fixtures/FakeService.js"
import { collector, metricsOf, spansOf } from "../observability/collector.js"

const names = MetricNames.MetricNames
const { baseUrl } = TestServer

/** The server's own page: `name{labels}` to value. */
const page = Effect.map(
  Effect.flatMap(HttpClient.get(`${baseUrl}/metrics`), (response) => response.text),
  (text) =>
    new Map(
      text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).map((line): [string, number] => {
        const at = line.lastIndexOf(" ")
        return [line.slice(0, at), Number(line.slice(at + 1))]
      })
    )
)

type Stamped = TelemetryEvent.Stamped
const only = <Tag extends Stamped["_tag"]>(events: ReadonlyArray<Stamped>, tag: Tag) =>
  events.filter((event): event is Extract<Stamped, { _tag: Tag }> => event._tag === tag)

const sum = <A>(items: ReadonlyArray<A>, of: (item: A) => number) => items.reduce((total, item) => total + of(item), 0)

const recorded = Effect.gen(function*() {
  const events: Array<Stamped> = []
  const telemetry = yield* Telemetry.Telemetry
  yield* telemetry.listen((event) => events.push(event))
  return events
})

describe("telemetry end to end", () => {
  it.scopedLive("an event log of the demonstration counts what the server counts", () =>
    Effect.gen(function*() {
      const events = yield* recorded
      yield* ServiceClient.make({ baseUrl }).pipe(Effect.flatMap((service) =>
        Effect.gen(function*() {
          const before = yield* page
          const steps = 3
          yield* teach({
            baseModel: "tinkex/nano",
            rank: 8,
            steps,
            learningRate: 1e-3,
            seed: 1,
            onProgress: () => Effect.void
          }).pipe(Effect.provideService(ServiceClient.ServiceClient, service), Effect.scoped)
          const after = yield* page
          const counted = (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0)

          assert.strictEqual(only(events, "TrainingStep").length, steps)
          assert.strictEqual(counted("tinkex_server_steps_total"), steps)
          const trained = sum(only(events, "TrainingPass"), ({ tokens }) => tokens)
          assert.isAbove(trained, 0)
          assert.strictEqual(counted("tinkex_server_tokens_trained_total"), trained)
          const samples = only(events, "Sampled")
          assert.lengthOf(samples, 40) // twenty questions, before and after
          assert.strictEqual(counted("tinkex_server_tokens_sampled_total"), sum(samples, ({ tokens }) => tokens))
          assert.strictEqual(
            counted("tinkex_server_tokens_prompted_total"),
            sum(samples, ({ promptTokens }) => promptTokens)
          )

          // every attempt, by endpoint and status; the page itself is asked for behind the client's back
          const told = new Map<string, number>()
          for (const { route, status } of only(events, "HttpStop")) {
            const endpoint = route.split("/").findLast((part) => !part.startsWith("{"))
            const key = `tinkex_server_requests_total{endpoint="${endpoint}",status="${status}"}`
            told.set(key, (told.get(key) ?? 0) + 1)
          }
          assert.isAbove(told.size, 8)
          for (const [key, value] of told) assert.strictEqual(after.get(key), value, key)
          const asked = [...after].filter(([key]) =>
            key.startsWith("tinkex_server_requests_total") && !key.includes("\"metrics\"")
          )
          assert.strictEqual(sum(asked, ([, value]) => value), sum([...told.values()], (value) => value))

          // the metrics of the client, which are made of the events, agree
          const metrics = yield* Metrics.Metrics
          const total = (name: string) =>
            Effect.map(
              metrics.snapshot(name),
              (found) => Option.isSome(found) && found.value.kind === "counter" ? found.value.value : undefined
            )
          assert.strictEqual(yield* total(names.trainingSteps), steps)
          assert.strictEqual(yield* total(names.tokensTrained), trained)
          assert.strictEqual(yield* total(names.tokensSampled), sum(samples, ({ tokens }) => tokens))
          assert.strictEqual(yield* total(names.requestsTotal), only(events, "HttpStop").length)
          assert.strictEqual(only(events, "HttpStart").length, only(events, "HttpStop").length)
          const futures = only(events, "FutureStart").length
          assert.strictEqual(only(events, "FutureDone").length, futures)
          assert.strictEqual(after.get("tinkex_server_operations_queued"), 0)
          assert.isAbove(after.get("tinkex_process_resident_memory_bytes") ?? 0, 1e7)
        })
      ))
    }).pipe(Effect.provide(TestServer.layerServer())))

  it.scopedLive(
    "a collector receives traces and metrics of a training loop, and no secret in them",
    () =>
      Effect.gen(function*() {
        const { received, url } = yield* collector
        const prompt = [401, 402, 403, 404, 405]
        const weights = [0.123456791, 0.223456791, 0.323456791, 0.423456791, 0.523456791]
        const otlp = Otlp.layerJson({ baseUrl: url, resource: { serviceName: "tinkex-test" } }).pipe(
          Layer.provide(FetchHttpClient.layer)
        )
        const program = Effect.gen(function*() {
          yield* Telemetry.attachLogger({ level: "Trace" })
          const service = yield* ServiceClient.make({ baseUrl, apiKey: "tml-PLANTED0123456789" })
          const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 4 })
          const data = [Datum.make({ modelInput: prompt, lossFnInputs: { target_tokens: prompt, weights } })]
          for (let step = 0; step < 3; step++) {
            const gradients = yield* training.forwardBackward(data, "cross_entropy")
            const update = yield* training.optimStep()
            yield* Effect.all([Future.await(gradients), Future.await(update)])
          }
          const sampler = yield* training.saveWeightsAndGetSamplingClient
          yield* sampler.sample({ prompt, maxTokens: 2, temperature: 0 })
          const failed = yield* Effect.exit(service.createSamplingClient({ baseModel: "no/model" }))
          assert.isTrue(Exit.isFailure(failed))
        }).pipe(Effect.scoped, Effect.withSpan("program"))
        yield* program.pipe(
          Effect.provide(
            TestServer.layerServer({ metrics: { effectMetrics: true, snapshotInterval: "off" } }).pipe(
              Layer.provideMerge(
                Layer.mergeAll(otlp, Logger.minimumLogLevel(LogLevel.All), Logger.remove(Logger.defaultLogger))
              )
            )
          )
        )

        const spans = spansOf(received).map(({ name }) => name)
        const count = (name: string) => spans.filter((other) => other === name).length
        assert.strictEqual(count("program"), 1)
        assert.strictEqual(count("tinkex POST /api/v1/forward_backward"), 3)
        assert.strictEqual(count("tinkex POST /api/v1/optim_step"), 3)
        assert.strictEqual(count("tinkex POST /api/v1/asample"), 1)
        assert.isAtLeast(count("tinkex POST /api/v1/retrieve_future"), 8)

        const metrics = metricsOf(received)
        const total = (name: string) => sum(metrics.get(name)?.sum?.dataPoints ?? [], ({ asDouble }) => asDouble ?? 0)
        assert.strictEqual(total(names.trainingSteps), 3)
        assert.strictEqual(total(names.tokensTrained), 15)
        assert.strictEqual(total(names.tokensSampled), 2)
        assert.strictEqual(total(names.tokensPrompted), 5)
        assert.isAtLeast(total(names.requestsTotal), 16)
        assert.isAbove(metrics.get(names.requestDuration)?.histogram?.dataPoints.length ?? 0, 2)

        assert.isTrue(received.some(([path]) => path === "/v1/logs"))
        const everything = JSON.stringify(received)
        assert.notInclude(everything, "PLANTED")
        assert.notMatch(everything, /401[\s,]+402/)
        assert.notMatch(everything, /0\.[12345]23456/)
      }),
    60_000
  )

  it.scoped("nothing of a program that fails, against a server that echoes what it is sent, is in what is reported", () => {
    const fake = makeFake()
    const key = "tml-PLANTED0123456789abcdef"
    const echo = (bytes: Uint8Array) => ({ detail: `PLANTED text: ${new TextDecoder().decode(bytes)} with ${key}` })
    fake.on("telemetry", () => ({ json: { status: "accepted" } }))
    fake.on(
      "asample",
      ({ bytes }, n) => n === 0 ? { status: 400, json: echo(bytes) } : { status: 500, json: echo(bytes) }
    )
    fake.on("optim_step", ({ bytes }) => fake.accept({ json: { error: echo(bytes).detail, category: "server" } }))
    fake.on("forward_backward", ({ bytes }) => ({ status: 422, json: echo(bytes) }))
    const prompt = [401, 402, 403, 404]
    return Effect.gen(function*() {
      const scope = yield* Scope.make()
      const service = yield* Scope.extend(serviceOf({ apiKey: key }), scope)
      const failure = yield* Effect.flip(rushed(Effect.scoped(Effect.gen(function*() {
        const sampler = yield* service.createSamplingClient({ baseModel: "tinkex/nano" })
        yield* Effect.exit(sampler.sample({ prompt, maxTokens: 1 }))
        yield* Effect.exit(sampler.sample({ prompt, maxTokens: 1 }))
        const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano" })
        const data = [Datum.make({
          modelInput: prompt,
          lossFnInputs: { target_tokens: prompt, weights: [0.123456791, 0.223456791, 0.323456791, 0.423456791] }
        })]
        yield* Effect.exit(training.forwardBackward(data, "cross_entropy"))
        yield* service.reporter.capture(Effect.exit(Effect.die(new Error(`PLANTED ${prompt.join()} ${key}`))))
        yield* service.reporter.log("app", {
          prompt: new Int32Array(prompt),
          key,
          weights: Array.from({ length: 9 }, () => 0.123456791)
        })
        yield* Effect.flatMap(training.optimStep(), Future.await)
      }))))
      yield* Scope.close(scope, Exit.die(new Error(`${failure._tag}: PLANTED`, { cause: failure })))
      const bodies = fake.of("telemetry").map(({ body }) => body)
      const events = bodies.flatMap(({ events }) => events as Array<Record<string, unknown>>)
      assert.isAtLeast(events.length, 8)
      const everything = JSON.stringify(bodies)
      assert.notMatch(everything, /PLANTED/)
      assert.notMatch(everything, /401[\s,]+402/)
      assert.notMatch(everything, /0\.[1234]23456/)
      assert.notInclude(everything, "abcdef")
    }).pipe(Effect.provide(layerOver(fake)))
  })
})
