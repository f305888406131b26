import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as TestClock from "effect/TestClock"
import * as CircuitBreaker from "../../src/resilience/CircuitBreaker.js"
import { collect, settle } from "./support.js"

type Tag = CircuitBreaker.State["_tag"]
const Open = "Open"

const stateTag = (breaker: CircuitBreaker.CircuitBreaker) => Effect.map(breaker.state, (state) => state._tag)
const fail = (breaker: CircuitBreaker.CircuitBreaker, times = 1) =>
  Effect.repeatN(Effect.ignore(CircuitBreaker.protect(Effect.fail("down"), breaker)), times - 1)
const succeed = (breaker: CircuitBreaker.CircuitBreaker) => Effect.ignore(CircuitBreaker.protect(Effect.void, breaker))

/** Brings a fresh breaker of 2 failures, 30 s and 1 probe into a state. */
const arrange = {
  Closed: () => Effect.void,
  "Closed after a failure": (breaker: CircuitBreaker.CircuitBreaker) => fail(breaker),
  Open: (breaker: CircuitBreaker.CircuitBreaker) => fail(breaker, 2),
  "Open, time over": (breaker: CircuitBreaker.CircuitBreaker) =>
    Effect.zipRight(fail(breaker, 2), TestClock.adjust("30 seconds")),
  "HalfOpen with a free permit": (breaker: CircuitBreaker.CircuitBreaker) =>
    fail(breaker, 2).pipe(Effect.zipRight(TestClock.adjust("30 seconds")), Effect.zipRight(breaker.state)),
  "HalfOpen with a probe out": (breaker: CircuitBreaker.CircuitBreaker) =>
    fail(breaker, 2).pipe(Effect.zipRight(TestClock.adjust("30 seconds")), Effect.zipRight(breaker.acquire)),
  Isolated: (breaker: CircuitBreaker.CircuitBreaker) => breaker.isolate
}
type From = keyof typeof arrange

type Event = (breaker: CircuitBreaker.CircuitBreaker, late: CircuitBreaker.Permit) => Effect.Effect<unknown, unknown>
const events = {
  "a call succeeds": succeed,
  "a call fails": (breaker) => fail(breaker),
  "a call is ignored": (breaker) =>
    Effect.ignore(CircuitBreaker.protect(Effect.fail("user"), breaker, () => "ignore" as const)),
  "a call is interrupted": (breaker) => Effect.exit(CircuitBreaker.protect(Effect.interrupt, breaker)),
  "a late success": (breaker, late) => breaker.settle(late, "success"),
  "a late failure": (breaker, late) => breaker.settle(late, "failure"),
  "success is recorded": (breaker) => breaker.recordSuccess,
  "failure is recorded": (breaker) => breaker.recordFailure,
  "30 seconds pass": () => TestClock.adjust("30 seconds"),
  "60 seconds pass and a call succeeds": (breaker) => Effect.zipRight(TestClock.adjust("60 seconds"), succeed(breaker)),
  "it is isolated": (breaker) => breaker.isolate,
  "it is reset": (breaker) => breaker.reset
} satisfies Record<string, Event>

