/**
 * Retry budgets: retries may be a share of the calls made lately plus a small constant rate, so that a dependency that fails
 * for everybody is not buried under the retries of everybody.
 *
 * Finagle's `RetryBudget` (finagle.github.io/blog/2016/02/08/retry-budgets) and tower's `retry::budget`, with Finagle's
 * defaults: 20 % of the calls of the last 10 seconds plus 10 retries per second. In any 10 seconds there are at most
 * `percent * calls + minPerSecond * 10` retries; what was not used decays with the window.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as handle from "./internal/handle.js"
import * as options_ from "./internal/options.js"
import type { InvalidOptions } from "./internal/options.js"
import * as Window from "./internal/window.js"

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
 * The mark of a budget.
 *
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/RetryBudget")

/**
 * The mark of a budget.
 *
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * The mark of `BudgetExhausted`.
 *
 * @since 0.1.0
 * @category symbols
 */
export const ErrorTypeId: unique symbol = Symbol.for("tinkex/RetryBudget/BudgetExhausted")

/**
 * There is no retry left at present: too many calls fail. Nothing was withdrawn.
 *
 * @since 0.1.0
 * @category errors
 */
export class BudgetExhausted extends Data.TaggedError("BudgetExhausted")<{ readonly key: string }> {
  readonly [ErrorTypeId]: typeof ErrorTypeId = ErrorTypeId
  override get message() {
    return `the retry budget of "${this.key}" is used up: too many of its calls fail at present; not retried`
  }
}

/**
 * Whether it is a `BudgetExhausted`, also one of another copy of the package.
 *
 * @since 0.1.0
 * @category guards
 */
export const isBudgetExhausted = (u: unknown): u is BudgetExhausted => Predicate.hasProperty(u, ErrorTypeId)

/**
 * How a budget behaves.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** `false`: every retry is granted. Default true. */
  readonly enabled?: boolean | undefined
  /** Retries per call, as a share; at least 0. Default 0.2. */
  readonly percent?: number | undefined
  /** Retries per second that are granted whatever the number of calls; at least 0. Default 10. */
  readonly minPerSecond?: number | undefined
  /** How long a call or a retry is remembered, in ten slots. Default 10 seconds. */
  readonly ttl?: Duration.DurationInput | undefined
}

/**
 * `Exhausted` when a retry is refused after one was granted, `Recovered` when one is granted again.
 *
 * @since 0.1.0
 * @category models
 */
export interface Change {
  readonly _tag: "Exhausted" | "Recovered"
  readonly key: string
  /** How many retries were refused since the budget was exhausted. */
  readonly refused: number
}

/**
 * One budget, shared by all calls of its key.
 *
 * @since 0.1.0
 * @category models
 */
export interface RetryBudget extends Pipeable, Inspectable.Inspectable {
  readonly [TypeId]: TypeId
  readonly key: string
  readonly enabled: boolean
  /** Counts a call; once per call, not per attempt. */
  readonly deposit: Effect.Effect<void>
  /** Takes one retry out, or fails at once. */
  readonly withdraw: Effect.Effect<void, BudgetExhausted>
  /** How many retries could be withdrawn now; infinite when not enabled. */
  readonly balance: Effect.Effect<number>
  /** Changes of this budget from now on. A slow reader loses the oldest. */
  readonly changes: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
}

/**
 * Whether it is a `RetryBudget`, also one of another copy of the package.
 *
 * @since 0.1.0
 * @category guards
 */
export const isRetryBudget = (u: unknown): u is RetryBudget => Predicate.hasProperty(u, TypeId)

/**
 * Budgets by key, all with the same options.
 *
 * @since 0.1.0
 * @category services
 */
export class RetryBudgets extends Context.Tag("tinkex/RetryBudget")<RetryBudgets, {
  /** The one budget of this key, made by whoever asks first. */
  readonly forKey: (key: string) => Effect.Effect<RetryBudget>
  readonly all: Effect.Effect<ReadonlyArray<RetryBudget>>
  /** Changes of all of them from now on. A slow reader loses the oldest. */
  readonly changes: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
}>() {}

interface Settings {
  readonly enabled: boolean
  readonly percent: number
  readonly minPerSecond: number
  readonly ttlMillis: number
}

const normalise = (options: Options): Effect.Effect<Settings, InvalidOptions> => {
  const settings: Settings = {
    enabled: options.enabled ?? true,
    percent: options.percent ?? 0.2,
    minPerSecond: options.minPerSecond ?? 10,
    ttlMillis: options_.toMillis(options.ttl ?? "10 seconds")
  }
  const notNegative = (n: number) => n >= 0 && Number.isFinite(n)
  return options_.checked("RetryBudget", [
    ["percent", settings.percent, notNegative(settings.percent), "a finite number of at least 0"],
    ["minPerSecond", settings.minPerSecond, notNegative(settings.minPerSecond), "a finite number of at least 0"],
    ["ttl", options.ttl, options_.isPositive(settings.ttlMillis), "a finite duration above zero"]
  ], () => settings)
}

