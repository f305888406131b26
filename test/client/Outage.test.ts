import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Logger, Schema, TestClock } from "effect"
import * as Future from "../../src/client/Future.js"
import * as HttpTransport from "../../src/client/HttpTransport.js"
import * as Deadlines from "../../src/client/transport/deadlines.js"
import { make as makeTransport } from "../../src/client/transport/transport.js"
import { ClientConfig } from "../../src/protocol/Service.js"
import * as TinkexConfig from "../../src/TinkexConfig.js"
import { type Fake, type Reply, rushed, serviceOf, settle, testOver as test } from "./fixtures/FakeService.js"

const logging = Effect.sync(() => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    lines.push(`${logLevel.label} ${String(message)}`)
  })
  return { lines, layer: Logger.replace(Logger.defaultLogger, logger) }
})

/** An endpoint that answers so for a while, from the first time it is asked. */
const downFor = (fake: Fake, endpoint: string, millis: number, reply: Reply) => {
  let from: number | undefined
  fake.on(endpoint, ({ at }) => {
    from ??= at
    return at - from < millis ? reply : undefined
  })
}

/** A clock that jumps ahead where the test says so: the machine slept, and nothing ran. */
const makeGaps = Effect.map(Effect.clock, (clock) => {
  let gone = 0n
  const jumping: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + Number(gone / 1_000_000n),
    unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos() + gone,
    currentTimeMillis: Effect.sync(() => jumping.unsafeCurrentTimeMillis()),
    currentTimeNanos: Effect.sync(() => jumping.unsafeCurrentTimeNanos()),
    sleep: (duration) => clock.sleep(duration)
  }
  return {
    clock: jumping,
    sleepFor: (duration: Duration.DurationInput) =>
      Effect.sync(() => {
        gone += BigInt(Duration.toMillis(duration)) * 1_000_000n
      })
  }
})

const step: HttpTransport.Request = {
  operation: "optim_step (model m)",
  method: "POST",
  path: "optim_step",
  pool: "training",
  body: HttpTransport.jsonBody({ model_id: "m" })
}

