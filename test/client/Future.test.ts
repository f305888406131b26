import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Logger, Option, Scope, TestClock } from "effect"
import { inspect } from "node:util"
import * as Future from "../../src/client/Future.js"
import * as QueueObserver from "../../src/client/future/queueObserver.js"
import type * as TrainingClient from "../../src/client/TrainingClient.js"
import { Telemetry } from "../../src/observability/Telemetry.js"
import type * as TinkexConfig from "../../src/TinkexConfig.js"
import {
  type Environment,
  type Fake,
  leftovers,
  recordEvents,
  type Reply,
  rushed,
  serviceOf,
  settle,
  testOver
} from "./fixtures/FakeService.js"

/** A test with a training client whose futures are polled as `polls` says. */
const test = (
  name: string,
  body: (fake: Fake, training: TrainingClient.Client) => Effect.Effect<void, unknown, Environment>,
  options?: TinkexConfig.Options
) =>
  testOver(name, (fake) =>
    Effect.flatMap(
      Effect.flatMap(serviceOf(options), (service) => service.createLoraTrainingClient({ baseModel: "m" })),
      (training) => {
        fake.calls.length = 0
        return body(fake, training)
      }
    ))

const pending: Reply = { status: 408, json: { queue_state: "active" } }
const tryAgain = (state: string, reason?: string): Reply => ({
  json: { type: "try_again", request_id: "r", queue_state: state, queue_state_reason: reason }
})
const polls = (fake: Fake, replies: ReadonlyArray<Reply>, rest?: Reply) =>
  fake.on("retrieve_future", (_, n) => replies[n] ?? rest)
const times = (fake: Fake) => fake.of("retrieve_future").map((call) => call.at)
const awaited = (training: TrainingClient.Client) => Effect.flatMap(training.optimStep(), Future.await)
const outcome = (training: TrainingClient.Client, by?: Duration.DurationInput, n?: number) =>
  Effect.exit(rushed(awaited(training), by, n))

