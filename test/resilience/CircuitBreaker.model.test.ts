import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as fc from "effect/FastCheck"
import * as TestClock from "effect/TestClock"
import * as CircuitBreaker from "../../src/resilience/CircuitBreaker.js"
import { model, runs, steps } from "./model.js"
import { withQuickClock } from "./support.js"

interface Setup {
  readonly failures: number
  readonly calls: number | undefined
  readonly windowMillis: number | undefined
  readonly minimum: number
  readonly failureRate: number
  readonly slowRate: number
  readonly slowMillis: number
  readonly probes: number
  readonly successes: number
}

const setup: fc.Arbitrary<Setup> = fc.record({
  failures: fc.constantFrom(1, 2, 5, Number.POSITIVE_INFINITY),
  window: fc.constantFrom(
    { calls: undefined, windowMillis: undefined },
    { calls: 8, windowMillis: undefined },
    { calls: undefined, windowMillis: 10_000 }
  ),
  minimum: fc.integer({ min: 1, max: 8 }),
  failureRate: fc.constantFrom(0.25, 0.5, 1),
  slowRate: fc.constantFrom(0.5, 1),
  slowMillis: fc.constantFrom(800, 5000),
  probes: fc.integer({ min: 1, max: 3 }),
  successes: fc.integer({ min: 1, max: 3 })
}).map(({ window, ...rest }) => ({ ...rest, ...window }))

type Command =
  | { readonly _tag: "acquire" }
  | {
    readonly _tag: "settle"
    readonly which: number
    readonly twice: boolean
    readonly outcome: CircuitBreaker.Outcome
  }
  | { readonly _tag: "record"; readonly failed: boolean }
  | { readonly _tag: "advance"; readonly millis: number }
  | { readonly _tag: "isolate" | "reset" | "state" | "roundTrip" }

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 12, arbitrary: fc.constant<Command>({ _tag: "acquire" }) },
  {
    weight: 12,
    arbitrary: fc.record({
      _tag: fc.constant("settle" as const),
      which: fc.nat(),
      twice: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      outcome: fc.constantFrom<CircuitBreaker.Outcome>("success", "success", "failure", "failure", "ignore")
    })
  },
  { weight: 2, arbitrary: fc.record({ _tag: fc.constant("record" as const), failed: fc.boolean() }) },
  {
    weight: 6,
    arbitrary: fc.record({
      _tag: fc.constant("advance" as const),
      millis: fc.constantFrom(1, 100, 900, 1000, 9999, 29_999, 30_000, 60_000, 3_600_000)
    })
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Command>({ _tag: "isolate" }, { _tag: "reset" }, { _tag: "reset" }, {
      _tag: "roundTrip"
    })
  },
  { weight: 2, arbitrary: fc.constant<Command>({ _tag: "state" }) }
)

/** The breaker as one would explain it: it keeps everything that ever happened and counts anew each time. */
class Reference {
  phase: CircuitBreaker.State["_tag"] = "Closed"
  era = 0
  opened = { at: 0, lasts: 0 }
  relapses = 0
  wins = 0
  streak = 0
  log: Array<{ readonly at: number; readonly failed: boolean; readonly slow: boolean }> = []
  out: Array<{ readonly era: number; readonly at: number; probing: boolean; done: boolean }> = []

  constructor(private readonly s: Setup) {}

