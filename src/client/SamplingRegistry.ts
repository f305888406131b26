/**
 * The sampling clients that are open: what each samples from, and which one is current.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as RateLimiter from "../resilience/RateLimiter.js"
import type { Settings } from "../TinkexConfig.js"
import * as internal from "./sampling/samplingRegistry.js"
import type { Client } from "./SamplingClient.js"

/**
 * An open sampling client. `limiter` is the one of its tenant; `nextSeqId` is the number that its next request will carry.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  /** Of this entry: two clients may share a sampling session, and two services may use the same ids. */
  readonly id: string
  readonly samplingSessionId: string
  readonly settings: Settings
  readonly limiter: RateLimiter.RateLimiter
  readonly nextSeqId: Effect.Effect<number>
  readonly client: Client
}

/**
 * A client was opened or closed.
 *
 * @since 0.1.0
 * @category models
 */
export type Change =
  | { readonly _tag: "Opened"; readonly entry: Entry }
  | { readonly _tag: "Closed"; readonly entry: Entry }

/**
 * @since 0.1.0
 * @category models
 */
export interface Registry {
  /**
   * Keeps an entry until the scope closes, and makes it the current one of this fiber and the fibers that it forks from now on.
   * `make` gets the id of the entry.
   */
  readonly register: (make: (id: string) => Entry) => Effect.Effect<Entry, never, Scope.Scope>
  /** The entry of an id, as long as it is open. A plain look-up, no waiting. */
  readonly get: (id: string) => Entry | undefined
  /** The entry that was opened last, in this fiber or the one that forked it, among those that are still open. */
  readonly current: Effect.Effect<Option.Option<Entry>>
  readonly entries: Effect.Effect<ReadonlyArray<Entry>>
  /** Openings and closings from now on. A slow reader loses the oldest. */
  readonly changes: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
}

/**
 * The registry as a service, one for all tenants.
 *
 * @since 0.1.0
 * @category services
 */
export class SamplingRegistry extends Context.Tag("tinkex/SamplingRegistry")<SamplingRegistry, Registry>() {}

/**
 * An empty registry.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<Registry> = internal.make

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SamplingRegistry> = Layer.effect(SamplingRegistry, make)