describe("Future", () => {
  test("asks as the protocol says", (fake, training) =>
    Effect.gen(function*() {
      polls(fake, [pending])
      yield* rushed(awaited(training), "100 millis")
      const [first, second] = fake.of("retrieve_future")
      assert.deepStrictEqual(first!.body, { request_id: "req-2", allow_metadata_only: true })
      assert.strictEqual(first!.headers["x-tinker-request-iteration"], "0")
      assert.strictEqual(second!.headers["x-tinker-request-iteration"], "1")
      assert.strictEqual(first!.headers["x-tinker-request-type"], "OptimStep")
      assert.strictEqual(first!.headers["x-tinker-create-promise-roundtrip-time"], "0")
      assert.isUndefined(second!.headers["x-tinker-create-promise-roundtrip-time"])
      assert.strictEqual(first!.headers["accept"], "application/json")
      assert.strictEqual(first!.headers["x-stainless-read-timeout"], "45")
    }))

  describe("not yet", () => {
    test(
      "a server that does not hold its polls is asked ever more slowly, never in a loop",
      (fake, training) =>
        Effect.gen(function*() {
          polls(fake, [pending, tryAgain("active"), pending, pending, pending, pending])
          yield* rushed(awaited(training), "100 millis")
          assert.deepStrictEqual(times(fake), [0, 100, 300, 700, 1500, 2500, 3500])
        })
    )

    test("one that holds them is asked again at once", (fake, training) =>
      Effect.gen(function*() {
        fake.on("retrieve_future", (_, n) => n < 3 ? Effect.as(Effect.sleep("20 seconds"), pending) : undefined)
        yield* rushed(awaited(training), "10 seconds")
        assert.deepStrictEqual(times(fake), [0, 20_000, 40_000, 60_000])
      }))

    test("a 408 may have any body", (fake, training) =>
      Effect.gen(function*() {
        polls(fake, [{ status: 408 }, { status: 408, text: "<html>" }, { status: 408, json: [1] }])
        yield* rushed(awaited(training), "100 millis")
        assert.lengthOf(times(fake), 4)
      }))
  })

  describe("errors of polls", () => {
    test(
      "lost connections and 5xx back off: 1, 2, 4 … 30 s, less a jitter",
      (fake, training) =>
        Effect.gen(function*() {
          polls(fake, [
            { code: "ECONNRESET" },
            { status: 500 },
            { status: 503 },
            { code: "ECONNREFUSED" },
            { status: 502 },
            { status: 500 },
            { status: 500 }
          ])
          yield* rushed(awaited(training), "250 millis", 1000)
          const at = times(fake)
          const waits = at.slice(1).map((time, i) => time - at[i]!)
          const most = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]
          waits.forEach((wait, i) => {
            assert.isAtLeast(wait, 0.75 * most[i]!)
            assert.isAtMost(wait, most[i]! + 250)
          })
        })
    )

    test("an answer resets the back-off", (fake, training) =>
      Effect.gen(function*() {
        polls(fake, [{ status: 500 }, { status: 500 }, { status: 500 }, pending, { status: 500 }])
        yield* rushed(awaited(training), "250 millis")
        const at = times(fake)
        assert.isAtMost(at[5]! - at[4]!, 1250)
      }))

    test("a 429 waits as it says, and the rest of the tenant does not", (fake, training) =>
      Effect.gen(function*() {
        polls(fake, [{ status: 429, headers: { "retry-after": "12" }, json: {} }])
        const step = yield* training.optimStep()
        yield* settle
        yield* training.optimStep()
        assert.deepStrictEqual(fake.of("optim_step").map((call) => call.at), [0, 0])
        yield* rushed(Future.await(step))
        assert.include(times(fake), 12_000)
      }))

    test("a poll that is not answered has 45 s, and is made again", (fake, training) =>
      Effect.gen(function*() {
        fake.on("retrieve_future", (_, n) => n === 0 ? Effect.never : undefined)
        yield* rushed(awaited(training), "5 seconds")
        assert.isAtLeast(times(fake)[1]!, 45_000)
        assert.strictEqual(fake.inFlight, 0)
      }))

    test("404 is asked again for five seconds, then it is final", (fake, training) =>
      Effect.gen(function*() {
        polls(fake, [{ status: 404, json: {} }, { status: 404, json: {} }])
        yield* rushed(awaited(training), "250 millis")
        polls(fake, [], { status: 404, json: { detail: "unknown request" } })
        const begin = fake.calls.length
        const exit = yield* outcome(training, "250 millis")
        assert.isTrue(Exit.isFailure(exit))
        const asked = fake.calls.slice(begin).filter((call) => call.endpoint === "retrieve_future")
        assert.isAtLeast(asked[asked.length - 1]!.at - asked[0]!.at, 5000)
        assert.isBelow(asked.length, 15)
      }))

    test("400 is asked again three times at most", (fake, training) =>
      Effect.gen(function*() {
        polls(fake, [{ status: 400, json: {} }, { status: 400, json: {} }, { status: 400, json: {} }])
        yield* rushed(awaited(training), "250 millis")
        polls(fake, [], { status: 400, json: { detail: "malformed" } })
        const begin = fake.calls.length
        const error = yield* Effect.flip(rushed(awaited(training), "250 millis"))
        assert.strictEqual(error._tag, "BadRequest")
        assert.lengthOf(fake.calls.slice(begin).filter((call) => call.endpoint === "retrieve_future"), 4)
      }))

    test("a 400 that must not be repeated is not", (fake, training) =>
      Effect.gen(function*() {
        polls(fake, [{ status: 400, headers: { "x-should-retry": "false" }, json: {} }])
        yield* Effect.flip(awaited(training))
        assert.lengthOf(times(fake), 1)
      }))

    for (
      const [status, tag] of [
        [302, "UnexpectedStatus"],
        [401, "Unauthorized"],
        [403, "PermissionDenied"],
        [409, "Conflict"],
        [413, "BadRequest"],
        [422, "BadRequest"]
      ] as const
    ) {
      test(
        `${status} is asked again three times at most, and whoever awaits the future again asks again`,
        (fake, training) =>
          Effect.gen(function*() {
            polls(fake, [], { status, json: {} })
            const future = yield* training.optimStep()
            const error = yield* Effect.flip(rushed(Future.await(future), "250 millis"))
            assert.strictEqual(error._tag, tag)
            assert.lengthOf(times(fake), 4)
            polls(fake, [])
            yield* rushed(Future.await(future), "250 millis")
            assert.lengthOf(times(fake), 5)
          })
      )

      test(`${status} once does not end it`, (fake, training) =>
        Effect.gen(function*() {
          polls(fake, [{ status, json: {} }])
          yield* rushed(awaited(training), "250 millis")
          assert.lengthOf(times(fake), 2)
        }))
    }

    test("an answer that cannot be read does not end it", (fake, training) =>
      Effect.gen(function*() {
        const garbled = [{ text: "<html>" }, { text: "" }, { text: "{\"metr" }, pending, { bytes: new Uint8Array([1]) }]
        polls(fake, garbled)
        yield* rushed(awaited(training), "250 millis")
        assert.lengthOf(times(fake), 6)
      }))

    test("a 429 that wants an hour is asked again after a minute", (fake, training) =>
      Effect.gen(function*() {
        polls(fake, [{ status: 429, headers: { "retry-after": "3600" }, json: {} }])
        yield* rushed(awaited(training), "5 seconds")
        assert.deepStrictEqual(times(fake), [0, 60_000])
      }))

    for (const [status, header] of [[429, "retry-after-ms"], [503, "retry-after-ms"], [429, "retry-after"]] as const) {
      test(
        `a tiny wish to wait does not hurry the polls of a service that fails: ${status}, ${header}`,
        (fake, training) =>
          Effect.gen(function*() {
            polls(fake, [], { status, headers: { [header]: header === "retry-after" ? "0.01" : "1" }, json: {} })
            const step = yield* training.optimStep()
            const waiting = yield* Effect.fork(Future.await(step))
            yield* Effect.repeatN(Effect.zipRight(settle, TestClock.adjust("250 millis")), 240)
            assert.isAtMost(times(fake).length, 8)
            yield* Fiber.interrupt(waiting)
          })
      )
    }

    test("410 says that the result is gone", (fake, training) =>
      Effect.gen(function*() {
        polls(fake, [{ status: 410, json: { detail: "expired" } }])
        const error = yield* Effect.flip(awaited(training))
        assert.strictEqual(error._tag, "FutureExpired")
        assert.include(error.message, "expired")
        assert.include(error.message, "req-2")
      }))

    test("402 is waited out, and the deadline waits with it", (fake, training) =>
      Effect.gen(function*() {
        polls(fake, Array.from({ length: 30 }, () => ({ status: 402, json: { detail: "top up" } })))
        yield* rushed(awaited(training), "5 seconds")
        assert.lengthOf(times(fake), 31)
        assert.strictEqual(times(fake)[30], 150_000)
      }), { timeouts: { future: "1 minute" } })

    for (const category of ["user", "server", "unknown", "User"]) {
      test(`a failure of the request is final, category ${category}`, (fake, training) =>
        Effect.gen(function*() {
          polls(fake, [{ json: { error: "no such thing", category } }])
          const error = yield* Effect.flip(awaited(training))
          assert.strictEqual(error._tag, "RequestFailed")
          if (error._tag === "RequestFailed") {
            assert.strictEqual(error.category, category === "User" ? "unknown" : category)
          }
          assert.include(error.message, "no such thing")
          assert.include(error.message, "req-2")
          assert.lengthOf(times(fake), 1)
        }))
    }

    test("what is no result is told without being shown", (fake, training) =>
      Effect.gen(function*() {
        for (
          const [reply, part] of [
            [{ json: { metrics: "hidden" } }, "metrics"],
            [{ text: "hidden" }, "not JSON"],
            [{ bytes: new Uint8Array([255, 1]) }, "binary"]
          ] as const
        ) {
          polls(fake, [], reply)
          const error = yield* Effect.flip(rushed(awaited(training)))
          assert.strictEqual(error._tag, "MalformedResponse")
          assert.include(error.message, part)
          assert.notInclude(error.message, "hidden")
        }
        polls(fake, [], { bytes: new Uint8Array([255, 1]) })
        const wrong = yield* Effect.flip(rushed(Effect.flatMap(
          training.forward([datum], "cross_entropy"),
          Future.await
        )))
        assert.strictEqual(wrong._tag, "MalformedResponse")
      }))
  })

  describe("large results", () => {
    testOver("come in two steps, and only so many bytes of them at once", (fake) =>
      Effect.gen(function*() {
        fake.on("client/config", () => ({ json: { inflight_response_bytes_semaphore_size: 1000 } }))
        const service = yield* serviceOf()
        const training = yield* service.createLoraTrainingClient({ baseModel: "m" })
        let fetching = 0
        let peak = 0
        fake.on("retrieve_future", ({ body }) =>
          body["allow_metadata_only"] === true
            ? { json: { status: "complete_metadata", response_payload_size: 600 } }
            : Effect.gen(function*() {
              fetching++
              peak = Math.max(peak, fetching)
              yield* Effect.sleep("1 second")
              fetching--
              return { json: { metrics: {} } }
            }))
        const futures = yield* Effect.all([training.optimStep(), training.optimStep(), training.optimStep()])
        yield* rushed(Effect.all(futures.map(Future.await), { concurrency: "unbounded" }))
        // the budget may be overdrawn by one: two at a time, not three
        assert.strictEqual(peak, 2)
      }))

    test("a size where the result was asked for is a fault of the service", (fake, training) =>
      Effect.gen(function*() {
        polls(fake, [], { json: { status: "complete_metadata", response_payload_size: 10 } })
        const error = yield* Effect.flip(rushed(awaited(training)))
        assert.strictEqual(error._tag, "MalformedResponse")
        assert.lengthOf(times(fake), 5)
      }))
  })

  describe("deadline", () => {
    test(
      "a queue that does not move for half an hour ends it, with all that is known",
      (fake, training) =>
        Effect.gen(function*() {
          const events = yield* recordEvents
          fake.on(
            "retrieve_future",
            () => Effect.as(Effect.sleep("30 seconds"), tryAgain("paused_capacity", "no room"))
          )
          const error = yield* Effect.flip(rushed(awaited(training), "1 minute"))
          assert.strictEqual(error._tag, "FutureTimeout")
          if (error._tag === "FutureTimeout") {
            assert.strictEqual(Duration.toSeconds(error.age), 1830)
            assert.strictEqual(error.lastQueueState, "paused_capacity")
            assert.strictEqual(error.reason, "no room")
            assert.strictEqual(error.requestId, "req-2")
            assert.isAbove(error.polls, 50)
          }
          assert.lengthOf(
            events.filter((event) => event._tag === "FutureTimeout"),
            1
          )
          assert.strictEqual(fake.inFlight, 0)
        })
    )

    test("awaited again, the future goes on", (fake, training) =>
      Effect.gen(function*() {
        fake.on("retrieve_future", () => Effect.as(Effect.sleep("20 seconds"), tryAgain("paused_capacity")))
        const future = yield* training.optimStep()
        const twice = yield* Effect.all([
          Effect.flip(rushed(Future.await(future), "5 seconds")),
          Effect.flip(rushed(Future.await(future), "5 seconds"))
        ])
        assert.deepStrictEqual(twice.map(({ _tag }) => _tag), ["FutureTimeout", "FutureTimeout"])
        assert.isAtLeast(times(fake).at(-1)!, 100_000)
        fake.on("retrieve_future", () => undefined)
        const waiters = Array.from({ length: 3 }, () => Future.await(Future.all([future, future])))
        yield* rushed(Effect.all(waiters, { concurrency: "unbounded" }))
        assert.strictEqual(times(fake).length, fake.of("retrieve_future").length)
        assert.isTrue(Option.isSome(yield* Future.poll(future)))
      }), { timeouts: { future: "1 minute" } })

    test(
      "what nobody has looked at yet is told first; then who comes asks again",
      (fake, training) =>
        Effect.gen(function*() {
          polls(fake, [], { status: 401, json: {} })
          const future = yield* training.optimStep()
          yield* Effect.repeatN(Effect.zipRight(settle, TestClock.adjust("1 second")), 5)
          const asked = times(fake).length
          polls(fake, [])
          assert.strictEqual((yield* Effect.flip(Future.await(future)))._tag, "Unauthorized")
          assert.lengthOf(times(fake), asked)
          yield* rushed(Future.await(future))
          assert.lengthOf(times(fake), asked + 1)
        })
    )

    test("every change of the queue begins it anew", (fake, training) =>
      Effect.gen(function*() {
        const states = ["paused_capacity", "active", "paused_rate_limit", "active"]
        fake.on("retrieve_future", ({ at }) => {
          const state = states[Math.floor(at / 50_000)]
          return state === undefined ? undefined : Effect.as(Effect.sleep("25 seconds"), tryAgain(state))
        })
        yield* rushed(awaited(training), "25 seconds")
        assert.strictEqual(times(fake)[times(fake).length - 1], 200_000)
      }), { timeouts: { future: "1 minute" } })

    test("is kept to the second, also while a poll hangs", (fake, training) =>
      Effect.gen(function*() {
        fake.on("retrieve_future", () => Effect.never)
        const step = yield* training.optimStep()
        const waiting = yield* Effect.fork(Effect.flip(Future.await(step)))
        yield* settle
        yield* TestClock.adjust("59 seconds")
        assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)))
        yield* TestClock.adjust("1 second")
        yield* settle
        assert.strictEqual((yield* Fiber.join(waiting))._tag, "FutureTimeout")
      }), { timeouts: { future: "1 minute" } })
  })

  describe("waiting", () => {
    test(
      "many wait for one that is polled once; one that goes away takes nobody along",
      (fake, training) =>
        Effect.gen(function*() {
          fake.on("retrieve_future", (_, n) => n === 0 ? Effect.as(Effect.sleep("10 seconds"), pending) : undefined)
          const step = yield* training.optimStep()
          const waiters = yield* Effect.forEach(Array.from({ length: 20 }), () => Effect.fork(Future.await(step)))
          yield* settle
          yield* Fiber.interrupt(waiters[0]!)
          assert.isTrue(Option.isNone(yield* Future.poll(step)))
          yield* TestClock.adjust("11 seconds")
          const results = yield* Effect.forEach(waiters.slice(1), Fiber.join)
          assert.lengthOf(new Set(results), 1)
          assert.lengthOf(times(fake), 2)
          const polled = yield* Future.poll(step)
          assert.isTrue(Option.isSome(polled) && Exit.isSuccess(polled.value))
        })
    )

    test("goes on when the one who submitted is gone", (fake, training) =>
      Effect.gen(function*() {
        fake.on("retrieve_future", (_, n) => n === 0 ? Effect.as(Effect.sleep("10 seconds"), pending) : undefined)
        let kept: Future.Future<unknown> | undefined
        const submitting = yield* Effect.fork(
          Effect.zipRight(
            Effect.tap(training.optimStep(), (step) => {
              kept = step
            }),
            Effect.never
          )
        )
        yield* settle
        yield* Fiber.interrupt(submitting)
        yield* TestClock.adjust("11 seconds")
        yield* Future.await(kept!)
      }))

    test("ends with an error when the client is closed, also for who comes later", (fake) =>
      Effect.gen(function*() {
        const service = yield* serviceOf()
        fake.on("retrieve_future", (_, n) => n === 0 ? undefined : Effect.never)
        const scope = yield* Scope.make()
        fake.calls.length = 0
        const training = yield* Scope.extend(service.createLoraTrainingClient({ baseModel: "m" }), scope)
        const step = yield* training.optimStep()
        const waiting = yield* Effect.fork(Effect.flip(Future.await(step)))
        yield* settle
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* Fiber.join(waiting))._tag, "ClientClosed")
        assert.strictEqual((yield* Effect.flip(Future.await(step)))._tag, "ClientClosed")
        assert.deepStrictEqual(yield* leftovers(service), { permits: 0, entries: 0, pending: 0 })
      }))
  })

  test("tells its age, its id and where it waits", (fake, training) =>
    Effect.gen(function*() {
      fake.on("retrieve_future", (_, n) =>
        Effect.as(Effect.sleep("20 seconds"), n === 0 ? tryAgain("paused_rate_limit", "busy") : pending))
      const step = yield* training.optimStep()
      assert.deepStrictEqual(yield* Future.queueState(step), { state: "unknown", reason: undefined })
      yield* settle
      yield* TestClock.adjust("25 seconds")
      assert.strictEqual(Duration.toSeconds(yield* Future.age(step)), 25)
      assert.strictEqual(Future.requestId(step), "req-2")
      assert.deepStrictEqual(yield* Future.queueState(step), { state: "paused_rate_limit", reason: "busy" })
      assert.isTrue(Future.isFuture(step))
      assert.isFalse(Future.isFuture({}))
      assert.include(inspect(step, { depth: 9 }), "paused_rate_limit")
      assert.include(inspect(step), "optim_step (model s1:train:0)")
      assert.strictEqual(step.pipe(Future.requestId), "req-2")
    }))

  test("what is outstanding is listed", (fake) =>
    Effect.gen(function*() {
      const service = yield* serviceOf()
      const training = yield* service.createLoraTrainingClient({ baseModel: "m" })
      const sampler = yield* service.createSamplingClient({ baseModel: "m" })
      fake.on("retrieve_future", () => Effect.as(Effect.sleep("5 seconds"), tryAgain("paused_capacity", "full")))
      yield* training.optimStep()
      yield* TestClock.adjust("3 seconds")
      const sampling = yield* Effect.fork(sampler.sample({ prompt: [1] }))
      yield* settle
      yield* TestClock.adjust("4 seconds")
      const [first, second, ...more] = yield* service.pending
      assert.lengthOf(more, 0)
      assert.include(first!.operation, "optim_step")
      assert.strictEqual(Duration.toSeconds(first!.age), 7)
      assert.strictEqual(first!.queueState, "paused_capacity")
      assert.strictEqual(first!.reason, "full")
      assert.include(second!.operation, "sample")
      yield* Fiber.interrupt(sampling)
      assert.lengthOf(yield* service.pending, 1)
    }))

  describe("map and all", () => {
    test("one result is computed once for all who wait", (fake, training) =>
      Effect.gen(function*() {
        let computed = 0
        const mapped = Future.map(yield* training.optimStep(), (result) => {
          computed++
          return Object.keys(result.metrics)
        })
        const [a, b] = yield* rushed(Effect.all([Future.await(mapped), Future.await(mapped)]))
        assert.strictEqual(a, b)
        assert.strictEqual(computed, 1)
        assert.isTrue(Option.isSome(yield* Future.poll(mapped)))
        assert.deepStrictEqual(mapped.requestIds, ["req-2"])
        assert.lengthOf(fake.of("optim_step"), 1)
      }))

    test(
      "of several, in order; a failure of one at once, though others wait",
      (fake, training) =>
        Effect.gen(function*() {
          fake.on("retrieve_future", ({ body }) =>
            body["request_id"] === "req-2" ? Effect.never : body["request_id"] === "req-3"
              ? Effect.as(Effect.sleep("5 seconds"), { json: { error: "x", category: "user" } })
              : undefined)
          const steps = yield* Effect.all([training.optimStep(), training.optimStep(), training.optimStep()])
          const all = Future.all(steps)
          assert.deepStrictEqual(all.requestIds, ["req-2", "req-3", "req-4"])
          yield* settle
          assert.isTrue(Option.isNone(yield* Future.poll(all)))
          const error = yield* Effect.flip(rushed(Future.await(all)))
          assert.strictEqual(error._tag, "RequestFailed")
          const polled = yield* Future.poll(all)
          assert.isTrue(Option.isSome(polled) && Exit.isFailure(polled.value))
          yield* Future.await(steps[2])
          const none = Future.all([])
          assert.deepStrictEqual(yield* Future.await(none), [])
          assert.strictEqual(Future.requestId(none), "")
          assert.strictEqual(Duration.toMillis(yield* Future.age(none)), 0)
          assert.deepStrictEqual(yield* Future.queueState(none), { state: "unknown", reason: undefined })
        })
    )
  })

  describe("a failure that nobody looks at", () => {
    const run = (look: (step: Future.Future<unknown>) => Effect.Effect<unknown, unknown>) => (fake: Fake) =>
      Effect.gen(function*() {
        const lines: Array<string> = []
        const layer = Logger.replace(
          Logger.defaultLogger,
          Logger.make(({ message }) => {
            lines.push(String(message))
          })
        )
        fake.on("retrieve_future", (_, n) => n === 0 ? undefined : { json: { error: "lost", category: "server" } })
        yield* Effect.gen(function*() {
          const service = yield* serviceOf()
          const scope = yield* Scope.make()
          const training = yield* Scope.extend(service.createLoraTrainingClient({ baseModel: "m" }), scope)
          const step = yield* training.optimStep()
          yield* settle
          yield* Effect.exit(look(step))
          yield* Scope.close(scope, Exit.void)
        }).pipe(Effect.provide(layer))
        return lines.filter((line) => line.includes("nobody"))
      })

    testOver("is logged once when the client is closed", (fake) =>
      Effect.gen(function*() {
        const lines = yield* run(() => Effect.void)(fake)
        assert.lengthOf(lines, 1)
        assert.include(lines[0], "optim_step (model s1:train:0)")
        assert.include(lines[0], "lost")
      }))
    testOver("is not when somebody awaited it", (fake) =>
      Effect.gen(function*() {
        assert.lengthOf(yield* run(Future.await)(fake), 0)
      }))
    testOver("is not when somebody polled it, through map and all", (fake) =>
      Effect.gen(function*() {
        const look = (step: Future.Future<unknown>) => Future.poll(Future.all([Future.map(step, () => 1)]))
        assert.lengthOf(yield* run(look)(fake), 0)
      }))
  })

  describe("the queue", () => {
    test("is told as events on a change only, and logged once a minute", (fake, training) =>
      Effect.gen(function*() {
        const events = yield* recordEvents
        const lines: Array<string> = []
        const layer = Logger.replace(
          Logger.defaultLogger,
          Logger.make(({ message }) => {
            lines.push(String(message))
          })
        )
        fake.on("retrieve_future", (_, n) =>
          n < 8
            ? Effect.as(Effect.sleep("20 seconds"), n === 0 ? tryAgain("active") : tryAgain("paused_rate_limit"))
            : undefined)
        yield* Effect.provide(rushed(awaited(training), "20 seconds"), layer)
        const told = events.flatMap((event) =>
          event._tag === "QueueState" ? [`${event.source} ${event.previous} -> ${event.state}`] : []
        )
        assert.deepStrictEqual(told, ["training active -> paused_rate_limit", "training paused_rate_limit -> active"])
        assert.deepStrictEqual(
          lines.filter((line) => line.includes("paused")),
          [
            "Training for s1:train:0 is paused. Reason: concurrent training clients limit hit",
            "Training for s1:train:0 is paused. Reason: concurrent training clients limit hit",
            "Training for s1:train:0 is paused. Reason: concurrent training clients limit hit"
          ]
        )
      }))

    it.scoped("is named by what waits", () =>
      Effect.gen(function*() {
        const lines: Array<string> = []
        const telemetry = yield* Telemetry
        const layer = Logger.replace(
          Logger.defaultLogger,
          Logger.make(({ message }) => {
            lines.push(String(message))
          })
        )
        yield* Effect.gen(function*() {
          for (const source of ["model_creation", "sampling"] as const) {
            const observer = QueueObserver.make(telemetry, source, "x")
            yield* observer.notify("unknown", undefined, "r")
            yield* observer.notify("active", undefined, "r")
            yield* observer.notify("paused_capacity", undefined, "r")
          }
          yield* QueueObserver.make(telemetry, "sampling", "y").notify("paused_rate_limit", undefined, "r")
          yield* QueueObserver.make(telemetry, "sampling", "z").notify("unknown", "strange", "r")
          yield* QueueObserver.make(telemetry, "training", "w").notify("paused_capacity", "theirs", "r")
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(lines, [
          "Model creation for x is paused. Reason: the service is running short on capacity, please wait",
          "Sampling for x is paused. Reason: the service is running short on capacity, please wait",
          "Sampling for y is paused. Reason: concurrent sampler weights limit hit",
          "Sampling for z is paused. Reason: strange",
          "Training for w is paused. Reason: theirs"
        ])
      }))
  })

  test("its events: start, polls, end", (fake, training) =>
    Effect.gen(function*() {
      const events = yield* recordEvents
      polls(fake, [pending])
      yield* rushed(awaited(training), "100 millis")
      polls(fake, [], { json: { error: "x", category: "user" } })
      yield* Effect.exit(awaited(training))
      polls(fake, [], { json: { error: "x", category: "server" } })
      yield* Effect.exit(awaited(training))
      polls(fake, [], { status: 410, json: {} })
      yield* Effect.exit(awaited(training))
      polls(fake, [], { status: 401, json: {} })
      yield* Effect.exit(rushed(awaited(training)))
      const told = events.flatMap((event) =>
        event._tag === "FutureDone"
          ? [`done ${event.outcome} ${event.iterations}`]
          : event._tag === "FutureStart" || event._tag === "FuturePoll"
          ? [event._tag]
          : []
      )
      assert.deepStrictEqual(told, [
        "FutureStart",
        "FuturePoll",
        "done success 2",
        "FutureStart",
        "done user_error 1",
        "FutureStart",
        "done server_error 1",
        "FutureStart",
        "done expired 1",
        "FutureStart",
        "done failed 4"
      ])
    }))
})

const datum = {
  modelInput: { chunks: [{ type: "encoded_text" as const, tokens: [1] }] },
  lossFnInputs: { target_tokens: { dtype: "int64" as const, data: new Int32Array([2]), shape: [1] } }
}
