import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  ConfigProvider,
  Data,
  Deferred,
  Duration,
  Effect,
  Exit,
  FastCheck as fc,
  Fiber,
  Redacted,
  Scope,
  TestClock,
  Tracer
} from "effect"
import * as Future from "../../src/client/Future.js"
import * as HttpTransport from "../../src/client/HttpTransport.js"
import * as RestClient from "../../src/client/RestClient.js"
import * as TelemetryReporter from "../../src/client/TelemetryReporter.js"
import * as TinkexConfig from "../../src/TinkexConfig.js"
import * as Errors from "../../src/TinkexError.js"
import { type Fake, rushed, serviceOf, settle, testOver as test } from "./fixtures/FakeService.js"

type Event = Readonly<Record<string, unknown>>

const bodies = (fake: Fake) => fake.of("telemetry").map(({ body }) => body)
const events = (fake: Fake): ReadonlyArray<Event> => bodies(fake).flatMap(({ events }) => events as Array<Event>)
const names = (fake: Fake) => events(fake).map(({ event, event_name }) => event_name ?? event)

const accepting = (fake: Fake) => fake.on("telemetry", () => ({ json: { status: "accepted" } }))

/** A reporter in a scope that the test closes. */
const opened = (options: TinkexConfig.Options = {}, sessionId: string | null = "s1") =>
  Effect.gen(function*() {
    const settings = yield* TinkexConfig.make({ baseUrl: "http://fake", apiKey: "tml-secret-key", ...options })
    const transport = yield* HttpTransport.make(settings)
    const scope = yield* Scope.make()
    const reporter = yield* Scope.extend(
      TelemetryReporter.make({ transport, sessionId: sessionId ?? undefined }),
      scope
    )
    return { reporter, transport, close: (exit: Exit.Exit<unknown, unknown> = Exit.void) => Scope.close(scope, exit) }
  })

const answer = { operation: "optim_step (model m)", status: 400, detail: "the prompt was: my secret prompt" }
const fault = () => new Errors.ServerError({ ...answer, status: 500, requestId: "r1" })

