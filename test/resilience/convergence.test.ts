import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import * as ConcurrencyGate from "../../src/resilience/ConcurrencyGate.js"
import { withQuickClock } from "./support.js"

/** A server that refuses what exceeds its rate, and says so no sooner than an answer would take. */
interface Server {
  rate: number
  accepted: number
  refused: number
  readonly request: Effect.Effect<void, "refused">
}

/** Never more than `rate` in any second, or `2 * rate` in any two for a rate of 2.5: the strictest reading. */
const slidingSecond = (latency: number, rate: number): Server => {
  let times: Array<number> = []
  let first = 0
  return answering(latency, rate, (now, server) => {
    const seconds = Number.isInteger(server.rate) ? 1 : 2
    while (first < times.length && times[first]! <= now - 1000 * seconds) first++
    if (times.length - first >= server.rate * seconds) return false
    if (first > 1000) {
      times = times.slice(first)
      first = 0
    }
    times.push(now)
    return true
  })
}

/** A bucket of a tenth of a second, the usual implementation. */
const bucket = (latency: number, rate: number): Server => {
  let tokens = 1
  let at = 0
  return answering(latency, rate, (now, server) => {
    tokens = Math.min(Math.max(1, server.rate / 10), tokens + (now - at) / 1000 * server.rate)
    at = now
    if (tokens < 1) return false
    tokens -= 1
    return true
  })
}

const answering = (latency: number, rate: number, admits: (now: number, server: Server) => boolean): Server => {
  const server: Server = {
    rate,
    accepted: 0,
    refused: 0,
    request: Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const ok = admits(now, server)
      if (ok) server.accepted++
      else server.refused++
      return Effect.zipRight(Effect.sleep(latency), ok ? Effect.void : Effect.fail("refused" as const))
    })
  }
  return server
}

const converges = (make: (latency: number, rate: number) => Server, phases: ReadonlyArray<number>, latency = 50) =>
  withQuickClock(
    Effect.gen(function*() {
      const gate = yield* ConcurrencyGate.make("server", {
        permits: 400,
        classify: (exit) => exit._tag === "Success" ? "success" : "throttled"
      })
      const most = Math.max(...phases)
      const server = make(latency, phases[0]!)
      const worker = Effect.forever(Effect.ignore(ConcurrencyGate.withPermit(server.request, gate)))
      const workers = yield* Effect.forkAll(
        Array.from({ length: 20 + Math.ceil(2 * most * latency / 1000) }, () => worker)
      )
      const seen: Array<{ readonly share: number; readonly refused: number }> = []
      for (const allowed of phases) {
        server.rate = allowed
        yield* TestClock.adjust("60 seconds")
        server.accepted = server.refused = 0
        yield* TestClock.adjust("60 seconds")
        seen.push({
          share: server.accepted / (60 * allowed),
          refused: server.refused / (server.accepted + server.refused)
        })
      }
      yield* Fiber.interrupt(workers)
      const report = `${make.name} ${phases.join(", ")}/s: ${JSON.stringify(seen)}`
      for (const { refused, share } of seen) {
        assert.isAtLeast(share, 0.8, report)
        assert.isAtMost(share, make === slidingSecond ? 1 : 1 + 0.1 / 60, report)
        assert.isAtMost(refused, 0.05, report)
      }
    }),
    5
  )

describe("the gate finds the rate of a server", () => {
  for (const rate of [5, 20, 100, 500]) {
    // The last phase doubles to a rate never seen before. At 500 that, and the other server, would only repeat what the
    // lower rates say, slowly.
    const phases = rate === 500 ? [500, 250, 500] : [rate, rate / 2, rate, 2 * rate]
    it.effect(
      `${rate} requests per second in any second, then half, then doubled`,
      () => converges(slidingSecond, phases),
      120_000
    )
    if (rate === 500) continue
    it.effect(
      `a bucket of ${rate} requests per second, then half, then doubled`,
      () => converges(bucket, phases),
      120_000
    )
  }

  for (const [rate, latency] of [[5, 500], [20, 1000], [100, 300]] as const) {
    it.effect(
      `${rate} requests per second with answers after ${latency} ms, then half, then doubled`,
      () => converges(slidingSecond, [rate, rate / 2, rate], latency),
      120_000
    )
  }
})
