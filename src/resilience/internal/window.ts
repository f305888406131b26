/** Windows of what happened lately, as immutable values: over the last n calls, and over the last t milliseconds. */

/** Sums of `fields` counters over `slots` slots of `slotMillis` each, addressed by absolute time. */
export interface TimeWindow {
  readonly slotMillis: number
  readonly slots: number
  readonly fields: number
  /** The newest slot, counted from time 0. */
  readonly newest: number
  /** Plain arrays: copying a short one costs a tenth of copying a typed one. */
  readonly counts: ReadonlyArray<number>
}

export const makeTimeWindow = (millis: number, slots: number, fields: number): TimeWindow => ({
  slotMillis: millis / slots,
  slots,
  fields,
  newest: Number.NEGATIVE_INFINITY,
  counts: Array.from({ length: slots * fields }, () => 0)
})

/** Forgets every slot that has left the window, however long ago that was. */
const advance = (self: TimeWindow, now: number): TimeWindow => {
  const newest = Math.floor(now / self.slotMillis)
  if (newest <= self.newest) return self
  const counts = self.counts.slice()
  const first = Math.max(self.newest + 1, newest - self.slots + 1)
  for (let slot = first; slot <= newest; slot++) {
    const start = modulo(slot, self.slots) * self.fields
    counts.fill(0, start, start + self.fields)
  }
  return at(self, newest, counts)
}

const at = (self: TimeWindow, newest: number, counts: ReadonlyArray<number>): TimeWindow => ({
  slotMillis: self.slotMillis,
  slots: self.slots,
  fields: self.fields,
  newest,
  counts
})

/** Adds to the newest slot. */
export const add = (self: TimeWindow, now: number, amounts: ReadonlyArray<number>): TimeWindow => {
  const moved = advance(self, now)
  const counts = moved.counts.slice()
  const start = modulo(moved.newest, self.slots) * self.fields
  for (let field = 0; field < self.fields; field++) counts[start + field]! += amounts[field]!
  return at(moved, moved.newest, counts)
}

/** The sum of one field over the window that ends now. */
export const total = (self: TimeWindow, now: number, field: number): number => {
  const { counts, fields } = advance(self, now)
  let sum = 0
  for (let i = field; i < counts.length; i += fields) sum += counts[i]!
  return sum
}

const modulo = (n: number, m: number): number => ((n % m) + m) % m

/** What the last `marks.length` calls were, with their sums. */
export interface CallWindow {
  readonly marks: ReadonlyArray<number>
  readonly next: number
  readonly calls: number
  readonly failures: number
  readonly slow: number
}

const Call = 1
const Failure = 2
const Slow = 4

export const makeCallWindow = (size: number): CallWindow => ({
  marks: Array.from({ length: size }, () => 0),
  next: 0,
  calls: 0,
  failures: 0,
  slow: 0
})

/** Replaces the oldest call. */
export const push = (self: CallWindow, failed: boolean, slow: boolean): CallWindow => {
  const marks = self.marks.slice()
  const gone = marks[self.next]!
  marks[self.next] = Call | (failed ? Failure : 0) | (slow ? Slow : 0)
  return {
    marks,
    next: (self.next + 1) % marks.length,
    calls: self.calls + (gone === 0 ? 1 : 0),
    failures: self.failures + (failed ? 1 : 0) - ((gone & Failure) === 0 ? 0 : 1),
    slow: self.slow + (slow ? 1 : 0) - ((gone & Slow) === 0 ? 0 : 1)
  }
}
