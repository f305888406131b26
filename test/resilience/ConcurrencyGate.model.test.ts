import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import * as ConcurrencyGate from "../../src/resilience/ConcurrencyGate.js"
import { model, runs, steps } from "./model.js"
import { settle, withQuickClock } from "./support.js"

interface Setup {
  readonly permits: number
  readonly bytes: number
  readonly maxWaiting: number
  readonly adaptive: boolean
}

const setup: fc.Arbitrary<Setup> = fc.record({
  permits: fc.integer({ min: 1, max: 6 }),
  bytes: fc.constantFrom(50, 100, Number.POSITIVE_INFINITY),
  maxWaiting: fc.constantFrom(0, 2, 5, Number.POSITIVE_INFINITY),
  adaptive: fc.boolean()
})

type Command =
  | { readonly _tag: "arrive"; readonly bytes: number }
  | { readonly _tag: "release"; readonly which: number; readonly outcome: ConcurrencyGate.Outcome }
  | { readonly _tag: "interrupt"; readonly which: number }
  | { readonly _tag: "resize"; readonly permits: number }
  | { readonly _tag: "advance" }

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({ _tag: fc.constant("arrive" as const), bytes: fc.constantFrom(0, 10, 60, 500, -3) })
  },
  {
    weight: 8,
    arbitrary: fc.record({
      _tag: fc.constant("release" as const),
      which: fc.nat(),
      outcome: fc.constantFrom<ConcurrencyGate.Outcome>("success", "success", "success", "throttled", "ignore")
    })
  },
  { weight: 3, arbitrary: fc.record({ _tag: fc.constant("interrupt" as const), which: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({ _tag: fc.constant("resize" as const), permits: fc.integer({ min: 1, max: 8 }) })
  },
  { weight: 1, arbitrary: fc.constant<Command>({ _tag: "advance" }) }
)

/** A list of calls in the order of arrival; who is inside follows from it. */
class Reference {
  calls: Array<{ state: "waiting" | "inside" | "gone" | "refused"; bytes: number; epoch: number; crowd: number }> = []
  epoch = 0
  most: number
  limit: number

  constructor(private readonly s: Setup) {
    this.most = s.permits
    this.limit = s.permits
  }

  all(state: string) {
    return this.calls.filter((call) => call.state === state)
  }
  balance() {
    return this.s.bytes - this.all("inside").reduce((sum, call) => sum + call.bytes, 0)
  }
  admit() {
    for (const call of this.calls) {
      if (call.state !== "waiting") continue
      if (this.all("inside").length >= Math.floor(this.limit) || this.balance() < 0) return
      call.state = "inside"
      call.epoch = this.epoch
      call.crowd = this.all("inside").length
    }
  }
  arrive(bytes: number) {
    const call = {
      state: "waiting" as Reference["calls"][number]["state"],
      bytes: Math.max(0, bytes),
      epoch: 0,
      crowd: 0
    }
    this.calls.push(call)
    this.admit()
    if (call.state === "waiting" && this.all("waiting").length > this.s.maxWaiting) call.state = "refused"
  }
  leave(which: number, outcome: ConcurrencyGate.Outcome) {
    const call = this.calls[which]!
    if (call.state === "inside" && outcome === "success" && this.s.adaptive && call.crowd * 2 >= this.limit) {
      this.limit = Math.min(this.most, this.limit + 1 / this.limit)
    }
    if (call.state === "inside" && outcome === "throttled" && call.epoch === this.epoch) {
      this.epoch++
      if (this.s.adaptive) this.limit = Math.max(1, 0.9 * Math.min(this.limit, call.crowd))
    }
    call.state = "gone"
    this.admit()
  }
  resize(permits: number) {
    this.limit = this.limit === this.most ? permits : Math.min(this.limit, permits)
    this.most = permits
    this.admit()
  }
}

describe("ConcurrencyGate against a reference model", () => {
  it.effect.prop(
    `${runs * steps} random steps agree, and no permit is lost at the end`,
    [setup, fc.array(command, { minLength: steps, maxLength: steps })],
    ([s, commands]) =>
      withQuickClock(Effect.gen(function*() {
        const gate = yield* ConcurrencyGate.make("model", { ...s, pacing: "off" })
        const reference = new Reference(s)
        const real: Array<{
          state: "waiting" | "inside" | "gone" | "refused"
          lease: ConcurrencyGate.Lease | undefined
          fiber: Fiber.RuntimeFiber<void> | undefined
        }> = []

        const pick = (which: number, ...states: ReadonlyArray<string>): number | undefined => {
          const candidates = real.map((_, i) => i).filter((i) => states.includes(real[i]!.state))
          return candidates[which % candidates.length]
        }
        const agree = Effect.gen(function*() {
          yield* settle
          assert.deepStrictEqual(real.map((call) => call.state), reference.calls.map((call) => call.state))
          assert.strictEqual(yield* gate.inFlight, reference.all("inside").length)
          assert.strictEqual(yield* gate.waiting, reference.all("waiting").length)
          assert.strictEqual(yield* gate.limit, Math.floor(reference.limit))
          assert.strictEqual(yield* gate.bytesFree, reference.balance())
        })

        for (const step of commands) {
          switch (step._tag) {
            case "arrive": {
              const call: (typeof real)[number] = { state: "waiting", lease: undefined, fiber: undefined }
              real.push(call)
              call.fiber = yield* Effect.fork(Effect.match(gate.acquire(step.bytes), {
                onSuccess: (lease) => {
                  call.lease = lease
                  call.state = "inside"
                },
                onFailure: () => {
                  call.state = "refused"
                }
              }))
              yield* settle
              reference.arrive(step.bytes)
              break
            }
            case "release": {
              const which = pick(step.which, "inside")
              if (which === undefined) break
              real[which]!.state = "gone"
              yield* gate.release(real[which]!.lease!, step.outcome)
              yield* gate.release(real[which]!.lease!, step.outcome)
              reference.leave(which, step.outcome)
              break
            }
            case "interrupt": {
              const which = pick(step.which, "waiting")
              if (which === undefined) break
              real[which]!.state = "gone"
              yield* Fiber.interrupt(real[which]!.fiber!)
              reference.leave(which, "ignore")
              break
            }
            case "resize":
              yield* Effect.orDie(gate.resize({ permits: step.permits }))
              reference.resize(step.permits)
              break
            case "advance":
              yield* TestClock.adjust(1000)
              break
          }
          yield* agree
        }
        for (let which = pick(0, "inside"); which !== undefined; which = pick(0, "inside")) {
          real[which]!.state = "gone"
          yield* gate.release(real[which]!.lease!, "ignore")
          reference.leave(which, "ignore")
          yield* agree
        }
        assert.strictEqual(yield* gate.waiting, 0)
        assert.strictEqual(yield* gate.bytesFree, s.bytes)
      })),
    model
  )
})