describe("an outage", () => {
  for (const [name, reply] of [["503", { status: 503 }], ["connections lost", { code: "ECONNRESET" }]] as const) {
    for (const seconds of [6, 20, 60]) {
      test(`of ${seconds} s (${name}) is survived with default settings by all calls that repeat`, (fake) =>
        Effect.gen(function*() {
          const calls = [
            "client/config",
            "create_session",
            "create_model",
            "optim_step",
            "get_server_capabilities",
            "asample"
          ]
          for (const endpoint of calls) downFor(fake, endpoint, seconds * 1000, reply)
          const service = yield* rushed(serviceOf({ samplingRetry: "standard" }))
          const training = yield* rushed(service.createLoraTrainingClient({ baseModel: "m" }))
          yield* rushed(Effect.flatMap(training.optimStep(), Future.await))
          yield* rushed(service.serverCapabilities)
          const sampler = yield* rushed(service.createSamplingClient({ baseModel: "m" }))
          yield* rushed(sampler.sample({ prompt: [1], maxTokens: 1 }))
        }))
    }
  }

  test("a call that repeats waits for the probe of an open breaker; one that does not fails at once, and is told why", (fake) =>
    Effect.gen(function*() {
      const settings = yield* TinkexConfig.make({ baseUrl: "http://fake", apiKey: "tml-secret" })
      const transport = yield* HttpTransport.make(settings)
      fake.on("optim_step", () => ({ status: 503, json: { detail: "deploying" } }))
      for (let i = 0; i < 5; i++) yield* Effect.flip(transport.send({ ...step, times: 0 }))
      const error = yield* Effect.flip(transport.send({ ...step, times: 0 }))
      assert.strictEqual(error._tag, "CircuitOpen")
      assert.include(error.message, "The last failure: optim_step (model m): 503 the service failed: deploying")
      assert.strictEqual((error.cause as { readonly _tag: string })._tag, "ServerError")
      fake.on("optim_step", () => undefined)
      const waiting = yield* Effect.fork(Effect.forEach([1, 2, 3], () => transport.send(step), { concurrency: 3 }))
      yield* settle
      yield* TestClock.adjust("29 seconds")
      assert.lengthOf(fake.calls, 5)
      yield* TestClock.adjust("1 second")
      yield* settle
      // one probe; when it has succeeded, the others
      yield* rushed(Fiber.join(waiting))
      assert.lengthOf(fake.calls, 8)
      assert.isAtMost(fake.calls.at(-1)!.at, 32_000)
    }))

  test("a wait for the probe that would end beyond the call's deadline is not begun; isolation is never waited for", (fake) =>
    Effect.gen(function*() {
      const settings = yield* TinkexConfig.make({
        baseUrl: "http://fake",
        apiKey: "tml-secret",
        timeouts: { call: "20 seconds" }
      })
      const transport = yield* HttpTransport.make(settings)
      fake.on("optim_step", () => ({ status: 503 }))
      for (let i = 0; i < 5; i++) yield* Effect.flip(transport.send({ ...step, times: 0 }))
      assert.strictEqual((yield* Effect.flip(transport.send(step)))._tag, "CircuitOpen")
      const breaker = transport.breaker("training")!
      yield* breaker.reset
      yield* breaker.isolate
      const error = yield* Effect.flip(transport.send(step))
      assert.strictEqual(error._tag, "CircuitOpen")
      assert.include(error.message, "refused until their circuit is reset")
    }))

  for (const status of [500, 501]) {
    test(`${status} is the service's answer about one run: others of the tenant go on`, (fake) =>
      Effect.gen(function*() {
        const service = yield* serviceOf({ retry: { times: 0 } })
        const bad = yield* service.createLoraTrainingClient({ baseModel: "m" })
        const good = yield* service.createLoraTrainingClient({ baseModel: "m" })
        fake.on("optim_step", ({ body }) => body["model_id"] === bad.modelId ? { status } : undefined)
        for (let i = 0; i < 20; i++) yield* Effect.flip(bad.optimStep())
        yield* Effect.flatMap(good.optimStep(), Future.await)
        assert.strictEqual((yield* service.transport.breaker("training")!.state)._tag, "Closed")
      }))
  }
})

