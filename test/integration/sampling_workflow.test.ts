import { assert, describe } from "@effect/vitest"
import { Cause, Clock, Effect, Exit, Option, Predicate } from "effect"
import { SamplingRegistry } from "tinkex"
import { FaultScript, RecordingEngine } from "tinkex/testing"
import { datum, leftovers, samplerOf, scenario, service, trainingOf, Wire } from "./fixtures/world.js"

const numbers = (n: number) => Array.from({ length: n }, (_, i) => i)

const tagOf = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isSuccess(exit)
    ? "Success"
    : Option.match(Cause.failureOption(exit.cause), {
      onNone: () => "no failure",
      onSome: (error) => Predicate.hasProperty(error, "_tag") ? String(error._tag) : "untyped"
    })

const counted = (exits: ReadonlyArray<Exit.Exit<unknown, unknown>>): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const exit of exits) counts[tagOf(exit)] = (counts[tagOf(exit)] ?? 0) + 1
  return counts
}

const sampleAll = (n: number, options?: Parameters<typeof service>[0]) =>
  Effect.gen(function*() {
    const client = yield* service(options)
    const sampler = yield* samplerOf(client)
    const exits = yield* Effect.forEach(
      numbers(n),
      (i) => Effect.exit(sampler.sample({ prompt: [i + 1, 7], maxTokens: 2, promptLogprobs: true })),
      { concurrency: "unbounded" }
    )
    return { client, exits, sampler }
  })

const seqIds = (calls: ReadonlyArray<{ readonly body: Readonly<Record<string, unknown>> }>) =>
  calls.map(({ body }) => Number(body["seq_id"])).sort((a, b) => a - b)

const samplesDone = Effect.map(
  Effect.flatMap(RecordingEngine.RecordingEngine, (engine) => engine.operations),
  (operations) => operations.filter((operation) => operation._tag === "Sample").length
)

