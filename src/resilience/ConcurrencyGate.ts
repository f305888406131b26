/**
 * A gate before a shared resource: at most so many calls inside at once and so many bytes, first come first served, adapting
 * both the number inside and the rate of starts to what the resource refuses.
 *
 * - *Fair.* A permit that comes back is handed to the first in line; nobody else is woken, nobody overtakes.
 * - *Bytes* (docs/protocol/sampling.md#budgets-of-bytes): whoever is first may enter while the balance is not negative and may overdraw it, so that
 *   one oversize call still passes.
 * - *Adaptive number*: additive increase, multiplicative decrease (Chiu and Jain 1989; TCP's congestion avoidance, RFC 5681;
 *   the decrease of 0.9 and the rule that a gate less than half full does not grow are Netflix concurrency-limits'
 *   `AIMDLimit`). A refusal reduces the limit to 0.9 of the number that was inside when the refused call entered, at most
 *   once a round; each success adds `1 / limit`.
 * - *Adaptive rate*: a token bucket whose rate follows CUBIC (RFC 9438) as in AWS's adaptive retry mode (beta 0.7, scale
 *   0.4 per second cubed, smoothing 0.8), off until the first refusal. After a refusal it restarts at 0.7 of the refused
 *   rate, levels out at 0.95 of it, and probes on from there, gently up to 1.25 of it. In every window of t seconds
 *   there are at most `burst + rate * t` starts, where burst is 1 start or 50 ms' worth of them.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import type * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as internal from "./internal/concurrencyGate.js"
import type * as machine from "./internal/gate.js"
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
 * The mark of a gate.
 *
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/ConcurrencyGate")

/**
 * The mark of a gate.
 *
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * The mark of `GateFull`.
 *
 * @since 0.1.0
 * @category symbols
 */
export const ErrorTypeId: unique symbol = Symbol.for("tinkex/ConcurrencyGate/GateFull")

/**
 * As many calls wait already as may: this one was turned away at once. It never comes without `maxWaiting`.
 *
 * @since 0.1.0
 * @category errors
 */
export class GateFull extends Data.TaggedError("GateFull")<{
  readonly key: string
  readonly inFlight: number
  readonly waiting: number
}> {
  readonly [ErrorTypeId]: typeof ErrorTypeId = ErrorTypeId
  override get message() {
    return `"${this.key}" has ${this.inFlight} calls under way and ${this.waiting} waiting: nothing was started; ` +
      `try again later, send less at once or raise maxWaiting`
  }
}

/**
 * Whether it is a `GateFull`, also one of another copy of the package.
 *
 * @since 0.1.0
 * @category guards
 */
export const isGateFull = (u: unknown): u is GateFull => Predicate.hasProperty(u, ErrorTypeId)

/**
 * What a call says about the resource: it had room, it refused for load, or nothing.
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
 * How a gate behaves, as plain data.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  /** `false`: every call enters and nothing is counted. Default true. */
  readonly enabled?: boolean | undefined
  /** The most calls inside at once; `Infinity` for no limit. Default 100. */
  readonly permits?: number | undefined
  /** The most bytes inside at once; `Infinity` for no limit, the default. */
  readonly bytes?: number | undefined
  /** The most calls that may wait; the next is turned away. Default `Infinity`. */
  readonly maxWaiting?: number | undefined
  /** Whether the number of permits adapts to refusals. Default true. */
  readonly adaptive?: boolean | undefined
  /** The fewest permits that refusals may leave. Default 1. */
  readonly minPermits?: number | undefined
  /** What a refusal leaves of the permits in use, in (0, 1). Default 0.9. */
  readonly decrease?: number | undefined
  /** Whether the rate of starts adapts to refusals, or is fixed. Default `adaptive`. */
  readonly pacing?: "off" | "adaptive" | Pacing | undefined
}

/**
 * A fixed rate: in every window of t seconds at most `burst + rate * t` starts.
 *
 * @since 0.1.0
 * @category models
 */
export interface Pacing {
  /** Starts per second. */
  readonly rate: number
  /** Starts that may be saved up while idle, at least 1. Default 1. */
  readonly burst?: number | undefined
}

/**
 * How a gate behaves.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Settings {
  /** Default: success is `success`, everything else is `ignore`. */
  readonly classify?: Classify | undefined
}

/**
 * What one call brings to the gate.
 *
 * @since 0.1.0
 * @category models
 */
export interface CallOptions<A = unknown, E = unknown> {
  /** How many bytes of the budget it takes. What is not a positive number counts as none. Default 0. */
  readonly bytes?: number | undefined
  /** Default: that of the gate. */
  readonly classify?: Classify<A, E> | undefined
}

/**
 * What the observers of a gate are told.
 *
 * @since 0.1.0
 * @category models
 */
export interface Change {
  readonly key: string
  /** `recovered`: all permits are back. */
  readonly reason: machine.Reason
  /** Calls that may be inside from now on. */
  readonly limit: number
  /** Starts per second, if paced. */
  readonly rate: Option.Option<number>
}

/**
 * The right to be inside, from `acquire` to `release`.
 *
 * @since 0.1.0
 * @category models
 */
export type Lease = machine.Lease

