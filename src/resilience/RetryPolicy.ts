/**
 * Retry policies: how often to try again, how long to wait in between, and when to stop.
 *
 * The wait before attempt n + 1 is drawn uniformly from 0 to `min(cap, base * factor^(n - 1))`: "full jitter", which makes
 * the least work for the server among the usual ones (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
 * 2015). If the server said how long to wait, the drawn wait is added to that, never taken off. The last error comes out as
 * it went in.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as handle from "./internal/handle.js"
import type { InvalidOptions } from "./internal/options.js"
import * as internal from "./internal/retryPolicy.js"
import type * as RetryBudget from "./RetryBudget.js"

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
 * The mark of a policy.
 *
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/RetryPolicy")

/**
 * The mark of a policy.
 *
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * How a policy behaves, as plain data.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  /** `false`: one attempt. Default true. */
  readonly enabled?: boolean | undefined
  /** Attempts in all, the first included; `Infinity` for no limit. Default 11, that is 10 retries. */
  readonly maxAttempts?: number | undefined
  /** The longest first wait. Default 500 milliseconds. */
  readonly base?: Duration.DurationInput | undefined
  /** What each further attempt multiplies it by, at least 1. Default 2. */
  readonly factor?: number | undefined
  /** The longest wait of all, not counting what the server asks for. Default 10 seconds. */
  readonly cap?: Duration.DurationInput | undefined
  /** `full` draws the wait from 0 up, `none` takes the longest: for tests and single clients. Default `full`. */
  readonly jitter?: "full" | "none" | undefined
  /** No attempt starts later than this after the first one; one under way is not cut off. Default: no deadline. */
  readonly deadline?: Duration.DurationInput | undefined
  /** If the server asks for a longer wait than this, the error is final. Default 60 seconds. */
  readonly retryAfterCap?: Duration.DurationInput | undefined
}

/**
 * What the policy asks about an error.
 *
 * @since 0.1.0
 * @category models
 */
export interface Judgement<in E = unknown> {
  /** Whether it is worth another attempt. Default: always. */
  readonly while?: ((error: E) => boolean) | undefined
  /** How long the server asked to wait, if it did. Default: never. */
  readonly retryAfter?: ((error: E) => Option.Option<Duration.Duration>) | undefined
}

/**
 * How a policy behaves.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<in E = unknown> extends Settings, Judgement<E> {}

/**
 * Why an error was final.
 *
 * @since 0.1.0
 * @category models
 */
export type StopReason = "notRetryable" | "attempts" | "retryAfter" | "deadline" | "budget"

/**
 * What the observers of a policy are told.
 *
 * @since 0.1.0
 * @category models
 */
export type Change =
  | {
    readonly _tag: "Retrying"
    readonly key: string
    /** The attempt that failed, from 1. */
    readonly attempt: number
    readonly delay: Duration.Duration
  }
  | { readonly _tag: "GaveUp"; readonly key: string; readonly attempt: number; readonly reason: StopReason }

/**
 * A description of retries; `retry` carries it out.
 *
 * @since 0.1.0
 * @category models
 */
export interface RetryPolicy<in E = unknown> extends Pipeable, Inspectable.Inspectable, Judgement<E> {
  readonly [TypeId]: TypeId
  readonly key: string
  readonly enabled: boolean
  readonly maxAttempts: number
  /** From the first attempt on; infinite without one. */
  readonly deadline: Duration.Duration
  readonly retryAfterCap: Duration.Duration
  /** A wait after this attempt, from 1: the server's, if given, plus a drawn one. */
  readonly delay: (attempt: number, retryAfter?: Duration.Duration) => Effect.Effect<Duration.Duration>
  /** Tells the observers of this policy. `retry` does. */
  readonly publish: (change: Change) => Effect.Effect<void>
  /** What this policy decides, from now on. A slow reader loses the oldest. */
  readonly changes: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
}