describe("sampling workflow", () => {
  for (const n of [20, 50]) {
    scenario(
      `${n} at once: each is sampled once, numbered 0 to ${n - 1}`,
      {},
      Effect.gen(function*() {
        const wire = yield* Wire
        const { client, exits } = yield* sampleAll(n)
        for (const exit of exits) {
          assert.isTrue(Exit.isSuccess(exit))
          if (Exit.isFailure(exit)) continue
          const [sequence] = exit.value.sequences
          assert.deepStrictEqual(Array.from(sequence!.tokens), [7, 7])
          assert.deepStrictEqual(Array.from(sequence!.logprobs ?? []), [-1, -1])
          assert.strictEqual(exit.value.promptLogprobs?.length, 2)
        }
        assert.deepStrictEqual(seqIds(wire.of("asample")), numbers(n))
        assert.strictEqual(yield* samplesDone, n)
        assert.deepStrictEqual(yield* leftovers(client), { permits: 0, entries: 1, pending: 0 })
      })
    )
  }

  scenario(
    "a 429 fails the one that it hit; everything not yet sent waits as long as the server asked",
    { rules: [FaultScript.on("asample", FaultScript.rateLimited({ retryAfter: "2 seconds" }), { count: 1 })] },
    Effect.gen(function*() {
      const wire = yield* Wire
      const { client, exits } = yield* sampleAll(40, { pools: { sampling: 4 } })
      assert.deepStrictEqual(counted(exits), { RateLimited: 1, Success: 39 })
      const sent = wire.of("asample")
      assert.deepStrictEqual(seqIds(sent), numbers(40))
      const [first] = sent
      assert.strictEqual(first!.status, 429)
      // four were on their way together; the other 36 kept away for two seconds
      assert.strictEqual(sent.filter(({ at }) => at < first!.at + 2000).length, 4)
      assert.strictEqual(sent.filter(({ at }) => at >= first!.at + 2000).length, 36)
      assert.isFalse(yield* client.transport.limiter.shouldBackoff)
    })
  )

  scenario(
    "with the policy `standard` a 429 costs time and nothing else",
    { rules: [FaultScript.on("asample", FaultScript.rateLimited({ retryAfter: "2 seconds" }), { count: 3 })] },
    Effect.gen(function*() {
      const wire = yield* Wire
      const start = yield* Clock.currentTimeMillis
      const { exits } = yield* sampleAll(30, { samplingRetry: "standard" })
      assert.deepStrictEqual(counted(exits), { Success: 30 })
      assert.strictEqual(wire.of("asample").length, 33)
      assert.deepStrictEqual([...new Set(seqIds(wire.of("asample")))], numbers(30))
      assert.strictEqual(yield* samplesDone, 30)
      assert.isAtLeast((yield* Clock.currentTimeMillis) - start, 2000)
    })
  )

  for (
    const [what, fault, tag] of [
      ["500", FaultScript.status(500), "ServerError"],
      ["503", FaultScript.status(503), "ServerError"],
      ["400", FaultScript.status(400), "BadRequest"],
      ["a broken connection", FaultScript.reset(), "ConnectionError"],
      ["a connection that breaks after the work was done", FaultScript.reset("after"), "ConnectionError"],
      ["an answer that cannot be read", FaultScript.malformed, "MalformedResponse"]
    ] as const
  ) {
    scenario(
      `${what} reaches the caller at once as ${tag}; it is sent once`,
      { rules: [FaultScript.on("asample", fault, { count: 1 })] },
      Effect.gen(function*() {
        const wire = yield* Wire
        const start = yield* Clock.currentTimeMillis
        const { client, exits, sampler } = yield* sampleAll(1)
        assert.deepStrictEqual(counted(exits), { [tag]: 1 })
        assert.strictEqual(wire.of("asample").length, 1)
        assert.strictEqual(yield* Clock.currentTimeMillis, start)
        // the next one is not the worse for it, and has the next number
        yield* sampler.sample({ prompt: [1], maxTokens: 1 })
        assert.deepStrictEqual(seqIds(wire.of("asample")), [0, 1])
        assert.deepStrictEqual(yield* leftovers(client), { permits: 0, entries: 1, pending: 0 })
      })
    )
  }

  scenario(
    "a refusal here is not sent and uses no number",
    {},
    Effect.gen(function*() {
      const wire = yield* Wire
      const sampler = yield* samplerOf(yield* service())
      const error = yield* Effect.flip(sampler.sample({ prompt: [1], numSamples: 0 }))
      assert.strictEqual(error._tag, "InvalidInput")
      yield* sampler.sample({ prompt: [1], maxTokens: 1 })
      assert.deepStrictEqual(seqIds(wire.of("asample")), [0])
    })
  )

  for (const status of [404, 408, 500, 503]) {
    scenario(
      `polls that are answered ${status} go on until the result is there`,
      { rules: [FaultScript.on("retrieve_future", FaultScript.status(status), { count: 2 })] },
      Effect.gen(function*() {
        const wire = yield* Wire
        const { exits } = yield* sampleAll(1)
        assert.deepStrictEqual(counted(exits), { Success: 1 })
        assert.strictEqual(wire.of("retrieve_future").length, 3)
        assert.strictEqual(wire.of("asample").length, 1)
      })
    )
  }

  scenario(
    "a result that is gone is sampled again under its number, and done once by a server that knows it",
    { rules: [FaultScript.on("retrieve_future", FaultScript.status(410), { count: 2 })] },
    Effect.gen(function*() {
      const wire = yield* Wire
      const { exits } = yield* sampleAll(1)
      assert.deepStrictEqual(counted(exits), { Success: 1 })
      assert.deepStrictEqual(seqIds(wire.of("asample")), [0, 0, 0])
      assert.strictEqual(yield* samplesDone, 1)
    })
  )

  scenario(
    "a 429 on a poll is waited for and does not hold up sampling",
    {
      rules: [FaultScript.on("retrieve_future", FaultScript.rateLimited({ retryAfter: "3 seconds" }), { count: 1 })]
    },
    Effect.gen(function*() {
      const wire = yield* Wire
      const { client, exits } = yield* sampleAll(1)
      assert.deepStrictEqual(counted(exits), { Success: 1 })
      const [first, second] = wire.of("retrieve_future")
      assert.isAtLeast(second!.at - first!.at, 3000)
      assert.isFalse(yield* client.transport.limiter.shouldBackoff)
    })
  )

  scenario(
    "two configurations share nothing",
    {},
    Effect.gen(function*() {
      const wire = yield* Wire
      const registry = yield* SamplingRegistry.SamplingRegistry
      const a = yield* service({ apiKey: "tml-a" })
      const b = yield* service({ apiKey: "tml-b" })
      const samplers = [yield* samplerOf(a), yield* samplerOf(b)] as const
      wire.intercept = ({ endpoint, key }) =>
        endpoint === "asample" && key === "tml-a" ? { status: 429, headers: { "retry-after": "30" } } : undefined
      const limited = yield* Effect.flip(samplers[0].sample({ prompt: [1], maxTokens: 1 }))
      assert.strictEqual(limited._tag, "RateLimited")
      assert.isTrue(yield* a.transport.limiter.shouldBackoff)
      assert.isFalse(yield* b.transport.limiter.shouldBackoff)
      const before = yield* Clock.currentTimeMillis
      yield* samplers[1].sample({ prompt: [1], maxTokens: 1 })
      assert.strictEqual(yield* Clock.currentTimeMillis, before)
      const entries = yield* registry.entries
      assert.strictEqual(entries.length, 2)
      assert.notStrictEqual(entries[0]!.limiter, entries[1]!.limiter)
      assert.notStrictEqual(a.transport.breaker("sampling"), b.transport.breaker("sampling"))
      assert.notStrictEqual(a.transport.gate("sampling"), b.transport.gate("sampling"))
      assert.notStrictEqual(a.sessionId, b.sessionId)
      assert.notStrictEqual(entries[0]!.settings.tenant.id, entries[1]!.settings.tenant.id)
      // both number their samples from 0, in sessions of their own
      assert.deepStrictEqual(seqIds(wire.of("asample", "tml-a")), [0])
      assert.deepStrictEqual(seqIds(wire.of("asample", "tml-b")), [0])
    })
  )

  scenario(
    "a sampler of a training run samples the weights of that moment",
    {},
    Effect.gen(function*() {
      const client = yield* service()
      const training = yield* trainingOf(client)
      yield* training.forwardBackward([datum(3)], "cross_entropy")
      const sampler = yield* training.saveWeightsAndGetSamplingClient
      const { sequences } = yield* sampler.sample({ prompt: [5], maxTokens: 3 })
      assert.deepStrictEqual(Array.from(sequences[0]!.tokens), [5, 5, 5])
    })
  )
})
