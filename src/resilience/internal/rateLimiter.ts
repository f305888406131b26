/** The limiter's handle: one deadline in a cell, and its options. */
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import type { BackoffTooLong, Change, Epoch, Options, RateLimiter } from "../RateLimiter.js"
import * as handle from "./handle.js"
import * as options_ from "./options.js"
import type { InvalidOptions } from "./options.js"

interface Settings {
  readonly enabled: boolean
  readonly jitter: number
  readonly maxJitterMillis: number
}

export const normalise = (options: Options): Effect.Effect<Settings, InvalidOptions> => {
  const settings: Settings = {
    enabled: options.enabled ?? true,
    jitter: options.jitter ?? 0.1,
    maxJitterMillis: options_.toMillis(options.maxJitter ?? "1 second")
  }
  return options_.checked("RateLimiter", [
    ["jitter", settings.jitter, options_.isFraction(settings.jitter), "a number from 0 to 1"],
    ["maxJitter", options.maxJitter, settings.maxJitterMillis >= 0, "a duration"]
  ], () => settings)
}

interface State {
  /** Nanoseconds of the monotonic clock; 0 without a back-off. */
  readonly until: bigint
  readonly epoch: Epoch
  /** Completed when the back-off is cleared before its time. */
  readonly cleared: Deferred.Deferred<void>
}

const forever = 2n ** 63n

export const makeHandle = (
  key: string,
  settings: Settings,
  hub: PubSub.PubSub<Change>,
  refuse: (key: string, remaining: Duration.Duration, limit: Duration.Duration) => BackoffTooLong
): RateLimiter => {
  const cell = handle.makeCell<State, Change>({ until: 0n, epoch: 0, cleared: Deferred.unsafeMake(FiberId.none) }, hub)
  const now = Effect.clockWith((clock) => Effect.succeed(clock.unsafeCurrentTimeNanos()))
  const leftOf = (clock: Clock.Clock): bigint => {
    const { until } = cell.get()
    if (until === 0n) return 0n
    const at = clock.unsafeCurrentTimeNanos()
    return until > at ? until - at : 0n
  }
  const left = Effect.clockWith((clock) => Effect.sync(() => leftOf(clock)))

  const unsafeSetBackoff: RateLimiter["unsafeSetBackoff"] = (clock, duration) => {
    if (!settings.enabled) return
    const at = clock.unsafeCurrentTimeNanos()
    const wanted = at + Option.getOrElse(Duration.toNanos(duration), () => forever)
    cell.step((state) => {
      const waiting = state.until > at
      const cleared = waiting ? state.cleared : Deferred.unsafeMake<void>(FiberId.none)
      if (wanted <= at || wanted <= state.until) return [undefined, { ...state, epoch: state.epoch + 1, cleared }]
      const next: State = { until: wanted, epoch: state.epoch + 1, cleared }
      return [undefined, next, {
        _tag: "BackoffSet",
        key,
        duration: Duration.nanos(wanted - at),
        extended: waiting
      }]
    })
  }

  const clear = (clock: Clock.Clock, reason: "success" | "manual", epoch?: Epoch): boolean => {
    if (leftOf(clock) === 0n) return false
    const cleared = cell.step<Deferred.Deferred<void> | undefined>((state) =>
      epoch === undefined || state.epoch === epoch
        ? [state.cleared, { ...state, until: 0n }, { _tag: "BackoffCleared", key, reason }]
        : [undefined, state]
    )
    if (cleared === undefined) return false
    Deferred.unsafeDone(cleared, Effect.void)
    return true
  }

  /** Runs a synchronous step, and tells the observers who are behind. */
  const sync = <A>(f: (clock: Clock.Clock) => A): Effect.Effect<A> =>
    Effect.uninterruptible(Effect.clockWith((clock) => {
      const value = f(clock)
      return Effect.as(cell.flush, value)
    }))

  // Sleeps to the deadline as it is now, then looks again. A waiter that is called early because the back-off was cleared
  // still takes its random moment.
  const wait = <E>(check: Effect.Effect<void, E>): Effect.Effect<void, E> =>
    Effect.flatMap(left, (nanos) => {
      if (nanos === 0n) return Effect.void
      const millis = Math.ceil(Number(nanos) / 1e6)
      const sleep = Effect.map(Random.next, (u) => {
        const { cleared } = cell.get()
        const late = Math.round(u * Math.min(settings.maxJitterMillis, settings.jitter * millis))
        return Deferred.await(cleared).pipe(
          Effect.timeoutOption(Math.min(millis + late, handle.maxSleepMillis)),
          Effect.flatMap((early) => Option.isSome(early) && late > 0 ? Effect.sleep(late) : Effect.void)
        )
      })
      return check.pipe(Effect.zipRight(Effect.flatten(sleep)), Effect.zipRight(wait(check)))
    })

  const waitUpTo: RateLimiter["waitUpTo"] = (limit) =>
    Effect.flatMap(now, (start) => {
      const latest = start + Option.getOrElse(Duration.toNanos(limit), () => forever)
      return wait(Effect.flatMap(left, (nanos) =>
        cell.get().until > latest
          ? Effect.fail(refuse(key, Duration.nanos(nanos), Duration.decode(limit)))
          : Effect.void))
    })

  return handle.makeHandle<RateLimiter>("tinkex/RateLimiter", {
    key,
    enabled: settings.enabled,
    shouldBackoff: Effect.map(left, (nanos) => nanos > 0n),
    until: Effect.map(left, (nanos) => nanos > 0n ? Option.some(cell.get().until) : Option.none()),
    remaining: Effect.map(left, Duration.nanos),
    unsafeRemaining: (clock) => Number(leftOf(clock)) / 1e6,
    setBackoff: (duration) => sync((clock) => unsafeSetBackoff(clock, duration)),
    unsafeSetBackoff,
    clearBackoff: Effect.asVoid(sync((clock) => clear(clock, "manual"))),
    started: Effect.sync(() => cell.get().epoch),
    unsafeStarted: () => cell.get().epoch,
    succeeded: (epoch) => sync((clock) => clear(clock, "success", epoch)),
    unsafeSucceeded: (clock, epoch) => clear(clock, "success", epoch),
    waitForBackoff: wait(Effect.void),
    waitUpTo,
    changes: handle.subscribeKey(hub, key),
    toJSON: () => ({ _id: "tinkex/RateLimiter", key, enabled: settings.enabled })
  })
}