/** Every cell of the state machine: the state after the event. A late call started when the breaker was made. */
const cells: Record<From, Record<keyof typeof events, Tag>> = {
  Closed: {
    "a call succeeds": "Closed",
    "a call fails": "Closed",
    "a call is ignored": "Closed",
    "a call is interrupted": "Closed",
    "a late success": "Closed",
    "a late failure": "Closed",
    "success is recorded": "Closed",
    "failure is recorded": "Closed",
    "30 seconds pass": "Closed",
    "60 seconds pass and a call succeeds": "Closed",
    "it is isolated": "Isolated",
    "it is reset": "Closed"
  },
  "Closed after a failure": {
    "a call succeeds": "Closed",
    "a call fails": Open,
    "a call is ignored": "Closed",
    "a call is interrupted": "Closed",
    "a late success": "Closed",
    "a late failure": Open, // of the same generation: it was closed all the time
    "success is recorded": "Closed",
    "failure is recorded": Open,
    "30 seconds pass": "Closed",
    "60 seconds pass and a call succeeds": "Closed",
    "it is isolated": "Isolated",
    "it is reset": "Closed"
  },
  Open: {
    "a call succeeds": Open,
    "a call fails": Open,
    "a call is ignored": Open,
    "a call is interrupted": Open,
    "a late success": Open,
    "a late failure": Open,
    "success is recorded": Open,
    "failure is recorded": Open,
    "30 seconds pass": "HalfOpen",
    "60 seconds pass and a call succeeds": "Closed",
    "it is isolated": "Isolated",
    "it is reset": "Closed"
  },
  "Open, time over": {
    "a call succeeds": "Closed",
    "a call fails": Open,
    "a call is ignored": "HalfOpen",
    "a call is interrupted": "HalfOpen",
    "a late success": "HalfOpen",
    "a late failure": "HalfOpen",
    "success is recorded": "HalfOpen",
    "failure is recorded": "HalfOpen",
    "30 seconds pass": "HalfOpen",
    "60 seconds pass and a call succeeds": "Closed",
    "it is isolated": "Isolated",
    "it is reset": "Closed"
  },
  "HalfOpen with a free permit": {
    "a call succeeds": "Closed",
    "a call fails": Open,
    "a call is ignored": "HalfOpen",
    "a call is interrupted": "HalfOpen",
    "a late success": "HalfOpen",
    "a late failure": "HalfOpen",
    "success is recorded": "Closed",
    "failure is recorded": Open,
    "30 seconds pass": "HalfOpen",
    "60 seconds pass and a call succeeds": "Closed",
    "it is isolated": "Isolated",
    "it is reset": "Closed"
  },
  "HalfOpen with a probe out": {
    "a call succeeds": "HalfOpen", // refused
    "a call fails": "HalfOpen",
    "a call is ignored": "HalfOpen",
    "a call is interrupted": "HalfOpen",
    "a late success": "HalfOpen",
    "a late failure": "HalfOpen",
    "success is recorded": "Closed",
    "failure is recorded": Open,
    "30 seconds pass": "HalfOpen",
    "60 seconds pass and a call succeeds": "Closed", // the probe has lost its permit
    "it is isolated": "Isolated",
    "it is reset": "Closed"
  },
  Isolated: {
    "a call succeeds": "Isolated",
    "a call fails": "Isolated",
    "a call is ignored": "Isolated",
    "a call is interrupted": "Isolated",
    "a late success": "Isolated",
    "a late failure": "Isolated",
    "success is recorded": "Isolated",
    "failure is recorded": "Isolated",
    "30 seconds pass": "Isolated",
    "60 seconds pass and a call succeeds": "Isolated",
    "it is isolated": "Isolated",
    "it is reset": "Closed"
  }
}

// The keys of a record are strings to TypeScript; these are the ones written above.
const keys = <K extends string>(record: Record<K, unknown>) => Object.keys(record) as Array<K>

describe("CircuitBreaker: every state and every event", () => {
  for (const from of keys(arrange)) {
    it.effect(from, () =>
      Effect.forEach(keys(events), (event) =>
        Effect.gen(function*() {
          const breaker = yield* CircuitBreaker.make("cell", { consecutiveFailures: 2 })
          const late = yield* breaker.acquire
          yield* arrange[from](breaker)
          // One of the events has a permit of its own, so every kind of event has the same type here.
          const act: Event = events[event]
          yield* act(breaker, late)
          assert.strictEqual(yield* stateTag(breaker), cells[from][event], `${from}: ${event}`)
        }), { discard: true }))
  }
})

