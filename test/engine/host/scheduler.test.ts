import { assert, describe, it } from "@effect/vitest"
import { makeScheduler } from "../../../src/engine/host/scheduler.js"

const setUp = () => {
  let time = 0
  const scheduler = makeScheduler(() => time)
  const slices: Array<string> = []
  const lane = (name: string, cost: number) => {
    const lane = {
      left: 0,
      ready: () => lane.left > 0,
      slice: () => {
        lane.left--
        time += cost
        slices.push(name)
      },
      give: (count: number) => {
        scheduler.wake(lane)
        lane.left += count
      }
    }
    scheduler.add(lane)
    return lane
  }
  const run = (count: number) => {
    const from = slices.length
    for (let i = 0; i < count; i++) scheduler.slice()
    return slices.slice(from)
  }
  const count = (name: string, of: ReadonlyArray<string>) => of.filter((slice) => slice === name).length
  return { count, lane, run, scheduler }
}

describe("the scheduler", () => {
  it("shares by time, not by slices", () => {
    const { count, lane, run } = setUp()
    lane("training", 50).give(1000)
    lane("sampling", 2).give(1000)
    const slices = run(260)
    assert.strictEqual(count("training", slices), 10)
    assert.strictEqual(count("sampling", slices), 250)
  })

  it("gives a lane that was idle no claim to the past, and no wait for it", () => {
    const { count, lane, run } = setUp()
    const busy = lane("busy", 1)
    const late = lane("late", 1)
    busy.give(10_000)
    run(1000)
    late.give(100)
    assert.strictEqual(count("late", run(20)), 10)
    // And it has kept none of the others from working while it waited.
    run(400)
    late.give(100)
    assert.strictEqual(count("late", run(20)), 10)
  })

  it("lets every lane come round though the clock stands still", () => {
    const { count, lane, run } = setUp()
    lane("a", 0).give(100)
    lane("b", 0).give(100)
    assert.strictEqual(count("b", run(20)), 10)
  })

  it("answers whether there is more, and forgets lanes that are removed", () => {
    const { lane, run, scheduler } = setUp()
    assert.isFalse(scheduler.slice())
    const a = lane("a", 1)
    a.give(2)
    assert.isTrue(scheduler.slice())
    assert.isFalse(scheduler.slice())
    a.give(1)
    scheduler.remove(a)
    assert.deepStrictEqual(run(3), [])
  })
})
