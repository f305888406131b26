/**
 * Time limits of attempts. `Effect.timeout` races two fibers for every one of them; here one fiber keeps all limits of the same
 * length, which expire in the order in which they were set.
 */
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Monotonic from "../monotonic.js"

export interface Deadlines {
  /** Calls back when the time is over, unless it is taken off before. */
  readonly set: (millis: number, expire: () => void) => Deadline
}

export interface Deadline {
  readonly off: () => void
}

interface Entry {
  /** In monotonic milliseconds. */
  at: number
  readonly expire: () => void
}

/**
 * A limit that is noticed so much too late was missed by us: the machine was suspended, or the thread was busy. The answer may
 * have been there all the time: it gets so long to be looked at.
 */
const late = 1000

export const make: Effect.Effect<Deadlines, never, Scope.Scope> = Effect.gen(function*() {
  const scope = yield* Effect.scope
  const clock = yield* Effect.clock
  const runtime = yield* Effect.runtime<never>()
  /** Those of one length, in the order in which they expire. */
  const lanes = new Map<number, Set<Entry>>()

  const keep = (millis: number, lane: Set<Entry>): Effect.Effect<void> =>
    Effect.suspend(() => {
      const now = Monotonic.millisOf(clock)
      for (const entry of lane) {
        const left = entry.at - now
        if (left > 0) return Effect.zipRight(Effect.sleep(Math.ceil(left)), keep(millis, lane))
        if (left < -late) {
          // all that were missed are, and the lane stays in order
          for (const missed of lane) missed.at = Math.max(missed.at, now + late)
          return keep(millis, lane)
        }
        lane.delete(entry)
        entry.expire()
      }
      lanes.delete(millis)
      return Effect.void
    })

  return {
    set: (millis, expire) => {
      const entry: Entry = { at: Monotonic.millisOf(clock) + millis, expire }
      const present = lanes.get(millis)
      const lane = present ?? new Set()
      lane.add(entry)
      if (present === undefined) {
        lanes.set(millis, lane)
        Runtime.runFork(runtime, keep(millis, lane), { scope })
      }
      return { off: () => lane.delete(entry) }
    }
  }
})
