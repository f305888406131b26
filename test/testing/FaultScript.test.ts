import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer } from "effect"
import * as fc from "effect/FastCheck"
import { readFileSync } from "node:fs"
import { FaultScript } from "tinkex/testing"
import { type Fault, FaultInjector, type FaultPoint } from "../../src/server/FaultInjector.js"

const point = (
  endpoint: string,
  phase: FaultPoint["phase"] = "request",
  more: Partial<FaultPoint> = {}
): FaultPoint => ({
  endpoint,
  phase,
  ...more
})

/** The injector of a script, and its counters. */
const start = (rules: ReadonlyArray<FaultScript.Rule>, seed = 0) =>
  Effect.map(Layer.build(FaultScript.layer(FaultScript.make(rules, { seed }))), (context) => ({
    ask: Context.get(context, FaultInjector),
    injections: Context.get(context, FaultScript.Injections)
  }))

const hits = (rules: ReadonlyArray<FaultScript.Rule>, n: number, seed = 0) =>
  Effect.flatMap(start(rules, seed), ({ ask }) =>
    Effect.map(
      Effect.forEach(Array.from({ length: n }), () => ask(point("asample"))),
      (answers) => answers.map((faults) => faults.length > 0)
    ))

const problems = (input: unknown) => Effect.map(Effect.flip(FaultScript.decode(input)), (error) => error.problems)

