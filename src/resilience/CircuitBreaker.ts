/**
 * Circuit breakers: after repeated failures of a dependency, calls are refused at once instead of being sent to it, until
 * a probe shows that it has recovered.
 *
 * ```mermaid
 * stateDiagram-v2
 *   Closed --> Open: consecutive failures, failure rate or slow-call rate
 *   Open --> HalfOpen: open time over
 *   HalfOpen --> Closed: enough probes succeeded
 *   HalfOpen --> Open: a probe failed, longer
 * ```
 *
 * Nygard, Release It! (2nd ed., 2018), chapter 5, names the pattern; the rates over a window are those of resilience4j.
 * Every transition is a pure function inside one `Ref.modify`, and time is `Clock`, so `TestClock` drives it.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import type * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as machine from "./internal/breaker.js"
import * as internal from "./internal/circuitBreaker.js"
import * as handle from "./internal/handle.js"
import type { InvalidOptions } from "./internal/options.js"

export {
  /**
   * An option that cannot be used, with what would be right.
   *
   * @since 0.1.0
   * @category errors
   */
  InvalidOptions
} from "./internal/options.js"

/**
 * The mark of a breaker.
 *
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/CircuitBreaker")

/**
 * The mark of a breaker.
 *
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * The mark of `CircuitOpen`.
 *
 * @since 0.1.0
 * @category symbols
 */
export const ErrorTypeId: unique symbol = Symbol.for("tinkex/CircuitBreaker/CircuitOpen")

/**
 * The call was refused: nothing was sent, and no time has passed.
 *
 * @since 0.1.0
 * @category errors
 */
export class CircuitOpen extends Data.TaggedError("CircuitOpen")<{
  readonly key: string
  /** When a call can be let through again at the earliest; infinite while isolated. */
  readonly reopensIn: Duration.Duration
  /** The last failure that counted, if there was one. */
  readonly cause?: unknown
}> {
  readonly [ErrorTypeId]: typeof ErrorTypeId = ErrorTypeId
  override get message() {
    return Duration.toMillis(this.reopensIn) === Number.POSITIVE_INFINITY
      ? `circuit "${this.key}" is isolated by hand: nothing was sent; it stays so until it is reset`
      : `circuit "${this.key}" is open: nothing was sent; try again in ${Duration.format(this.reopensIn)}`
  }
}

/**
 * Whether it is a `CircuitOpen`, also one of another copy of the package.
 *
 * @since 0.1.0
 * @category guards
 */
export const isCircuitOpen = (u: unknown): u is CircuitOpen => Predicate.hasProperty(u, ErrorTypeId)

/**
 * What a completed call says about the dependency. `ignore` says nothing: a refused argument, a rate limit, "not yet".
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome = machine.Outcome

/**
 * Judges how a call ended. Interruption is always `ignore` and is not asked about. It must not throw.
 *
 * @since 0.1.0
 * @category models
 */
export type Classify<A = unknown, E = unknown> = (exit: Exit.Exit<A, E>) => Outcome

/**
 * Opens on the share of failed or slow calls among those that *completed* in the window.
 *
 * @since 0.1.0
 * @category models
 */
export interface RateOptions {
  /** The last so many completed calls, 1 to 10,000. Give this or `window`. */
  readonly calls?: number | undefined
  /** The calls completed in this time, kept in ten slots, so that a call is forgotten after 90 to 100 % of it. */
  readonly window?: Duration.DurationInput | undefined
  /** No verdict before so many completed calls are in the window. Default 20, or `calls` if that is less. */
  readonly minimumCalls?: number | undefined
  /** In (0, 1]. Default 0.5. */
  readonly failureRate?: number | undefined
  /** In (0, 1]. Default 1: every call was slow. */
  readonly slowCallRate?: number | undefined
  /** A call that took at least so long is slow, whatever its outcome. Default: no call is. */
  readonly slowCallDuration?: Duration.DurationInput | undefined
}