describe("silence", () => {
  const dead = (fake: Fake) => {
    for (const endpoint of ["retrieve_future", "session_heartbeat", "optim_step", "telemetry"]) {
      fake.on(endpoint, () => ({ code: "ECONNREFUSED" }))
    }
  }

  test("a server that died is told at once and once, and ends what waits after two minutes", (fake) =>
    Effect.gen(function*() {
      const { layer, lines } = yield* logging
      yield* Effect.gen(function*() {
        const service = yield* serviceOf()
        const training = yield* service.createLoraTrainingClient({ baseModel: "m" })
        fake.on("retrieve_future", () => ({ status: 408, json: {} }))
        const futures = yield* Effect.all([training.optimStep(), training.optimStep(), training.optimStep()])
        dead(fake)
        const begun = yield* Clock.currentTimeMillis
        const waiting = yield* Effect.fork(Effect.flip(Future.await(Future.all(futures))))
        yield* Effect.repeatN(Effect.zipRight(settle, TestClock.adjust("500 millis")), 4)
        assert.lengthOf(lines.filter((line) => line.includes("does not answer; asking again, for 2m at most")), 1)
        const error = yield* rushed(Fiber.join(waiting), "1 second")
        assert.strictEqual(error._tag, "ConnectionError")
        assert.include(error.message, "nothing has been heard of the server for 2m")
        const took = (yield* Clock.currentTimeMillis) - begun
        assert.isAtLeast(took, 110_000)
        assert.isAtMost(took, 155_000)
        assert.lengthOf(lines.filter((line) => line.includes("does not answer")), 1)
        // the service still has the requests: when it is back, they go on
        for (const endpoint of ["retrieve_future", "session_heartbeat", "optim_step"]) {
          fake.on(endpoint, () => undefined)
        }
        yield* rushed(Future.await(Future.all(futures)), "1 second")
        assert.lengthOf(lines.filter((line) => line.includes("answers again")), 1)
      }).pipe(Effect.provide(layer))
    }))

  test("a submission, too", (fake) =>
    Effect.gen(function*() {
      const service = yield* serviceOf({ timeouts: { silence: "1 minute" } })
      const training = yield* service.createLoraTrainingClient({ baseModel: "m" })
      dead(fake)
      const begun = yield* Clock.currentTimeMillis
      yield* Effect.flip(rushed(training.optimStep()))
      assert.isAtMost((yield* Clock.currentTimeMillis) - begun, 110_000)
    }))

  test("a service that answers, though badly, is not silent", (fake) =>
    Effect.gen(function*() {
      const service = yield* serviceOf()
      const training = yield* service.createLoraTrainingClient({ baseModel: "m" })
      downFor(fake, "retrieve_future", 600_000, { status: 503 })
      yield* rushed(Effect.flatMap(training.optimStep(), Future.await), "5 seconds")
    }))

  for (const hanging of [false, true]) {
    test(`after a gap of our own, ${hanging ? "in a poll" : "between polls"}, the service is asked again before it is given up`, (fake) =>
      Effect.gen(function*() {
        const gaps = yield* makeGaps
        fake.on(
          "retrieve_future",
          ({ body }) => body["request_id"] === "req-1" ? undefined : hanging ? Effect.never : { status: 408, json: {} }
        )
        const { future, service } = yield* Effect.withClock(
          Effect.gen(function*() {
            const service = yield* serviceOf()
            const training = yield* service.createLoraTrainingClient({ baseModel: "m" })
            return { service, future: yield* training.optimStep() }
          }),
          gaps.clock
        )
        yield* settle
        // the machine sleeps for a day, and the network needs a moment when it wakes
        yield* gaps.sleepFor("1 day")
        dead(fake)
        yield* Effect.repeatN(Effect.zipRight(settle, TestClock.adjust("1 second")), 70)
        for (const endpoint of ["retrieve_future", "session_heartbeat"]) fake.on(endpoint, () => undefined)
        yield* rushed(Future.await(future))
        yield* Effect.repeatN(Effect.zipRight(settle, TestClock.adjust("1 second")), 11)
        assert.strictEqual((yield* service.sessionState)._tag, "Live")
      }))
  }
})