describe("FaultScript", () => {
  it.scoped("skips, then injects as often as it is told", () =>
    Effect.gen(function*() {
      const rule = FaultScript.on("asample", FaultScript.status(503), { skip: 2, count: 3 })
      assert.deepStrictEqual(yield* hits([rule], 8), [false, false, true, true, true, false, false, false])
    }))

  it.scoped("leaves other endpoints and phases alone, and counts what it saw and did", () =>
    Effect.gen(function*() {
      const { ask, injections } = yield* start([
        FaultScript.on(["asample", "optim_step"], FaultScript.reset("after"), { count: 1 }),
        FaultScript.on("all", FaultScript.latency(5))
      ])
      assert.deepStrictEqual(yield* ask(point("optim_step", "reply")), [{ _tag: "Reset" }])
      assert.deepStrictEqual(yield* ask(point("asample", "reply")), [])
      assert.deepStrictEqual(yield* ask(point("get_info", "reply")), [])
      assert.deepStrictEqual(yield* ask(point("get_info")), [{ _tag: "Delay", duration: Duration.millis(5) }])
      const counts = yield* injections.counts
      assert.deepStrictEqual(counts.map(({ injected, seen }) => ({ injected, seen })), [
        { injected: 1, seen: 2 },
        { injected: 1, seen: 1 }
      ])
      assert.strictEqual(yield* injections.total, 2)
    }))

  it.scoped("a burst hits what follows it, whatever the dice say", () =>
    Effect.gen(function*() {
      const rule = FaultScript.on("asample", FaultScript.reset(), { probability: 0.05, burst: 4, count: 40 })
      const hit = yield* hits([rule], 1000)
      assert.strictEqual(hit.filter((one) => one).length, 40)
      const runs = hit.map((one) => one ? "x" : ".").join("").split(/\.+/).filter((run) => run !== "")
      for (const run of runs) assert.strictEqual(run.length % 4, 0)
    }))

  it.effect("the same seed gives the same faults, about as many as the probability says", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(fc.integer(), fc.double({ min: 0, max: 1, noNaN: true }), (seed, probability) =>
          Effect.runPromise(Effect.scoped(Effect.gen(function*() {
            const rule = FaultScript.on("asample", FaultScript.reset(), { probability })
            const first = yield* hits([rule], 400, seed)
            assert.deepStrictEqual(yield* hits([rule], 400, seed), first)
            const share = first.filter((one) =>
              one
            ).length / first.length
            assert.closeTo(share, probability, 0.13)
          }))))
      )
    ))

  it.scoped("different seeds and different rules throw different dice", () =>
    Effect.gen(function*() {
      const rule = FaultScript.on("asample", FaultScript.reset(), { probability: 0.5 })
      assert.notDeepEqual(yield* hits([rule], 64, 1), yield* hits([rule], 64, 2))
      const { ask } = yield* start([rule, rule])
      const answers = yield* Effect.forEach(Array.from({ length: 64 }), () => ask(point("asample")))
      assert.isTrue(answers.some((faults) => faults.length === 1))
    }))

  it.scoped("says each fault as the server takes it", () =>
    Effect.gen(function*() {
      const one = (fault: FaultScript.Fault, at: FaultPoint): Effect.Effect<Fault | undefined, never, never> =>
        Effect.scoped(Effect.flatMap(
          start([FaultScript.on("all", fault)]),
          ({ ask }) => Effect.map(ask(at), ([first]) => first)
        ))
      const limited = yield* one(FaultScript.rateLimited({ retryAfter: "2 seconds" }), point("asample"))
      assert.deepInclude(limited, { status: 429, headers: { "retry-after-ms": "2000" } })
      assert.deepInclude(yield* one(FaultScript.rateLimited(), point("asample")), { status: 429, headers: undefined })
      const notYet = yield* one(FaultScript.status(408), point("retrieve_future"))
      assert.deepNestedInclude(notYet, { status: 408, "body.type": "try_again" })
      assert.deepInclude(yield* one(FaultScript.sessionExpired, point("session_heartbeat")), { status: 404 })
      assert.deepInclude(yield* one(FaultScript.sessionExpired, point("asample")), { status: 403 })
      assert.deepStrictEqual(yield* one(FaultScript.truncated(9), point("asample", "reply")), {
        _tag: "Truncate",
        bytes: 9
      })
      assert.deepStrictEqual(yield* one(FaultScript.malformed, point("asample", "reply")), { _tag: "Malform" })
      assert.deepStrictEqual(yield* one(FaultScript.slowDrip(7, 3), point("asample", "reply")), {
        _tag: "Drip",
        bytes: 7,
        interval: Duration.millis(3)
      })
      assert.deepStrictEqual(yield* one(FaultScript.latency(3, "applied"), point("asample", "applied")), {
        _tag: "Delay",
        duration: Duration.millis(3)
      })
      const storage = FaultScript.storageFailure("rename")
      assert.deepStrictEqual(yield* one(storage, point("storage", "storage", { step: "rename" })), { _tag: "Fail" })
      assert.isUndefined(yield* one(storage, point("storage", "storage", { step: "write" })))
    }))

  it.effect("reads JSON, with what is left out filled in", () =>
    Effect.gen(function*() {
      const script = yield* FaultScript.parse(
        `{ "seed": 7, "rules": [
          { "endpoint": ["asample"], "fault": { "type": "rateLimited", "retryAfter": "2 seconds" }, "probability": 0.5 },
          { "fault": { "type": "latency", "duration": 250 } } ] }`
      )
      assert.deepStrictEqual(script, {
        seed: 7,
        rules: [
          {
            endpoint: ["asample"],
            fault: { type: "rateLimited", retryAfter: Duration.seconds(2) },
            probability: 0.5,
            skip: 0,
            burst: 1
          },
          {
            fault: { type: "latency", duration: Duration.millis(250), when: "before" },
            probability: 1,
            skip: 0,
            burst: 1
          }
        ]
      })
    }))

  it.effect("reads the example of the guide", () =>
    Effect.gen(function*() {
      const guide = readFileSync(new URL("../../docs/testing.md", import.meta.url), "utf8")
      const script = yield* FaultScript.parse(/```json\n([\s\S]*?)```/.exec(guide)![1]!) // it has one
      assert.deepStrictEqual(script.rules.map(({ fault }) => fault.type), ["rateLimited", "reset", "status", "latency"])
    }))

  it.effect("refuses what it does not know, each with its place", () =>
    Effect.gen(function*() {
      const fault = { type: "reset" }
      assert.deepStrictEqual(yield* problems({ rules: [{ endpoint: "asampel", fault }] }), [
        "rules.0.endpoint: expected the last fixed part of a route, as \"asample\", got \"asampel\""
      ])
      assert.deepStrictEqual(
        yield* problems({ rules: [{ fault }, { fault: { type: "latency", duration: "2 parsecs" } }] }),
        [
          "rules.1.fault.duration: expected milliseconds or a text such as \"2 seconds\", got \"2 parsecs\""
        ]
      )
      assert.match(
        (yield* problems({ rules: [{ fault: { type: "status", status: 200 } }] }))[0]!,
        /^rules\.0\.fault\.status: .*400/
      )
      assert.match((yield* problems({ rules: [{ fault, often: 1 }] }))[0]!, /^rules\.0\.often: .*unexpected/)
      assert.match((yield* problems({ rules: [{ fault, probability: 2 }] }))[0]!, /^rules\.0\.probability: /)
      assert.match(
        (yield* problems({ rules: [{ fault: { type: "flood" } }] }))[0]!,
        /^rules\.0\.fault\.type: .*latency/
      )
      assert.strictEqual((yield* problems({ rules: [{ fault, skip: -1 }, { fault, burst: 0 }] })).length, 2)
      assert.match((yield* problems([]))[0]!, /^the script: |^rules: /)
      const broken = yield* Effect.flip(FaultScript.parse("{"))
      assert.match(broken.message, /^the fault script cannot be used: not JSON/)
    }))
})
