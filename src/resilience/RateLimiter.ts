/**
 * One shared back-off deadline per key: when a server says "too many requests, come back in t", everybody who talks to it
 * under that key waits, not only the caller that was told.
 *
 * ```mermaid
 * stateDiagram-v2
 *   Idle --> Waiting: setBackoff
 *   Waiting --> Waiting: setBackoff, later of the two deadlines
 *   Waiting --> Idle: deadline over, or a success that started after the last setBackoff
 * ```
 *
 * The deadline is kept in `Clock.currentTimeNanos`, which never goes back. It is extended, never shortened. A success clears
 * it only if it started after the last refusal: one that was already under way says nothing about the present. Whoever
 * waits looks again after waking, and wakes a random moment late, so that waiters do not return as a herd.
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
import { dual } from "effect/Function"
import type * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as handle from "./internal/handle.js"
import type { InvalidOptions } from "./internal/options.js"
import * as internal from "./internal/rateLimiter.js"

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
 * The mark of a limiter.
 *
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/RateLimiter")

/**
 * The mark of a limiter.
 *
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * The mark of `BackoffTooLong`.
 *
 * @since 0.1.0
 * @category symbols
 */
export const ErrorTypeId: unique symbol = Symbol.for("tinkex/RateLimiter/BackoffTooLong")

/**
 * The back-off lasts longer than the caller is ready to wait. It was not waited for.
 *
 * @since 0.1.0
 * @category errors
 */
export class BackoffTooLong extends Data.TaggedError("BackoffTooLong")<{
  readonly key: string
  /** How long the back-off still lasts. */
  readonly remaining: Duration.Duration
  /** How long the caller would have waited from then on. */
  readonly limit: Duration.Duration
}> {
  readonly [ErrorTypeId]: typeof ErrorTypeId = ErrorTypeId
  override get message() {
    return `"${this.key}" asks its callers to back off for another ${Duration.format(this.remaining)}, ` +
      `longer than the ${Duration.format(this.limit)} that this call may wait; try again later or allow more`
  }
}

/**
 * Whether it is a `BackoffTooLong`, also one of another copy of the package.
 *
 * @since 0.1.0
 * @category guards
 */
export const isBackoffTooLong = (u: unknown): u is BackoffTooLong => Predicate.hasProperty(u, ErrorTypeId)

/**
 * How a limiter behaves.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** `false`: nobody ever waits. Default true. */
  readonly enabled?: boolean | undefined
  /** A waiter wakes up to this share of its wait late, at random, in [0, 1]. Default 0.1. */
  readonly jitter?: number | undefined
  /** At most so late. Default 1 second. */
  readonly maxJitter?: Duration.DurationInput | undefined
}

/**
 * Where a call started: how many refusals the limiter had seen by then.
 *
 * @since 0.1.0
 * @category models
 */
export type Epoch = number

/**
 * What the observers of a limiter are told.
 *
 * @since 0.1.0
 * @category models
 */
export type Change =
  | {
    readonly _tag: "BackoffSet"
    readonly key: string
    /** From now to the deadline. */
    readonly duration: Duration.Duration
    /** Whether there was a back-off already. */
    readonly extended: boolean
  }
  | { readonly _tag: "BackoffCleared"; readonly key: string; readonly reason: "success" | "manual" }

/**
 * One back-off deadline.
 *
 * @since 0.1.0
 * @category models
 */
export interface RateLimiter extends Pipeable, Inspectable.Inspectable {
  readonly [TypeId]: TypeId
  readonly key: string
  readonly enabled: boolean
  readonly shouldBackoff: Effect.Effect<boolean>
  /** The deadline in `Clock.currentTimeNanos`, while it is in the future. */
  readonly until: Effect.Effect<Option.Option<bigint>>
  /** How long the back-off still lasts; zero without one. */
  readonly remaining: Effect.Effect<Duration.Duration>
  /** Moves the deadline to this far from now, unless it is later already. An infinite one lasts until it is cleared. */
  readonly setBackoff: (duration: Duration.DurationInput) => Effect.Effect<void>
  /** Clears the deadline whatever happened. Responses go through `succeeded`. */
  readonly clearBackoff: Effect.Effect<void>
  /** Take this when a call starts, and hand it to `succeeded`. */
  readonly started: Effect.Effect<Epoch>
  /** Clears the deadline if the call started after the last `setBackoff`; says whether it did. */
  readonly succeeded: (epoch: Epoch) => Effect.Effect<boolean>
  /**
   * `remaining`, `setBackoff`, `started` and `succeeded` as plain functions, for hot paths; times in milliseconds.
   *
   * @since 0.2.0
   */
  readonly unsafeRemaining: (clock: Clock.Clock) => number
  /** @since 0.2.0 */
  readonly unsafeSetBackoff: (clock: Clock.Clock, duration: Duration.DurationInput) => void
  /** @since 0.2.0 */
  readonly unsafeStarted: () => Epoch
  /** @since 0.2.0 */
  readonly unsafeSucceeded: (clock: Clock.Clock, epoch: Epoch) => boolean
  /** Returns at once without a back-off, else when it is over or cleared, up to the jitter later. */
  readonly waitForBackoff: Effect.Effect<void>
  /** The same, but fails at once, and whenever it becomes clear, if the wait would last longer than this. */
  readonly waitUpTo: (limit: Duration.DurationInput) => Effect.Effect<void, BackoffTooLong>
  /** Changes of this limiter from now on. A slow reader loses the oldest. */
  readonly changes: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
}

