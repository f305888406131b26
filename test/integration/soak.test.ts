import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { sized } from "../support/deep.js"
import { soak, tagOf } from "./fixtures/soak.js"

const seeds = Array.from({ length: sized(20) }, (_, i) => i + 1)

describe("nothing lost, nothing twice, nothing left behind", () => {
  for (const seed of seeds) {
    it.effect(`seed ${seed}: 100 training and 250 sampling operations under faults`, () =>
      Effect.map(soak({ seed, trainings: 100, samples: 250, interrupt: false }), ({ injected, records }) => {
        assert.strictEqual(records.length, 350)
        // the faults are many, and most of the work is done in spite of them
        assert.isAbove(injected, 50)
        assert.isAbove(records.filter(({ end }) => tagOf(end) === "Success").length, 200)
      }))
  }

  for (const seed of seeds) {
    it.effect(`seed ${seed}: 50 and 125, interrupted somewhere`, () =>
      Effect.map(soak({ seed: 100 + seed, trainings: 50, samples: 125, interrupt: true }), ({ records }) => {
        assert.isAtMost(records.length, 175)
      }))
  }

  it.effect("a run is the same every time", () =>
    Effect.gen(function*() {
      const plan = { seed: 7, trainings: 40, samples: 60, interrupt: false }
      const first = yield* soak(plan)
      const second = yield* soak(plan)
      assert.strictEqual(second.digest, first.digest)
      assert.strictEqual(second.elapsed, first.elapsed)
    }))
})
