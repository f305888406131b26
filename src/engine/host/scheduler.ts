/**
 * Shares one thread between lanes of work by time: the lane that has had least of it does its next slice. A lane that
 * wakes up starts level with the others, so that idling earns no claim.
 */

/** Work in slices. */
export interface Lane {
  /** Whether `slice` would do something now. */
  readonly ready: () => boolean
  readonly slice: () => void
}

export interface Scheduler {
  readonly add: (lane: Lane) => void
  readonly remove: (lane: Lane) => void
  /** To be called before a lane is given work. */
  readonly wake: (lane: Lane) => void
  /** Runs one slice; answers whether a lane is ready for another. */
  readonly slice: () => boolean
}

/** A slice counts for at least so many milliseconds: some clocks are coarse. */
const leastSlice = 0.01

/** `now` in milliseconds. */
export const makeScheduler = (now: () => number): Scheduler => {
  const used = new Map<Lane, number>()
  let level = 0
  return {
    add: (lane) => void used.set(lane, level),
    remove: (lane) => void used.delete(lane),
    wake: (lane) => {
      if (!lane.ready()) used.set(lane, Math.max(used.get(lane) ?? 0, level))
    },
    slice: () => {
      let next: Lane | undefined
      let least = Infinity
      for (const [lane, time] of used) {
        if (time < least && lane.ready()) {
          next = lane
          least = time
        }
      }
      if (next === undefined) return false
      level = least
      const start = now()
      next.slice()
      if (used.has(next)) used.set(next, least + Math.max(now() - start, leastSlice))
      for (const lane of used.keys()) if (lane.ready()) return true
      return false
    }
  }
}
