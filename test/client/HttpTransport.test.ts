import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Fiber, FiberId, Redacted, Schema, TestClock, Tracer } from "effect"
import { inspect } from "node:util"
import * as HttpTransport from "../../src/client/HttpTransport.js"
import { platformOf } from "../../src/client/transport/platform.js"
import * as Internal from "../../src/client/transport/transport.js"
import { ClientConfig } from "../../src/protocol/Service.js"
import { version } from "../../src/protocol/Version.js"
import * as TinkexConfig from "../../src/TinkexConfig.js"
import { recordEvents, type Reply, rushed, settle, testOver as test } from "./fixtures/FakeService.js"

const base: TinkexConfig.Options = { baseUrl: "http://fake/x", apiKey: "tml-secret", retry: { base: "1 second" } }

const transportOf = (options?: TinkexConfig.Options) =>
  Effect.flatMap(TinkexConfig.make({ ...base, ...options }), HttpTransport.make)

const step: HttpTransport.Request = {
  operation: "optim_step (model m)",
  method: "POST",
  path: "optim_step",
  pool: "training",
  body: HttpTransport.jsonBody({ model_id: "m" })
}
const sample: HttpTransport.Request = { ...step, operation: "sample (x)", path: "asample", pool: "sampling", times: 0 }
const poll: HttpTransport.Request = {
  ...step,
  operation: "poll (x)",
  path: "retrieve_future",
  pool: "futures",
  times: 0
}

