/** What protection costs: the breaker per call and per refusal beside cockatiel and opossum, and the gate beside a queue. */
import * as cockatiel from "cockatiel"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { createRequire } from "node:module"
import * as CircuitBreaker from "../../src/resilience/CircuitBreaker.js"
import * as ConcurrencyGate from "../../src/resilience/ConcurrencyGate.js"
import type { Row } from "./Row.js"

// opossum comes without types.
const Opossum: new(action: () => Promise<unknown>) => {
  readonly fire: () => Promise<unknown>
  readonly open: () => void
  readonly shutdown: () => void
} = createRequire(import.meta.url)("opossum")

const rounds = 9
const calls = 20_000

const median = (values: ReadonlyArray<number>): number => [...values].sort((a, b) => a - b)[values.length >> 1]!

/** Microseconds per call, after one round to warm up; the quickest round, for what else the machine does only ever adds. */
const microseconds = async (n: number, run: () => Promise<unknown>): Promise<number> => {
  await run()
  const times: Array<number> = []
  for (let i = 0; i < rounds; i++) {
    const start = process.hrtime.bigint()
    await run()
    times.push(Number(process.hrtime.bigint() - start) / 1000 / n)
  }
  return Math.min(...times)
}

/** The same call again and again in one fiber. */
const again = <A, E>(effect: Effect.Effect<A, E>, n: number): Effect.Effect<void, E> =>
  Effect.suspend(() => {
    let i = 0
    return Effect.whileLoop({ while: () => i++ < n, body: () => effect, step: () => undefined })
  })

const againAsync = async (call: () => Promise<unknown>): Promise<void> => {
  for (let i = 0; i < calls; i++) await call()
}

const breakers = async (): Promise<ReadonlyArray<Row>> => {
  const ours = Effect.runSync(CircuitBreaker.make("bench"))
  const refusing = Effect.runSync(Effect.tap(CircuitBreaker.make("bench"), (breaker) => breaker.isolate))
  const rated = Effect.runSync(CircuitBreaker.make("bench", { rate: { window: "10 seconds" } }))
  const work = Effect.succeed(1)

  const consecutive = cockatiel.circuitBreaker(cockatiel.handleAll, {
    halfOpenAfter: 30_000,
    breaker: new cockatiel.ConsecutiveBreaker(5)
  })
  const isolated = cockatiel.circuitBreaker(cockatiel.handleAll, {
    halfOpenAfter: 30_000,
    breaker: new cockatiel.ConsecutiveBreaker(5)
  })
  const isolation = isolated.isolate()
  const fired = new Opossum(async () => 1)
  const open = new Opossum(async () => 1)
  open.open()
  // A refusal is a rejection there; it has to be caught like any other.
  const ignore = () => undefined

  const row = (name: string, value: number, target: number | null): Row => ({
    name: `resilience: ${name}`,
    value,
    unit: "us/call",
    target,
    better: "lower"
  })
  const result = [
    row(
      "breaker, consecutive failures",
      await microseconds(calls, () => Effect.runPromise(again(CircuitBreaker.protect(work, ours), calls))),
      6
    ),
    row(
      "breaker, failure rate over time",
      await microseconds(calls, () => Effect.runPromise(again(CircuitBreaker.protect(work, rated), calls))),
      null
    ),
    row(
      "breaker, cockatiel 3.2.1",
      await microseconds(calls, () => againAsync(() => consecutive.execute(() => 1))),
      null
    ),
    row("breaker, opossum 9.0.0", await microseconds(calls, () => againAsync(() => fired.fire())), null),
    row(
      "refusal",
      await microseconds(
        calls,
        () => Effect.runPromise(again(Effect.ignore(CircuitBreaker.protect(work, refusing)), calls))
      ),
      20
    ),
    row(
      "refusal, cockatiel 3.2.1",
      await microseconds(calls, () => againAsync(() => isolated.execute(() => 1).catch(ignore))),
      null
    ),
    row("refusal, opossum 9.0.0", await microseconds(calls, () => againAsync(() => open.fire().catch(ignore))), null)
  ]
  isolation.dispose()
  fired.shutdown()
  open.shutdown()
  return result
}

/** 2,000 fibers, each five times through 100 permits; inside, they let the others run once. */
const waiters = async (): Promise<ReadonlyArray<Row>> => {
  const crowd = 2000
  const visits = 5
  const inside = Effect.yieldNow()
  const all = (visit: Effect.Effect<void>) => () =>
    Effect.runPromise(
      Effect.forEach(Array.from({ length: crowd }), () => again(visit, visits), {
        concurrency: "unbounded",
        discard: true
      })
    )
  const gate = Effect.runSync(ConcurrencyGate.make("bench", { permits: 100 }))
  const through = Effect.orDie(ConcurrencyGate.withPermit(inside, gate))
  const queue = Effect.runSync(Queue.unbounded<number>())
  Effect.runSync(queue.offerAll(Array.from({ length: 100 }, (_, i) => i)))
  const queued = Effect.acquireUseRelease(Queue.take(queue), () => inside, (permit) => queue.offer(permit))
  // Turn by turn, so that what slows the machine down slows down both.
  const ratios: Array<number> = []
  const times: Array<number> = []
  for (let i = 0; i < 5; i++) {
    const ours = await once(all(through))
    ratios.push(ours / await once(all(queued)))
    times.push(ours)
  }
  return [
    {
      name: "resilience: 2,000 waiters on 100 permits, beside a plain queue of permits",
      value: median(ratios),
      unit: "x",
      target: 1.5,
      better: "lower"
    },
    {
      name: "resilience: 2,000 waiters on 100 permits, 10,000 visits",
      value: median(times),
      unit: "ms",
      target: null,
      better: "lower"
    }
  ]
}

const once = async (run: () => Promise<unknown>): Promise<number> => {
  const start = process.hrtime.bigint()
  await run()
  return Number(process.hrtime.bigint() - start) / 1e6
}

/**
 * The rows of this bench.
 */
export const rows = async (): Promise<ReadonlyArray<Row>> => [...await breakers(), ...await waiters()]
