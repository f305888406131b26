import { assert, describe } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber } from "effect"
import { Future, SamplingRegistry, type ServiceClient } from "tinkex"
import { FaultScript, RecordingEngine } from "tinkex/testing"
import { datum, leftovers, samplerOf, scenario, service, trainingOf, Wire } from "./fixtures/world.js"

const steps = 10
const samples = 120

const train = (client: ServiceClient.Client) =>
  Effect.gen(function*() {
    const training = yield* trainingOf(client)
    for (let i = 0; i < steps; i++) {
      const pass = yield* training.forwardBackward([datum(i + 1)], "cross_entropy")
      const step = yield* training.optimStep({ learningRate: 1 })
      yield* Effect.all([Future.await(pass), Future.await(step)])
    }
    return training.modelId
  })

const sampleMany = (client: ServiceClient.Client, n: number) =>
  Effect.flatMap(samplerOf(client), (sampler) =>
    Effect.forEach(
      Array.from({ length: n }, (_, i) => i),
      (i) => Effect.exit(sampler.sample({ prompt: [i + 1], maxTokens: 1 })),
      { concurrency: "unbounded" }
    ))

const expectedOperations = Array.from({ length: steps }, () => ["forward_backward", "optim_step"]).flat()

describe("several clients at once", () => {
  scenario(
    `two tenants train while each draws ${samples} samples`,
    {},
    Effect.gen(function*() {
      const wire = yield* Wire
      const engine = yield* RecordingEngine.RecordingEngine
      const registry = yield* SamplingRegistry.SamplingRegistry
      const clients = [yield* service({ apiKey: "tml-a" }), yield* service({ apiKey: "tml-b" })] as const
      const [runs, exits] = yield* Effect.all([
        Effect.forEach(clients, train, { concurrency: "unbounded" }),
        Effect.forEach(clients, (client) => sampleMany(client, samples), { concurrency: "unbounded" })
      ], { concurrency: "unbounded" })

      assert.strictEqual(exits.flat().filter(Exit.isSuccess).length, 2 * samples)
      const applied = yield* engine.applied
      for (const modelId of runs) {
        const mine = applied.filter((entry) => entry.modelId === modelId && entry.seqId > 0)
        assert.deepStrictEqual(mine.map(({ endpoint }) => endpoint), expectedOperations)
        assert.deepStrictEqual(mine.map(({ seqId }) => seqId), expectedOperations.map((_, i) => i + 1))
        assert.strictEqual(yield* engine.weight(modelId), steps)
      }
      for (const key of ["tml-a", "tml-b"]) {
        const ids = wire.of("asample", key).map(({ body }) => Number(body["seq_id"])).sort((a, b) => a - b)
        assert.deepStrictEqual(ids, Array.from({ length: samples }, (_, i) => i))
      }
      const entries = yield* registry.entries
      assert.strictEqual(entries.length, 2)
      assert.strictEqual(new Set(entries.map(({ limiter }) => limiter.key)).size, 2)
      assert.strictEqual(new Set(entries.map(({ id }) => id)).size, 2)
      assert.strictEqual(new Set(entries.map(({ samplingSessionId }) => samplingSessionId)).size, 2)
      for (const client of clients) {
        assert.deepStrictEqual(yield* leftovers(client), { permits: 0, entries: 2, pending: 0 })
      }
    })
  )

  scenario(
    "a 429 for one tenant delays no request of the other",
    {},
    Effect.gen(function*() {
      const wire = yield* Wire
      const a = yield* service({ apiKey: "tml-a", samplingRetry: "standard", pools: { sampling: 8 } })
      const b = yield* service({ apiKey: "tml-b", pools: { sampling: 8 } })
      let refused = 0
      wire.intercept = ({ endpoint, key }) =>
        key === "tml-a" && endpoint === "asample" && refused++ === 0
          ? { status: 429, headers: { "retry-after-ms": "40000" } }
          : undefined
      const start = yield* Clock.currentTimeMillis
      const ofA = yield* Effect.fork(sampleMany(a, 100))
      const [ofB] = yield* Effect.all([sampleMany(b, 100), train(b)], { concurrency: "unbounded" })

      assert.strictEqual(ofB.filter(Exit.isSuccess).length, 100)
      // everything that B asked for was asked at once
      assert.isTrue(wire.of("asample", "tml-b").every(({ at }) => at === start))
      assert.isTrue(yield* a.transport.limiter.shouldBackoff)
      assert.isFalse(yield* b.transport.limiter.shouldBackoff)
      assert.strictEqual((yield* Fiber.join(ofA)).filter(Exit.isSuccess).length, 100)
      const late = wire.of("asample", "tml-a").filter(({ at }) => at >= start + 40_000)
      assert.strictEqual(late.length, 100 - 8 + 1)
    })
  )

  scenario(
    "training of a tenant that is limited waits with it, and is done once",
    {
      rules: [FaultScript.on("forward_backward", FaultScript.rateLimited({ retryAfter: "10 seconds" }), { count: 1 })]
    },
    Effect.gen(function*() {
      const engine = yield* RecordingEngine.RecordingEngine
      const start = yield* Clock.currentTimeMillis
      const modelId = yield* train(yield* service())
      assert.strictEqual(yield* engine.weight(modelId), steps)
      assert.isAtLeast((yield* Clock.currentTimeMillis) - start, 10_000)
    })
  )

  scenario(
    "5xx are sent again for training and polls, not for samples",
    {
      rules: [
        FaultScript.on(["forward_backward", "optim_step"], FaultScript.status(503), { count: 2 }),
        FaultScript.on("retrieve_future", FaultScript.status(502), { count: 2 }),
        FaultScript.on("asample", FaultScript.status(500), { count: 1 })
      ]
    },
    Effect.gen(function*() {
      const wire = yield* Wire
      const engine = yield* RecordingEngine.RecordingEngine
      const client = yield* service()
      const modelId = yield* train(client)
      assert.strictEqual(yield* engine.weight(modelId), steps)
      assert.strictEqual(wire.of("forward_backward").length + wire.of("optim_step").length, 2 * steps + 2)
      const exits = yield* sampleMany(client, 1)
      assert.strictEqual(exits.filter(Exit.isFailure).length, 1)
      assert.strictEqual(wire.of("asample").length, 1)
    })
  )

  scenario(
    "two clients of one config share limiter and breaker, each in a session of its own",
    {},
    Effect.gen(function*() {
      const one = yield* service()
      const two = yield* service({ baseUrl: "HTTP://TINKEX.test:80/" })
      assert.notStrictEqual(one.sessionId, two.sessionId)
      assert.strictEqual(one.transport.limiter, two.transport.limiter)
      assert.strictEqual(one.transport.breaker("training"), two.transport.breaker("training"))
      assert.strictEqual(one.transport.gate("sampling"), two.transport.gate("sampling"))
    })
  )

  scenario(
    "a tenant whose every connection hangs starves neither its own other kinds of calls nor another tenant",
    {},
    Effect.gen(function*() {
      const wire = yield* Wire
      const engine = yield* RecordingEngine.RecordingEngine
      const a = yield* service({ apiKey: "tml-a", pools: { sampling: 2 } })
      const b = yield* service({ apiKey: "tml-b", pools: { sampling: 2 } })
      const sampler = yield* samplerOf(a)
      const held = yield* a.transport.gate("sampling").acquire()
      yield* a.transport.gate("sampling").acquire()
      const blocked = yield* Effect.fork(sampler.sample({ prompt: [1], maxTokens: 1 }))
      const [runA, runB] = yield* Effect.all([train(a), train(b)], { concurrency: "unbounded" })
      assert.strictEqual(yield* engine.weight(runA), steps)
      assert.strictEqual(yield* engine.weight(runB), steps)
      assert.strictEqual((yield* sampleMany(b, 20)).filter(Exit.isSuccess).length, 20)
      assert.strictEqual(wire.of("asample", "tml-a").length, 0)
      yield* a.transport.gate("sampling").release(held, "ignore")
      yield* Fiber.join(blocked)
      assert.strictEqual(wire.of("asample", "tml-a").length, 1)
    })
  )
})