describe("HttpTransport", () => {
  test("sends the headers of the protocol, and the key only in its header", (fake) =>
    Effect.gen(function*() {
      const transport = yield* transportOf({
        headers: { "X-Own": "1" },
        cloudflareAccess: { clientId: "cf", clientSecret: "cfs" }
      })
      yield* transport.send({ ...step, timeout: Duration.seconds(45), headers: { "x-more": "2" } })
      const [call] = fake.calls
      assert.strictEqual(call!.url, "http://fake/x/api/v1/optim_step")
      const { headers } = call!
      assert.strictEqual(headers["x-api-key"], "tml-secret")
      assert.strictEqual(headers["user-agent"], `tinkex/${version} (TypeScript)`)
      assert.strictEqual(headers["content-type"], "application/json")
      assert.strictEqual(headers["accept"], "application/json")
      assert.strictEqual(headers["x-stainless-retry-count"], "0")
      assert.strictEqual(headers["x-stainless-read-timeout"], "45")
      assert.strictEqual(headers["x-stainless-runtime"], "node")
      assert.match(headers["x-stainless-package-version"]!, /^\d+\.\d+\.\d+$/)
      assert.match(headers["x-idempotency-key"]!, /^tinkex-retry-[0-9a-f]{24}-\d+$/)
      assert.strictEqual(headers["cf-access-client-id"], "cf")
      assert.strictEqual(headers["cf-access-client-secret"], "cfs")
      assert.strictEqual(headers["x-own"], "1")
      assert.strictEqual(headers["x-more"], "2")
      assert.isUndefined(headers["traceparent"])
      assert.notInclude(call!.url, "secret")
    }))

  test("a GET has a query and no idempotency key; no key, no header", (fake) =>
    Effect.gen(function*() {
      fake.on("training_runs?limit=2", () => ({ json: {} }))
      fake.on("training_runs", () => ({ json: {} }))
      const transport = yield* transportOf({ apiKey: "" })
      yield* transport.send({
        operation: "list",
        method: "GET",
        path: "training_runs",
        pool: "service",
        query: { limit: 2, offset: undefined, q: "", access_scope: "a:b", all: true }
      })
      const [call] = fake.calls
      assert.strictEqual(call!.url, "http://fake/x/api/v1/training_runs?limit=2&access_scope=a%3Ab&all=true")
      assert.isUndefined(call!.headers["x-idempotency-key"])
      assert.isUndefined(call!.headers["x-api-key"])
      assert.isUndefined(call!.headers["content-type"])
    }))

  it("the platform is named as the official SDK does, wherever it runs", () => {
    const node = platformOf({ process: { platform: "darwin", arch: "arm64", versions: { node: "20.1.0" } } })
    assert.deepStrictEqual(node, { os: "MacOS", arch: "arm64", runtime: "node", runtimeVersion: "20.1.0" })
    const odd = platformOf({ process: { platform: "sunos", arch: "s390x", versions: { bun: "1.0.0", node: "20" } } })
    assert.deepStrictEqual(odd, { os: "Other:sunos", arch: "other:s390x", runtime: "bun", runtimeVersion: "1.0.0" })
    assert.strictEqual(platformOf({ navigator: { userAgent: "Mozilla" } }).runtime, "browser")
    assert.deepStrictEqual(platformOf({ process: { versions: { deno: "2" } } }).os, "unknown")
    assert.strictEqual(platformOf({}).runtime, "unknown")
  })

  describe("repeats (truth table)", () => {
    const cases: ReadonlyArray<readonly [name: string, reply: Reply, repeated: boolean, tag: string]> = [
      ["408", { status: 408, json: { detail: "slow" } }, true, "RequestTimeout"],
      ["409", { status: 409, json: { detail: "taken" } }, false, "Conflict"],
      ["429 without a header", { status: 429, json: { detail: "calm" } }, true, "RateLimited"],
      ["500", { status: 500, text: "boom" }, true, "ServerError"],
      ["503", { status: 503 }, true, "ServerError"],
      ["400", { status: 400, json: { detail: "bad" } }, false, "BadRequest"],
      ["400 without a body, from a gateway", { status: 400 }, true, "ConnectionError"],
      ["401", { status: 401, json: { detail: "who" } }, false, "Unauthorized"],
      ["403", { status: 403, json: { detail: "no" } }, false, "PermissionDenied"],
      ["404", { status: 404, json: { detail: "none" } }, false, "NotFound"],
      ["422", { status: 422, json: { detail: [{ loc: ["a"], msg: "m" }] } }, false, "BadRequest"],
      ["302", { status: 302 }, false, "UnexpectedStatus"],
      ["refused", { code: "ECONNREFUSED" }, true, "ConnectionError"],
      ["reset", { code: "ECONNRESET" }, true, "ConnectionError"],
      ["503 with x-should-retry: false", { status: 503, headers: { "X-Should-Retry": "false" } }, false, "ServerError"],
      [
        "400 with x-should-retry: true",
        { status: 400, json: { detail: "bad" }, headers: { "x-should-retry": "TRUE" } },
        true,
        "BadRequest"
      ]
    ]
    for (const [name, reply, repeated, tag] of cases) {
      test(`${name} is ${repeated ? "repeated" : "final"}`, (fake) =>
        Effect.gen(function*() {
          fake.on("optim_step", (_, n) => n === 0 ? reply : undefined)
          const transport = yield* transportOf()
          const exit = yield* Effect.exit(rushed(transport.send(step)))
          assert.strictEqual(Exit.isSuccess(exit), repeated)
          assert.lengthOf(fake.calls, repeated ? 2 : 1)
          if (repeated) {
            const [first, second] = fake.calls
            assert.strictEqual(second!.headers["x-idempotency-key"], first!.headers["x-idempotency-key"])
            assert.strictEqual(second!.headers["x-stainless-retry-count"], "1")
          }
          // and without repeats it comes out as it is
          fake.on("optim_step", () => reply)
          const error = yield* Effect.flip(transport.send({ ...step, times: 0 }))
          assert.strictEqual(error._tag, tag)
        }))
    }

    test(
      "never more often than configured, and another call has another idempotency key",
      (fake) =>
        Effect.gen(function*() {
          fake.on("optim_step", () => ({ status: 500 }))
          const transport = yield* transportOf({ retry: { times: 3 } })
          const error = yield* Effect.flip(rushed(transport.send(step)))
          assert.strictEqual(error._tag, "ServerError")
          assert.lengthOf(fake.calls, 4)
          yield* Effect.flip(rushed(transport.send(step)))
          const keys = new Set(fake.calls.map((call) => call.headers["x-idempotency-key"]))
          assert.lengthOf([...keys], 2)
        }),
      { breaker: { enabled: false } }
    )

    test("a call gives up at its deadline", (fake) =>
      Effect.gen(function*() {
        fake.on("optim_step", () => ({ status: 500 }))
        const transport = yield* transportOf({ retry: { times: 1000 }, timeouts: { call: "30 seconds" } })
        yield* Effect.flip(rushed(transport.send(step)))
        const last = fake.calls[fake.calls.length - 1]!
        assert.isBelow(last.at, 30_000)
      }), { breaker: { enabled: false } })

    test("repeats of all calls together stay within the budget", (fake) =>
      Effect.gen(function*() {
        fake.on("optim_step", () => ({ status: 500 }))
        const transport = yield* transportOf({ retry: { times: 10 } })
        yield* rushed(Effect.forEach(Array.from({ length: 50 }), () => Effect.exit(transport.send(step)), {
          concurrency: "unbounded"
        }))
        // 50 calls, a fifth of that again at most (some fail before the others have begun), and nothing per second
        assert.isAtMost(fake.calls.length, 60)
        assert.isAbove(fake.calls.length, 50)
      }), { breaker: { enabled: false }, budget: { minPerSecond: 0, ttl: "1 hour" } })

    test("waits as long as Retry-After says: seconds, milliseconds, a date", (fake) =>
      Effect.gen(function*() {
        yield* TestClock.setTime(Date.parse("2026-01-01T00:00:00Z"))
        const transport = yield* transportOf({ retry: { base: "1 milli" } })
        const waits: Array<number> = []
        for (
          const headers of [
            { "retry-after": "7" },
            { "retry-after-ms": "2500", "retry-after": "9" },
            { "retry-after": new Date(Date.parse("2026-01-01T00:01:00Z")).toUTCString() }
          ] as ReadonlyArray<Record<string, string>>
        ) {
          const before = fake.calls.length
          fake.on("optim_step", () => fake.calls.length === before + 1 ? { status: 503, headers } : { json: {} })
          yield* rushed(transport.send(step), "250 millis")
          waits.push(fake.calls[before + 1]!.at - fake.calls[before]!.at)
        }
        assert.isAtLeast(waits[0]!, 7000)
        assert.isBelow(waits[0]!, 7500)
        assert.isAtLeast(waits[1]!, 2500)
        assert.isBelow(waits[1]!, 3000)
        assert.isAtLeast(waits[2]!, 48_000)
        assert.isBelow(waits[2]!, 60_000)
      }))

    test("a wait of more than a minute is the caller's", (fake) =>
      Effect.gen(function*() {
        fake.on("optim_step", () => ({ status: 429, headers: { "retry-after": "61" }, json: {} }))
        const transport = yield* transportOf()
        const error = yield* Effect.flip(transport.send(step))
        assert.strictEqual(error._tag, "RateLimited")
        assert.lengthOf(fake.calls, 1)
      }))
  })

  test("an attempt has a time limit of its own, and its answer is dropped", (fake) =>
    Effect.gen(function*() {
      fake.on("optim_step", (_, n) => n === 0 ? Effect.never : undefined)
      const transport = yield* transportOf({ timeouts: { request: "10 seconds" } })
      yield* rushed(transport.send(step))
      assert.strictEqual(fake.calls[1]!.at >= 10_000, true)
      assert.strictEqual(fake.inFlight, 0)
      fake.on("optim_step", () => Effect.never)
      const error = yield* Effect.flip(rushed(transport.send({ ...step, times: 0 })))
      assert.strictEqual(error._tag, "RequestTimeout")
      assert.include(error.message, "10s")
    }))

  describe("limiter", () => {
    test("a 429 makes every call of the tenant wait, for the time it says, and a success ends it", (fake) =>
      Effect.gen(function*() {
        fake.on(
          "asample",
          (_, n) =>
            n === 0 ? { status: 429, headers: { "retry-after": "8" }, json: { detail: "calm down" } } : undefined
        )
        const first = yield* transportOf()
        const second = yield* transportOf()
        assert.strictEqual(first.limiter, second.limiter)
        const error = yield* Effect.flip(first.send(sample))
        assert.strictEqual(error._tag, "RateLimited")
        const waiting = yield* Effect.fork(Effect.forEach(
          Array.from({ length: 20 }),
          (_, i) => (i % 2 === 0 ? first : second).send(i % 3 === 0 ? step : sample),
          { concurrency: "unbounded" }
        ))
        yield* TestClock.adjust("7900 millis")
        assert.lengthOf(fake.calls, 1)
        yield* TestClock.adjust("100 millis")
        yield* Fiber.join(waiting)
        assert.lengthOf(fake.calls, 21)
        assert.isFalse(yield* first.limiter.shouldBackoff)
      }))

    test("another tenant does not wait", (fake) =>
      Effect.gen(function*() {
        fake.on("asample", ({ headers }) =>
          headers["x-api-key"] === "tml-a" ? { status: 429, headers: { "retry-after": "30" }, json: {} } : undefined)
        const a = yield* transportOf({ apiKey: "tml-a" })
        const b = yield* transportOf({ apiKey: "tml-b" })
        yield* Effect.flip(a.send(sample))
        yield* b.send(sample)
        assert.isTrue(yield* a.limiter.shouldBackoff)
        assert.notStrictEqual(a.limiter, b.limiter)
        assert.notStrictEqual(a.gate("sampling"), b.gate("sampling"))
        assert.notStrictEqual(a.breaker("training"), b.breaker("training"))
      }))

    test("without a header: a second, five for a large body", (fake) =>
      Effect.gen(function*() {
        fake.on("asample", () => ({ status: 429, json: {} }))
        const transport = yield* transportOf()
        yield* Effect.flip(transport.send(sample))
        assert.strictEqual(Duration.toMillis(yield* transport.limiter.remaining), 1000)
        yield* TestClock.adjust("2 seconds")
        yield* Effect.flip(transport.send({
          ...sample,
          body: { bytes: new Uint8Array(128 * 1024 + 1), contentType: "application/octet-stream" }
        }))
        assert.strictEqual(Duration.toMillis(yield* transport.limiter.remaining), 5000)
      }))

    test("a success that was under way when the 429 came does not end the wait", (fake) =>
      Effect.gen(function*() {
        const go = Deferred.unsafeMake<Reply>(FiberId.none)
        fake.on("asample", (_, n) =>
          n === 0 ? Deferred.await(go) : { status: 429, headers: { "retry-after": "9" }, json: {} })
        const transport = yield* transportOf()
        const early = yield* Effect.fork(transport.send(sample))
        yield* settle
        yield* Effect.flip(transport.send(sample))
        yield* Deferred.succeed(go, { json: {} })
        yield* Fiber.join(early)
        assert.isTrue(yield* transport.limiter.shouldBackoff)
      }))

    test("who waits longer than its deadline allows is told so at once", (fake) =>
      Effect.gen(function*() {
        const transport = yield* transportOf({ timeouts: { call: "5 seconds" } })
        yield* transport.limiter.setBackoff("20 seconds")
        const error = yield* Effect.flip(transport.send(sample))
        assert.strictEqual(error._tag, "RateLimited")
        assert.lengthOf(fake.calls, 0)
      }))

    test("polls and heartbeats go out all the same", (fake) =>
      Effect.gen(function*() {
        fake.on("retrieve_future", () => ({ json: {} }))
        const transport = yield* transportOf()
        yield* transport.limiter.setBackoff("20 seconds")
        yield* transport.send(poll)
        yield* transport.send({ ...step, path: "session_heartbeat", pool: "session", unguarded: true })
        assert.lengthOf(fake.calls, 2)
        assert.isTrue(yield* transport.limiter.shouldBackoff)
      }))

    test("a call that comes into the gate after a 429 leaves it and waits", (fake) =>
      Effect.gen(function*() {
        const go = Deferred.unsafeMake<Reply>(FiberId.none)
        fake.on("asample", (_, n) => n === 0 ? Deferred.await(go) : undefined)
        const transport = yield* transportOf({ pools: { sampling: 1 } })
        const first = yield* Effect.fork(Effect.exit(transport.send(sample)))
        yield* settle
        const second = yield* Effect.fork(transport.send(sample))
        yield* TestClock.adjust("1 second")
        assert.lengthOf(fake.calls, 1)
        yield* Deferred.succeed(go, { status: 429, headers: { "retry-after": "5" }, json: {} })
        yield* Fiber.join(first)
        yield* TestClock.adjust("4 seconds")
        assert.lengthOf(fake.calls, 1)
        assert.strictEqual(yield* transport.gate("sampling").inFlight, 0)
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(second)
        assert.lengthOf(fake.calls, 2)
      }))
  })

  describe("gates", () => {
    test("a kind of call has its own, and holds nothing while it waits to repeat", (fake) =>
      Effect.gen(function*() {
        fake.on("optim_step", (_, n) => n === 0 ? { status: 503 } : undefined)
        const transport = yield* transportOf({ pools: { training: 1 } })
        const first = yield* Effect.fork(transport.send(step))
        yield* settle
        assert.strictEqual(yield* transport.gate("training").inFlight, 0)
        yield* transport.send(step)
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.join(first)
        assert.lengthOf(fake.calls, 3)
      }))

    test("polls that hang keep no training step waiting", (fake) =>
      Effect.gen(function*() {
        fake.on("retrieve_future", () => Effect.never)
        const transport = yield* transportOf({ pools: { futures: 2, training: 1 } })
        const polls = yield* Effect.fork(
          Effect.forEach(Array.from({ length: 5 }), () => transport.send(poll), { concurrency: "unbounded" })
        )
        yield* settle
        assert.lengthOf(fake.of("retrieve_future"), 2)
        yield* transport.send(step)
        yield* Fiber.interrupt(polls)
        assert.strictEqual(fake.inFlight, 0)
        assert.strictEqual(yield* transport.gate("futures").inFlight, 0)
        assert.strictEqual(yield* transport.gate("futures").waiting, 0)
      }))

    test("shortly after a back-off only a few samples go out at once, and weigh more", (fake) =>
      Effect.gen(function*() {
        fake.on("asample", (_, n) => n === 0 ? { status: 429, json: {} } : Effect.never)
        const transport = yield* transportOf({ sampling: { throttled: 3 } })
        yield* Effect.orDie(transport.gate("sampling").resize({ bytes: 10_000 }))
        yield* Effect.flip(transport.send(sample))
        const many = Effect.forEach(Array.from({ length: 10 }), () => transport.send({ ...sample, weight: 10 }), {
          concurrency: "unbounded"
        })
        const fiber = yield* Effect.fork(many)
        yield* TestClock.adjust("1 second")
        assert.lengthOf(fake.calls, 1 + 3)
        assert.strictEqual(yield* transport.gate("sampling").bytesFree, 10_000 - 10 * 200)
        yield* Fiber.interrupt(fiber)
        yield* TestClock.adjust("10 seconds")
        const later = yield* Effect.fork(many)
        yield* settle
        assert.lengthOf(fake.calls, 1 + 3 + 10)
        assert.strictEqual(yield* transport.gate("sampling").bytesFree, 10_000 - 10 * 10)
        yield* Fiber.interrupt(later)
      }))
  })

  describe("breaker", () => {
    test("an outage opens it, then calls are refused without being sent; a probe closes it", (fake) =>
      Effect.gen(function*() {
        let down = true
        fake.on("optim_step", () => down ? { status: 503 } : undefined)
        const transport = yield* transportOf({ retry: { times: 0 } })
        for (let i = 0; i < 5; i++) yield* Effect.flip(transport.send(step))
        const refused = yield* Effect.flip(transport.send(step))
        assert.strictEqual(refused._tag, "CircuitOpen")
        assert.lengthOf(fake.calls, 5)
        yield* transport.send(sample) // another kind of call has another breaker
        down = false
        yield* TestClock.adjust("30 seconds")
        yield* transport.send(step)
        assert.strictEqual((yield* transport.breaker("training")!.state)._tag, "Closed")
      }))

    test("one probe at a time when it is half open; an interrupted one gives its place back", (fake) =>
      Effect.gen(function*() {
        let hang = false
        fake.on("optim_step", () => hang ? Effect.never : { status: 503 })
        const transport = yield* transportOf({ retry: { times: 0 } })
        for (let i = 0; i < 5; i++) yield* Effect.flip(transport.send(step))
        hang = true
        yield* TestClock.adjust("30 seconds")
        const probe = yield* Effect.fork(transport.send(step))
        yield* settle
        assert.lengthOf(fake.calls, 6)
        const refused = yield* Effect.flip(transport.send(step))
        assert.strictEqual(refused._tag, "CircuitOpen")
        yield* Fiber.interrupt(probe)
        hang = false
        fake.on("optim_step", () => undefined)
        yield* transport.send(step)
        assert.strictEqual((yield* transport.breaker("training")!.state)._tag, "Closed")
      }))

    test("4xx, 429 and interruption do not count; timeouts and lost connections do", (fake) =>
      Effect.gen(function*() {
        const transport = yield* transportOf({ retry: { times: 0 }, timeouts: { request: "5 seconds" } })
        const breaker = transport.breaker("training")!
        for (const reply of [{ status: 400, json: {} }, { status: 404 }, { status: 409 }, { status: 422 }]) {
          fake.on("optim_step", () => reply)
          for (let i = 0; i < 3; i++) yield* Effect.flip(transport.send(step))
        }
        fake.on("optim_step", () => Effect.never)
        for (let i = 0; i < 6; i++) {
          const fiber = yield* Effect.fork(transport.send(step))
          yield* settle
          yield* Fiber.interrupt(fiber)
        }
        assert.strictEqual((yield* breaker.state)._tag, "Closed")
        for (let i = 0; i < 3; i++) yield* Effect.flip(rushed(transport.send(step)))
        fake.on("optim_step", () => ({ code: "ECONNREFUSED" }))
        for (let i = 0; i < 2; i++) yield* Effect.flip(transport.send(step))
        assert.strictEqual((yield* breaker.state)._tag, "Open")
      }))

    test("polls neither trip it nor ask it", (fake) =>
      Effect.gen(function*() {
        fake.on("retrieve_future", () => ({ status: 503 }))
        const transport = yield* transportOf()
        for (let i = 0; i < 10; i++) yield* Effect.flip(transport.send(poll))
        assert.isUndefined(transport.breaker("futures"))
        assert.lengthOf(fake.calls, 10)
        assert.strictEqual((yield* transport.breaker("training")!.state)._tag, "Closed")
      }))

    test("isolated by hand it refuses for ever", (fake) =>
      Effect.gen(function*() {
        const transport = yield* transportOf()
        yield* transport.breaker("training")!.isolate
        const error = yield* Effect.flip(transport.send(step))
        assert.strictEqual(error._tag, "CircuitOpen")
        assert.lengthOf(fake.calls, 0)
      }))
  })

  describe("402", () => {
    test("is waited out, five seconds at a time, and told once a minute", (fake) =>
      Effect.gen(function*() {
        fake.on("optim_step", (_, n) => n < 30 ? { status: 402, json: { detail: "top up" } } : undefined)
        const transport = yield* transportOf({ retry: { times: 0 } })
        yield* rushed(transport.send(step), "5 seconds")
        assert.lengthOf(fake.calls, 31)
        assert.strictEqual(fake.calls[30]!.at, 150_000)
      }))

    test("as long as the service allows; after five minutes of peace it is another incident", (fake) =>
      Effect.gen(function*() {
        fake.on("optim_step", () => ({ status: 402, json: { detail: "top up" } }))
        const transport = yield* Effect.flatMap(TinkexConfig.make(base), Internal.make)
        yield* transport.adopt(
          Schema.decodeUnknownSync(ClientConfig)({ billing_exception_max_pause_duration_sec: 180 })
        )
        const error = yield* Effect.flip(rushed(transport.send(step), "1 minute"))
        assert.strictEqual(error._tag, "BillingPaused")
        assert.strictEqual(fake.calls[fake.calls.length - 1]!.at, 180_000)
        yield* TestClock.adjust("6 minutes")
        const before = fake.calls.length
        fake.on("optim_step", () => fake.calls.length === before + 1 ? { status: 402, json: {} } : undefined)
        yield* rushed(transport.send(step), "5 seconds")
        assert.lengthOf(fake.calls, before + 2)
      }))
  })

  describe("delivery", () => {
    test("what certainly never left is known, also over repeats", (fake) =>
      Effect.gen(function*() {
        const transport = yield* transportOf({ retry: { times: 1 } })
        const maybe = (replies: ReadonlyArray<Reply>) =>
          Effect.gen(function*() {
            const before = fake.calls.length
            fake.on("optim_step", () => replies[fake.calls.length - before - 1] ?? { json: {} })
            const delivery: HttpTransport.Delivery = { maybe: false }
            yield* Effect.exit(rushed(transport.send({ ...step, delivery })))
            return delivery.maybe
          })
        assert.isFalse(yield* maybe([{ code: "ECONNREFUSED" }, { code: "ENOTFOUND" }]))
        assert.isTrue(yield* maybe([{ code: "ECONNRESET" }, { code: "ECONNREFUSED" }]))
        assert.isTrue(yield* maybe([{ code: "ECONNREFUSED" }, { status: 400, json: {} }]))
        assert.isTrue(yield* maybe([{ json: {} }]))
        yield* transport.breaker("training")!.isolate
        assert.isFalse(yield* maybe([]))
      }), { breaker: { consecutiveFailures: 100 } })

    test("an interrupted attempt may have arrived, an interrupted wait has not", (fake) =>
      Effect.gen(function*() {
        fake.on("optim_step", () => Effect.never)
        const transport = yield* transportOf()
        const sending: HttpTransport.Delivery = { maybe: false }
        const fiber = yield* Effect.fork(transport.send({ ...step, delivery: sending }))
        yield* settle
        yield* Fiber.interrupt(fiber)
        assert.isTrue(sending.maybe)
        yield* transport.limiter.setBackoff("10 seconds")
        const waiting: HttpTransport.Delivery = { maybe: false }
        const other = yield* Effect.fork(transport.send({ ...step, delivery: waiting }))
        yield* settle
        yield* Fiber.interrupt(other)
        assert.isFalse(waiting.maybe)
      }))
  })

  test("events tell every attempt, its end and its repeat, with the template of the path", (fake) =>
    Effect.gen(function*() {
      const events = yield* recordEvents
      fake.on("sessions/s1/x", (_, n) => n === 0 ? { status: 503 } : { json: {} })
      const transport = yield* transportOf()
      yield* rushed(transport.send({ ...step, path: "sessions/s1/x", route: "sessions/{session_id}/x" }))
      fake.on("optim_step", () => ({ code: "ECONNRESET" }))
      yield* Effect.flip(transport.send({ ...step, times: 0 }))
      fake.on("optim_step", () => Effect.never)
      const fiber = yield* Effect.fork(transport.send(step))
      yield* settle
      yield* Fiber.interrupt(fiber)
      const seen = events.map((event) => {
        switch (event._tag) {
          case "HttpStart":
            return `start ${event.route} ${event.attempt}`
          case "HttpStop":
            return `stop ${event.status} ${event.attempt}`
          case "HttpException":
            return `exception ${event.error}`
          case "Retry":
            return `retry ${event.reason}`
          default:
            return event._tag
        }
      })
      assert.deepStrictEqual(seen, [
        "start /api/v1/sessions/{session_id}/x 0",
        "stop 503 0",
        "retry 503",
        "start /api/v1/sessions/{session_id}/x 1",
        "stop 200 1",
        "start /api/v1/optim_step 0",
        "exception ConnectionError",
        "start /api/v1/optim_step 0",
        "exception Interrupted"
      ])
    }))

  test("events tell what breaker and limiter go through, and by which tenant", (fake) =>
    Effect.gen(function*() {
      const events = yield* recordEvents
      const transport = yield* transportOf({ retry: { times: 0 } })
      const { label } = transport.settings.tenant
      fake.on("optim_step", () => ({ status: 503 }))
      for (let i = 0; i < 6; i++) yield* Effect.flip(transport.send(step))
      yield* transport.limiter.setBackoff("3 seconds")
      yield* transport.limiter.clearBackoff
      yield* TestClock.adjust("1 millis")
      const told = events.map((event): object => ({ ...event, timestamp: 0 }))
      const tells = (event: object) => assert.deepInclude(told, { timestamp: 0, ...event })
      tells({
        _tag: "BreakerTransition",
        tenant: label,
        operation: "training",
        from: "closed",
        to: "open",
        opensForMs: 30_000
      })
      tells({ _tag: "BreakerRejected", tenant: label, operation: "training" })
      tells({ _tag: "RateLimited", tenant: label, delayMs: 3000, status: 429 })
      tells({ _tag: "RateLimitCleared", tenant: label })
    }))

  describe("spans", () => {
    const recording = () => {
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        context: (f) => f(),
        span: (name, parent, context, links, startTime, kind) => {
          const attributes = new Map<string, unknown>()
          const span: Tracer.Span = {
            _tag: "Span",
            name,
            parent,
            context,
            links,
            kind,
            spanId: "0000000000000001",
            traceId: "00000000000000000000000000000001",
            sampled: true,
            status: { _tag: "Started", startTime },
            attributes,
            attribute: (key, value) => attributes.set(key, value),
            event: () => {},
            addLinks: () => {},
            end: () => {}
          }
          spans.push(span)
          return span
        }
      })
      return { spans, tracer }
    }

    test("one per call, without headers, without trace headers on the way", (fake) =>
      Effect.gen(function*() {
        const { spans, tracer } = recording()
        const transport = yield* transportOf()
        yield* Effect.withTracer(transport.send(step), tracer)
        assert.deepStrictEqual(spans.map((span) => span.name), ["tinkex POST /api/v1/optim_step"])
        assert.notInclude(inspect(Array.from(spans[0]!.attributes)), "secret")
        assert.isUndefined(fake.calls[0]!.headers["traceparent"])
      }))

    test("none when tracing is off; W3C headers when propagation is on", (fake) =>
      Effect.gen(function*() {
        const { spans, tracer } = recording()
        const silent = yield* transportOf({ tracing: false })
        yield* Effect.withTracer(silent.send(step), tracer)
        assert.lengthOf(spans, 0)
        const open = yield* transportOf({ propagation: true })
        yield* Effect.withTracer(open.send(step), tracer)
        assert.match(fake.calls[1]!.headers["traceparent"]!, /^00-0{31}1-0{15}1-01$/)
        const alone = yield* transportOf({ propagation: true, tracing: false })
        yield* alone.send(step)
        assert.isUndefined(fake.calls[2]!.headers["traceparent"])
      }))
  })

  describe("answers", () => {
    const schema = Schema.Struct({ a: Schema.Number })

    test("are decoded, and what does not fit is named without being shown", (fake) =>
      Effect.gen(function*() {
        const transport = yield* transportOf()
        fake.on("optim_step", () => ({ json: { a: 1, more: true } }))
        assert.deepStrictEqual(yield* transport.json(step, schema), { a: 1 })
        const cases: ReadonlyArray<readonly [Reply, string]> = [
          [{ json: { a: "hidden" } }, "a:"],
          [{ json: {} }, "is missing"],
          [{ text: "hidden" }, "not JSON"],
          [{ text: "" }, "empty"],
          [{ bytes: new Uint8Array([1, 2]) }, "binary"]
        ]
        for (const [reply, part] of cases) {
          fake.on("optim_step", () => ({ ...reply, headers: { "x-request-id": "r7" } }))
          const before = fake.calls.length
          const error = yield* Effect.flip(rushed(transport.json(step, schema)))
          assert.strictEqual(error._tag, "MalformedResponse")
          assert.lengthOf(fake.calls.slice(before), 4)
          assert.include(error.message, part)
          assert.include(error.message, "r7")
          assert.notInclude(error.message, "hidden")
        }
      }))

    test("that cannot be read are asked for again, under the same key", (fake) =>
      Effect.gen(function*() {
        const transport = yield* transportOf()
        for (
          const reply of [{ text: "<html>" }, { text: "" }, { text: "{\"a\": " }, { json: {} }, {
            bytes: new Uint8Array(3)
          }]
        ) {
          const before = fake.calls.length
          fake.on("optim_step", (_, n) => n < before + 3 ? reply : { json: { a: 1 } })
          assert.deepStrictEqual(yield* rushed(transport.json(step, schema)), { a: 1 })
          const keys = fake.calls.slice(before).map(({ headers }) => headers["x-idempotency-key"])
          assert.lengthOf(keys, 4)
          assert.strictEqual(new Set(keys).size, 1)
        }
      }))

    test("of the server's errors keep its words and the request id", (fake) =>
      Effect.gen(function*() {
        fake.on("optim_step", () => ({
          status: 422,
          headers: { "x-request-id": "r9" },
          json: { detail: "adam_params.learning_rate: expected a number" }
        }))
        const transport = yield* transportOf()
        const error = yield* Effect.flip(transport.send(step))
        assert.include(error.message, "optim_step (model m)")
        assert.include(error.message, "expected a number")
        assert.include(error.message, "r9")
      }))
  })

  test("a planted key is in no error, in whatever form it is printed", (fake) =>
    Effect.gen(function*() {
      const transport = yield* transportOf({ retry: { times: 0 }, timeouts: { request: "1 second" } })
      const credential = Redacted.make("tml-secret-other")
      for (
        const reply of [
          { code: "ECONNRESET" },
          { code: "WHATEVER" },
          { status: 500, text: "boom" },
          { status: 401, json: {} },
          { text: "x" }
        ] as ReadonlyArray<Reply>
      ) {
        fake.on("optim_step", () => reply)
        const exit = yield* Effect.exit(transport.json({ ...step, credential }, Schema.Struct({ a: Schema.Number })))
        assert.isTrue(Exit.isFailure(exit))
        const cause = Exit.isFailure(exit) ? exit.cause : Cause.empty
        for (
          const text of [
            Cause.pretty(cause),
            String(Cause.squash(cause)),
            JSON.stringify(Cause.squash(cause)),
            JSON.stringify(cause),
            inspect(Cause.squash(cause), { depth: 20, showHidden: true })
          ]
        ) assert.notInclude(text, "tml-secret")
      }
      assert.notInclude(inspect(transport, { depth: 20 }), "tml-secret")
    }))
})
