import { assert, describe, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Fiber, Random, Stream } from "effect"
import { ModelRef } from "tinkex"

const keys = Array.from({ length: 2000 }, (_, i) => `user-${i}`)

describe("ModelRef", () => {
  it.effect("a key keeps its weights, and the share that gets the next ones is the one asked for", () =>
    Effect.gen(function*() {
      const ref = yield* ModelRef.make("old")
      const picked = Effect.map(
        Effect.forEach(keys, (key) => ref.pick(key)),
        (targets) => new Set(keys.filter((_, i) => targets[i] === "new"))
      )
      yield* ref.promote("new", { percent: 10 })
      const tenth = yield* picked
      assert.deepStrictEqual(yield* picked, tenth)
      assert.closeTo(tenth.size / keys.length, 0.1, 0.03)
      yield* ref.promote("new", { percent: 50 })
      const half = yield* picked
      assert.closeTo(half.size / keys.length, 0.5, 0.05)
      for (const key of tenth) assert.isTrue(half.has(key))
      yield* ref.rollback
      assert.strictEqual((yield* picked).size, 0)
      yield* ref.promote("new")
      assert.strictEqual((yield* picked).size, keys.length)
      assert.deepStrictEqual(yield* ref.rollout, { current: "new", next: undefined, percent: 0 })
    }))

  it.effect("without a key it is by chance; a share that is none is refused and changes nothing", () =>
    Effect.gen(function*() {
      const ref = yield* ModelRef.make("old")
      yield* ref.promote("new", { percent: 25 })
      const drawn = yield* Effect.replicateEffect(ref.pick(), 1000)
      assert.closeTo(drawn.filter((target) => target === "new").length / 1000, 0.25, 0.06)
      for (const percent of [-1, 101, Number.NaN]) {
        const error = yield* Effect.flip(ref.promote("other", { percent }))
        assert.include(error.message, "a percentage from 0 to 100")
      }
      assert.strictEqual((yield* ref.rollout).next, "new")
    }).pipe(Effect.withRandom(Random.make("seed"))))

  it.effect("changes tells the present state and every later one", () =>
    Effect.gen(function*() {
      const ref = yield* ModelRef.make("a")
      const [first, second] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const seen = yield* Effect.fork(
        Stream.runCollect(
          Stream.tap(Stream.take(ref.changes, 3), ({ percent }) =>
            Deferred.succeed(percent === 0 ? first : second, undefined))
        )
      )
      yield* Deferred.await(first)
      yield* ref.promote("b", { percent: 5 })
      yield* Deferred.await(second)
      yield* ref.promote("b")
      assert.deepStrictEqual(
        Chunk.toReadonlyArray(yield* Fiber.join(seen)).map(({ current, percent }) => [current, percent]),
        [
          ["a", 0],
          ["a", 5],
          ["b", 0]
        ]
      )
    }))
})
