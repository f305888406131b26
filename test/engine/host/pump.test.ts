import { afterEach, assert, describe, it } from "@effect/vitest"
import { makePump } from "../../../src/engine/host/pump.js"

const { setImmediate } = globalThis

/** Resolves in a later turn of the event loop. */
const turns = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve))
}

describe("the pump", () => {
  afterEach(() => {
    globalThis.setImmediate = setImmediate
  })

  for (const name of ["setImmediate", "MessageChannel"]) {
    it(`does its slices in turns to come, until there are no more or it is stopped, by ${name}`, async () => {
      if (name === "MessageChannel") Reflect.deleteProperty(globalThis, "setImmediate")
      const log: Array<string> = []
      let left = 3
      let finish = () => {}
      const finished = new Promise<void>((resolve) => (finish = resolve))
      const pump = makePump(() => {
        log.push("slice")
        setImmediate(() => log.push("other"))
        if (--left === 0) finish()
        return left > 0
      })
      pump.wake()
      pump.wake()
      assert.deepStrictEqual(log, [])
      await finished
      await turns(2)
      assert.strictEqual(log.filter((entry) => entry === "slice").length, 3)
      // Node hands over a port's messages in one go, browsers one a turn.
      if (name === "setImmediate") assert.isBelow(log.indexOf("other"), log.lastIndexOf("slice"))
      // It sleeps until it is woken, and not after it is stopped.
      left = 1
      pump.wake()
      await turns(3)
      assert.strictEqual(left, 0)
      left = 1
      pump.wake()
      pump.stop()
      pump.wake()
      await turns(3)
      assert.strictEqual(left, 1)
    })
  }
})
