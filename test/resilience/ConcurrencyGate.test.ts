import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as fc from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as ConcurrencyGate from "../../src/resilience/ConcurrencyGate.js"
import { collect, settle, withQuickClock } from "./support.js"

/** Calls that enter in order of arrival, note it, and stay for a while. */
const visitors = (gate: ConcurrencyGate.ConcurrencyGate) => {
  const entered: Array<number> = []
  let n = 0
  return {
    entered,
    visit: (stay: Duration.DurationInput, bytes = 0) => {
      const me = n++
      return Effect.sync(() => entered.push(me)).pipe(
        Effect.zipRight(Effect.sleep(stay)),
        ConcurrencyGate.withPermit(gate, { bytes })
      )
    }
  }
}

const counts = (gate: ConcurrencyGate.ConcurrencyGate) => Effect.all([gate.inFlight, gate.waiting, gate.limit])
const throttled = { classify: () => "throttled" as const }

describe("ConcurrencyGate", () => {
  it.effect("lets so many in and the others in line, first come first served", () =>
    Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("line", { permits: 3 })
      const { entered, visit } = visitors(gate)
      const all = yield* Effect.fork(
        Effect.all(Array.from({ length: 8 }, (_, i) => visit(100 + i)), { concurrency: "unbounded" })
      )
      yield* settle
      assert.deepStrictEqual(entered, [0, 1, 2])
      assert.deepStrictEqual(yield* counts(gate), [3, 5, 3])
      yield* TestClock.adjust("101 millis")
      assert.deepStrictEqual(entered, [0, 1, 2, 3, 4])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(entered, [0, 1, 2, 3, 4, 5, 6, 7])
      yield* Fiber.join(all)
      assert.deepStrictEqual(yield* counts(gate), [0, 0, 3])
    }))

  it.effect("a permit that comes back wakes one waiter and nobody else", () =>
    Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("handoff", { permits: 1 })
      const first = yield* gate.acquire()
      let running = 0
      const fibers = yield* Effect.forEach(Array.from({ length: 10 }), () =>
        Effect.fork(Effect.zipRight(
          gate.acquire(),
          Effect.sync(() => {
            running++
          })
        )))
      yield* settle
      yield* gate.release(first, "success")
      yield* settle
      assert.strictEqual(running, 1)
      assert.deepStrictEqual(yield* counts(gate), [1, 9, 1])
      yield* Fiber.interruptAll(fibers)
    }))

  it.effect("bytes: whoever comes while the balance is not negative enters, one oversize call may overdraw", () =>
    Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("bytes", { permits: 10, bytes: 100 })
      const { entered, visit } = visitors(gate)
      yield* Effect.fork(visit("1 second", 100))
      yield* Effect.fork(visit("2 seconds", 500))
      yield* Effect.fork(visit("1 second", 1))
      yield* Effect.fork(visit("1 second", 0))
      yield* settle
      assert.deepStrictEqual(entered, [0, 1])
      assert.strictEqual(yield* gate.bytesFree, -500)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* gate.bytesFree, -400)
      assert.deepStrictEqual(entered, [0, 1])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(entered, [0, 1, 2, 3])
      assert.strictEqual(yield* gate.bytesFree, 99)
    }))

  it.effect("an interrupted waiter leaves the line; one interrupted inside gives its permit back", () =>
    Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("interrupted", { permits: 1 })
      const inside = yield* Effect.fork(ConcurrencyGate.withPermit(Effect.never, gate))
      const waiting = yield* Effect.fork(ConcurrencyGate.withPermit(Effect.never, gate))
      yield* settle
      assert.deepStrictEqual(yield* counts(gate), [1, 1, 1])
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(waiting)))
      assert.deepStrictEqual(yield* counts(gate), [1, 0, 1])
      yield* Fiber.interrupt(inside)
      assert.deepStrictEqual(yield* counts(gate), [0, 0, 1])
      assert.strictEqual(yield* ConcurrencyGate.withPermit(Effect.succeed("in"), gate), "in")
    }))

  it.effect("a waiter interrupted in the moment of the hand-over loses no permit", () =>
    Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("moment", { permits: 1 })
      for (let i = 0; i < 50; i++) {
        const lease = yield* gate.acquire()
        const waiter = yield* Effect.fork(ConcurrencyGate.withPermit(Effect.never, gate))
        yield* settle
        // Both messages are there before the waiter runs again.
        yield* gate.release(lease, "success")
        waiter.unsafeInterruptAsFork(FiberId.none)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.await(waiter)))
        assert.deepStrictEqual(yield* counts(gate), [0, 0, 1])
      }
    }))

  it.effect("turns away at once whoever would make the line too long", () =>
    Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("short", { permits: 1, maxWaiting: 1 })
      const inside = yield* gate.acquire()
      const waiting = yield* Effect.fork(gate.acquire())
      yield* settle
      let calls = 0
      const error = yield* Effect.flip(ConcurrencyGate.withPermit(Effect.sync(() => calls++), gate))
      assert.isTrue(ConcurrencyGate.isGateFull(error))
      assert.isFalse(ConcurrencyGate.isGateFull("full"))
      assert.match(error.message, /"short" has 1 calls under way and 1 waiting: nothing was started/)
      assert.strictEqual(calls, 0)
      yield* gate.release(inside, "success")
      yield* Effect.flatMap(Fiber.join(waiting), (lease) => gate.release(lease, "success"))
      assert.deepStrictEqual(yield* counts(gate), [0, 0, 1])
    }))

  it.effect("shrinks once a round to 0.9 of the crowd that was refused, and grows back by one a round", () =>
    Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("adaptive", { permits: 100, pacing: "off" })
      const round = (size: number, outcome: ConcurrencyGate.Outcome) =>
        Effect.gen(function*() {
          const leases = yield* Effect.all(Array.from({ length: size }, () => gate.acquire()))
          yield* Effect.forEach(leases, (lease) => gate.release(lease, outcome))
          return yield* gate.limit
        })
      assert.strictEqual(yield* round(50, "throttled"), 1, "the first of the fifty was alone")
      const alone = yield* ConcurrencyGate.make("alone", { permits: 100, minPermits: 20, pacing: "off" })
      const only = yield* alone.acquire()
      yield* alone.release(only, "throttled")
      assert.strictEqual(yield* alone.limit, 20)

      const late = yield* ConcurrencyGate.make("late", { permits: 100, pacing: "off" })
      const leases = yield* Effect.all(Array.from({ length: 50 }, () => late.acquire()))
      // The last was refused first; the others belong to the same round.
      yield* Effect.forEach([...leases].reverse(), (lease) => late.release(lease, "throttled"))
      assert.strictEqual(yield* late.limit, 45)
      const changes = yield* collect(
        late.changes,
        Effect.forEach(Array.from({ length: 60 }), () =>
          Effect.gen(function*() {
            const full = yield* Effect.all(
              Array.from({ length: yield* late.limit }, () => late.acquire())
            )
            const before = yield* late.limit
            yield* Effect.forEach(full, (lease) => late.release(lease, "success"))
            // Only those count that found the gate at least half full: about half of them, in a round this sharp.
            assert.isAtLeast(yield* late.limit, before)
            assert.isAtMost(yield* late.limit, before + 1)
          }))
      )
      assert.isAbove(yield* late.limit, 60)
      assert.deepStrictEqual(changes, [])
      yield* late.resize({ permits: 61 })
      assert.strictEqual(yield* late.limit, 61)
    }))

  it.effect("grows only while it is used, and tells when it throttles, recovers and is resized", () =>
    Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("told", { permits: 4, pacing: "off" })
      const changes = yield* collect(
        gate.changes,
        Effect.gen(function*() {
          const leases = yield* Effect.all(Array.from({ length: 4 }, () => gate.acquire()))
          yield* gate.release(leases[3]!, "throttled")
          yield* Effect.forEach(leases, (lease) => gate.release(lease, "ignore"))
          assert.strictEqual(yield* gate.limit, 3)
          for (let i = 0; i < 20; i++) yield* ConcurrencyGate.withPermit(Effect.void, gate)
          assert.strictEqual(yield* gate.limit, 3, "one at a time proves nothing about four")
          for (let i = 0; i < 3; i++) {
            const both = yield* Effect.all([gate.acquire(), gate.acquire(), gate.acquire()])
            yield* Effect.forEach(both, (lease) => gate.release(lease, "success"))
          }
          yield* gate.resize({ permits: 9, bytes: 10 })
        })
      )
      assert.deepStrictEqual(
        changes.map(({ limit, rate, reason }) => [reason, limit, Option.isNone(rate)]),
        [["throttled", 3, true], ["recovered", 4, true], ["resized", 9, true]]
      )
      assert.strictEqual(yield* gate.bytesFree, 10)
    }))

  it.effect("paces after the first refusal, not before, and reports the rate", () =>
    withQuickClock(Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("paced")
      const starts: Array<number> = []
      const call = ConcurrencyGate.withPermit(
        Effect.map(Clock.currentTimeMillis, (now) => {
          starts.push(now)
        }),
        gate
      )
      for (let i = 0; i < 10; i++) yield* call
      assert.deepStrictEqual(yield* gate.rate, Option.none())
      yield* Effect.ignore(ConcurrencyGate.withPermit(Effect.fail("429"), gate, throttled))
      // Ten successes in the first half second: 20 a second, of which 0.7 are left.
      assert.deepStrictEqual(yield* gate.rate, Option.some(14))
      starts.length = 0
      yield* Effect.fork(Effect.repeatN(call, 3))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(starts.length, 4)
      assert.isTrue(starts.every((at, i) => i === 0 || at - starts[i - 1]! >= 71))
    })))

  it.effect("a fixed rate is not changed by refusals, and a resize mends bytes", () =>
    withQuickClock(Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("fixed", { pacing: { rate: 10 }, bytes: 5 })
      yield* Effect.ignore(ConcurrencyGate.withPermit(Effect.fail("429"), gate, throttled))
      assert.deepStrictEqual(yield* gate.rate, Option.some(10))
      yield* TestClock.adjust("1 second")
      const lease = yield* gate.acquire(50)
      yield* gate.resize({ bytes: 60 })
      assert.strictEqual(yield* gate.bytesFree, 10)
      yield* gate.release(lease, "success")
      assert.strictEqual(yield* gate.bytesFree, 60)
      assert.strictEqual((yield* Effect.flip(gate.resize({ permits: 0 }))).field, "permits")
      assert.strictEqual((yield* Effect.flip(gate.resize({ bytes: 0 }))).field, "bytes")
    })))

  it.effect("the first in line, interrupted while it waits for a token, makes room for the next", () =>
    withQuickClock(Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("token", { pacing: { rate: 1 } })
      const { entered, visit } = visitors(gate)
      yield* visit(0)
      const first = yield* Effect.fork(visit(0))
      yield* Effect.fork(visit(0))
      yield* TestClock.adjust("500 millis")
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("499 millis")
      assert.deepStrictEqual(entered, [0])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(entered, [0, 2])
    })))

  it.effect("whoever sleeps for a token still waits for a permit when there is none", () =>
    withQuickClock(Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("both", { permits: 1, pacing: { rate: 10 } })
      const { entered, visit } = visitors(gate)
      const lease = yield* gate.acquire()
      yield* gate.release(lease, "success")
      // The first sleeps 100 ms for its token; the second has one long before it has a permit.
      yield* Effect.fork(visit("1 second"))
      yield* Effect.fork(visit("1 second"))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(entered, [0])
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(entered, [0])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(entered, [0, 1])
    })))

  it.effect.prop(
    "in every window of t seconds there are at most burst + rate * t starts",
    [
      fc.constantFrom(0.5, 3, 10, 80),
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.tuple(fc.constantFrom(0, 0, 0, 1, 7, 90, 1100), fc.integer({ min: 1, max: 4 })), {
        minLength: 40,
        maxLength: 40
      })
    ],
    ([rate, burst, arrivals]) =>
      withQuickClock(Effect.gen(function*() {
        const gate = yield* ConcurrencyGate.make("bound", { permits: 1000, pacing: { rate, burst } })
        const starts: Array<number> = []
        const call = ConcurrencyGate.withPermit(
          Effect.map(Clock.currentTimeMillis, (now) => {
            starts.push(now)
          }),
          gate
        )
        for (const [gap, callers] of arrivals) {
          yield* TestClock.adjust(gap)
          for (let i = 0; i < callers; i++) yield* Effect.fork(call)
        }
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(starts.length, arrivals.reduce((sum, [, callers]) => sum + callers, 0))
        for (let i = 0; i < starts.length; i++) {
          for (let j = i; j < starts.length; j++) {
            assert.isAtMost(j - i + 1, burst + rate * (starts[j]! - starts[i]!) / 1000 + 1e-6)
          }
        }
      })),
    { fastCheck: { numRuns: 60, seed: 5 } }
  )

  it.effect.prop(
    "a learned rate keeps the same bound, with the highest rate in the window and 50 ms' worth of burst",
    [fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 200, maxLength: 200 }), fc.constantFrom(1, 20, 300)],
    ([luck, latency]) =>
      withQuickClock(Effect.gen(function*() {
        const gate = yield* ConcurrencyGate.make("learned", {
          permits: 1000,
          adaptive: false,
          classify: (exit) => Exit.isSuccess(exit) ? "success" : "throttled"
        })
        const starts: Array<number> = []
        const rates: Array<readonly [at: number, rate: number]> = []
        yield* Effect.ignore(ConcurrencyGate.withPermit(Effect.fail("429"), gate))
        const sample = Effect.zipWith(Clock.currentTimeMillis, gate.rate, (now, rate) => {
          rates.push([now, Option.getOrThrow(rate)])
        })
        yield* sample
        yield* Effect.forEach(luck, (n) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            starts.push(now)
            return Effect.zipRight(Effect.sleep(latency), n === 0 ? Effect.fail("429") : Effect.void)
          }).pipe(ConcurrencyGate.withPermit(gate), Effect.ignore, Effect.zipRight(sample), Effect.fork))
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(starts.length, luck.length)
        for (let i = 0; i < starts.length; i += 3) {
          for (let j = i + 1; j < starts.length; j += 2) {
            const [from, to] = [starts[i]!, starts[j]!]
            const before = rates.filter(([at]) => at <= from).slice(-1)
            const rate = Math.max(...[...before, ...rates.filter(([at]) => at > from && at <= to)].map(([, r]) => r))
            assert.isAtMost(j - i + 1, Math.max(1, 0.05 * rate) + rate * (to - from) / 1000 + 1e-6)
          }
        }
      })),
    { fastCheck: { numRuns: 8, seed: 6 } }
  )

  it.effect("not enabled, everybody enters", () =>
    Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("off", { enabled: false, permits: 1 })
      const leases = yield* Effect.all([gate.acquire(), gate.acquire(5)])
      yield* gate.release(leases[0], "throttled")
      assert.strictEqual(yield* ConcurrencyGate.withPermit(Effect.succeed(3), gate), 3)
      assert.deepStrictEqual(yield* counts(gate), [0, 0, 1])
    }))

  it.effect("one gate per key, also for many who ask at once; a full one holds up no other", () =>
    Effect.gen(function*() {
      const gates = yield* Effect.all(
        Array.from(
          { length: 40 },
          (_, i) => Effect.zipRight(Effect.yieldNow(), ConcurrencyGate.forKey(i % 2 === 0 ? "even" : "odd"))
        ),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(new Set(gates).size, 2)
      const registry = yield* ConcurrencyGate.ConcurrencyGates
      assert.strictEqual((yield* registry.all).length, 2)
      const blocked = yield* Effect.fork(
        Effect.all([gates[0]!.acquire(), gates[0]!.acquire()], { concurrency: "unbounded" })
      )
      yield* settle
      yield* ConcurrencyGate.withPermit(Effect.void, gates[1]!)
      yield* Fiber.interrupt(blocked)
      const seen = yield* collect(registry.changes, Effect.orDie(gates[1]!.resize({ permits: 2 })))
      assert.deepStrictEqual(seen.map(({ key, limit }) => [key, limit]), [["odd", 2]])
    }).pipe(Effect.provide(ConcurrencyGate.layer({ permits: 1 }))))

  it.effect("options that cannot be used are named, also from Config", () =>
    Effect.gen(function*() {
      const bad: ReadonlyArray<readonly [string, ConcurrencyGate.Options]> = [
        ["permits", { permits: 0 }],
        ["bytes", { bytes: 0 }],
        ["maxWaiting", { maxWaiting: -1 }],
        ["minPermits", { minPermits: 101 }],
        ["decrease", { decrease: 1 }],
        ["pacing.rate", { pacing: { rate: 0 } }],
        ["pacing.burst", { pacing: { rate: 1, burst: 0.5 } }]
      ]
      for (const [field, options] of bad) {
        assert.strictEqual((yield* Effect.flip(ConcurrencyGate.make("bad", options))).field, field)
      }
      const layer = ConcurrencyGate.layerConfig({ permits: Config.integer("PERMITS") })
      const provide = (permits: string) =>
        Layer.provide(layer, Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["PERMITS", permits]]))))
      const gate = yield* Effect.provide(ConcurrencyGate.forKey("configured"), provide("7"))
      assert.strictEqual(yield* gate.limit, 7)
      assert.strictEqual((yield* Effect.flip(Layer.build(provide("0"))))._tag, "InvalidOptions")
    }).pipe(Effect.scoped))

  it.effect("is a handle: pipe, inspection, guards", () =>
    Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("handle")
      assert.isTrue(ConcurrencyGate.isConcurrencyGate(gate))
      assert.isFalse(ConcurrencyGate.isConcurrencyGate(undefined))
      assert.strictEqual(gate.pipe((self) => self.key), "handle")
      assert.deepStrictEqual(JSON.parse(JSON.stringify(gate)), {
        _id: "tinkex/ConcurrencyGate",
        key: "handle",
        enabled: true,
        inFlight: 0,
        waiting: 0,
        limit: 100
      })
    }))

  it.effect("many come and are interrupted at random: nobody is left inside, no permit is lost", () =>
    withQuickClock(Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("storm", { permits: 5, pacing: { rate: 100, burst: 3 } })
      const fibers = yield* Effect.forEach(Array.from({ length: 300 }, (_, i) => i), (i) =>
        Effect.fork(
          ConcurrencyGate.withPermit(Effect.sleep(1 + (i * 7) % 30), gate).pipe(
            i % 3 === 0 ? Effect.timeoutOption((i * 13) % 900) : Effect.asVoid
          )
        ))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(Fiber.all(fibers))
      assert.deepStrictEqual((yield* counts(gate)).slice(0, 2), [0, 0])
      assert.strictEqual(yield* ConcurrencyGate.withPermit(Effect.succeed(1), gate), 1)
    })))
})