describe("TelemetryReporter", () => {
  test("sends what it has every ten seconds, and nothing while there is nothing", (fake) =>
    Effect.gen(function*() {
      accepting(fake)
      const { reporter } = yield* opened()
      yield* reporter.log("started", { n: 1 })
      yield* TestClock.adjust("9999 millis")
      assert.lengthOf(bodies(fake), 0)
      yield* TestClock.adjust("1 millis")
      yield* settle
      assert.deepStrictEqual(names(fake), ["SESSION_START", "started"])
      yield* TestClock.adjust("1 hour")
      assert.lengthOf(bodies(fake), 1)
      yield* reporter.log("later")
      yield* TestClock.adjust("10 seconds")
      yield* settle
      assert.deepStrictEqual(names(fake), ["SESSION_START", "started", "later"])
      assert.deepStrictEqual(yield* reporter.stats, { queued: 0, sent: 3, dropped: 0, lost: 0 })
    }))

  test("a batch says whose it is, in the words of the wire", (fake) =>
    Effect.gen(function*() {
      accepting(fake)
      const { close, reporter } = yield* opened()
      yield* reporter.log("app.event", { a: true, b: null, c: "x" }, "DEBUG")
      yield* TestClock.adjust("3661500 millis")
      yield* close()
      const [first, last] = bodies(fake)
      const { events: batch, ...rest } = first!
      assert.deepStrictEqual(Object.keys(rest).sort(), ["platform", "process_uuid", "sdk_version", "session_id"])
      assert.strictEqual(rest["session_id"], "s1")
      assert.match(String(rest["sdk_version"]), /^0\.38\./)
      assert.match(
        String(rest["process_uuid"]),
        /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
      )
      assert.include(["Linux", "Darwin", "Windows"], rest["platform"])
      assert.strictEqual(last!["process_uuid"], rest["process_uuid"])
      const [start, generic] = batch as Array<Event>
      assert.deepInclude(start, {
        event: "SESSION_START",
        event_session_index: 0,
        severity: "INFO",
        timestamp: "1970-01-01T00:00:00.000Z"
      })
      const { event_id, ...others } = generic!
      assert.match(String(event_id), /^[0-9a-f-]{36}$/)
      assert.notStrictEqual(event_id, start!["event_id"])
      assert.deepStrictEqual(others, {
        event: "GENERIC_EVENT",
        event_name: "app.event",
        event_data: { a: true, b: null, c: "x" },
        event_session_index: 1,
        severity: "DEBUG",
        timestamp: "1970-01-01T00:00:00.000Z"
      })
      assert.deepInclude(events(fake).at(-1), {
        event: "SESSION_END",
        duration: "1:01:01.500000",
        event_session_index: 2
      })
      const [call] = fake.of("telemetry")
      assert.strictEqual(call!.headers["x-stainless-read-timeout"], "5")
      assert.match(call!.headers["x-idempotency-key"]!, /^[0-9a-f-]{36}$/)
    }))

  test("at once when a hundred wait, and never more than a hundred together", (fake) =>
    Effect.gen(function*() {
      accepting(fake)
      const { reporter } = yield* opened()
      yield* Effect.forEach(Array.from({ length: 98 }, (_, i) => i), (i) => reporter.log("e", { i }))
      yield* settle
      assert.lengthOf(bodies(fake), 0)
      yield* Effect.forEach(Array.from({ length: 152 }, (_, i) => i), (i) => reporter.log("e", { i }))
      yield* settle
      assert.isTrue(yield* rushed(reporter.flush))
      const sizes = bodies(fake).map(({ events }) => (events as Array<Event>).length)
      assert.strictEqual(sizes.reduce((sum, size) => sum + size, 0), 251)
      assert.isAtMost(Math.max(...sizes), 100)
      assert.deepStrictEqual(events(fake).map(({ event_session_index }) => event_session_index), [...Array(251).keys()])
    }))

  test("keeps ten thousand and counts what it drops; the hole in the numbers tells the service", (fake) =>
    Effect.gen(function*() {
      accepting(fake)
      const gate = yield* Deferred.make<void>()
      fake.on("telemetry", () => Effect.as(Deferred.await(gate), { json: { status: "accepted" } }))
      const { reporter } = yield* opened({}, null)
      yield* Effect.forEach(Array.from({ length: 100 }), () => reporter.log("first"))
      yield* settle
      assert.strictEqual((yield* reporter.stats).queued, 0) // on their way
      const kept = yield* Effect.forEach(Array.from({ length: 10_007 }), () => reporter.log("e"))
      assert.strictEqual(kept.filter((was) => was).length, 10_000)
      assert.deepStrictEqual(yield* reporter.stats, { queued: 10_000, sent: 0, dropped: 7, lost: 0 })
      yield* Deferred.succeed(gate, undefined)
      assert.isTrue(yield* rushed(reporter.flush))
      yield* reporter.log("after")
      assert.isTrue(yield* rushed(reporter.flush))
      assert.strictEqual(events(fake).at(-1)!["event_session_index"], 10_107)
      assert.deepStrictEqual(yield* reporter.stats, { queued: 0, sent: 10_101, dropped: 7, lost: 0 })
    }))

  test("closing says how it ended and sends the rest, in one go", (fake) =>
    Effect.gen(function*() {
      accepting(fake)
      const { close, reporter } = yield* opened()
      yield* reporter.log("e")
      yield* close(Exit.fail(fault()))
      assert.lengthOf(bodies(fake), 1)
      assert.deepStrictEqual(names(fake), ["SESSION_START", "e", "UNHANDLED_EXCEPTION", "SESSION_END"])
      assert.isFalse(yield* reporter.log("too late"))
    }))

  test("an interruption is no error; one that was reported is not told again when the scope ends with it", (fake) =>
    Effect.gen(function*() {
      accepting(fake)
      const one = yield* opened()
      yield* one.close(Exit.failCause(Cause.interrupt(yield* Effect.fiberId)))
      const error = fault()
      const two = yield* opened()
      assert.isTrue(yield* two.reporter.exception(error))
      assert.isFalse(yield* two.reporter.exception(error))
      yield* two.close(Exit.fail(error))
      assert.deepStrictEqual(names(fake), [
        "SESSION_START",
        "SESSION_END",
        "SESSION_START",
        "UNHANDLED_EXCEPTION",
        "SESSION_END"
      ])
    }))

  test("one endless answer costs closing the time for it, and no more", (fake) =>
    Effect.gen(function*() {
      fake.on("telemetry", () => Effect.never)
      const { close } = yield* opened({ timeouts: { finish: "2 seconds" } })
      const fiber = yield* Effect.fork(close())
      yield* TestClock.adjust("1999 millis")
      assert.isTrue((yield* Fiber.poll(fiber))._tag === "None")
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
    }))

  for (
    const [what, reply] of [["refuses connections", { code: "ECONNREFUSED" }], ["answers 503", {
      status: 503
    }]] as const
  ) {
    test(`an endpoint that ${what} is tried four times a batch; then the batch is lost, and closing waits for nothing`, (fake) =>
      Effect.gen(function*() {
        fake.on("telemetry", () => reply)
        const { close, reporter } = yield* opened()
        const fiber = yield* Effect.fork(reporter.flush)
        yield* settle
        const times: Array<number> = []
        for (const wait of [0, 1000, 2000, 4000]) {
          yield* TestClock.adjust(wait)
          yield* settle
          times.push(fake.of("telemetry").length)
        }
        assert.deepStrictEqual(times, [1, 2, 3, 4])
        assert.isTrue(yield* Fiber.join(fiber))
        assert.deepStrictEqual(yield* reporter.stats, { queued: 0, sent: 0, dropped: 0, lost: 1 })
        const keys = fake.of("telemetry").map(({ headers }) => headers["x-idempotency-key"])
        assert.lengthOf([...new Set(keys)], 1)
        yield* close() // the test's clock stands still: it would hang if it waited
        assert.lengthOf(fake.of("telemetry"), 4)
      }))
  }

  test("closing while it waits to try again does not wait for that", (fake) =>
    Effect.gen(function*() {
      fake.on("telemetry", () => ({ status: 503 }))
      const { close, reporter } = yield* opened()
      yield* reporter.exception(fault())
      yield* settle
      assert.lengthOf(fake.of("telemetry"), 1)
      yield* close()
      assert.strictEqual((yield* reporter.stats).queued, 0)
    }))

  test("what the service will never take is not repeated; a service without the endpoint is not asked again", (fake) =>
    Effect.gen(function*() {
      fake.on("telemetry", () => ({ status: 401, json: { detail: "no" } }))
      const { reporter } = yield* opened()
      assert.isTrue(yield* rushed(reporter.flush))
      assert.lengthOf(fake.of("telemetry"), 1)
      fake.on("telemetry", () => ({ status: 404, json: { detail: "no" } }))
      yield* reporter.log("e")
      assert.isTrue(yield* rushed(reporter.flush))
      assert.lengthOf(fake.of("telemetry"), 2)
      assert.isFalse(yield* reporter.log("e"))
      yield* TestClock.adjust("1 hour")
      assert.lengthOf(fake.of("telemetry"), 2)
    }))

  test("402 and 429 pause nothing but the report", (fake) =>
    Effect.gen(function*() {
      fake.on("telemetry", (_, n) =>
        n === 0
          ? { status: 402, json: {} }
          : n === 1
          ? { status: 429, headers: { "retry-after": "7" }, json: {} }
          : { json: {} })
      const { reporter, transport } = yield* opened()
      assert.isTrue(yield* rushed(reporter.flush))
      assert.strictEqual((yield* reporter.stats).lost, 1)
      yield* reporter.exception(fault())
      yield* settle
      assert.isFalse(yield* transport.limiter.shouldBackoff)
      yield* TestClock.adjust("6999 millis")
      assert.lengthOf(fake.of("telemetry"), 2)
      yield* TestClock.adjust("1 millis")
      yield* settle
      assert.strictEqual((yield* reporter.stats).sent, 1)
    }))

  test("a flush gives up after half a minute", (fake) =>
    Effect.gen(function*() {
      fake.on("telemetry", () => Effect.never)
      const { reporter } = yield* opened()
      yield* Effect.forEach(Array.from({ length: 1000 }), () => reporter.log("e"))
      const fiber = yield* Effect.fork(reporter.flush)
      yield* TestClock.adjust("30 seconds")
      assert.isFalse(yield* Fiber.join(fiber))
    }))

  test("switched off it sends nothing and says so, by option and by TINKER_TELEMETRY", (fake) =>
    Effect.gen(function*() {
      accepting(fake)
      const { close, reporter } = yield* opened({ telemetry: false })
      assert.isFalse(reporter.enabled)
      assert.isFalse(yield* reporter.log("e"))
      assert.isFalse(yield* reporter.exception(fault()))
      assert.isTrue(yield* reporter.flush)
      assert.strictEqual(yield* reporter.capture(Effect.succeed(1)), 1)
      yield* close()
      for (const [value, on] of [["0", false], ["off", false], ["No", false], ["1", true], ["", true]] as const) {
        const settings = yield* TinkexConfig.makeConfig({ baseUrl: "http://fake" }).pipe(
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["TINKER_TELEMETRY", value]])))
        )
        assert.strictEqual(settings.telemetry, on, value)
      }
      const service = yield* serviceOf({ telemetry: false })
      assert.isFalse(service.reporter.enabled)
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(fake.of("telemetry"), 0)
    }))

  test("a client without a session has an id of its own, and nothing begins or ends", (fake) =>
    Effect.gen(function*() {
      accepting(fake)
      const { close, reporter } = yield* opened({}, null)
      yield* reporter.log("e")
      yield* close()
      assert.deepStrictEqual(names(fake), ["e"])
      assert.match(String(bodies(fake)[0]!["session_id"]), /^sessionless-[0-9a-f-]{36}$/)
    }))

  test("reports open no spans", (fake) =>
    Effect.gen(function*() {
      accepting(fake)
      const spans: Array<string> = []
      const tracer = Tracer.make({
        span: (name, parent, context, links, startTime, kind) => {
          spans.push(name)
          return {
            _tag: "Span",
            name,
            spanId: "1",
            traceId: "1",
            parent,
            context,
            links,
            kind,
            sampled: true,
            status: { _tag: "Started", startTime },
            attributes: new Map(),
            end: () => {},
            attribute: () => {},
            event: () => {},
            addLinks: () => {}
          }
        },
        context: (f) => f()
      })
      const { close, reporter } = yield* Effect.withTracer(opened(), tracer)
      yield* Effect.withTracer(rushed(reporter.flush), tracer)
      yield* close()
      assert.isAtLeast(bodies(fake).length, 1)
      assert.deepStrictEqual(spans, [])
    }))
})

