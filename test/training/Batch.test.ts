import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, FastCheck as fc, Struct } from "effect"
import * as Future from "../../src/client/Future.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import type { Client } from "../../src/client/TrainingClient.js"
import * as Telemetry from "../../src/observability/Telemetry.js"
import * as Datum from "../../src/protocol/Datum.js"
import type { ForwardBackwardOutput } from "../../src/protocol/Training.js"
import { TestServer } from "../../src/testing/index.js"
import * as Batch from "../../src/training/Batch.js"

const training = Effect.flatMap(
  ServiceClient.ServiceClient,
  (service) => service.createLoraTrainingClient({ baseModel: "tinkex/nano-random", rank: 4, seed: 1 })
)

const losses = ["cross_entropy", "importance_sampling", "ppo", "cispo", "dro"] as const

const datum = (lossFn: string, start: number, length: number, advantage: number) => {
  const tokens = Array.from({ length: length + 1 }, (_, i) => (start + i * 7) % 500)
  return lossFn === "cross_entropy"
    ? Datum.fromCompletion(tokens.slice(0, 1), tokens.slice(1))
    : Datum.fromRollout({
      prompt: tokens.slice(0, 1),
      completion: tokens.slice(1),
      logprobs: tokens.slice(1).map((_, i) => -6.2 - i / 10),
      advantages: tokens.slice(1).map(() => advantage)
    })
}

const item = (lossFn: typeof losses[number], start: number): Batch.Item => ({
  lossFn,
  data: [datum(lossFn, start, 3, 1), datum(lossFn, start + 1, 2, -0.5)]
})

const value = <A>(exit: Exit.Exit<A, unknown>): A =>
  Exit.getOrElse(exit, (cause) => {
    throw new Error(`an item failed: ${String(cause)}`)
  })

/** What the gradients that have added up do to the weights: the model's outputs after one step. */
const stepped = (client: Client) =>
  Effect.gen(function*() {
    const { metrics } = yield* Effect.flatMap(client.optimStep({ learningRate: 1e-3, eps: 1 }), Future.await)
    const output = yield* Effect.flatMap(
      client.forward([datum("cross_entropy", 40, 6, 0)], "cross_entropy"),
      Future.await
    )
    return { norm: metrics?.["unclipped_grad_l2:mean"] ?? NaN, logprobs: output.lossFnOutputs[0]["logprobs"].data }
  })

const assertSame = (
  a: ForwardBackwardOutput,
  b: ForwardBackwardOutput,
  exact: boolean
) => {
  assert.strictEqual(a.lossFnOutputs.length, b.lossFnOutputs.length)
  for (let d = 0; d < a.lossFnOutputs.length; d++) {
    assert.deepStrictEqual(a.lossFnOutputs[d]["logprobs"], b.lossFnOutputs[d]["logprobs"])
  }
  const [x, y] = [a.metrics["loss:sum"], b.metrics["loss:sum"]]
  if (exact) assert.strictEqual(x, y)
  else assert.isAtMost(Math.abs(x - y), 1e-5 * Math.max(1, Math.abs(y)))
}

const sameAsSingles = (items: ReadonlyArray<Batch.Item>, merge: boolean) =>
  Effect.gen(function*() {
    const together = yield* training
    const apart = yield* training
    const batch = yield* Batch.forwardBackward(together, items, { merge })
    const outcomes = yield* batch.await
    assert.strictEqual(outcomes.length, items.length)
    for (const [i, { config, data, lossFn }] of items.entries()) {
      const single = yield* Effect.flatMap(apart.forwardBackward(data, lossFn, config), Future.await)
      assertSame(value(outcomes[i]), single, !merge)
    }
    const [a, b] = [yield* stepped(together), yield* stepped(apart)]
    if (!merge) assert.deepStrictEqual(a, b)
    else {
      assert.closeTo(a.norm, b.norm, 1e-6 * b.norm)
      const largest = Math.max(...[...b.logprobs].map((x) => Math.abs(Number(x))))
      for (let i = 0; i < b.logprobs.length; i++) {
        assert.isAtMost(Math.abs(Number(a.logprobs[i]) - Number(b.logprobs[i])), 1e-6 * largest)
      }
    }
  })

