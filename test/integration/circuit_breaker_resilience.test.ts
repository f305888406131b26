import { assert, describe } from "@effect/vitest"
import { Clock, Duration, Effect, Exit } from "effect"
import { Future } from "tinkex"
import { FaultScript, RecordingEngine } from "tinkex/testing"
import { datum, leftovers, samplerOf, scenario, service, trainingOf, Wire } from "./fixtures/world.js"

const breaker = { consecutiveFailures: 5, openFor: "30 seconds", jitter: 0 } as const

describe("circuit breaker", () => {
  scenario(
    "an outage opens it; calls then fail at once, unsent; the service is back: one probe closes it",
    { breaker, rules: [FaultScript.on("asample", FaultScript.status(503), { count: 5 })] },
    Effect.gen(function*() {
      const wire = yield* Wire
      const client = yield* service()
      const sampler = yield* samplerOf(client)
      const sample = sampler.sample({ prompt: [1], maxTokens: 1 })
      for (let i = 0; i < 5; i++) assert.strictEqual((yield* Effect.flip(sample))._tag, "ServerError")
      const start = yield* Clock.currentTimeMillis

      const refused = yield* Effect.forEach(Array.from({ length: 50 }), () => Effect.flip(sample), {
        concurrency: "unbounded"
      })
      for (const error of refused) {
        assert.strictEqual(error._tag, "CircuitOpen")
        if (error._tag === "CircuitOpen") assert.strictEqual(Duration.toMillis(error.reopensIn), 30_000)
      }
      assert.strictEqual(yield* Clock.currentTimeMillis, start)
      assert.strictEqual(wire.of("asample").length, 5)

      yield* Effect.sleep("30 seconds")
      const together = yield* Effect.forEach(Array.from({ length: 10 }), () => Effect.exit(sample), {
        concurrency: "unbounded"
      })
      assert.isAtLeast(together.filter(Exit.isSuccess).length, 1)
      yield* sample
      assert.strictEqual((yield* client.transport.breaker("sampling")!.state)._tag, "Closed")
      // what was refused used no number: those that were sent have all of them, without a hole
      const ids = [...new Set(wire.of("asample").map(({ body }) => Number(body["seq_id"])))].sort((a, b) => a - b)
      assert.deepStrictEqual(ids, ids.map((_, i) => i))
      assert.deepStrictEqual(yield* leftovers(client), { permits: 0, entries: 1, pending: 0 })
    })
  )

  scenario(
    "a probe that fails keeps it open, for longer",
    { breaker, rules: [FaultScript.on("asample", FaultScript.reset(), { count: 6 })] },
    Effect.gen(function*() {
      const wire = yield* Wire
      const sampler = yield* samplerOf(yield* service())
      const sample = sampler.sample({ prompt: [1], maxTokens: 1 })
      for (let i = 0; i < 5; i++) yield* Effect.flip(sample)
      yield* Effect.sleep("30 seconds")
      assert.strictEqual((yield* Effect.flip(sample))._tag, "ConnectionError")
      const error = yield* Effect.flip(sample)
      assert.strictEqual(error._tag, "CircuitOpen")
      if (error._tag === "CircuitOpen") assert.strictEqual(Duration.toMillis(error.reopensIn), 60_000)
      assert.strictEqual(wire.of("asample").length, 6)
      yield* Effect.sleep("60 seconds")
      yield* sample
    })
  )

  scenario(
    "training fails over an outage with its numbers kept, and goes on after it",
    { breaker, rules: [FaultScript.on("forward_backward", FaultScript.status(503), { count: 5 })] },
    Effect.gen(function*() {
      const wire = yield* Wire
      const engine = yield* RecordingEngine.RecordingEngine
      const training = yield* trainingOf(yield* service({ retry: { times: 4, base: "10 millis" } }))
      // five attempts of one operation, which its number goes down with
      assert.strictEqual(
        (yield* Effect.flip(training.forwardBackward([datum(1)], "cross_entropy")))._tag,
        "ServerError"
      )
      assert.strictEqual(wire.of("forward_backward").length, 5)
      // whoever does not repeat is told at once, and why; whoever does waits for the probe
      const hasty = yield* trainingOf(yield* service({ retry: { times: 0 } })).pipe(Effect.flip)
      assert.strictEqual(hasty._tag, "CircuitOpen")
      assert.include(hasty.message, "503 the service failed")
      const before = yield* Clock.currentTimeMillis
      yield* Effect.flatMap(training.optimStep(), Future.await)
      assert.isAtLeast((yield* Clock.currentTimeMillis) - before, 29_000)
      assert.strictEqual(wire.of("optim_step").length, 1)
      yield* Effect.flatMap(training.forwardBackward([datum(2)], "cross_entropy"), Future.await)
      const applied = (yield* engine.applied).filter(({ seqId }) => seqId > 0)
      assert.deepStrictEqual(applied.map(({ endpoint, seqId }) => `${seqId} ${endpoint}`), [
        "2 optim_step",
        "3 forward_backward"
      ])
    })
  )

  scenario(
    "an outage of one kind of call leaves the others, and other tenants, alone",
    { breaker },
    Effect.gen(function*() {
      const wire = yield* Wire
      const a = yield* service({ apiKey: "tml-a" })
      const b = yield* service({ apiKey: "tml-b" })
      wire.intercept = ({ endpoint, key }) => endpoint === "asample" && key === "tml-a" ? { status: 503 } : undefined
      const samplers = [yield* samplerOf(a), yield* samplerOf(b)] as const
      for (let i = 0; i < 5; i++) yield* Effect.flip(samplers[0].sample({ prompt: [1], maxTokens: 1 }))
      assert.strictEqual((yield* a.transport.breaker("sampling")!.state)._tag, "Open")
      const training = yield* trainingOf(a)
      yield* Effect.flatMap(training.forwardBackward([datum(1)], "cross_entropy"), Future.await)
      assert.strictEqual((yield* b.transport.breaker("sampling")!.state)._tag, "Closed")
      yield* samplers[1].sample({ prompt: [1], maxTokens: 1 })
    })
  )

  for (
    const [what, fault] of [
      ["4xx", FaultScript.status(400)],
      ["429", FaultScript.rateLimited({ retryAfter: "10 millis" })]
    ] as const
  ) {
    scenario(
      `${what} says nothing about the service's health`,
      { breaker, rules: [FaultScript.on("asample", fault, { count: 20 })] },
      Effect.gen(function*() {
        const client = yield* service()
        const sampler = yield* samplerOf(client)
        for (let i = 0; i < 20; i++) yield* Effect.flip(sampler.sample({ prompt: [1], maxTokens: 1 }))
        assert.strictEqual((yield* client.transport.breaker("sampling")!.state)._tag, "Closed")
        yield* sampler.sample({ prompt: [1], maxTokens: 1 })
      })
    )
  }

  scenario(
    "polls and heartbeats that fail open nothing",
    {
      breaker,
      rules: [
        FaultScript.on("retrieve_future", FaultScript.status(503), { count: 12, skip: 1 }),
        FaultScript.on("session_heartbeat", FaultScript.status(503), { count: 12 })
      ]
    },
    Effect.gen(function*() {
      const client = yield* service()
      const training = yield* trainingOf(client)
      yield* Effect.flatMap(training.forwardBackward([datum(1)], "cross_entropy"), Future.await)
      for (const pool of ["training", "session", "service", "sampling"] as const) {
        assert.strictEqual((yield* client.transport.breaker(pool)!.state)._tag, "Closed")
      }
    })
  )
})