describe("time", () => {
  it.scoped("a limit that is noticed much too late gives the answer a moment to be looked at", () =>
    Effect.gen(function*() {
      const gaps = yield* makeGaps
      const deadlines = yield* Effect.withClock(Deadlines.make, gaps.clock)
      let expired = 0
      deadlines.set(10_000, () => expired++)
      const off = deadlines.set(10_000, () => expired++)
      yield* settle
      yield* gaps.sleepFor("1 hour")
      yield* TestClock.adjust("10 seconds")
      yield* settle
      assert.strictEqual(expired, 0)
      off.off()
      yield* TestClock.adjust("1 second")
      yield* settle
      assert.strictEqual(expired, 1)
      deadlines.set(10_000, () => expired++)
      yield* settle
      yield* TestClock.adjust("10 seconds")
      yield* settle
      assert.strictEqual(expired, 2)
    }))

  const clocks = [["ahead", 2], ["behind", -2]] as const
  const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
  const jwt = (exp: number, iat?: number) => `e30.${base64({ exp, ...(iat === undefined ? {} : { iat }) })}.x`

  for (const [name, hours] of clocks) {
    for (const source of ["Date", "iat"] as const) {
      test(`a clock two hours ${name} costs no exchange of tokens (the server's is known from ${source})`, (fake) =>
        Effect.gen(function*() {
          const real = 1_800_000_000_000
          yield* TestClock.setTime(real + hours * 3_600_000)
          const token = jwt(real / 1000 + 3600, source === "iat" ? real / 1000 : undefined)
          fake.on("client/config", () => ({ json: { pjwt_auth_enabled: true } }))
          fake.on("auth/token", () => ({
            json: { jwt: token },
            ...(source === "Date" ? { headers: { date: new Date(real).toUTCString() } } : {})
          }))
          const service = yield* serviceOf()
          for (let i = 0; i < 10; i++) yield* service.serverCapabilities
          assert.lengthOf(fake.of("auth/token"), 1)
        }))
    }
  }

  test("a token that expired at the service is exchanged once, and the request made again; a wrong key is told", (fake) =>
    Effect.gen(function*() {
      let valid = jwt(9000)
      fake.on("client/config", () => ({ json: { pjwt_auth_enabled: true } }))
      fake.on("auth/token", () => ({ json: { jwt: valid } }))
      fake.on(
        "get_server_capabilities",
        ({ headers }) => headers["x-api-key"] === valid ? undefined : { status: 401, json: { detail: "expired" } }
      )
      const service = yield* serviceOf()
      valid = jwt(9001)
      yield* Effect.all(Array.from({ length: 5 }, () => service.serverCapabilities), { concurrency: 5 })
      assert.lengthOf(fake.of("auth/token"), 2)
      fake.on("get_server_capabilities", () => ({ status: 401, json: { detail: "no" } }))
      assert.strictEqual((yield* Effect.flip(service.serverCapabilities))._tag, "Unauthorized")
      assert.lengthOf(fake.of("auth/token"), 3)
    }))

  test("a Retry-After that is a date is read against the server's own Date", (fake) =>
    Effect.gen(function*() {
      const transport = yield* Effect.flatMap(
        TinkexConfig.make({ baseUrl: "http://fake", apiKey: "tml-secret", retry: { base: "1 milli" } }),
        HttpTransport.make
      )
      fake.on("optim_step", (_, n) =>
        n === 0
          ? {
            status: 429,
            json: {},
            headers: { "retry-after": "Tue, 01 Dec 2026 00:00:20 GMT", date: "Tue, 01 Dec 2026 00:00:00 GMT" }
          }
          : undefined)
      yield* rushed(transport.send(step))
      assert.isAtLeast(fake.calls[1]!.at, 20_000)
      assert.isAtMost(fake.calls[1]!.at, 21_000)
    }))
})

describe("clients of one tenant", () => {
  test("the widest pool counts, and who wished for less is told; it shrinks when the wide one closes", (fake) =>
    Effect.gen(function*() {
      const { layer, lines } = yield* logging
      const make = (training: number) =>
        Effect.flatMap(
          TinkexConfig.make({ baseUrl: "http://fake", apiKey: "tml-secret", pools: { training } }),
          makeTransport
        )
      yield* Effect.gen(function*() {
        const narrow = yield* Effect.scoped(Effect.gen(function*() {
          const wide = yield* make(64)
          const second = yield* make(2)
          assert.strictEqual(yield* wide.gate("training").limit, 64)
          assert.strictEqual(yield* second.gate("training").limit, 64)
          assert.lengthOf(lines.filter((line) => line.includes("keeps its 64 places; this client wished for 2")), 1)
          return second
        }))
        yield* make(3)
        assert.strictEqual(yield* narrow.gate("training").limit, 3)
      }).pipe(Effect.provide(layer))
      assert.lengthOf(fake.calls, 0)
    }))

  for (const setting of ["base", "cap"] as const) {
    test(`retry.${setting} without an end is refused as a setting`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(
          TinkexConfig.make({ baseUrl: "http://fake", apiKey: "tml-secret", retry: { [setting]: Duration.infinity } })
        )
        assert.strictEqual(error._tag, "ConfigurationError")
        assert.include(error.message, `retry.${setting}`)
      }))
  }

  test("what the service's configuration says is adopted", (fake) =>
    Effect.gen(function*() {
      const transport = yield* Effect.flatMap(
        TinkexConfig.make({ baseUrl: "http://fake", apiKey: "tml-secret" }),
        makeTransport
      )
      yield* transport.adopt(Schema.decodeUnknownSync(ClientConfig)({ pjwt_auth_enabled: true }))
      assert.lengthOf(fake.of("auth/token"), 1)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(transport.send(step))))
      assert.strictEqual(fake.of("optim_step")[0]!.headers["x-api-key"], "eyJh.e30.x")
    }))
})