describe("CircuitBreaker", () => {
  it.effect("opens after 5 failures in a row for 30 seconds, then lets one probe through", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("defaults")
      yield* fail(breaker, 4)
      yield* succeed(breaker)
      yield* fail(breaker, 4)
      assert.strictEqual(yield* stateTag(breaker), "Closed")
      yield* fail(breaker)
      const error = yield* Effect.flip(CircuitBreaker.protect(Effect.void, breaker))
      assert.isTrue(CircuitBreaker.isCircuitOpen(error))
      assert.strictEqual(error.key, "defaults")
      assert.deepStrictEqual(error.reopensIn, Duration.seconds(30))
      assert.strictEqual(error.message, `circuit "defaults" is open: nothing was sent; try again in 30s`)
      yield* TestClock.adjust("29999 millis")
      assert.strictEqual((yield* Effect.flip(breaker.acquire)).message.slice(-3), "1ms")
      yield* TestClock.adjust("1 millis")
      const probe = yield* breaker.acquire
      assert.deepStrictEqual((yield* Effect.flip(breaker.acquire)).reopensIn, Duration.seconds(60))
      yield* breaker.settle(probe, "success")
      assert.deepStrictEqual(yield* breaker.state, {
        _tag: "Closed",
        consecutiveFailures: 0,
        calls: 0,
        failures: 0,
        slow: 0
      })
    }))

  it.effect("a refusal does no I/O and takes no virtual time", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("refusing")
      let calls = 0
      const call = Effect.zipRight(
        Effect.sync(() => {
          calls++
        }),
        Effect.zipRight(Effect.sleep("30 seconds"), Effect.fail("timeout"))
      )
      yield* fail(breaker, 5)
      const refused = yield* Effect.fork(
        Effect.all(Array.from({ length: 1000 }, () => Effect.flip(CircuitBreaker.protect(call, breaker))))
      )
      yield* settle
      // Nothing has moved the clock, and yet all of them are done.
      const errors = yield* Fiber.join(refused)
      assert.strictEqual(errors.length, 1000)
      assert.isTrue(errors.every(CircuitBreaker.isCircuitOpen))
      assert.strictEqual(calls, 0)
      assert.strictEqual(yield* TestClock.currentTimeMillis, 0)
    }))

  it.effect("half open, only so many probes as allowed are under way among many callers", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("probing", { probes: 3, successesToClose: 3 })
      yield* fail(breaker, 5)
      yield* TestClock.adjust("30 seconds")
      let inside = 0
      const gate = yield* Deferred.make<void>()
      const call = Effect.zipRight(
        Effect.sync(() => {
          inside++
        }),
        Deferred.await(gate)
      )
      const fibers = yield* Effect.forEach(
        Array.from({ length: 50 }),
        () => Effect.fork(Effect.exit(CircuitBreaker.protect(call, breaker)))
      )
      yield* settle
      assert.strictEqual(inside, 3)
      assert.deepStrictEqual(yield* breaker.state, { _tag: "HalfOpen", probes: 3, successes: 0, rejected: 47 })
      yield* Deferred.succeed(gate, undefined)
      const exits = yield* Fiber.join(Fiber.all(fibers))
      assert.strictEqual(exits.filter(Exit.isSuccess).length, 3)
      assert.strictEqual(yield* stateTag(breaker), "Closed")
    }))

  it.effect("an interrupted probe is neither success nor failure and returns its permit", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("interrupted")
      yield* fail(breaker, 5)
      yield* TestClock.adjust("30 seconds")
      const probe = yield* Effect.fork(CircuitBreaker.protect(Effect.never, breaker))
      yield* settle
      assert.strictEqual((yield* Effect.flip(breaker.acquire))._tag, "CircuitOpen")
      const exit = yield* Fiber.interrupt(probe)
      assert.isTrue(Exit.isInterrupted(exit))
      assert.deepStrictEqual(yield* breaker.state, { _tag: "HalfOpen", probes: 0, successes: 0, rejected: 1 })
      yield* succeed(breaker)
      assert.strictEqual(yield* stateTag(breaker), "Closed")
    }))

  it.effect("interruption does not even reach the classifier, and leaves a row of failures as it is", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("row", {
        consecutiveFailures: 2,
        classify: (exit) => Exit.isInterrupted(exit) ? "failure" : Exit.isSuccess(exit) ? "success" : "failure"
      })
      yield* fail(breaker)
      yield* Effect.exit(CircuitBreaker.protect(Effect.interrupt, breaker))
      assert.strictEqual(yield* stateTag(breaker), "Closed")
      yield* fail(breaker)
      assert.strictEqual(yield* stateTag(breaker), "Open")
    }))

  it.effect("a timeout inside counts, a defect counts, what the classifier ignores does not", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("kinds", { consecutiveFailures: 2 })
      const slow = yield* Effect.fork(
        Effect.exit(CircuitBreaker.protect(Effect.timeout(Effect.never, "5 seconds"), breaker))
      )
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(slow)
      for (let i = 0; i < 10; i++) {
        yield* Effect.ignore(
          Effect.fail("not found").pipe(
            CircuitBreaker.protect(
              breaker,
              (exit) => Exit.isFailure(exit) && Cause.squash(exit.cause) === "not found" ? "ignore" : "failure"
            )
          )
        )
      }
      assert.strictEqual(yield* stateTag(breaker), "Closed")
      const exit = yield* Effect.exit(CircuitBreaker.protect(Effect.die("boom"), breaker))
      assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
      assert.strictEqual(yield* stateTag(breaker), "Open")
    }))

  it.effect("the open time doubles with each failed probe up to the cap, its last fifth at random", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("growing")
      const lengths: Array<number> = []
      yield* fail(breaker, 5)
      for (let i = 0; i < 6; i++) {
        const { reopensIn } = yield* Effect.flip(breaker.acquire)
        lengths.push(Duration.toMillis(reopensIn))
        yield* TestClock.adjust(Duration.sum(reopensIn, Duration.millis(1)))
        yield* fail(breaker)
      }
      assert.strictEqual(lengths[0], 30_000)
      const longest = [60_000, 120_000, 240_000, 300_000, 300_000]
      longest.forEach((most, i) => {
        assert.isAtMost(lengths[i + 1]!, most)
        assert.isAtLeast(lengths[i + 1]!, 0.8 * most)
      })
      assert.notStrictEqual(lengths[4], lengths[5])
      // Once closed, it starts over.
      yield* breaker.reset
      yield* fail(breaker, 5)
      assert.deepStrictEqual((yield* Effect.flip(breaker.acquire)).reopensIn, Duration.seconds(30))
    }).pipe(Effect.withRandom(Random.make("jitter"))))

  it.effect("a failed probe never opens for less than the first time", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("constant", { openFactor: 1, jitter: 1, openCap: "30 seconds" })
      yield* fail(breaker, 5)
      yield* TestClock.adjust("30 seconds")
      yield* fail(breaker)
      assert.deepStrictEqual((yield* Effect.flip(breaker.acquire)).reopensIn, Duration.seconds(30))
    }))

  it.effect("opens on the share of slow calls, and a slow probe opens it again", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("slow", {
        rate: { calls: 4, minimumCalls: 4, slowCallRate: 0.5, slowCallDuration: "1 second" }
      })
      const call = (millis: number) =>
        Effect.gen(function*() {
          const permit = yield* breaker.acquire
          yield* TestClock.adjust(millis)
          yield* breaker.settle(permit, "success")
        })
      yield* call(999)
      yield* call(1000)
      yield* call(10)
      assert.deepStrictEqual(yield* breaker.state, {
        _tag: "Closed",
        consecutiveFailures: 0,
        calls: 3,
        failures: 0,
        slow: 1
      })
      const changes = yield* collect(breaker.changes, call(2000))
      assert.deepStrictEqual(changes.map(({ reason }) => reason), ["slowCallRate"])
      yield* TestClock.adjust("30 seconds")
      yield* call(1000)
      assert.strictEqual(yield* stateTag(breaker), "Open")
      yield* TestClock.adjust("60 seconds")
      yield* call(999)
      assert.strictEqual(yield* stateTag(breaker), "Closed")
    }))

  it.effect("counts a failure rate over calls and over time", () =>
    Effect.gen(function*() {
      const byCalls = yield* CircuitBreaker.make("calls", { rate: { calls: 10, minimumCalls: 5 } })
      const byTime = yield* CircuitBreaker.make("time", { rate: { window: "10 seconds", minimumCalls: 5 } })
      for (const breaker of [byCalls, byTime]) {
        yield* fail(breaker, 2)
        yield* Effect.repeatN(succeed(breaker), 1)
        assert.strictEqual(yield* stateTag(breaker), "Closed", "four calls are too few")
        yield* fail(breaker)
        assert.strictEqual(yield* stateTag(breaker), "Open")
      }
      const fresh = yield* CircuitBreaker.make("time", { rate: { window: "10 seconds", minimumCalls: 5 } })
      yield* fail(fresh, 4)
      yield* TestClock.adjust("10 seconds")
      yield* fail(fresh, 4)
      assert.strictEqual(yield* stateTag(fresh), "Closed", "the first four are forgotten")
    }))

  it.effect("tells observers every transition, in order", () =>
    Effect.gen(function*() {
      const registry = yield* CircuitBreaker.makeRegistry()
      const breaker = yield* registry.forKey("a")
      const other = yield* registry.forKey("b")
      const story = Effect.gen(function*() {
        yield* fail(breaker, 5)
        yield* fail(breaker, 3)
        yield* other.isolate
        yield* TestClock.adjust("30 seconds")
        yield* succeed(breaker)
        yield* breaker.isolate
        yield* Effect.ignore(breaker.acquire)
        yield* breaker.reset
        yield* breaker.reset
      })
      const one = yield* collect(breaker.changes, story)
      assert.deepStrictEqual(
        one.map(({ from, rejected, reason, to }) => [from, to, reason, rejected]),
        [
          ["Closed", "Open", "consecutiveFailures", 0],
          ["Open", "HalfOpen", "elapsed", 3],
          ["HalfOpen", "Closed", "probeSucceeded", 0],
          ["Closed", "Isolated", "isolated", 0],
          ["Isolated", "Closed", "reset", 1]
        ]
      )
      assert.deepStrictEqual(one.map(({ generation }) => generation), [1, 2, 3, 4, 5])
      assert.deepStrictEqual(one[0]!.openFor, Duration.seconds(30))
      const both = yield* collect(registry.changes, Effect.zipRight(other.reset, breaker.isolate))
      assert.deepStrictEqual(both.map(({ key, to }) => [key, to]), [["b", "Closed"], ["a", "Isolated"]])
    }))

  it.effect("one breaker per key, also for many who ask at once; keys share nothing", () =>
    Effect.gen(function*() {
      const breakers = yield* Effect.all(
        Array.from({ length: 40 }, (_, i) =>
          Effect.zipRight(Effect.yieldNow(), CircuitBreaker.forKey(i % 2 === 0 ? "even" : "odd"))),
        { concurrency: "unbounded" }
      )
      const registry = yield* CircuitBreaker.CircuitBreakers
      assert.strictEqual(new Set(breakers).size, 2)
      assert.deepStrictEqual(
        (yield* registry.all).map(({ key }) =>
          key
        ),
        ["even", "odd"]
      )
      yield* fail(breakers[0]!, 5)
      assert.strictEqual(yield* stateTag(breakers[2]!), "Open")
      assert.strictEqual(yield* stateTag(breakers[1]!), "Closed")
    }).pipe(Effect.provide(CircuitBreaker.layer())))

  it.effect("twenty failures at once are all counted", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("busy", { consecutiveFailures: 21 })
      const call = CircuitBreaker.protect(Effect.zipRight(Effect.yieldNow(), Effect.fail("down")), breaker)
      yield* Effect.all(Array.from({ length: 20 }, () => Effect.ignore(call)), { concurrency: "unbounded" })
      const state = yield* breaker.state
      assert.strictEqual(state._tag === "Closed" && state.consecutiveFailures, 20)
      yield* fail(breaker)
      assert.strictEqual(yield* stateTag(breaker), "Open")
    }))

  it.effect("not enabled, everything passes and nothing is counted", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("off", { enabled: false })
      yield* fail(breaker, 100)
      yield* Effect.repeatN(breaker.recordFailure, 10)
      yield* Effect.flatMap(breaker.acquire, (permit) => breaker.settle(permit, "failure"))
      assert.strictEqual(yield* Effect.flip(CircuitBreaker.protect(Effect.fail("down"), breaker)), "down")
      assert.strictEqual(yield* stateTag(breaker), "Closed")
    }))

  it.effect("a state survives a restart as JSON", () =>
    Effect.gen(function*() {
      const made = (key: string) => CircuitBreaker.make(key, { jitter: 0 })
      const open = yield* made("open")
      const isolated = yield* made("isolated")
      const half = yield* made("half")
      const counting = yield* made("counting")
      yield* fail(open, 5)
      yield* TestClock.adjust("30 seconds")
      yield* fail(open) // a relapse: 60 seconds
      yield* TestClock.adjust("20 seconds")
      yield* isolated.isolate
      yield* fail(half, 5)
      yield* TestClock.adjust("30 seconds")
      yield* half.acquire
      yield* fail(counting, 4)

      const again = (breaker: CircuitBreaker.CircuitBreaker) =>
        Effect.gen(function*() {
          const snapshot: CircuitBreaker.Snapshot = JSON.parse(JSON.stringify(yield* breaker.export))
          const restored = yield* CircuitBreaker.make("restored", { jitter: 0 })
          yield* restored.restore(snapshot)
          return restored
        })
      const openAgain = yield* again(open)
      assert.deepStrictEqual((yield* Effect.flip(openAgain.acquire)).reopensIn, Duration.seconds(10))
      yield* TestClock.adjust("10 seconds")
      yield* fail(openAgain)
      assert.deepStrictEqual((yield* Effect.flip(openAgain.acquire)).reopensIn, Duration.seconds(120))
      assert.strictEqual(yield* stateTag(yield* again(isolated)), "Isolated")
      const halfAgain = yield* again(half)
      yield* halfAgain.acquire
      assert.strictEqual(yield* stateTag(halfAgain), "HalfOpen")
      const countingAgain = yield* again(counting)
      yield* fail(countingAgain)
      assert.strictEqual(yield* stateTag(countingAgain), "Open")
    }))

  it.effect("a snapshot that cannot be one is refused and changes nothing", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("careful")
      const good = yield* breaker.export
      for (
        const [field, bad] of [
          ["state", { ...good, state: "Ajar" }],
          ["consecutiveFailures", { ...good, consecutiveFailures: -1 }],
          ["relapses", { ...good, relapses: 0.5 }],
          ["reopensInMillis", { ...good, reopensInMillis: Number.NaN }]
        ] as const
      ) {
        // What comes from a file need not have the type.
        const error = yield* Effect.flip(breaker.restore(bad as CircuitBreaker.Snapshot))
        assert.strictEqual(error.field, `snapshot.${field}`)
      }
      assert.strictEqual(yield* stateTag(breaker), "Closed")
    }))

  it.effect("options that cannot be used are named, with what would be right", () =>
    Effect.gen(function*() {
      const bad: ReadonlyArray<readonly [string, CircuitBreaker.Options]> = [
        ["consecutiveFailures", { consecutiveFailures: 0 }],
        ["openFor", { openFor: 0 }],
        ["openFactor", { openFactor: 0.5 }],
        ["openCap", { openCap: "1 second" }],
        ["jitter", { jitter: 1.5 }],
        ["probes", { probes: 1.5 }],
        ["successesToClose", { successesToClose: 0 }],
        ["probeTimeout", { probeTimeout: 0 }],
        ["rate", { rate: {} }],
        ["rate", { rate: { calls: 10, window: "1 second" } }],
        ["rate.calls", { rate: { calls: 0, minimumCalls: 1 } }],
        ["rate.window", { rate: { window: 0 } }],
        ["rate.minimumCalls", { rate: { calls: 10, minimumCalls: 11 } }],
        ["rate.failureRate", { rate: { calls: 10, failureRate: 0 } }],
        ["rate.slowCallRate", { rate: { calls: 10, slowCallRate: 2 } }],
        ["rate.slowCallDuration", { rate: { calls: 10, slowCallDuration: 0 } }]
      ]
      for (const [field, options] of bad) {
        const error = yield* Effect.flip(CircuitBreaker.make("bad", options))
        assert.isTrue(error instanceof CircuitBreaker.InvalidOptions)
        assert.strictEqual(error.field, field)
      }
      const error = yield* Effect.flip(CircuitBreaker.makeRegistry({ openCap: "1 second" }))
      assert.strictEqual(error.message, "CircuitBreaker: openCap must be a duration of at least openFor, got 1 second")
    }))

  it.effect("reads its settings from Config", () => {
    const layer = CircuitBreaker.layerConfig({
      consecutiveFailures: Config.integer("FAILURES"),
      openFor: Config.duration("OPEN_FOR")
    })
    const provide = (entries: ReadonlyArray<readonly [string, string]>) =>
      Layer.provide(layer, Layer.setConfigProvider(ConfigProvider.fromMap(new Map(entries))))
    return Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.forKey("configured").pipe(
        Effect.provide(provide([["FAILURES", "1"], ["OPEN_FOR", "7 seconds"]]))
      )
      yield* fail(breaker)
      assert.deepStrictEqual((yield* Effect.flip(breaker.acquire)).reopensIn, Duration.seconds(7))
      const missing = yield* Effect.exit(Layer.build(provide([["FAILURES", "1"]])))
      assert.isTrue(Exit.isFailure(missing))
      const wrong = yield* Effect.flip(Layer.build(provide([["FAILURES", "0"], ["OPEN_FOR", "7 seconds"]])))
      assert.strictEqual(wrong._tag, "InvalidOptions")
    }).pipe(Effect.scoped)
  })

  it.effect("is a handle: pipe, inspection without secrets, guards", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("tenant/training")
      assert.isTrue(CircuitBreaker.isCircuitBreaker(breaker))
      assert.isFalse(CircuitBreaker.isCircuitBreaker({ key: "tenant/training" }))
      assert.isFalse(CircuitBreaker.isCircuitOpen(new Error("open")))
      assert.strictEqual(breaker.pipe((self) => self.key), "tenant/training")
      assert.deepStrictEqual(JSON.parse(JSON.stringify(breaker)), {
        _id: "tinkex/CircuitBreaker",
        key: "tenant/training",
        enabled: true
      })
      yield* breaker.isolate
      assert.match((yield* Effect.flip(breaker.acquire)).message, /isolated by hand.*until it is reset/)
    }))
})