describe("Batch", () => {
  it.scopedLive("ten items equal ten calls: within 1e-6 merged, bit for bit apart, for random mixes of losses", () =>
    Effect.gen(function*() {
      const mixes = fc.sample(
        fc.array(fc.record({ loss: fc.constantFrom(...losses), start: fc.integer({ min: 0, max: 400 }) }), {
          minLength: 10,
          maxLength: 10
        }),
        { numRuns: 4, seed: 7 }
      )
      for (const mix of mixes) {
        for (const merge of [true, false]) {
          yield* Effect.scoped(sameAsSingles(mix.map(({ loss, start }) => item(loss, start)), merge))
        }
      }
    }).pipe(Effect.provide(TestServer.layer())))

  it.scopedLive("neighbours that share loss and settings travel as one request; others by themselves", () =>
    Effect.gen(function*() {
      const client = yield* training
      const telemetry = yield* Telemetry.Telemetry
      const events: Array<unknown> = []
      const requests: Array<string> = []
      yield* telemetry.listen((event) => {
        if (event._tag === "BatchStart" || event._tag === "BatchStop") {
          events.push({ ...Struct.omit(event, "timestamp"), ...(event._tag === "BatchStop" ? { durationMs: 0 } : {}) })
        }
        if (event._tag === "HttpStop" && event.route.endsWith("forward_backward")) requests.push(event.route)
      })
      const clip = (high: number) => ({ ...item("ppo", 5), config: { clip_high_threshold: high } })
      const items = [
        item("cross_entropy", 1),
        item("cross_entropy", 2),
        item("ppo", 3),
        clip(1.5),
        clip(1.5),
        clip(1.4),
        item("cross_entropy", 4)
      ]
      const batch = yield* Batch.forwardBackward(client, items)
      yield* batch.await
      assert.strictEqual(requests.length, 5)
      assert.deepStrictEqual(events, [
        { _tag: "BatchStart", kind: "forward_backward", items: 7 },
        { _tag: "BatchStop", kind: "forward_backward", items: 7, requests: 5, failed: 0, durationMs: 0 }
      ])
    }).pipe(Effect.provide(TestServer.layer())))

  it.scopedLive("an empty batch is answered at once; an oversize one is refused; nothing is sent", () =>
    Effect.gen(function*() {
      const client = yield* training
      const telemetry = yield* Telemetry.Telemetry
      let requests = 0
      yield* telemetry.listen((event) => {
        if (event._tag === "HttpStart") requests++
      })
      assert.deepStrictEqual((yield* Batch.forwardBackward(client, [])).results, [])
      assert.deepStrictEqual(yield* (yield* Batch.optimStep(client, [])).await, [])
      const eleven = Array.from({ length: 11 }, (_, i) => item("cross_entropy", i))
      const error = yield* Effect.flip(Batch.forwardBackward(client, eleven))
      assert.strictEqual(
        error.message,
        "forward_backward.items: expected at most 10 items (maxItems allows more), got 11"
      )
      const bad = { lossFn: "cross_entropy" as const, data: [] }
      const refused = yield* Effect.flip(Batch.forwardBackward(client, [item("cross_entropy", 1), bad]))
      assert.match(refused.message, /^items\[1\]\.data/)
      assert.strictEqual(requests, 0)
      const more = yield* Batch.forwardBackward(client, eleven, { maxItems: 11 })
      assert.strictEqual((yield* more.await).filter(Exit.isSuccess).length, 11)
    }).pipe(Effect.provide(TestServer.layer())))

  it.scopedLive("with merge: false one bad item leaves the other nine", () =>
    Effect.gen(function*() {
      const client = yield* training
      const outside = { lossFn: "cross_entropy" as const, data: [Datum.fromCompletion([1], [100_000])] }
      const items = Array.from({ length: 10 }, (_, i) => i === 4 ? outside : item("cross_entropy", i))
      const apart = yield* (yield* Batch.forwardBackward(client, items, { merge: false })).await
      assert.deepStrictEqual(apart.map(Exit.isSuccess), items.map((_, i) => i !== 4))
      const merged = yield* (yield* Batch.forwardBackward(client, items)).await
      assert.isTrue(merged.every(Exit.isFailure))
      const error = yield* Effect.flip(merged[0])
      assert.match(error.message, /^items 0 to 9 of the batch, which travelled as one request: .*merge: false/s)
    }).pipe(Effect.provide(TestServer.layer())))

  it.scopedLive("updates go out in order, each with its own outcome", () =>
    Effect.gen(function*() {
      const client = yield* training
      yield* client.forwardBackward([datum("cross_entropy", 1, 4, 0)], "cross_entropy")
      const batch = yield* Batch.optimStep(client, [{ learningRate: 1e-3 }, { learningRate: -1 }, {}])
      const outcomes = yield* batch.await
      assert.deepStrictEqual(outcomes.map(Exit.isSuccess), [true, false, true])
      const norms = [outcomes[0], outcomes[2]].map((exit) => value(exit).metrics?.["unclipped_grad_l2:mean"])
      assert.isAbove(norms[0] ?? 0, 0)
      assert.strictEqual(norms[1], 0)
      // The refused one took no number: the next operation is not held up
      yield* Effect.flatMap(client.forward([datum("cross_entropy", 1, 4, 0)], "cross_entropy"), Future.await)
    }).pipe(Effect.provide(TestServer.layer())))
})