/**
 * Whether it is a `RateLimiter`, also one of another copy of the package.
 *
 * @since 0.1.0
 * @category guards
 */
export const isRateLimiter = (u: unknown): u is RateLimiter => Predicate.hasProperty(u, TypeId)

/**
 * Limiters by key, all with the same options.
 *
 * @since 0.1.0
 * @category services
 */
export class RateLimiters extends Context.Tag("tinkex/RateLimiter")<RateLimiters, {
  /** The one limiter of this key, made by whoever asks first. */
  readonly forKey: (key: string) => Effect.Effect<RateLimiter>
  readonly all: Effect.Effect<ReadonlyArray<RateLimiter>>
  /** Changes of all of them from now on. A slow reader loses the oldest. */
  readonly changes: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
}>() {}

const refuse = (key: string, remaining: Duration.Duration, limit: Duration.Duration): BackoffTooLong =>
  new BackoffTooLong({ key, remaining, limit })

/**
 * One limiter of its own, outside any registry.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (key: string, options: Options = {}): Effect.Effect<RateLimiter, InvalidOptions> =>
  Effect.zipWith(
    internal.normalise(options),
    handle.makeHub<Change>(),
    (settings, hub) => internal.makeHandle(key, settings, hub, refuse)
  )

/**
 * A registry of limiters.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeRegistry = (
  options: Options = {}
): Effect.Effect<Context.Tag.Service<RateLimiters>, InvalidOptions> =>
  Effect.zipWith(internal.normalise(options), handle.makeHub<Change>(), (settings, hub) => ({
    ...handle.makeRegistry((key) => internal.makeHandle(key, settings, hub, refuse)),
    changes: handle.subscribe(hub)
  }))

/**
 * A registry of limiters as a layer. Bind it to a constant: every call makes a new one.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<RateLimiters, InvalidOptions> =>
  Layer.effect(RateLimiters, makeRegistry(options))

/**
 * The same with options from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<RateLimiters, InvalidOptions | ConfigError.ConfigError> =>
  Layer.effect(RateLimiters, Effect.flatMap(Config.unwrap(options), makeRegistry))

/**
 * The limiter of a key, from the registry in the context.
 *
 * @since 0.1.0
 * @category constructors
 */
export const forKey = (key: string): Effect.Effect<RateLimiter, never, RateLimiters> =>
  Effect.flatMap(RateLimiters, (limiters) => limiters.forKey(key))

/**
 * Waits for the back-off, runs the effect, and tells the limiter how it went: a success clears a back-off that was set
 * before it started; an error for which `retryAfter` gives a duration sets one.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withBackoff: {
  <E = unknown>(
    limiter: RateLimiter,
    retryAfter: (error: E) => Option.Option<Duration.Duration>
  ): <A, E1 extends E, R>(self: Effect.Effect<A, E1, R>) => Effect.Effect<A, E1, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    limiter: RateLimiter,
    retryAfter: (error: E) => Option.Option<Duration.Duration>
  ): Effect.Effect<A, E, R>
} = dual(
  3,
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    limiter: RateLimiter,
    retryAfter: (error: E) => Option.Option<Duration.Duration>
  ) =>
    Effect.zipRight(limiter.waitForBackoff, limiter.started).pipe(
      Effect.flatMap((epoch) =>
        Effect.tapBoth(self, {
          onSuccess: () => limiter.succeeded(epoch),
          onFailure: (error) =>
            Option.match(retryAfter(error), { onNone: () => Effect.void, onSome: limiter.setBackoff })
        })
      )
    )
)