/**
 * How a breaker behaves, as plain data.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  /** `false`: every call passes and nothing is counted. Default true. */
  readonly enabled?: boolean | undefined
  /** Failures in a row that open; `Infinity` for none. Default 5, or `Infinity` when `rate` is given. */
  readonly consecutiveFailures?: number | undefined
  readonly rate?: RateOptions | undefined
  /** How long it stays open the first time. Default 30 seconds. */
  readonly openFor?: Duration.DurationInput | undefined
  /** Each failed probe multiplies the open time by this. Default 2; 1 keeps it constant. */
  readonly openFactor?: number | undefined
  /** The longest open time. Default 5 minutes, or `openFor` if that is longer. */
  readonly openCap?: Duration.DurationInput | undefined
  /** The share of a grown open time that is drawn at random, in [0, 1]. Default 0.2. */
  readonly jitter?: number | undefined
  /** How many probes may be under way at once when half open. Default 1. */
  readonly probes?: number | undefined
  /** How many probes must succeed to close. Default 1. */
  readonly successesToClose?: number | undefined
  /** A probe that takes longer loses its permit to the next caller, so that half open cannot last for ever. Default 60 seconds. */
  readonly probeTimeout?: Duration.DurationInput | undefined
}

/**
 * How a breaker behaves.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Settings {
  /** Default: success is `success`, every failure and defect is `failure`. */
  readonly classify?: Classify | undefined
}

/**
 * What a breaker looks like from outside.
 *
 * @since 0.1.0
 * @category models
 */
export type State =
  | {
    readonly _tag: "Closed"
    readonly consecutiveFailures: number
    /** Completed calls in the window of `rate`; 0 without it. */
    readonly calls: number
    readonly failures: number
    readonly slow: number
  }
  | {
    readonly _tag: "Open"
    readonly reopensIn: Duration.Duration
    readonly relapses: number
    readonly rejected: number
  }
  | { readonly _tag: "HalfOpen"; readonly probes: number; readonly successes: number; readonly rejected: number }
  | { readonly _tag: "Isolated"; readonly rejected: number }

/**
 * A transition.
 *
 * @since 0.1.0
 * @category models
 */
export interface Change {
  readonly key: string
  readonly from: State["_tag"]
  readonly to: State["_tag"]
  readonly reason: machine.Reason
  /** Grows by one with every transition of this breaker. */
  readonly generation: number
  /** For how long it opened. */
  readonly openFor: Duration.Duration | undefined
  /** How many calls were refused in the state that was left. */
  readonly rejected: number
}

/**
 * The part of a breaker's state that can be stored as JSON and outlive the process. It holds a length of time, not a
 * deadline; the window of `rate` and the calls under way are not in it.
 *
 * @since 0.1.0
 * @category models
 */
export type Snapshot = machine.Snapshot

/**
 * The right to one call. Give it back with `settle`, once; until then it counts as a probe when the breaker is half open.
 *
 * @since 0.1.0
 * @category models
 */
export type Permit = machine.Permit

/**
 * One breaker. Use `protect` if an effect is the call; use `acquire` and `settle` if the outcome is known elsewhere.
 *
 * @since 0.1.0
 * @category models
 */
export interface CircuitBreaker extends Pipeable, Inspectable.Inspectable {
  readonly [TypeId]: TypeId
  readonly key: string
  readonly enabled: boolean
  /** A permit for one call, or an immediate refusal. */
  readonly acquire: Effect.Effect<Permit, CircuitOpen>
  /** Records the outcome in the generation of the permit and gives it back. A second time does nothing. */
  readonly settle: (permit: Permit, outcome: Outcome, cause?: unknown) => Effect.Effect<void>
  /**
   * `acquire` as a plain function, for hot paths: a permit, or for how many milliseconds no call is let through.
   *
   * @since 0.2.0
   */
  readonly unsafeAcquire: (clock: Clock.Clock) => Permit | number
  /**
   * `settle` as a plain function. `u`, from 0 to 1, draws the length of an opening; `cause` is what a failure was.
   *
   * @since 0.2.0
   */
  readonly unsafeSettle: (clock: Clock.Clock, permit: Permit, outcome: Outcome, u: number, cause?: unknown) => void
  /**
   * The last failure that counted.
   *
   * @since 0.2.0
   */
  readonly unsafeLastFailure: () => unknown
  /** `acquire`, run, `settle`: what `protect` does. */
  readonly checkAndCall: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    classify?: Classify<A, E>
  ) => Effect.Effect<A, E | CircuitOpen, R>
  /** Counts a success in the present state, for calls made without a permit. Do not combine with `settle`. */
  readonly recordSuccess: Effect.Effect<void>
  /** Counts a failure in the present state, for calls made without a permit. Do not combine with `settle`. */
  readonly recordFailure: Effect.Effect<void>
  /** Reads the state; if the open time is over, this is when it turns half open. */
  readonly state: Effect.Effect<State>
  /** Refuses every call until `reset`. */
  readonly isolate: Effect.Effect<void>
  /** Closes it with nothing counted. The outcomes of calls under way are ignored. */
  readonly reset: Effect.Effect<void>
  readonly export: Effect.Effect<Snapshot>
  /** Takes over an exported state. The outcomes of calls under way are ignored. */
  readonly restore: (snapshot: Snapshot) => Effect.Effect<void, InvalidOptions>
  /** Transitions of this breaker from now on. A slow reader loses the oldest. */
  readonly changes: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
}