interface State {
  readonly window: Window.TimeWindow
  readonly exhausted: boolean
  readonly refused: number
}

const slots = 10
const Calls = 0
const Retries = 1

const makeHandle = (key: string, settings: Settings, hub: PubSub.PubSub<Change>): RetryBudget => {
  const cell = handle.makeCell<State, Change>({
    window: Window.makeTimeWindow(settings.ttlMillis, slots, 2),
    exhausted: false,
    refused: 0
  }, hub)
  const step = <A>(f: (state: State, now: number) => handle.Step<A, State, Change>) =>
    Effect.uninterruptible(Effect.clockWith((clock) => {
      const value = cell.step((state) => f(state, handle.nowMillis(clock)))
      return Effect.as(cell.flush, value)
    }))
  const left = ({ window }: State, now: number): number =>
    settings.percent * Window.total(window, now, Calls) + settings.minPerSecond * (settings.ttlMillis / 1000) -
    Window.total(window, now, Retries)

  const withdraw = Effect.flatMap(
    step((state, now) => {
      if (left(state, now) < 1 - 1e-9) {
        const refused = state.refused + 1
        const next: State = { ...state, exhausted: true, refused }
        return [false, next, state.exhausted ? undefined : { _tag: "Exhausted", key, refused }]
      }
      const next: State = { window: Window.add(state.window, now, [0, 1]), exhausted: false, refused: 0 }
      return [true, next, state.exhausted ? { _tag: "Recovered", key, refused: state.refused } : undefined]
    }),
    (granted) => granted ? Effect.void : Effect.fail(new BudgetExhausted({ key }))
  )

  return handle.makeHandle<RetryBudget>("tinkex/RetryBudget", {
    key,
    enabled: settings.enabled,
    deposit: settings.enabled
      ? step((state, now) => [undefined, { ...state, window: Window.add(state.window, now, [1, 0]) }])
      : Effect.void,
    withdraw: settings.enabled ? withdraw : Effect.void,
    balance: settings.enabled
      ? step((state, now) => [Math.max(0, left(state, now)), state])
      : Effect.succeed(Number.POSITIVE_INFINITY),
    changes: handle.subscribeKey(hub, key),
    toJSON: () => ({ _id: "tinkex/RetryBudget", key, enabled: settings.enabled })
  })
}

/**
 * One budget of its own, outside any registry.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (key: string, options: Options = {}): Effect.Effect<RetryBudget, InvalidOptions> =>
  Effect.zipWith(normalise(options), handle.makeHub<Change>(), (settings, hub) => makeHandle(key, settings, hub))

/**
 * A registry of budgets.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeRegistry = (
  options: Options = {}
): Effect.Effect<Context.Tag.Service<RetryBudgets>, InvalidOptions> =>
  Effect.zipWith(normalise(options), handle.makeHub<Change>(), (settings, hub) => ({
    ...handle.makeRegistry((key) => makeHandle(key, settings, hub)),
    changes: handle.subscribe(hub)
  }))

/**
 * A registry of budgets as a layer. Bind it to a constant: every call makes a new one.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<RetryBudgets, InvalidOptions> =>
  Layer.effect(RetryBudgets, makeRegistry(options))

/**
 * The same with options from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<RetryBudgets, InvalidOptions | ConfigError.ConfigError> =>
  Layer.effect(RetryBudgets, Effect.flatMap(Config.unwrap(options), makeRegistry))

/**
 * The budget of a key, from the registry in the context.
 *
 * @since 0.1.0
 * @category constructors
 */
export const forKey = (key: string): Effect.Effect<RetryBudget, never, RetryBudgets> =>
  Effect.flatMap(RetryBudgets, (budgets) => budgets.forKey(key))

/**
 * Runs a retry, if the budget grants one.
 *
 * @since 0.1.0
 * @category combinators
 */
export const spend: {
  (budget: RetryBudget): <A, E, R>(retry: Effect.Effect<A, E, R>) => Effect.Effect<A, E | BudgetExhausted, R>
  <A, E, R>(retry: Effect.Effect<A, E, R>, budget: RetryBudget): Effect.Effect<A, E | BudgetExhausted, R>
} = dual(
  2,
  <A, E, R>(retry: Effect.Effect<A, E, R>, budget: RetryBudget) => Effect.zipRight(budget.withdraw, retry)
)
