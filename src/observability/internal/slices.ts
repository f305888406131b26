/**
 * A sliding window of time as a ring of slices, each with a value of its own.
 *
 * A window of `duration` in `n` slices covers between `duration * (n - 1) / n` and `duration` of the past. A slice that has
 * slid out is handed to `expire` and taken into use again.
 */
import * as Duration from "effect/Duration"
import { InvalidInput } from "../../protocol/InvalidInput.js"

export interface Slices<A> {
  /** The value of the slice that holds `now`. A clock that goes back writes into the newest slice. */
  readonly at: (now: number) => A
  /** Values inside the window that ends at `now`, oldest first. */
  readonly live: (now: number) => ReadonlyArray<A>
}

export const make = <A>(options: {
  readonly duration: number
  readonly slices: number
  readonly make: () => A
  /** Called once with a value that has left the window; it must be as new afterwards. */
  readonly expire: (value: A) => void
}): Slices<A> => {
  const width = options.duration / options.slices
  const values: Array<A> = []
  /** Number of the slice since the epoch that each place of the ring holds; -1: none. */
  const numbers: Array<number> = []
  for (let i = 0; i < options.slices; i++) {
    values.push(options.make())
    numbers.push(-1)
  }
  let newest = -1
  let current = values[0]!
  let endsAt = Number.NEGATIVE_INFINITY

  const advance = (now: number): void => {
    const number = Math.max(Math.floor(now / width), newest)
    if (number === newest) return
    for (let i = 0; i < options.slices; i++) {
      if (numbers[i]! >= 0 && numbers[i]! <= number - options.slices) {
        options.expire(values[i]!)
        numbers[i] = -1
      }
    }
    const place = number % options.slices
    numbers[place] = number
    newest = number
    current = values[place]!
    endsAt = (number + 1) * width
  }

  return {
    at: (now) => {
      if (now >= endsAt) advance(now)
      return current
    },
    live: (now) => {
      if (now >= endsAt) advance(now)
      const found: Array<A> = []
      for (let number = Math.max(0, newest - options.slices + 1); number <= newest; number++) {
        const place = number % options.slices
        if (numbers[place] === number) found.push(values[place]!)
      }
      return found
    }
  }
}

export const checkedDuration = (duration: Duration.DurationInput, field = "duration"): number => {
  const millis = Duration.toMillis(duration)
  if (millis > 0 && Number.isFinite(millis)) return millis
  throw new InvalidInput({ field, expected: "a finite time above zero", actual: `${millis} ms` })
}

export const checkedCount = (slices: number): number => {
  if (Number.isInteger(slices) && slices >= 1) return slices
  throw new InvalidInput({ field: "slices", expected: "an integer of at least 1", actual: `${slices}` })
}