/**
 * Whether it is a `CircuitBreaker`, also one of another copy of the package.
 *
 * @since 0.1.0
 * @category guards
 */
export const isCircuitBreaker = (u: unknown): u is CircuitBreaker => Predicate.hasProperty(u, TypeId)

/**
 * Breakers by key, all with the same options.
 *
 * @since 0.1.0
 * @category services
 */
export class CircuitBreakers extends Context.Tag("tinkex/CircuitBreaker")<CircuitBreakers, {
  /** The one breaker of this key, made by whoever asks first. */
  readonly forKey: (key: string) => Effect.Effect<CircuitBreaker>
  readonly all: Effect.Effect<ReadonlyArray<CircuitBreaker>>
  /** Transitions of all of them from now on. A slow reader loses the oldest. */
  readonly changes: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
}>() {}

/** A refusal has no stack trace: it says nothing that the message does not, and taking it is most of what a refusal costs. */
const refuse = (key: string, millis: number, cause: unknown): CircuitOpen => {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  const error = new CircuitOpen({ key, reopensIn: Duration.millis(millis), cause })
  Error.stackTraceLimit = limit
  return error
}

/**
 * One breaker of its own, outside any registry.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (key: string, options: Options = {}): Effect.Effect<CircuitBreaker, InvalidOptions> =>
  Effect.zipWith(
    internal.normalise(options),
    handle.makeHub<Change>(),
    (settings, hub) => internal.makeHandle(key, settings, hub, refuse)
  )

/**
 * A registry of breakers.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeRegistry = (
  options: Options = {}
): Effect.Effect<Context.Tag.Service<CircuitBreakers>, InvalidOptions> =>
  Effect.zipWith(internal.normalise(options), handle.makeHub<Change>(), (settings, hub) => ({
    ...handle.makeRegistry((key) => internal.makeHandle(key, settings, hub, refuse)),
    changes: handle.subscribe(hub)
  }))

/**
 * A registry of breakers as a layer. Bind it to a constant: every call makes a new one.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<CircuitBreakers, InvalidOptions> =>
  Layer.effect(CircuitBreakers, makeRegistry(options))

/**
 * The same with settings from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  settings: Config.Config.Wrap<Settings>
): Layer.Layer<CircuitBreakers, InvalidOptions | ConfigError.ConfigError> =>
  Layer.effect(CircuitBreakers, Effect.flatMap(Config.unwrap(settings), makeRegistry))

/**
 * The breaker of a key, from the registry in the context.
 *
 * @since 0.1.0
 * @category constructors
 */
export const forKey = (key: string): Effect.Effect<CircuitBreaker, never, CircuitBreakers> =>
  Effect.flatMap(CircuitBreakers, (breakers) => breakers.forKey(key))

/**
 * Lets the effect run only if the breaker permits it, and records how it ended: exactly once, in the generation in which it
 * started. Interruption counts as neither and gives the permit back. Put a timeout inside, where it is a failure.
 *
 * @since 0.1.0
 * @category combinators
 */
export const protect: {
  <A = unknown, E = unknown>(
    breaker: CircuitBreaker,
    classify?: Classify<A, E>
  ): <A1 extends A, E1 extends E, R>(self: Effect.Effect<A1, E1, R>) => Effect.Effect<A1, E1 | CircuitOpen, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    breaker: CircuitBreaker,
    classify?: Classify<A, E>
  ): Effect.Effect<A, E | CircuitOpen, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(self: Effect.Effect<A, E, R>, breaker: CircuitBreaker, classify?: Classify<A, E>) =>
    breaker.checkAndCall(self, classify)
)
