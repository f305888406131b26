/** The limiter's handle: one deadline in a cell, and its options. */
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
  const until = Effect.zipWith(
    cell.get,
    now,
    (state, at) => state.until > at ? Option.some(state.until) : Option.none()
  )
  const left = Effect.zipWith(cell.get, now, (state, at) => state.until > at ? state.until - at : 0n)

  const setBackoff: RateLimiter["setBackoff"] = (duration) =>
    settings.enabled
      ? Effect.uninterruptible(Effect.flatMap(now, (at) => {
        const wanted = at + Option.getOrElse(Duration.toNanos(duration), () => forever)
        const fresh = Deferred.unsafeMake<void>(FiberId.none)
        return cell.step((state) => {
          const waiting = state.until > at
          const cleared = waiting ? state.cleared : fresh
          if (wanted <= at || wanted <= state.until) return [undefined, { ...state, epoch: state.epoch + 1, cleared }]
          const next: State = { until: wanted, epoch: state.epoch + 1, cleared }
          return [undefined, next, {
            _tag: "BackoffSet",
            key,
            duration: Duration.nanos(wanted - at),
            extended: waiting
          }]
        })
      }))
      : Effect.void

  const clear = (reason: "success" | "manual", applies: (state: State) => boolean): Effect.Effect<boolean> =>
    Effect.uninterruptible(Effect.flatMap(now, (at) =>
      Effect.flatMap(
        cell.step<Deferred.Deferred<void> | undefined>((state) =>
          state.until > at && applies(state)
            ? [state.cleared, { ...state, until: 0n }, { _tag: "BackoffCleared", key, reason }]
            : [undefined, state]
        ),
        (cleared) => cleared === undefined ? Effect.succeed(false) : Deferred.succeed(cleared, undefined)
      )))

  // Sleeps to the deadline as it is now, then looks again. A waiter that is called early because the back-off was cleared
  // still takes its random moment.
  const wait = <E>(check: Effect.Effect<void, E>): Effect.Effect<void, E> =>
    Effect.flatMap(left, (nanos) => {
      if (nanos === 0n) return Effect.void
      const millis = Math.ceil(Number(nanos) / 1e6)
      const sleep = Effect.zipWith(Random.next, cell.get, (u, { cleared }) => {
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
      return wait(Effect.flatMap(Effect.zip(cell.get, left), ([state, nanos]) =>
        state.until > latest
          ? Effect.fail(refuse(key, Duration.nanos(nanos), Duration.decode(limit)))
          : Effect.void))
    })

  return handle.makeHandle<RateLimiter>("tinkex/RateLimiter", {
    key,
    enabled: settings.enabled,
    shouldBackoff: Effect.map(left, (nanos) => nanos > 0n),
    until,
    remaining: Effect.map(left, Duration.nanos),
    setBackoff,
    clearBackoff: Effect.asVoid(clear("manual", () => true)),
    started: Effect.map(cell.get, ({ epoch }) => epoch),
    succeeded: (epoch) => clear("success", (state) => state.epoch === epoch),
    waitForBackoff: wait(Effect.void),
    waitUpTo,
    changes: handle.subscribeKey(hub, key),
    toJSON: () => ({ _id: "tinkex/RateLimiter", key, enabled: settings.enabled })
  })
}
