import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as Telemetry from "../../src/observability/Telemetry.js"
import type { Of, Stamped } from "../../src/observability/TelemetryEvent.js"
import * as TelemetryEvent from "../../src/observability/TelemetryEvent.js"
import { allEvents, httpStop, oneOfEach } from "./events.js"

interface Line {
  readonly level: string
  readonly message: string
  readonly annotations: Record<string, unknown>
}

/** Runs with telemetry that is on and a logger that keeps its lines. */
const withLines = <A, E>(
  body: (lines: ReadonlyArray<Line>, telemetry: Telemetry.TelemetryService) => Effect.Effect<A, E, Scope.Scope>
) => {
  const lines: Array<Line> = []
  const logger = Logger.make(({ annotations, logLevel, message }) => {
    lines.push({
      level: logLevel._tag,
      message: String(Array.isArray(message) ? message[0] : message),
      annotations: Object.fromEntries(HashMap.toEntries(annotations))
    })
  })
  return Effect.flatMap(Telemetry.Telemetry, (telemetry) => body(lines, telemetry)).pipe(
    Effect.scoped,
    Effect.provide(Layer.merge(Telemetry.layer(), Logger.replace(Logger.defaultLogger, logger)))
  )
}

describe("Telemetry", () => {
  describe("emit", () => {
    it.scoped("is off by default, and costs its callers no requirement", () =>
      Effect.gen(function*() {
        const telemetry = yield* Telemetry.Telemetry
        assert.isFalse(telemetry.enabled)
        yield* telemetry.listen(() => assert.fail("nobody should be called"))
        const events = yield* telemetry.events
        yield* Telemetry.emit(httpStop())
        yield* Telemetry.attachLogger()
        assert.strictEqual(yield* Stream.runCount(events), 0)
        assert.isFalse((yield* Effect.provide(Telemetry.Telemetry, Telemetry.layerDisabled)).enabled)
      }))

    it.scoped("hands every event to every listener, at once and with the time", () =>
      Effect.gen(function*() {
        const telemetry = yield* Telemetry.make()
        const first: Array<Stamped> = []
        const second: Array<Stamped> = []
        yield* telemetry.emit(httpStop())
        yield* telemetry.listen((event) => first.push(event))
        const scope = yield* Scope.make()
        yield* Scope.extend(telemetry.listen((event) => second.push(event)), scope)
        yield* TestClock.adjust("5 seconds")
        yield* Effect.forEach(allEvents, telemetry.emit)
        assert.deepStrictEqual(first, allEvents.map((event) => ({ timestamp: 5000, ...event })))
        assert.deepStrictEqual(second, first)
        yield* Scope.close(scope, Exit.void)
        yield* telemetry.emit(httpStop())
        assert.strictEqual(first.length, allEvents.length + 1)
        assert.strictEqual(second.length, allEvents.length)
      }))

    it.effect("passes over a listener that throws, and says so once", () =>
      withLines((lines, telemetry) =>
        Effect.gen(function*() {
          let calls = 0
          yield* telemetry.listen(() => {
            throw new Error("a listener's own fault")
          })
          yield* telemetry.listen(() => {
            calls++
          })
          const events = yield* telemetry.events
          yield* telemetry.emit(httpStop())
          yield* telemetry.emit(httpStop())
          assert.strictEqual(calls, 2)
          assert.strictEqual(Chunk.size(yield* Stream.runCollect(Stream.take(events, 2))), 2)
          assert.deepStrictEqual(lines.map(({ level, message }) => [level, message]), [
            ["Warning", "a telemetry listener failed; it will not be reported again"]
          ])
        })
      ))

    it.scoped("a listener may come and go while an event is handed out", () =>
      Effect.gen(function*() {
        const telemetry = yield* Telemetry.make()
        const scope = yield* Scope.make()
        let calls = 0
        yield* telemetry.listen(() => Effect.runSync(Scope.close(scope, Exit.void)))
        yield* Scope.extend(
          telemetry.listen(() => {
            calls++
          }),
          scope
        )
        yield* telemetry.emit(httpStop())
        yield* telemetry.emit(httpStop())
        assert.strictEqual(calls, 1)
      }))
  })

  describe("events", () => {
    it.scoped("misses nothing that is emitted after it returns", () =>
      Effect.gen(function*() {
        const telemetry = yield* Telemetry.make()
        const events = yield* telemetry.events
        yield* Effect.forEach(allEvents, telemetry.emit)
        const seen = yield* Stream.runCollect(Stream.take(events, allEvents.length))
        assert.deepStrictEqual(Chunk.toReadonlyArray(seen).map(({ _tag }) => _tag), allEvents.map(({ _tag }) => _tag))
      }))

    it.scoped("a reader that falls behind loses the oldest and delays nobody", () =>
      Effect.gen(function*() {
        const telemetry = yield* Telemetry.make({ capacity: 16 })
        const events = yield* telemetry.events
        for (let i = 0; i < 1000; i++) yield* telemetry.emit({ ...oneOfEach.TrainingStep, step: i })
        const seen = yield* Stream.runCollect(Stream.take(events, 16))
        assert.deepStrictEqual(
          Chunk.toReadonlyArray(seen).map((event) => event._tag === "TrainingStep" ? event.step : -1),
          Array.from({ length: 16 }, (_, i) => 984 + i)
        )
      }))

    it.scoped("ends with its scope, and then costs nothing", () =>
      Effect.gen(function*() {
        const telemetry = yield* Telemetry.make()
        const scope = yield* Scope.make()
        const events = yield* Scope.extend(telemetry.events, scope)
        const fiber = yield* Effect.fork(Stream.runCollect(events))
        yield* telemetry.emit(httpStop())
        yield* Effect.yieldNow()
        yield* Scope.close(scope, Exit.void)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)) || Exit.isSuccess(yield* Fiber.await(fiber)))
      }))

    it.scoped("with nobody listening, an event is not even stamped", () =>
      Effect.gen(function*() {
        let looks = 0
        const clock = yield* Effect.clock
        const counting: Clock.Clock = {
          ...clock,
          unsafeCurrentTimeMillis: () => {
            looks++
            return 0
          }
        }
        const telemetry = yield* Effect.withClock(Telemetry.make(), counting)
        yield* telemetry.emit(httpStop())
        yield* Effect.scoped(Effect.zipRight(telemetry.events, telemetry.emit(httpStop())))
        assert.strictEqual(looks, 1)
        yield* Effect.scoped(Effect.zipRight(telemetry.listen(() => {}), telemetry.emit(httpStop())))
        assert.strictEqual(looks, 2)
        yield* telemetry.emit(httpStop())
        assert.strictEqual(looks, 2)
      }))
  })

  describe("attachLogger", () => {
    it.effect("logs from a level up, with the plain fields as annotations", () =>
      withLines((lines, telemetry) =>
        Effect.gen(function*() {
          yield* Effect.scoped(Effect.gen(function*() {
            yield* Telemetry.attachLogger({ level: "Warning" })
            yield* Effect.forEach(allEvents, telemetry.emit)
          }))
          assert.deepStrictEqual(lines.map(({ level, message }) => [level, message]), [
            ["Warning", "tinkex.http.request.exception: POST /api/v1/forward_backward ended with Timeout after 60.0 s"],
            ["Warning", "tinkex.rate_limit.backoff: told to wait (429): nothing is sent for 5000 ms"],
            ["Warning", "Training for model-1 is paused. Reason: no more room."],
            ["Warning", "tinkex.circuit_breaker.open: circuit of training went from closed to open for 30.0 s"],
            ["Warning", "tinkex.batch.forward_backward.stop: batch of 4 in 2 requests took 900 ms, 1 failed"],
            ["Error", "tinkex.future.timeout: request r2 given up after 1800.0 s and 40 polls"]
          ])
          assert.deepStrictEqual(lines[0]?.annotations, {
            package: "tinkex",
            event: "HttpException",
            method: "POST",
            route: "/api/v1/forward_backward",
            operation: "training",
            tenant: "ab12cd34",
            attempt: 0,
            error: "Timeout",
            durationMs: 60_000
          })
        })
      ))

    it.effect("at level Debug has a line for everything, in order, and stops with its scope", () =>
      withLines((lines, telemetry) =>
        Effect.gen(function*() {
          yield* Effect.scoped(Effect.gen(function*() {
            yield* Telemetry.attachLogger({ level: "Debug" })
            yield* Effect.forEach(allEvents, telemetry.emit)
            yield* TestClock.adjust(1)
            assert.strictEqual(lines.length, allEvents.length)
          }))
          yield* telemetry.emit(httpStop())
          assert.deepStrictEqual(
            lines.map(({ annotations }) => annotations["event"]),
            allEvents.map(({ _tag }) => _tag)
          )
          for (const { message } of lines) assert.isAbove(message.length, 10)
        })
      ))

    it.effect("logs at Info unless told otherwise, whatever the program's own minimum is", () =>
      withLines((lines, telemetry) =>
        Effect.gen(function*() {
          yield* Effect.scoped(Effect.gen(function*() {
            yield* Telemetry.attachLogger()
            yield* telemetry.emit(oneOfEach.HttpStart)
            yield* telemetry.emit(httpStop({ status: 404 }))
            yield* telemetry.emit({ ...oneOfEach.HttpException, error: "Interrupted" })
            yield* telemetry.emit({ ...oneOfEach.SessionHeartbeatFailed, sinceSuccessMs: 121_000 })
            yield* telemetry.emit({ ...oneOfEach.FutureDone, outcome: "user_error" })
            yield* telemetry.emit({
              ...oneOfEach.BreakerTransition,
              from: "half_open",
              to: "closed",
              opensForMs: undefined
            })
            yield* telemetry.emit({ ...oneOfEach.BatchStop, failed: 0 })
            yield* telemetry.emit({ ...oneOfEach.SessionRecovered, replacedSessionId: "s0" })
            yield* telemetry.emit({ ...oneOfEach.TrainingPass, loss: undefined })
          }))
          assert.deepStrictEqual(lines.map(({ annotations, level }) => [annotations["event"], level]), [
            ["HttpStop", "Info"],
            ["SessionHeartbeatFailed", "Warning"],
            ["FutureDone", "Warning"],
            ["BreakerTransition", "Info"],
            ["BatchStop", "Info"],
            ["SessionRecovered", "Info"]
          ])
        })
      ))

    it.effect("filters", () =>
      withLines((lines, telemetry) =>
        Effect.gen(function*() {
          yield* Effect.scoped(Effect.gen(function*() {
            yield* Telemetry.attachLogger({ level: "Debug", filter: (event) => event._tag.startsWith("Session") })
            yield* Effect.forEach(allEvents, telemetry.emit)
          }))
          assert.strictEqual(lines.length, 5)
        })
      ))

    it.effect("says at most once a minute that a queue is paused, for each source, and never that it is active", () =>
      withLines((lines, telemetry) =>
        Effect.gen(function*() {
          yield* Telemetry.attachLogger()
          const paused = oneOfEach.QueueState
          const flap = Effect.zipRight(telemetry.emit(paused), telemetry.emit({ ...paused, state: "active" }))
          for (let second = 0; second < 150; second++) {
            yield* flap
            yield* TestClock.adjust("1 second")
          }
          assert.strictEqual(lines.length, 3)
          yield* telemetry.emit({ ...paused, id: "model-2" })
          yield* telemetry.emit({ ...paused, source: "sampling", id: "model-1" })
          yield* TestClock.adjust(1)
          assert.strictEqual(lines.length, 5)
        })
      ))

    it.effect("a logger that cannot keep up drops lines and says how many; nobody waits for it", () =>
      withLines((lines, telemetry) =>
        Effect.gen(function*() {
          yield* Effect.scoped(Effect.gen(function*() {
            yield* Telemetry.attachLogger()
            for (let step = 0; step < 5000; step++) yield* telemetry.emit({ ...oneOfEach.TrainingStep, step })
          }))
          assert.strictEqual(lines.length, 4097)
          assert.strictEqual(
            lines.filter(({ message }) => message === "904 telemetry events were not logged: the logger is too slow")
              .length,
            1
          )
        }).pipe(Effect.withMaxOpsBeforeYield(1_000_000))
      ))

    it.effect("text from elsewhere cannot move the cursor nor show a key", () =>
      withLines((lines, telemetry) =>
        Effect.gen(function*() {
          yield* Effect.scoped(Effect.gen(function*() {
            yield* Telemetry.attachLogger()
            yield* telemetry.emit({ ...oneOfEach.QueueState, reason: "wait\u001b[2J\r\ntml-secretsecret42 please" })
          }))
          assert.strictEqual(lines[0]?.message, "Training for model-1 is paused. Reason: wait [2J <redacted> please.")
          assert.strictEqual(lines[0]?.annotations["reason"], "wait [2J <redacted> please")
        })
      ))
  })
})

