import { assert, describe, it } from "@effect/vitest"
import * as Schedule from "../../src/runs/Schedule.js"

describe("Schedule", () => {
  it("has the cookbook's multipliers: 1 - s/T, and (1 + cos(pi s/T)) / 2", () => {
    const linear = Schedule.linear(2e-4, 10)
    const cosine = Schedule.cosine(2e-4, 10)
    for (let step = 0; step <= 10; step++) {
      assert.closeTo(linear.at(step), 2e-4 * (1 - step / 10), 1e-18)
      assert.closeTo(cosine.at(step), 1e-4 * (1 + Math.cos((Math.PI * step) / 10)), 1e-18)
      assert.strictEqual(Schedule.constant(3).at(step), 3)
    }
    assert.strictEqual(linear.at(11), 0)
  })

  it("warms up, and ends where it is told to", () => {
    const schedule = Schedule.linear(1, 14, { warmup: 4, final: 0.2 })
    assert.deepStrictEqual([0, 1, 2, 3, 4].map(schedule.at), [0.25, 0.5, 0.75, 1, 1])
    assert.closeTo(schedule.at(9), 0.6, 1e-12)
    assert.closeTo(schedule.at(14), 0.2, 1e-12)
    assert.closeTo(schedule.at(100), 0.2, 1e-12)
  })

  it("says what it is, so that another one is told apart", () => {
    const all = [
      Schedule.linear(1, 10),
      Schedule.linear(1, 11),
      Schedule.linear(2, 10),
      Schedule.linear(1, 10, { warmup: 1 }),
      Schedule.linear(1, 10, { final: 0.5 }),
      Schedule.cosine(1, 10),
      Schedule.constant(1)
    ].map(({ description }) => description)
    assert.strictEqual(new Set(all).size, all.length)
  })
})
