/**
 * Time limits of attempts. `Effect.timeout` races two fibers for every one of them; here one fiber keeps all limits of the same
 * length, which expire in the order in which they were set.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"

export interface Limited<A, E, B, E2> {
  readonly millis: number
  readonly onTimeout: () => E
  /** What comes out, from how it ended. Called once, unless the caller was interrupted. */
  readonly settle: (exit: Exit.Exit<A, E>) => Effect.Effect<B, E2>
  readonly onInterrupt: Effect.Effect<void>
}

export interface Deadlines {
  /** Runs an effect in a fiber of its own, which is interrupted when it takes longer, or when the caller is. */
  readonly limit: <A, E, B, E2>(self: Effect.Effect<A, E>, options: Limited<A, E, B, E2>) => Effect.Effect<B, E2>
}

interface Entry {
  /** In monotonic milliseconds. */
  readonly at: number
  expire: () => void
}

export const make: Effect.Effect<Deadlines, never, Scope.Scope> = Effect.gen(function*() {
  const scope = yield* Effect.scope
  const clock = yield* Effect.clock
  /** Those of one length, in the order in which they expire. */
  const lanes = new Map<number, Set<Entry>>()
  const now = (): number => Number(clock.unsafeCurrentTimeNanos()) / 1e6

  const keep = (millis: number, lane: Set<Entry>): Effect.Effect<void> =>
    Effect.suspend(() => {
      for (const entry of lane) {
        const left = entry.at - now()
        if (left > 0) return Effect.zipRight(Effect.sleep(Math.ceil(left)), keep(millis, lane))
        lane.delete(entry)
        entry.expire()
      }
      lanes.delete(millis)
      return Effect.void
    })

  return {
    limit: <A, E, B, E2>(self: Effect.Effect<A, E>, options: Limited<A, E, B, E2>) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Effect.forkDaemon(restore(self)), (fiber) => {
          const { millis } = options
          const entry: Entry = { at: now() + millis, expire: () => {} }
          const present = lanes.get(millis)
          const lane = present ?? new Set()
          lane.add(entry)
          const wait = restore(Effect.async<B, E2>((resume) => {
            let timedOut = false
            entry.expire = () => {
              timedOut = true
              resume(Effect.zipRight(
                Fiber.interrupt(fiber),
                Effect.suspend(() => options.settle(Exit.fail(options.onTimeout())))
              ))
            }
            fiber.addObserver((exit) => {
              lane.delete(entry)
              if (!timedOut) resume(Effect.suspend(() => options.settle(exit)))
            })
            return Effect.suspend(() => {
              lane.delete(entry)
              return Effect.zipRight(Fiber.interrupt(fiber), options.onInterrupt)
            })
          }))
          if (present !== undefined) return wait
          lanes.set(millis, lane)
          return Effect.zipRight(Effect.forkIn(Effect.interruptible(keep(millis, lane)), scope), wait)
        })
      )
  }
})