describe("user errors and faults", () => {
  class Wrapped extends Data.TaggedError("Wrapped")<{ readonly cause?: unknown; readonly errors?: unknown }> {}

  it("are told apart by status and category", () => {
    for (let status = 400; status < 600; status++) {
      const mistake = status < 500 && status !== 408 && status !== 429
      assert.strictEqual(TelemetryReporter.isUserError({ status }), mistake, `${status}`)
      assert.strictEqual(TelemetryReporter.isUserError(Object.assign(new Error(), { statusCode: status })), mistake)
    }
    const failed = { operation: "o", requestId: "r", detail: "d" }
    assert.isTrue(TelemetryReporter.isUserError(new Errors.RequestFailed({ ...failed, category: "user" })))
    assert.isFalse(TelemetryReporter.isUserError(new Errors.RequestFailed({ ...failed, category: "server" })))
    assert.isFalse(TelemetryReporter.isUserError(new Errors.RequestFailed({ ...failed, category: "unknown" })))
    assert.isTrue(TelemetryReporter.isUserError(new Errors.InvalidInput({ field: "f", expected: "e", actual: "a" })))
    assert.isFalse(TelemetryReporter.isUserError(
      new Errors.RateLimited({
        ...answer,
        status: 429,
        retryAfter: Duration.seconds(1)
      })
    ))
    for (const other of [undefined, null, 4, "400", new Error("400"), {}]) {
      assert.isFalse(TelemetryReporter.isUserError(other))
    }
  })

  it("wherever they are in the chain of causes, which may be a circle", () => {
    const wrap = fc.constantFrom(
      (cause: unknown) => new Wrapped({ cause }),
      (cause: unknown) => new Error("outer", { cause }),
      (cause: unknown) => new AggregateError([new Error("other"), cause]),
      (cause: unknown) => Cause.parallel(Cause.die("x"), Cause.fail(cause)),
      (cause: unknown) => new Wrapped({ cause: Cause.die(cause) })
    )
    fc.assert(fc.property(fc.array(wrap, { maxLength: 8 }), fc.boolean(), (wraps, users) => {
      const inner = users ? new Errors.BadRequest(answer) : fault()
      const outer = wraps.reduce<unknown>((cause, f) => f(cause), inner)
      return TelemetryReporter.isUserError(outer) === users
    }))
    const circle: { cause?: unknown } = {}
    circle.cause = { cause: circle }
    assert.isFalse(TelemetryReporter.isUserError(circle))
  })

  test("are reported as what they are", (fake) =>
    Effect.gen(function*() {
      accepting(fake)
      const { reporter } = yield* opened({}, null)
      yield* reporter.exception(new Wrapped({ cause: new Errors.BadRequest({ ...answer, requestId: "r9" }) }))
      yield* reporter.exception(fault(), "CRITICAL")
      yield* Effect.exit(reporter.capture(Effect.die(new TypeError("my secret prompt"))))
      yield* Effect.exit(reporter.capture(Effect.fail("my secret prompt")))
      yield* Effect.exit(reporter.capture(Effect.interrupt))
      yield* rushed(reporter.flush)
      const [user, server, defect, text, ...rest] = events(fake)
      assert.lengthOf(rest, 0)
      assert.deepInclude(user, { event: "GENERIC_EVENT", event_name: "user_error", severity: "WARNING" })
      assert.deepStrictEqual(user!["event_data"], {
        error_type: "Wrapped",
        message: "Wrapped",
        status_code: 400,
        request_id: "r9"
      })
      assert.deepInclude(server, {
        event: "UNHANDLED_EXCEPTION",
        severity: "CRITICAL",
        error_type: "ServerError",
        error_message: "optim_step (model m): ServerError (500, request r1)"
      })
      assert.deepInclude(defect, { severity: "ERROR", error_type: "TypeError", error_message: "TypeError" })
      assert.deepInclude(text, { error_type: "string", error_message: "string" })
      assert.notInclude(JSON.stringify(bodies(fake)), "secret")
    }))

  test("data of the program lose keys, long texts and tensors on the way", (fake) =>
    Effect.gen(function*() {
      accepting(fake)
      const { reporter } = yield* opened({
        apiKey: "tml-planted",
        cloudflareAccess: { clientId: "id", clientSecret: "cf-planted" }
      }, null)
      const circle: Record<string, unknown> = {}
      circle["self"] = circle
      yield* reporter.log("tml-anotherkey", {
        text: "say tml-planted and cf-planted and eyJhbGciOi.x.y",
        long: "x".repeat(5000),
        few: [1, 2, Number.NaN],
        many: Array.from({ length: 500 }, () => 0.125),
        tensor: new Float32Array([0.125, 0.25]),
        secret: Redacted.make("planted"),
        error: new Error("planted"),
        big: 12n,
        f: () => "planted",
        circle
      })
      yield* rushed(reporter.flush)
      const [event] = events(fake)
      const data = event!["event_data"] as Record<string, unknown>
      assert.strictEqual(event!["event_name"], "<redacted>")
      assert.strictEqual(data["text"], "say <redacted> and <redacted> and <redacted>")
      assert.strictEqual(String(data["long"]).length, 500)
      assert.deepStrictEqual(data["few"], [1, 2, "NaN"])
      assert.strictEqual(data["many"], "<500 numbers>")
      assert.strictEqual(data["tensor"], "<8 bytes>")
      assert.strictEqual(data["big"], "12")
      assert.notInclude(JSON.stringify(data), "planted")
      assert.notInclude(JSON.stringify(data), "0.125")
    }))
})