describe("TelemetryEvent", () => {
  it("every event has a dotted name of its own", () => {
    const names = allEvents.map(TelemetryEvent.nameOf)
    assert.strictEqual(new Set(names).size, allEvents.length)
    for (const name of names) assert.match(name, /^tinkex(\.[a-z_]+)+$/)
    assert.strictEqual(Object.keys(TelemetryEvent.names).length, allEvents.length)
    assert.strictEqual(TelemetryEvent.nameOf(oneOfEach.BreakerTransition), "tinkex.circuit_breaker.open")
    assert.strictEqual(TelemetryEvent.nameOf(oneOfEach.BatchStart), "tinkex.batch.forward_backward.start")
    assert.strictEqual(TelemetryEvent.nameOf(oneOfEach.BatchStop), "tinkex.batch.forward_backward.stop")
    assert.strictEqual(TelemetryEvent.nameOf(oneOfEach.HttpStop), "tinkex.http.request.stop")
  })

  it("a paused queue is told of in the words of the official SDK (docs/protocol/futures.md#queues)", () => {
    const of = (over: Partial<Of<"QueueState">>) =>
      TelemetryEvent.queueMessage({ ...oneOfEach.QueueState, reason: undefined, ...over })
    assert.strictEqual(
      of({ source: "model_creation", id: "base", reason: "r" }),
      "Model creation for base is paused. Reason: r."
    )
    assert.strictEqual(
      of({ state: "paused_rate_limit" }),
      "Training for model-1 is paused. Reason: concurrent training clients rate limit hit."
    )
    assert.strictEqual(
      of({ source: "sampling", id: "s", state: "paused_rate_limit" }),
      "Sampling is paused for sampler s. Reason: concurrent sampler weights limit hit"
    )
    assert.strictEqual(
      of({ state: "paused_capacity", reason: "" }),
      "Training for model-1 is paused. Reason: Tinker backend is running short on capacity, please wait."
    )
    assert.strictEqual(of({ state: "unknown" }), "Training for model-1 is paused. Reason: unknown.")
  })
})
