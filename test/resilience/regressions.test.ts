/**
 * Defects of the libraries that people use, measured before this room was written, and of the Elixir client: each by name, with
 * the numbers of the original where there are any.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as TestClock from "effect/TestClock"
import * as CircuitBreaker from "../../src/resilience/CircuitBreaker.js"
import * as ConcurrencyGate from "../../src/resilience/ConcurrencyGate.js"
import * as RateLimiter from "../../src/resilience/RateLimiter.js"
import * as RetryBudget from "../../src/resilience/RetryBudget.js"
import * as RetryPolicy from "../../src/resilience/RetryPolicy.js"
import { collect, settle, withQuickClock } from "./support.js"

const stateTag = (breaker: CircuitBreaker.CircuitBreaker) => Effect.map(breaker.state, (state) => state._tag)
const succeed = (breaker: CircuitBreaker.CircuitBreaker, times = 1) =>
  Effect.repeatN(CircuitBreaker.protect(Effect.void, breaker), times - 1)
const fail = (breaker: CircuitBreaker.CircuitBreaker, times = 1) =>
  Effect.repeatN(Effect.ignore(CircuitBreaker.protect(Effect.fail("down"), breaker)), times - 1)
const half = (breaker: CircuitBreaker.CircuitBreaker) =>
  Effect.zipRight(fail(breaker, 5), TestClock.adjust("30 seconds"))

describe("circuit breakers: defects a to d of the leading libraries", () => {
  it.effect("a: cockatiel's SamplingBreaker keeps counts over idleness; an hour later two failures do not open this one", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("a", {
        rate: { window: "10 seconds", minimumCalls: 10, failureRate: 0.5 }
      })
      yield* fail(breaker, 9)
      yield* TestClock.adjust("1 hour")
      yield* fail(breaker, 2)
      assert.deepStrictEqual(yield* breaker.state, {
        _tag: "Closed",
        consecutiveFailures: 11,
        calls: 2,
        failures: 2,
        slow: 0
      })
    }))

  it.effect("b: opossum divides by calls under way; with 200 long polls in flight 100 failures of 100 open this one", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("b", { rate: { window: "10 seconds", failureRate: 0.5 } })
      const polls = yield* Effect.forEach(
        Array.from({ length: 200 }),
        () => Effect.fork(CircuitBreaker.protect(Effect.never, breaker))
      )
      yield* settle
      yield* fail(breaker, 100)
      assert.strictEqual(yield* stateTag(breaker), "Open")
      yield* Fiber.interruptAll(polls)
      assert.strictEqual(yield* stateTag(breaker), "Open")
    }))

  it.effect("c: in opossum a success from before the opening closes the half-open circuit; here it belongs to its generation", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("c")
      const before = yield* breaker.acquire
      const beforeToo = yield* breaker.acquire
      yield* half(breaker)
      assert.strictEqual(yield* stateTag(breaker), "HalfOpen")
      yield* breaker.settle(before, "success")
      assert.strictEqual(yield* stateTag(breaker), "HalfOpen")
      yield* breaker.settle(beforeToo, "failure")
      assert.strictEqual(yield* stateTag(breaker), "HalfOpen")
    }))

  it.effect("d: resilience4j#903 hangs half open when probes never finish; here a probe loses its permit after 60 seconds", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("d")
      yield* half(breaker)
      const hung = yield* breaker.acquire
      yield* TestClock.adjust("59999 millis")
      assert.deepStrictEqual((yield* Effect.flip(breaker.acquire)).reopensIn, Duration.millis(1))
      yield* TestClock.adjust("1 millis")
      const next = yield* breaker.acquire
      yield* breaker.settle(hung, "failure")
      assert.strictEqual(yield* stateTag(breaker), "HalfOpen", "it has no say any more")
      yield* breaker.settle(next, "success")
      assert.strictEqual(yield* stateTag(breaker), "Closed")
    }))
})

describe("rate limiters", () => {
  it.effect("bottleneck starts 20 in a one-second window at 10 a second; here no second sees more than burst + rate", () =>
    withQuickClock(Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("window", { pacing: { rate: 10 } })
      const starts: Array<number> = []
      const call = ConcurrencyGate.withPermit(
        Effect.map(Clock.currentTimeMillis, (now) => {
          starts.push(now)
        }),
        gate
      )
      const burst = Effect.forEach(Array.from({ length: 10 }), () => Effect.fork(call), { discard: true })
      // Ten calls just before the reservoir of bottleneck is filled up again, ten just after.
      yield* TestClock.adjust("990 millis")
      yield* burst
      yield* TestClock.adjust("20 millis")
      yield* burst
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(starts.length, 20)
      for (const from of starts) {
        assert.isAtMost(starts.filter((at) => at >= from && at < from + 1000).length, 10)
      }
    })))
})

describe("the breaker of the Elixir client", () => {
  it.effect("half open admitted unlimited probes: they take their permit before the call", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("c2", { probes: 2 })
      yield* half(breaker)
      const admitted = yield* Effect.all(
        Array.from({ length: 20 }, () => Effect.either(Effect.zipRight(Effect.yieldNow(), breaker.acquire))),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(admitted.filter(Either.isRight).length, 2)
    }))

  it.effect("an exception in the call was not recorded: a defect counts as a failure and frees the probe", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("c2")
      yield* half(breaker)
      yield* Effect.exit(CircuitBreaker.protect(Effect.die(new Error("boom")), breaker))
      assert.strictEqual(yield* stateTag(breaker), "Open")
    }))

  it.effect("every error counted, also the user's own: the caller's judgement decides", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("c2", {
        consecutiveFailures: 1,
        classify: (exit) => Exit.isSuccess(exit) ? "success" : String(exit.cause).includes("404") ? "ignore" : "failure"
      })
      yield* Effect.ignore(CircuitBreaker.protect(Effect.fail("404"), breaker))
      assert.strictEqual(yield* stateTag(breaker), "Closed")
      yield* Effect.ignore(CircuitBreaker.protect(Effect.fail("503"), breaker))
      assert.strictEqual(yield* stateTag(breaker), "Open")
    }))

  it.effect("nobody heard of a transition: changes are published, and the error says when to come back", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("c2")
      const changes = yield* collect(breaker.changes, fail(breaker, 5))
      assert.deepStrictEqual(changes.map(({ to }) => to), ["Open"])
      assert.deepStrictEqual((yield* Effect.flip(breaker.acquire)).reopensIn, Duration.seconds(30))
    }))
})

describe("what was refused has not begun", () => {
  it.effect("an open circuit, a full gate, a long back-off and an empty budget burn no number", () =>
    Effect.gen(function*() {
      let next = 1
      const drawAndSend = Effect.sync(() => next++)
      const breaker = yield* CircuitBreaker.make("c5")
      yield* breaker.isolate
      const gate = yield* ConcurrencyGate.make("c5", { permits: 1, maxWaiting: 0 })
      yield* gate.acquire()
      const limiter = yield* RateLimiter.make("c5")
      yield* limiter.setBackoff("1 hour")
      const budget = yield* RetryBudget.make("c5", { percent: 0, minPerSecond: 0 })
      const errors = yield* Effect.all([
        Effect.flip(CircuitBreaker.protect(drawAndSend, breaker)),
        Effect.flip(ConcurrencyGate.withPermit(drawAndSend, gate)),
        Effect.flip(Effect.zipRight(limiter.waitUpTo("1 minute"), drawAndSend)),
        Effect.flip(RetryBudget.spend(drawAndSend, budget))
      ])
      assert.deepStrictEqual(errors.map(({ _tag }) => _tag), [
        "CircuitOpen",
        "GateFull",
        "BackoffTooLong",
        "BudgetExhausted"
      ])
      assert.strictEqual(yield* drawAndSend, 1)
    }))

  it.effect("a retry repeats the same call, with the number that was drawn before", () =>
    withQuickClock(Effect.gen(function*() {
      const policy = yield* RetryPolicy.make("c15", { maxAttempts: 4 })
      let next = 1
      const sent: Array<number> = []
      const call = Effect.flatMap(
        Effect.sync(() => next++),
        (number) => RetryPolicy.retry(Effect.suspend(() => Effect.fail(sent.push(number))), policy)
      )
      const fiber = yield* Effect.fork(Effect.exit(Effect.zip(Effect.exit(call), Effect.exit(call))))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(sent, [1, 1, 1, 1, 2, 2, 2, 2])
    })))
})

describe("nothing is held up by somebody else's call", () => {
  it.effect("states can be read, keys added and other tenants served while calls are under way", () =>
    Effect.gen(function*() {
      const breakers = yield* CircuitBreaker.makeRegistry()
      const gates = yield* ConcurrencyGate.makeRegistry({ permits: 1 })
      const limiters = yield* RateLimiter.makeRegistry()
      const [breaker, gate, limiter] = yield* Effect.all([
        breakers.forKey("a"),
        gates.forKey("a"),
        limiters.forKey("a")
      ])
      const slow = yield* Effect.fork(ConcurrencyGate.withPermit(CircuitBreaker.protect(Effect.never, breaker), gate))
      yield* limiter.setBackoff("1 hour")
      const stuck = yield* Effect.fork(limiter.waitForBackoff)
      yield* settle
      // None of this may need the clock to move, or it would never end.
      assert.strictEqual(yield* stateTag(breaker), "Closed")
      assert.strictEqual(yield* gate.inFlight, 1)
      const other = yield* gates.forKey("b")
      yield* ConcurrencyGate.withPermit(CircuitBreaker.protect(Effect.void, yield* breakers.forKey("b")), other)
      yield* Effect.flatMap(limiters.forKey("b"), (fresh) => fresh.waitForBackoff)
      yield* Fiber.interruptAll([slow, stuck])
    }))

  it.effect("keys are served as they come, none is set up beforehand and none falls back to another's", () =>
    Effect.gen(function*() {
      const gates = yield* ConcurrencyGate.makeRegistry({ permits: 1 })
      const all = yield* Effect.forEach(Array.from({ length: 50 }, (_, i) => `https://host-${i}/pool`), gates.forKey)
      const leases = yield* Effect.forEach(all, (gate) => gate.acquire())
      assert.strictEqual(new Set(leases).size, 50)
      assert.strictEqual((yield* gates.all).length, 50)
    }))
})

describe("429 handling", () => {
  it.effect("ignored what the server asked for: the back-off is exactly as long as set", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.make("c7")
      yield* limiter.setBackoff("17 seconds")
      assert.strictEqual(Duration.toMillis(yield* limiter.remaining), 17_000)
    }))

  it.effect("a success of a request already in flight cleared it: only one that started after the refusal does", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.make("c7")
      const early = yield* limiter.started
      yield* limiter.setBackoff("10 seconds")
      const between = yield* limiter.started
      yield* limiter.setBackoff("1 second")
      const late = yield* limiter.started
      assert.isFalse(yield* limiter.succeeded(early))
      assert.isFalse(yield* limiter.succeeded(between), "a refusal came after it started, though it moved nothing")
      assert.isTrue(yield* limiter.shouldBackoff)
      assert.isTrue(yield* limiter.succeeded(late))
      assert.isFalse(yield* limiter.shouldBackoff)
    }))

  it.effect("set_backoff shortened a longer deadline: it is only ever extended", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.make("c7")
      yield* limiter.setBackoff("10 seconds")
      yield* limiter.setBackoff("1 second")
      assert.strictEqual(Duration.toSeconds(yield* limiter.remaining), 10)
      yield* TestClock.adjust("5 seconds")
      yield* limiter.setBackoff("6 seconds")
      assert.strictEqual(Duration.toSeconds(yield* limiter.remaining), 6)
    }))

  it.effect("wait_for_backoff slept once and did not look again: waiters see a deadline that moved", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.make("c7", { jitter: 0 })
      yield* limiter.setBackoff("2 seconds")
      const waiter = yield* Effect.fork(Effect.zipRight(limiter.waitForBackoff, TestClock.currentTimeMillis))
      yield* TestClock.adjust("1 second")
      yield* limiter.setBackoff("5 seconds")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(waiter), 6000)
    }))

  it.effect("all waiters woke together: they come back spread out", () =>
    Effect.gen(function*() {
      const limiter = yield* RateLimiter.make("c7")
      yield* limiter.setBackoff("10 seconds")
      const waiters = yield* Effect.forEach(
        Array.from({ length: 20 }),
        () => Effect.fork(Effect.zipRight(limiter.waitForBackoff, TestClock.currentTimeMillis))
      )
      yield* TestClock.adjust("11 seconds")
      const times = yield* Fiber.join(Fiber.all(waiters))
      assert.isAbove(new Set(times).size, 15)
    }).pipe(Effect.withRandom(Random.make("c7"))))

  it.effect("a 429 for one tenant delayed the others: keys share no deadline", () =>
    Effect.gen(function*() {
      const limiters = yield* RateLimiter.makeRegistry()
      yield* Effect.flatMap(limiters.forKey("a"), (limiter) => limiter.setBackoff("1 hour"))
      yield* Effect.flatMap(limiters.forKey("b"), (limiter) => limiter.waitForBackoff)
    }))
})

describe("error categorisation", () => {
  it.effect("retry_after was 1,000 ms where the server had sent none: without one the policy's own wait holds", () =>
    Effect.gen(function*() {
      const policy = yield* RetryPolicy.make<Option.Option<Duration.Duration>>("c8", {
        jitter: "none",
        maxAttempts: 2,
        retryAfter: (error) => error
      })
      const waited = (asked: Option.Option<Duration.Duration>) =>
        Effect.map(
          collect(
            policy.changes,
            withQuickClock(Effect.gen(function*() {
              const fiber = yield* Effect.fork(Effect.ignore(RetryPolicy.retry(Effect.fail(asked), policy)))
              yield* TestClock.adjust("1 minute")
              yield* Fiber.join(fiber)
            }))
          ),
          ([first]) => first?._tag === "Retrying" ? Duration.toMillis(first.delay) : undefined
        )
      assert.strictEqual(yield* waited(Option.none()), 500)
      assert.strictEqual(yield* waited(Option.some(Duration.seconds(3))), 3500)
    }))

  it.effect("retry, breaker and limiter each judged for themselves: one judgement can be given to all of them", () =>
    withQuickClock(Effect.gen(function*() {
      interface Disposition {
        readonly retry: boolean
        readonly breaker: CircuitBreaker.Outcome
        readonly gate: ConcurrencyGate.Outcome
      }
      const judge = (status: number): Disposition => ({
        retry: status === 429 || status >= 500,
        breaker: status >= 500 ? "failure" : "ignore",
        gate: status === 429 ? "throttled" : "ignore"
      })
      const breaker = yield* CircuitBreaker.make("c8", { consecutiveFailures: 2 })
      const gate = yield* ConcurrencyGate.make("c8")
      const policy = yield* RetryPolicy.make<number | CircuitBreaker.CircuitOpen | ConcurrencyGate.GateFull>("c8", {
        maxAttempts: 2,
        while: (error) => typeof error === "number" && judge(error).retry
      })
      const classify = <O>(by: (d: Disposition) => O, ok: O) => (exit: Exit.Exit<unknown, unknown>): O => {
        const error = Exit.isFailure(exit) ? Option.getOrUndefined(Exit.causeOption(exit)) : undefined
        return error?._tag === "Fail" && typeof error.error === "number" ? by(judge(error.error)) : ok
      }
      const send = (status: number) => {
        let hits = 0
        const attempt = Effect.suspend(() => {
          hits++
          return Effect.fail(status)
        }).pipe(
          CircuitBreaker.protect(breaker, classify<CircuitBreaker.Outcome>((d) => d.breaker, "success")),
          ConcurrencyGate.withPermit(gate, {
            classify: classify<ConcurrencyGate.Outcome>((d) => d.gate, "success")
          }),
          RetryPolicy.retry(policy)
        )
        return Effect.gen(function*() {
          const fiber = yield* Effect.fork(Effect.exit(attempt))
          yield* TestClock.adjust("10 seconds")
          yield* Fiber.join(fiber)
          return hits
        })
      }
      assert.deepStrictEqual([yield* send(400), yield* send(409), yield* send(429)], [1, 1, 2])
      assert.strictEqual(yield* stateTag(breaker), "Closed")
      assert.isTrue(Option.isSome(yield* gate.rate))
      assert.strictEqual(yield* send(503), 2)
      assert.strictEqual(yield* stateTag(breaker), "Open")
      assert.strictEqual(yield* send(400), 0)
    })))
})

describe("semaphores that were polled and unfair", () => {
  it.effect("a free permit is handed over in the same instant, in order of arrival, without any clock", () =>
    Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("c16", { permits: 1 })
      const order: Array<number> = []
      const fibers = yield* Effect.forEach(
        Array.from({ length: 200 }, (_, i) => i),
        (i) =>
          Effect.fork(ConcurrencyGate.withPermit(
            Effect.zipRight(
              Effect.sync(() => order.push(i)),
              Effect.yieldNow()
            ),
            gate
          ))
      )
      yield* Fiber.join(Fiber.all(fibers))
      assert.deepStrictEqual(order, Array.from({ length: 200 }, (_, i) => i))
      assert.strictEqual(yield* TestClock.currentTimeMillis, 0)
    }))
})

describe("smaller things that went wrong elsewhere", () => {
  it.effect("breaker updates were lost and tasks orphaned; a storm of interruptions leaves nothing behind", () =>
    withQuickClock(Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("c22", { permits: 4 })
      const breaker = yield* CircuitBreaker.make("c22", { consecutiveFailures: 1000 })
      const limiter = yield* RateLimiter.make("c22")
      yield* limiter.setBackoff("5 seconds")
      const call = Effect.zipRight(
        limiter.waitForBackoff,
        ConcurrencyGate.withPermit(CircuitBreaker.protect(Effect.never, breaker), gate)
      )
      const fibers = yield* Effect.forEach(Array.from({ length: 100 }), () => Effect.fork(call))
      yield* TestClock.adjust("7 seconds")
      assert.deepStrictEqual([yield* gate.inFlight, yield* gate.waiting], [4, 96])
      yield* Fiber.interruptAll(fibers)
      assert.deepStrictEqual([yield* gate.inFlight, yield* gate.waiting], [0, 0])
      yield* Effect.all(
        Array.from(
          { length: 500 },
          () => Effect.ignore(CircuitBreaker.protect(Effect.zipRight(Effect.yieldNow(), Effect.fail("down")), breaker))
        ),
        { concurrency: "unbounded" }
      )
      const state = yield* breaker.state
      assert.strictEqual(state._tag === "Closed" && state.consecutiveFailures, 500)
    })))

  it.effect("no cancellation and no fairness; one heavy caller keeps nobody waiting longer than its place in line", () =>
    withQuickClock(Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("c24", { permits: 2 })
      const heavy = yield* Effect.forEach(
        Array.from({ length: 10 }),
        () => Effect.fork(ConcurrencyGate.withPermit(Effect.sleep("1 second"), gate))
      )
      const light = yield* Effect.fork(ConcurrencyGate.withPermit(TestClock.currentTimeMillis, gate))
      // New heavy calls keep coming; they queue behind the light one. Half of the old ones are cancelled.
      yield* settle
      yield* Effect.fork(
        Effect.forEach(Array.from({ length: 50 }), () => Effect.fork(ConcurrencyGate.withPermit(Effect.never, gate)))
      )
      yield* settle
      yield* Fiber.interruptAll(heavy.slice(4))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(light), 2000)
    })))

  it.effect("check_and_call counted, then record_* counted again; a permit counts once however often it is settled", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make("c27")
      for (let i = 0; i < 2; i++) {
        const permit = yield* breaker.acquire
        yield* breaker.settle(permit, "failure")
        yield* breaker.settle(permit, "failure")
        yield* breaker.settle(permit, "success")
      }
      yield* Effect.ignore(breaker.checkAndCall(Effect.fail("down")))
      const state = yield* breaker.state
      assert.strictEqual(state._tag === "Closed" && state.consecutiveFailures, 3)
      yield* half(breaker)
      yield* succeed(breaker)
      assert.strictEqual(yield* stateTag(breaker), "Closed")
    }))
})