describe("what a service client reports", () => {
  const session = (fake: Fake, options?: TinkexConfig.Options) =>
    Effect.gen(function*() {
      accepting(fake)
      const scope = yield* Scope.make()
      const service = yield* Scope.extend(serviceOf(options), scope)
      return { scope, service }
    })

  test("its session, before the service is told that it is over", (fake) =>
    Effect.gen(function*() {
      const { scope } = yield* session(fake)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(names(fake), ["SESSION_START", "SESSION_END"])
      assert.strictEqual(bodies(fake)[0]!["session_id"], "s1")
      assert.deepStrictEqual(fake.calls.slice(-2).map(({ endpoint }) => endpoint), ["telemetry", "finish"])
    }))

  test("closing one of its clients ends nothing for the others", (fake) =>
    Effect.gen(function*() {
      const { scope, service } = yield* session(fake)
      yield* Effect.scoped(service.createLoraTrainingClient({ baseModel: "tinkex/nano" }))
      yield* Effect.scoped(service.createSamplingClient({ baseModel: "tinkex/nano" }))
      assert.isTrue(yield* service.reporter.log("still there"))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(names(fake), ["SESSION_START", "still there", "SESSION_END"])
    }))

  test("a submission that fails, once, whoever else sees it", (fake) =>
    Effect.gen(function*() {
      const { scope, service } = yield* session(fake)
      fake.on("create_model", () => ({ status: 422, json: { detail: "no such model: my secret prompt" } }))
      const error = yield* Effect.flip(Effect.scoped(service.createLoraTrainingClient({ baseModel: "x/y" })))
      yield* Scope.close(scope, Exit.fail(error))
      assert.deepStrictEqual(names(fake), ["SESSION_START", "user_error", "SESSION_END"])
      assert.deepStrictEqual(events(fake)[1]!["event_data"], {
        error_type: "BadRequest",
        message: "create_model (x/y): BadRequest (422)",
        status_code: 422
      })
    }))

  test("polls that fail, and how a future ends", (fake) =>
    Effect.gen(function*() {
      const { scope, service } = yield* session(fake)
      fake.on("retrieve_future", ({ body }, n) =>
        body["request_id"] !== "req-2"
          ? undefined
          : n === 1
          ? { status: 500, json: { detail: "oops" } }
          : n === 2
          ? { code: "ECONNRESET" }
          : n === 3
          ? { status: 408, json: { queue_state: "active" } }
          : { json: { error: "my secret prompt", category: "user" } })
      yield* Effect.scoped(Effect.gen(function*() {
        const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano" })
        const step = yield* training.optimStep()
        yield* Effect.flip(rushed(Future.await(step)))
      }))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(names(fake), [
        "SESSION_START",
        "APIFuture.result_async.api_status_error",
        "APIFuture.result_async.connection_error",
        "APIFuture.result_async.application_error",
        "user_error",
        "SESSION_END"
      ])
      const [, status, , application] = events(fake)
      assert.strictEqual(status!["severity"], "WARNING")
      assert.deepInclude(status!["event_data"], {
        request_id: "req-2",
        request_type: "OptimStep",
        error_type: "ServerError",
        status_code: 500,
        is_user_error: false,
        iteration: 0
      })
      assert.deepInclude(application!["event_data"], { error_type: "RequestFailed", is_user_error: true, iteration: 3 })
      assert.notInclude(JSON.stringify(bodies(fake)), "secret")
    }))

  test("samples that fail for good; nothing that was never sent", (fake) =>
    Effect.gen(function*() {
      const { scope, service } = yield* session(fake)
      yield* Effect.scoped(Effect.gen(function*() {
        const sampler = yield* service.createSamplingClient({ baseModel: "tinkex/nano" })
        fake.on("asample", () => ({ status: 503, json: { detail: "busy" } }))
        yield* Effect.flip(sampler.sample({ prompt: [1], maxTokens: 1 }))
        yield* Effect.flip(sampler.sample({ prompt: [-1], maxTokens: 1 }))
      }))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(names(fake), ["SESSION_START", "UNHANDLED_EXCEPTION", "SESSION_END"])
    }))

  test("a REST client without a session, its failures alone", (fake) =>
    Effect.gen(function*() {
      accepting(fake)
      yield* Effect.scoped(
        Effect.flatMap(
          RestClient.connect({ baseUrl: "http://fake", apiKey: "tml-secret" }),
          (rest) => Effect.flip(rest.getTrainingRun("nobody"))
        )
      )
      assert.deepStrictEqual(names(fake), ["user_error"])
      assert.match(String(bodies(fake)[0]!["session_id"]), /^sessionless-/)
    }))

  test("a dead endpoint changes nothing about anything else", (fake) =>
    Effect.gen(function*() {
      const { scope, service } = yield* session(fake)
      fake.on("telemetry", () => ({ code: "ECONNREFUSED" }))
      yield* Effect.scoped(Effect.gen(function*() {
        const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano" })
        yield* TestClock.adjust("30 seconds")
        yield* settle
        assert.isAtLeast(fake.of("telemetry").length, 4)
        const before = yield* Clock.currentTimeMillis
        const step = yield* training.optimStep()
        yield* Future.await(step)
        assert.strictEqual(yield* Clock.currentTimeMillis, before)
        for (const pool of ["training", "session", "service"] as const) {
          assert.strictEqual((yield* service.transport.breaker(pool)!.state)._tag, "Closed")
        }
      }))
      yield* Scope.close(scope, Exit.void) // would hang if it waited
      assert.strictEqual(fake.calls.at(-1)!.endpoint, "finish")
    }))
})
