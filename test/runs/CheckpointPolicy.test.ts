import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as CheckpointPolicy from "../../src/runs/CheckpointPolicy.js"

const due = (policy: CheckpointPolicy.CheckpointPolicy, steps: number, millis: number, tokens: number) =>
  Effect.map(CheckpointPolicy.check(policy), (checked) => {
    const found: Array<string> = []
    let last = { tokens: 0, at: 0 }
    for (let updates = 1; updates <= steps; updates++) {
      const now = { updates, tokens: updates * tokens, now: updates * millis, last }
      const kind = CheckpointPolicy.due(checked, now)
      if (kind === "periodic") last = { tokens: now.tokens, at: now.now }
      if (kind !== undefined) found.push(`${kind[0]}${updates}`)
    }
    return found
  })

const kept = (policy: CheckpointPolicy.CheckpointPolicy, all: ReadonlyArray<CheckpointPolicy.Kept>) =>
  Effect.map(
    CheckpointPolicy.check(policy),
    (checked) =>
      all.filter((one) => !CheckpointPolicy.superfluous(checked, all).includes(one)).map(({ updates }) => updates)
  )

const one = (updates: number, score?: number, kind: CheckpointPolicy.Kept["kind"] = "periodic") => ({
  updates,
  path: `p${updates}`,
  kind,
  ...(score === undefined ? {} : { score })
})

describe("CheckpointPolicy", () => {
  it.effect("saves every so many updates, minutes or tokens, and rolling in between", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* due({ every: 3 }, 7, 1, 1), ["p3", "p6"])
      assert.deepStrictEqual(yield* due({ everyTime: "1 minute" }, 7, 25_000, 1), ["p3", "p6"])
      assert.deepStrictEqual(yield* due({ everyTokens: 100 }, 7, 1, 30), ["p4"])
      assert.deepStrictEqual(yield* due({ every: 4, rolling: { every: 2 } }, 6, 1, 1), ["r2", "p4", "r6"])
      assert.deepStrictEqual(yield* due({}, 7, 1, 1), [])
    }))

  it.effect("keeps the newest, the best, the final and what others made", () =>
    Effect.gen(function*() {
      const all = [one(1, 5), one(2, 1), one(3, 4), one(4, 3)]
      assert.deepStrictEqual(yield* kept({}, all), [1, 2, 3, 4])
      assert.deepStrictEqual(yield* kept({ keep: 2 }, all), [3, 4])
      assert.deepStrictEqual(yield* kept({ keep: 1, best: { metric: "x" } }, all), [2, 4])
      assert.deepStrictEqual(yield* kept({ keep: 1, best: { metric: "x", mode: "max", keep: 2 } }, all), [1, 3, 4])
      assert.deepStrictEqual(
        yield* kept({ keep: 1 }, [one(1, 0, "adopted"), one(2), one(3, 0, "final"), one(4), one(5)]),
        [1, 3, 5]
      )
    }))

  it.effect("a rolling one goes as soon as anything newer is complete, and never before", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* kept({}, [one(1, 0, "rolling"), one(2, 0, "rolling")]), [2])
      assert.deepStrictEqual(yield* kept({}, [one(1, 0, "rolling"), one(2)]), [2])
      assert.deepStrictEqual(yield* kept({ keep: 1 }, [one(1), one(2, 0, "rolling")]), [1, 2])
    }))

  it.effect("what cannot be meant is refused", () =>
    Effect.gen(function*() {
      for (
        const [policy, field] of [
          [{ every: 0 }, "checkpoint.every"],
          [{ keep: 0 }, "checkpoint.keep"],
          [{ everyTokens: 1.5 }, "checkpoint.everyTokens"],
          [{ everyTime: 0 }, "checkpoint.everyTime"],
          [{ rolling: { every: -1 } }, "checkpoint.rolling.every"]
        ] as const
      ) {
        assert.strictEqual((yield* Effect.flip(CheckpointPolicy.check(policy))).field, field)
      }
    }))
})
