/** The gate's handle: the machine of gate.ts behind Effect, and its options. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as PubSub from "effect/PubSub"
import type { Change, Classify, ConcurrencyGate, GateFull, Options } from "../ConcurrencyGate.js"
import * as internal from "./gate.js"
import * as handle from "./handle.js"
import * as options_ from "./options.js"
import type { InvalidOptions } from "./options.js"

interface Normal extends internal.Settings {
  readonly enabled: boolean
  readonly classify: Classify
}

const PART = "ConcurrencyGate"

const limitRules = (permits: number, bytes: number): ReadonlyArray<options_.Rule> => [
  ["permits", permits, options_.isCountOrInfinite(permits), "a whole number of at least 1, or Infinity"],
  ["bytes", bytes, bytes > 0, "a number above zero, or Infinity"]
]

export const normalise = (options: Options): Effect.Effect<Normal, InvalidOptions> => {
  const { pacing = "adaptive" } = options
  const fixed = typeof pacing === "string" ? undefined : { rate: pacing.rate, burst: pacing.burst ?? 1 }
  const settings: Normal = {
    enabled: options.enabled ?? true,
    classify: options.classify ?? ((exit) => Exit.isSuccess(exit) ? "success" : "ignore"),
    permits: options.permits ?? 100,
    bytes: options.bytes ?? Number.POSITIVE_INFINITY,
    maxWaiting: options.maxWaiting ?? Number.POSITIVE_INFINITY,
    adaptive: options.adaptive ?? true,
    minPermits: options.minPermits ?? 1,
    decrease: options.decrease ?? 0.9,
    pacing: fixed ?? (pacing === "off" ? "off" : "adaptive")
  }
  const s = settings
  return options_.checked(PART, [
    ...limitRules(s.permits, s.bytes),
    [
      "maxWaiting",
      s.maxWaiting,
      s.maxWaiting === 0 || options_.isCountOrInfinite(s.maxWaiting),
      "a whole number of at least 0, or Infinity"
    ],
    [
      "minPermits",
      s.minPermits,
      options_.isCount(s.minPermits) && s.minPermits <= s.permits,
      "a whole number of at least 1 and not above permits"
    ],
    ["decrease", s.decrease, s.decrease > 0 && s.decrease < 1, "above 0 and below 1"],
    ["pacing.rate", fixed?.rate, fixed === undefined || options_.isPositive(fixed.rate), "a finite number above zero"],
    [
      "pacing.burst",
      fixed?.burst,
      fixed === undefined || (fixed.burst >= 1 && Number.isFinite(fixed.burst)),
      "a finite number of at least 1"
    ]
  ], () => settings)
}

const weightOf = (bytes: number): number => bytes > 0 ? Math.min(bytes, Number.MAX_SAFE_INTEGER) : 0

const free: internal.Lease = { bytes: 0, epoch: 0, crowd: 0, released: true }

export const makeHandle = (
  key: string,
  settings: Normal,
  hub: PubSub.PubSub<Change>,
  refuse: (key: string, inFlight: number, waiting: number) => GateFull
): ConcurrencyGate => {
  const outbox = handle.makeOutbox(hub)
  const gate: internal.Gate = new internal.Gate(
    settings,
    (reason) => outbox.note({ key, reason, limit: gate.limit, rate: rate() })
  )
  const rate = () => gate.rate === Number.POSITIVE_INFINITY ? Option.none<number>() : Option.some(gate.rate)

  // Moves the machine, then tells the observers.
  const move = (f: (now: number) => void): Effect.Effect<void> =>
    Effect.clockWith((clock) => {
      f(handle.nowMillis(clock))
      return outbox.flush
    })

  // Until the waiter has its lease: sleeps if it is first in line and only a token is missing, else until it is called.
  const wait = (waiter: internal.Waiter): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (waiter.lease !== undefined) return Effect.void
      if (waiter.delay !== undefined) {
        return Effect.sleep(waiter.delay).pipe(
          Effect.zipRight(move((now) => gate.wake(waiter, now))),
          Effect.zipRight(wait(waiter))
        )
      }
      return Effect.zipRight(
        Effect.async<void>((resume) => {
          waiter.resume = () => {
            waiter.resume = undefined
            resume(Effect.void)
          }
        }),
        wait(waiter)
      )
    })

  // Runs uninterruptibly except where it waits. Whether a permit was handed over is read from the waiter, never from a
  // value that an interruption could lose.
  const enter = (
    bytes: number,
    restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  ): Effect.Effect<internal.Lease, GateFull> =>
    Effect.clockWith((clock): Effect.Effect<internal.Lease, GateFull> => {
      const waiter = gate.arrive(weightOf(bytes), handle.nowMillis(clock))
      if (waiter.lease !== undefined) return Effect.succeed(waiter.lease)
      if (gate.waiting > settings.maxWaiting) {
        return Effect.zipRight(
          move((now) => gate.leave(waiter, now)),
          Effect.suspend(() => Effect.fail(refuse(key, gate.inFlight, gate.waiting)))
        )
      }
      return Effect.matchCauseEffect(restore(wait(waiter)), {
        onFailure: (cause) => Effect.zipRight(move((now) => gate.leave(waiter, now)), Effect.failCause(cause)),
        onSuccess: () =>
          waiter.lease === undefined ? Effect.dieMessage("the gate lost a waiter") : Effect.succeed(waiter.lease)
      })
    })

  const release: ConcurrencyGate["release"] = (lease, outcome) =>
    lease.released ? Effect.void : move((now) => gate.release(lease, outcome, now))

  return handle.makeHandle<ConcurrencyGate>("tinkex/ConcurrencyGate", {
    key,
    enabled: settings.enabled,
    acquire: (bytes = 0) =>
      settings.enabled ? Effect.uninterruptibleMask((restore) => enter(bytes, restore)) : Effect.succeed(free),
    acquireRestoring: (restore, bytes = 0) => settings.enabled ? enter(bytes, restore) : Effect.succeed(free),
    unsafeTryAcquire: (clock, bytes = 0) =>
      settings.enabled ? gate.tryEnter(weightOf(bytes), handle.nowMillis(clock)) : free,
    unsafeRelease: (clock, lease, outcome) => {
      if (!lease.released) gate.release(lease, outcome, handle.nowMillis(clock))
    },
    release: (lease, outcome) => Effect.uninterruptible(release(lease, outcome)),
    withPermit: (effect, { bytes = 0, classify = settings.classify } = {}) =>
      settings.enabled
        ? Effect.uninterruptibleMask((restore) =>
          Effect.flatMap(enter(bytes, restore), (lease) =>
            Effect.matchCauseEffect(restore(effect), {
              onSuccess: (value) => {
                const exit = Exit.succeed(value)
                return Effect.zipRight(release(lease, classify(exit)), exit)
              },
              onFailure: (cause) => {
                const exit = Exit.failCause(cause)
                return Effect.zipRight(release(lease, Cause.isInterruptedOnly(cause) ? "ignore" : classify(exit)), exit)
              }
            }))
        )
        : effect,
    resize: (limits) =>
      Effect.flatMap(
        options_.checked(PART, limitRules(limits.permits ?? gate.permits, limits.bytes ?? gate.bytes), () => undefined),
        () => Effect.uninterruptible(move((now) => gate.resize(limits.permits, limits.bytes, now)))
      ),
    inFlight: Effect.sync(() => gate.inFlight),
    waiting: Effect.sync(() => gate.waiting),
    limit: Effect.sync(() => gate.limit),
    bytesFree: Effect.sync(() => gate.bytesFree),
    rate: Effect.sync(rate),
    changes: handle.subscribeKey(hub, key),
    toJSON: () => ({
      _id: "tinkex/ConcurrencyGate",
      key,
      enabled: settings.enabled,
      inFlight: gate.inFlight,
      waiting: gate.waiting,
      limit: gate.limit
    })
  })
}
