/**
 * Before every test file. Chance has a seed: Effect draws the seed of its default `Random` from `Math.random` when it is
 * loaded, so that one comes first; properties that name no seed of their own get one. Both depend on the name of the
 * file, so that two files that run side by side do not draw the same.
 */
import { relative } from "node:path"
import { afterEach, expect } from "vitest"

const file = relative(process.cwd(), expect.getState().testPath ?? "")

let state = 0
for (const character of file) state = Math.imul(state ^ character.charCodeAt(0), 0x01000193) >>> 0

/** mulberry32 */
Math.random = () => {
  state = (state + 0x6d2b79f5) >>> 0
  let t = Math.imul(state ^ (state >>> 15), state | 1)
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

const { configureGlobal } = await import("effect/FastCheck")
configureGlobal({ seed: Math.floor(Math.random() * 2 ** 31) })

// Tests that only compute leave the event loop no turn; without one for a minute, the runner gives its worker up.
afterEach(() => new Promise<void>((resolve) => setImmediate(resolve)))
