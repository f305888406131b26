/**
 * A clock that a loop in the background moves whenever the scheduler has had nothing to do for a few turns.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Scheduler from "effect/Scheduler"

interface Sleeper {
  readonly at: number
  /** Who began to sleep first wakes first. */
  readonly order: number
  wake: (() => void) | undefined
}

/** Turns of the event loop without a task after which nothing is taken to be under way. */
const quietTurns = 3

/** Steps in a row after which the event loop gets a turn. */
const stepsPerTurn = 2048

const before = (a: Sleeper, b: Sleeper): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

/** A binary heap, earliest first. */
const makeHeap = () => {
  const items: Array<Sleeper> = []
  const push = (item: Sleeper): void => {
    let i = items.push(item) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!before(item, items[parent]!)) break // in bounds, as below
      items[i] = items[parent]!
      i = parent
    }
    items[i] = item
  }
  const pop = (): void => {
    const last = items.pop()
    if (last === undefined || items.length === 0) return
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= items.length) break
      if (child + 1 < items.length && before(items[child + 1]!, items[child]!)) child++
      if (!before(items[child]!, last)) break
      items[i] = items[child]!
      i = child
    }
    items[i] = last
  }
  const clear = (): void => {
    items.length = 0
  }
  return { first: () => items[0], push, pop, clear }
}

/** @internal */
export const make = (start: number) => {
  const heap = makeHeap()
  let now = Math.ceil(start)
  let order = 0
  let tasks = 0
  let driving = false
  let stopped = false

  const runner = new Scheduler.SchedulerRunner((depth, drain) => {
    if (depth >= stepsPerTurn) setImmediate(() => drain(0))
    else queueMicrotask(() => drain(depth + 1))
  })
  const scheduler: Scheduler.Scheduler = {
    shouldYield: Scheduler.defaultScheduler.shouldYield.bind(Scheduler.defaultScheduler),
    scheduleTask: (task, priority) => {
      tasks++
      runner.scheduleTask(task, priority)
    }
  }

  const first = (): Sleeper | undefined => {
    let sleeper = heap.first()
    while (sleeper !== undefined && sleeper.wake === undefined) {
      heap.pop()
      sleeper = heap.first()
    }
    return sleeper
  }

  /** Wakes all that sleep until the earliest moment. */
  const jump = (): void => {
    const at = first()?.at
    if (at === undefined) return
    now = at
    for (let sleeper = first(); sleeper !== undefined && sleeper.at <= now; sleeper = first()) {
      const { wake } = sleeper
      sleeper.wake = undefined
      wake?.()
    }
  }

  const drive = (): void => {
    if (driving || stopped) return
    driving = true
    let quiet = 0
    let seen = tasks
    const turn = (): void => {
      if (stopped) return
      if (tasks !== seen || runner.running) {
        seen = tasks
        quiet = 0
      } else if (++quiet >= quietTurns) {
        quiet = 0
        jump()
        if (first() === undefined) {
          driving = false
          return
        }
      }
      setImmediate(turn)
    }
    setImmediate(turn)
  }

  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => now,
    unsafeCurrentTimeNanos: () => BigInt(now) * 1_000_000n,
    currentTimeMillis: Effect.sync(() => now),
    currentTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
    sleep: (duration) =>
      Effect.async<void>((resume) => {
        const millis = Duration.toMillis(duration)
        if (millis === Number.POSITIVE_INFINITY) return
        const sleeper: Sleeper = {
          at: Math.ceil(now + Math.max(0, millis)),
          order: order++,
          wake: () => resume(Effect.void)
        }
        heap.push(sleeper)
        drive()
        return Effect.sync(() => {
          sleeper.wake = undefined
        })
      })
  }
  const stop = (): void => {
    stopped = true
    heap.clear()
  }
  return { clock, scheduler, stop }
}
