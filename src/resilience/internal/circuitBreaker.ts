/** The breaker's handle: the pure state machine of breaker.ts behind Effect, and its options. */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import type {
  Change,
  CircuitBreaker,
  CircuitOpen,
  Classify,
  Options,
  Outcome,
  Permit,
  RateOptions,
  Snapshot,
  State
} from "../CircuitBreaker.js"
import * as internal from "./breaker.js"
import * as handle from "./handle.js"
import * as options_ from "./options.js"
import { type InvalidOptions, toMillis } from "./options.js"

const PART = "CircuitBreaker"

interface Normal extends internal.Settings {
  readonly enabled: boolean
  readonly classify: Classify
}

export const normalise = (options: Options): Effect.Effect<Normal, InvalidOptions> => {
  const { rate } = options
  const openMillis = toMillis(options.openFor ?? "30 seconds")
  const window = rate?.window === undefined ? undefined : toMillis(rate.window)
  const settings: Normal = {
    enabled: options.enabled ?? true,
    classify: options.classify ?? classifyExit,
    consecutiveFailures: options.consecutiveFailures ?? (rate === undefined ? 5 : Number.POSITIVE_INFINITY),
    rate: rate && {
      calls: rate.calls,
      millis: window,
      minimumCalls: rate.minimumCalls ?? Math.min(20, rate.calls ?? 20),
      failureRate: rate.failureRate ?? 0.5,
      slowCallRate: rate.slowCallRate ?? 1,
      slowCallMillis: toMillis(rate.slowCallDuration ?? Duration.infinity)
    },
    openMillis,
    openFactor: options.openFactor ?? 2,
    openCapMillis: options.openCap === undefined ? Math.max(300_000, openMillis) : toMillis(options.openCap),
    jitter: options.jitter ?? 0.2,
    probes: options.probes ?? 1,
    successesToClose: options.successesToClose ?? 1,
    probeMillis: toMillis(options.probeTimeout ?? "60 seconds")
  }
  const s = settings
  return options_.checked(PART, [
    [
      "consecutiveFailures",
      s.consecutiveFailures,
      options_.isCountOrInfinite(s.consecutiveFailures),
      "a whole number of at least 1, or Infinity"
    ],
    ["openFor", options.openFor, options_.isPositive(s.openMillis), "a finite duration above zero"],
    ["openFactor", s.openFactor, s.openFactor >= 1 && Number.isFinite(s.openFactor), "a finite number of at least 1"],
    ["openCap", options.openCap, s.openCapMillis >= s.openMillis, "a duration of at least openFor"],
    ["jitter", s.jitter, options_.isFraction(s.jitter), "a number from 0 to 1"],
    ["probes", s.probes, options_.isCount(s.probes), "a whole number of at least 1"],
    ["successesToClose", s.successesToClose, options_.isCount(s.successesToClose), "a whole number of at least 1"],
    ["probeTimeout", options.probeTimeout, s.probeMillis > 0, "a duration above zero"],
    ...(s.rate === undefined ? [] : rateRules(s.rate, rate))
  ], () => settings)
}

const rateRules = (s: internal.RateSettings, given: RateOptions | undefined): ReadonlyArray<options_.Rule> => [
  ["rate", given, (s.calls === undefined) !== (s.millis === undefined), "given either calls or window"],
  [
    "rate.calls",
    s.calls,
    s.calls === undefined || (options_.isCount(s.calls) && s.calls <= 10_000),
    "a whole number from 1 to 10000"
  ],
  [
    "rate.window",
    given?.window,
    s.millis === undefined || options_.isPositive(s.millis),
    "a finite duration above zero"
  ],
  [
    "rate.minimumCalls",
    s.minimumCalls,
    options_.isCount(s.minimumCalls) && s.minimumCalls <= (s.calls ?? Number.POSITIVE_INFINITY),
    "a whole number of at least 1 and not above rate.calls"
  ],
  ["rate.failureRate", s.failureRate, options_.isRatio(s.failureRate), "above 0 and not above 1"],
  ["rate.slowCallRate", s.slowCallRate, options_.isRatio(s.slowCallRate), "above 0 and not above 1"],
  ["rate.slowCallDuration", given?.slowCallDuration, s.slowCallMillis > 0, "a duration above zero"]
]

const classifyExit: Classify = (exit) => Exit.isSuccess(exit) ? "success" : "failure"