  enter(phase: CircuitBreaker.State["_tag"]) {
    this.phase = phase
    this.era++
    this.wins = 0
    this.streak = 0
    this.log = []
    for (const call of this.out) call.probing = false
    if (phase === "Closed") this.relapses = 0
  }
  open(now: number) {
    this.enter("Open")
    this.opened = { at: now, lasts: Math.min(300_000, 30_000 * 2 ** this.relapses) }
  }
  look(now: number) {
    if (this.phase === "Open" && now >= this.opened.at + this.opened.lasts) this.enter("HalfOpen")
    for (const call of this.out) if (now - call.at >= 60_000) call.probing = false
  }
  acquire(now: number): boolean {
    this.look(now)
    if (this.phase === "Open" || this.phase === "Isolated") return false
    if (this.phase === "HalfOpen" && this.out.filter((call) => call.probing).length >= this.s.probes) return false
    this.out.push({ era: this.era, at: now, probing: this.phase === "HalfOpen", done: false })
    return true
  }
  settle(which: number, outcome: CircuitBreaker.Outcome, now: number) {
    const call = this.out[which]!
    const late = call.era !== this.era || (this.phase === "HalfOpen" && (!call.probing || now - call.at >= 60_000))
    const again = call.done
    call.done = true
    call.probing = false
    if (!late && !again && outcome !== "ignore") this.judge(outcome === "failure", now - call.at, now)
  }
  judge(failed: boolean, millis: number, now: number) {
    const rated = this.s.calls !== undefined || this.s.windowMillis !== undefined
    const slow = rated && millis >= this.s.slowMillis
    if (this.phase === "HalfOpen") {
      if (failed || slow) {
        this.relapses++
        this.open(now)
      } else if (++this.wins === this.s.successes) this.enter("Closed")
    } else if (this.phase === "Closed") {
      this.streak = failed ? this.streak + 1 : 0
      this.log.push({ at: now, failed, slow })
      const seen = this.window(now)
      const bad = (of: number, rate: number) => rated && seen.length >= this.s.minimum && of / seen.length >= rate
      if (
        this.streak >= this.s.failures || bad(seen.filter((call) => call.failed).length, this.s.failureRate) ||
        bad(seen.filter((call) => call.slow).length, this.s.slowRate)
      ) this.open(now)
    }
  }
  window(now: number) {
    if (this.s.calls !== undefined) return this.log.slice(-this.s.calls)
    if (this.s.windowMillis === undefined) return []
    const slot = this.s.windowMillis / 10
    return this.log.filter((call) => Math.floor(call.at / slot) > Math.floor(now / slot) - 10)
  }
}

describe("CircuitBreaker against a reference model", () => {
  it.effect.prop(
    `${runs * steps} random steps agree`,
    [setup, fc.array(command, { minLength: steps, maxLength: steps })],
    ([s, commands]) =>
      withQuickClock(Effect.gen(function*() {
        const rate = s.calls === undefined && s.windowMillis === undefined ? undefined : {
          calls: s.calls,
          window: s.windowMillis,
          minimumCalls: s.minimum,
          failureRate: s.failureRate,
          slowCallRate: s.slowRate,
          slowCallDuration: s.slowMillis
        }
        const breaker = yield* CircuitBreaker.make("model", {
          consecutiveFailures: s.failures,
          rate,
          jitter: 0,
          probes: s.probes,
          successesToClose: s.successes
        })
        const reference = new Reference(s)
        const permits: Array<CircuitBreaker.Permit> = []
        for (const step of commands) {
          const now = yield* TestClock.currentTimeMillis
          switch (step._tag) {
            case "acquire": {
              const given = yield* Effect.either(breaker.acquire)
              if (Either.isRight(given)) permits.push(given.right)
              assert.strictEqual(Either.isRight(given), reference.acquire(now), "admitted")
              break
            }
            case "settle": {
              const open = permits.map((_, i) => i).filter((i) => step.twice || !reference.out[i]!.done)
              if (open.length === 0) break
              const which = open[step.which % open.length]!
              yield* breaker.settle(permits[which]!, step.outcome)
              reference.settle(which, step.outcome, now)
              break
            }
            case "record": {
              yield* step.failed ? breaker.recordFailure : breaker.recordSuccess
              if (reference.phase === "HalfOpen" || reference.phase === "Closed") reference.judge(step.failed, 0, now)
              break
            }
            case "advance":
              yield* TestClock.adjust(step.millis)
              break
            case "isolate":
              yield* breaker.isolate
              if (reference.phase !== "Isolated") reference.enter("Isolated")
              break
            case "reset":
              yield* breaker.reset
              reference.enter("Closed")
              break
            case "roundTrip": {
              // What is open or isolated stays so over a restart; what was counted in a window does not.
              const streak = reference.streak
              yield* Effect.flatMap(breaker.export, breaker.restore)
              reference.enter(reference.phase)
              reference.streak = streak
              break
            }
            case "state":
              reference.look(now)
              break
          }
          const at = yield* TestClock.currentTimeMillis
          const state = yield* breaker.state
          reference.look(at)
          assert.strictEqual(state._tag, reference.phase, "state")
          if (state._tag === "Closed") {
            const seen = reference.window(at)
            assert.deepStrictEqual(
              [state.consecutiveFailures, state.calls, state.failures, state.slow],
              [
                reference.streak,
                seen.length,
                seen.filter((call) => call.failed).length,
                seen.filter((call) => call.slow).length
              ]
            )
          } else if (state._tag === "HalfOpen") {
            assert.isAtMost(state.probes, s.probes)
            assert.strictEqual(state.successes, reference.wins)
          } else if (state._tag === "Open") {
            assert.strictEqual(state.relapses, reference.relapses)
          }
        }
      })),
    model
  )
})
