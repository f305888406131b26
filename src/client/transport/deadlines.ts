/**
 * Time limits of attempts. `Effect.timeout` races two fibers for every one of them; here one fiber keeps all limits of the same
 * length, which expire in the order in which they were set.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"

export interface Deadlines {
  /** Ends an effect that takes longer: it is interrupted, and `onTimeout` is the error. */
  readonly limit: <A, E>(self: Effect.Effect<A, E>, millis: number, onTimeout: () => E) => Effect.Effect<A, E>
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
    limit: <A, E>(self: Effect.Effect<A, E>, millis: number, onTimeout: () => E) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Effect.forkDaemon(restore(self)), (fiber) => {
          const entry: Entry = { at: now() + millis, expire: () => {} }
          const present = lanes.get(millis)
          const lane = present ?? new Set()
          lane.add(entry)
          const wait = restore(Effect.async<A, E>((resume) => {
            entry.expire = () => resume(Effect.zipRight(Fiber.interrupt(fiber), Effect.failSync(onTimeout)))
            fiber.addObserver((exit) => {
              lane.delete(entry)
              resume(exit)
            })
            return Effect.suspend(() => {
              lane.delete(entry)
              return Fiber.interrupt(fiber)
            })
          }))
          if (present !== undefined) return wait
          lanes.set(millis, lane)
          return Effect.zipRight(Effect.forkIn(Effect.interruptible(keep(millis, lane)), scope), wait)
        })
      )
  }
})