/**
 * Whether it is a `RetryPolicy`, also one of another copy of the package.
 *
 * @since 0.1.0
 * @category guards
 */
export const isRetryPolicy = (u: unknown): u is RetryPolicy => Predicate.hasProperty(u, TypeId)

/**
 * Policies by key, all with the same settings, so that their decisions can be observed in one place.
 *
 * @since 0.1.0
 * @category services
 */
export class RetryPolicies extends Context.Tag("tinkex/RetryPolicy")<RetryPolicies, {
  /** The one policy of this key, made by whoever asks first. */
  readonly forKey: (key: string) => Effect.Effect<RetryPolicy>
  readonly all: Effect.Effect<ReadonlyArray<RetryPolicy>>
  /** Decisions of all of them from now on. A slow reader loses the oldest. */
  readonly changes: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
}>() {}

/**
 * What one call adds to its policy.
 *
 * @since 0.1.0
 * @category models
 */
export interface RetryOptions<in E = unknown> extends Judgement<E> {
  /** The call is deposited once, every retry is withdrawn; without one left the error is final. */
  readonly budget?: RetryBudget.RetryBudget | undefined
  /** Only withdraws, for calls that are deposited elsewhere. */
  readonly withdraw?: Effect.Effect<void, RetryBudget.BudgetExhausted> | undefined
  /** In place of the policy's. */
  readonly maxAttempts?: number | undefined
  /** How many milliseconds are left, in place of the policy's deadline; a wait that does not fit is not begun. */
  readonly left?: (() => number) | undefined
  /** Runs before each wait. */
  readonly onRetry?:
    | ((
      retry: { readonly attempt: number; readonly delay: Duration.Duration; readonly error: E }
    ) => Effect.Effect<void>)
    | undefined
}

/**
 * One policy of its own, outside any registry.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E = unknown>(
  key: string,
  options: Options<E> = {}
): Effect.Effect<RetryPolicy<E>, InvalidOptions> =>
  Effect.zipWith(
    internal.normalise(options),
    handle.makeHub<Change>(),
    (settings, hub) => internal.makeHandle(key, settings, options, hub)
  )

/**
 * A registry of policies.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeRegistry = (
  options: Options = {}
): Effect.Effect<Context.Tag.Service<RetryPolicies>, InvalidOptions> =>
  Effect.zipWith(internal.normalise(options), handle.makeHub<Change>(), (settings, hub) => ({
    ...handle.makeRegistry((key) => internal.makeHandle(key, settings, options, hub)),
    changes: handle.subscribe(hub)
  }))

/**
 * A registry of policies as a layer. Bind it to a constant: every call makes a new one.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<RetryPolicies, InvalidOptions> =>
  Layer.effect(RetryPolicies, makeRegistry(options))

/**
 * The same with settings from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  settings: Config.Config.Wrap<Settings>
): Layer.Layer<RetryPolicies, InvalidOptions | ConfigError.ConfigError> =>
  Layer.effect(RetryPolicies, Effect.flatMap(Config.unwrap(settings), makeRegistry))

/**
 * The policy of a key, from the registry in the context.
 *
 * @since 0.1.0
 * @category constructors
 */
export const forKey = (key: string): Effect.Effect<RetryPolicy, never, RetryPolicies> =>
  Effect.flatMap(RetryPolicies, (policies) => policies.forKey(key))

/**
 * Runs the effect, again and again as the policy says. Defects and interruption are never retried. A judgement given here
 * takes the place of the policy's.
 *
 * @since 0.1.0
 * @category combinators
 */
export const retry: {
  <E = unknown>(
    policy: RetryPolicy<E>,
    options?: RetryOptions<E>
  ): <A, E1 extends E, R>(self: Effect.Effect<A, E1, R>) => Effect.Effect<A, E1, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, policy: RetryPolicy<E>, options?: RetryOptions<E>): Effect.Effect<A, E, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    policy: RetryPolicy<E>,
    options?: RetryOptions<E>
  ) => internal.retry(self, policy, options)
)