/**
 * One gate. Use `withPermit` if an effect is the call; `acquire` and `release` if it is not.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConcurrencyGate extends Pipeable, Inspectable.Inspectable {
  readonly [TypeId]: TypeId
  readonly key: string
  readonly enabled: boolean
  /**
   * Waits in line for a permit. Only the wait can be interrupted; then the place in line is given up and nothing is held.
   * What is not a positive number of bytes counts as none.
   */
  readonly acquire: (bytes?: number) => Effect.Effect<Lease, GateFull>
  /**
   * `acquire` inside an uninterruptible region: only its wait runs under `restore`, so that no permit is lost to an interruption.
   *
   * @since 0.2.0
   */
  readonly acquireRestoring: (
    restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
    bytes?: number
  ) => Effect.Effect<Lease, GateFull>
  /**
   * A permit if there is one at once, as a plain function for hot paths.
   *
   * @since 0.2.0
   */
  readonly unsafeTryAcquire: (clock: Clock.Clock, bytes?: number) => Lease | undefined
  /** @since 0.2.0 */
  readonly unsafeRelease: (clock: Clock.Clock, lease: Lease, outcome: Outcome) => void
  /** Waits for a permit, runs the effect inside, and gives the permit back however it ends: what `withPermit` does. */
  readonly withPermit: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options?: CallOptions<A, E>
  ) => Effect.Effect<A, E | GateFull, R>
  /** Gives the permit to the next in line. A second time does nothing. */
  readonly release: (lease: Lease, outcome: Outcome) => Effect.Effect<void>
  /** New limits, from now on; what is inside stays. */
  readonly resize: (
    limits: { readonly permits?: number | undefined; readonly bytes?: number | undefined }
  ) => Effect.Effect<void, InvalidOptions>
  readonly inFlight: Effect.Effect<number>
  readonly waiting: Effect.Effect<number>
  /** Calls that may be inside at present. */
  readonly limit: Effect.Effect<number>
  /** The balance of bytes; negative after an oversize call entered. */
  readonly bytesFree: Effect.Effect<number>
  /** Starts per second at present, if paced. */
  readonly rate: Effect.Effect<Option.Option<number>>
  /** Changes of this gate from now on. A slow reader loses the oldest. */
  readonly changes: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
}

/**
 * Whether it is a `ConcurrencyGate`, also one of another copy of the package.
 *
 * @since 0.1.0
 * @category guards
 */
export const isConcurrencyGate = (u: unknown): u is ConcurrencyGate => Predicate.hasProperty(u, TypeId)

/**
 * Gates by key, all with the same options.
 *
 * @since 0.1.0
 * @category services
 */
export class ConcurrencyGates extends Context.Tag("tinkex/ConcurrencyGate")<ConcurrencyGates, {
  /** The one gate of this key, made by whoever asks first. */
  readonly forKey: (key: string) => Effect.Effect<ConcurrencyGate>
  readonly all: Effect.Effect<ReadonlyArray<ConcurrencyGate>>
  /** Changes of all of them from now on. A slow reader loses the oldest. */
  readonly changes: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
}>() {}

const refuse = (key: string, inFlight: number, waiting: number): GateFull => new GateFull({ key, inFlight, waiting })

/**
 * One gate of its own, outside any registry.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (key: string, options: Options = {}): Effect.Effect<ConcurrencyGate, InvalidOptions> =>
  Effect.zipWith(
    internal.normalise(options),
    handle.makeHub<Change>(),
    (settings, hub) => internal.makeHandle(key, settings, hub, refuse)
  )

/**
 * A registry of gates.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeRegistry = (
  options: Options = {}
): Effect.Effect<Context.Tag.Service<ConcurrencyGates>, InvalidOptions> =>
  Effect.zipWith(internal.normalise(options), handle.makeHub<Change>(), (settings, hub) => ({
    ...handle.makeRegistry((key) => internal.makeHandle(key, settings, hub, refuse)),
    changes: handle.subscribe(hub)
  }))

/**
 * A registry of gates as a layer. Bind it to a constant: every call makes a new one.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<ConcurrencyGates, InvalidOptions> =>
  Layer.effect(ConcurrencyGates, makeRegistry(options))

/**
 * The same with settings from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  settings: Config.Config.Wrap<Settings>
): Layer.Layer<ConcurrencyGates, InvalidOptions | ConfigError.ConfigError> =>
  Layer.effect(ConcurrencyGates, Effect.flatMap(Config.unwrap(settings), makeRegistry))

/**
 * The gate of a key, from the registry in the context.
 *
 * @since 0.1.0
 * @category constructors
 */
export const forKey = (key: string): Effect.Effect<ConcurrencyGate, never, ConcurrencyGates> =>
  Effect.flatMap(ConcurrencyGates, (gates) => gates.forKey(key))

/**
 * Waits in line for a permit, runs the effect inside, and gives the permit back however it ends. An interrupted waiter
 * leaves the line and holds nothing.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withPermit: {
  <A = unknown, E = unknown>(
    gate: ConcurrencyGate,
    options?: CallOptions<A, E>
  ): <A1 extends A, E1 extends E, R>(self: Effect.Effect<A1, E1, R>) => Effect.Effect<A1, E1 | GateFull, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    gate: ConcurrencyGate,
    options?: CallOptions<A, E>
  ): Effect.Effect<A, E | GateFull, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(self: Effect.Effect<A, E, R>, gate: ConcurrencyGate, options?: CallOptions<A, E>) =>
    gate.withPermit(self, options)
)