export const makeHandle = (
  key: string,
  settings: Normal,
  hub: PubSub.PubSub<Change>,
  refuse: (key: string, millis: number, cause: unknown) => CircuitOpen
): CircuitBreaker => {
  const cell = handle.makeCell<internal.State, Change>(internal.closed(0, settings), hub)
  /** What the last failure was, for those who are refused because of it. */
  let last: unknown
  const step = <A>(
    clock: Clock.Clock,
    f: (state: internal.State, now: number) => handle.Step<A, internal.State, internal.Transition>
  ): A =>
    cell.step((state) => {
      const [value, next, change] = f(state, handle.nowMillis(clock))
      return [value, next, change && toChange(key, change)]
    })
  const stepping = <A>(
    f: (state: internal.State, now: number) => handle.Step<A, internal.State, internal.Transition>
  ): Effect.Effect<A> =>
    Effect.uninterruptible(Effect.clockWith((clock) => {
      const value = step(clock, f)
      return Effect.as(cell.flush, value)
    }))

  const unsafeAcquire: CircuitBreaker["unsafeAcquire"] = settings.enabled
    ? (clock) => {
      const state = cell.get()
      return state._tag === "Closed"
        ? internal.makePermit(state.generation, handle.nowMillis(clock))
        : step(clock, (state, now) => internal.acquire(state, now, settings))
    }
    : () => pass
  const unsafeSettle: CircuitBreaker["unsafeSettle"] = (clock, permit, outcome, u, cause) => {
    if (!settings.enabled || permit.settled) return
    permit.settled = true
    if (outcome === "failure") last = cause
    step(clock, (state, now) => internal.settle(state, permit, outcome, now, u, settings))
  }
  const acquire: CircuitBreaker["acquire"] = Effect.clockWith((clock) => {
    const given = unsafeAcquire(clock)
    return Effect.zipRight(
      cell.flush,
      typeof given === "number" ? Effect.fail(refuse(key, given, last)) : Effect.succeed(given)
    )
  })
  const settle = (permit: Permit, outcome: Outcome, cause?: unknown): Effect.Effect<void> =>
    Effect.clockWith((clock) => {
      if (!settings.enabled || permit.settled) return Effect.void
      if (!internal.isBad(outcome, handle.nowMillis(clock) - permit.startedAt, settings)) {
        unsafeSettle(clock, permit, outcome, 0)
        return cell.flush
      }
      return Effect.flatMap(Random.next, (u) => {
        unsafeSettle(clock, permit, outcome, u, cause)
        return cell.flush
      })
    })

  const record = (outcome: Outcome): Effect.Effect<void> =>
    settings.enabled
      ? Effect.flatMap(
        Random.next,
        (u) => stepping((state, now) => internal.record(state, outcome, 0, now, u, settings))
      )
      : Effect.void

  const checkAndCall: CircuitBreaker["checkAndCall"] = (effect, classify = settings.classify) =>
    settings.enabled
      ? Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(acquire, (permit) =>
          Effect.matchCauseEffect(restore(effect), {
            onSuccess: (value) => {
              const exit = Exit.succeed(value)
              return Effect.zipRight(settle(permit, classify(exit)), exit)
            },
            onFailure: (cause) => {
              const exit = Exit.failCause(cause)
              return Effect.zipRight(
                settle(permit, Cause.isInterruptedOnly(cause) ? "ignore" : classify(exit), Cause.squash(cause)),
                exit
              )
            }
          }))
      )
      : effect

  return handle.makeHandle<CircuitBreaker>("tinkex/CircuitBreaker", {
    key,
    enabled: settings.enabled,
    acquire: Effect.uninterruptible(acquire),
    settle: (permit, outcome, cause) => Effect.uninterruptible(settle(permit, outcome, cause)),
    unsafeAcquire,
    unsafeSettle,
    unsafeLastFailure: () => last,
    checkAndCall,
    recordSuccess: record("success"),
    recordFailure: record("failure"),
    state: stepping((state, now) => {
      const [at, , change] = internal.tick(state, now)
      return [toState(at, now), at, change]
    }),
    isolate: stepping((state) => internal.isolate(state)),
    reset: stepping((state) => internal.reset(state, settings)),
    export: Effect.clockWith((clock) => Effect.sync(() => internal.snapshot(cell.get(), handle.nowMillis(clock)))),
    restore: (snapshot: Snapshot) =>
      Effect.zipRight(
        checkSnapshot(snapshot),
        stepping((state, now) => internal.restore(state, snapshot, now, settings))
      ),
    changes: handle.subscribeKey(hub, key),
    toJSON: () => ({ _id: "tinkex/CircuitBreaker", key, enabled: settings.enabled })
  })
}

/** The permit of a breaker that is switched off. */
const pass: Permit = { generation: 0, startedAt: 0, settled: true }

const toChange = (key: string, { openMillis, ...rest }: internal.Transition): Change => ({
  key,
  ...rest,
  openFor: openMillis === undefined ? undefined : Duration.millis(openMillis)
})

const toState = (state: internal.State, now: number): State => {
  switch (state._tag) {
    case "Closed": {
      const { calls, failures, slow } = internal.observed(state, now) ?? { calls: 0, failures: 0, slow: 0 }
      return { _tag: "Closed", consecutiveFailures: state.failures, calls, failures, slow }
    }
    case "Open": {
      const { rejected, relapses } = state
      return { _tag: "Open", reopensIn: Duration.millis(state.until - now), relapses, rejected }
    }
    case "HalfOpen":
      return {
        _tag: "HalfOpen",
        probes: state.probes.length,
        successes: state.successes,
        rejected: state.rejected
      }
    case "Isolated":
      return { _tag: "Isolated", rejected: state.rejected }
  }
}

const checkSnapshot = (snapshot: Snapshot): Effect.Effect<void, InvalidOptions> => {
  const whole = (n: number) => Number.isInteger(n) && n >= 0
  return options_.checked(PART, [
    [
      "snapshot.state",
      snapshot.state,
      ["Closed", "Open", "HalfOpen", "Isolated"].includes(snapshot.state),
      "Closed, Open, HalfOpen or Isolated"
    ],
    [
      "snapshot.consecutiveFailures",
      snapshot.consecutiveFailures,
      whole(snapshot.consecutiveFailures),
      "a whole number of at least 0"
    ],
    ["snapshot.relapses", snapshot.relapses, whole(snapshot.relapses), "a whole number of at least 0"],
    [
      "snapshot.reopensInMillis",
      snapshot.reopensInMillis,
      snapshot.reopensInMillis >= 0 && Number.isFinite(snapshot.reopensInMillis),
      "a finite number of at least 0"
    ]
  ], () => undefined)
}
