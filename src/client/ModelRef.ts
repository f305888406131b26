/**
 * The weights that an application answers with, exchanged while it runs: all at once, or for a share of its users first.
 *
 * @since 0.2.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Random from "effect/Random"
import type * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"

/**
 * @since 0.2.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/ModelRef")

/**
 * @since 0.2.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * What can answer: a base model by its name, or weights by their path (`tinker://<run>/sampler_weights/<name>`).
 *
 * @since 0.2.0
 * @category models
 */
export type Target = string

/**
 * Which weights are in force: `current` for all, or `next` for a share of `percent` of them and `current` for the rest.
 *
 * @since 0.2.0
 * @category models
 */
export interface Rollout {
  readonly current: Target
  readonly next: Target | undefined
  /** From 0 to 100. */
  readonly percent: number
}

/**
 * A share that is none.
 *
 * @since 0.2.0
 * @category errors
 */
export class PromotionError extends Data.TaggedError("PromotionError")<{ readonly detail: string }> {
  override get message(): string {
    return this.detail
  }
}

/**
 * A name for weights. Calls that are under way end on those with which they began.
 *
 * @since 0.2.0
 * @category models
 */
export interface ModelRef {
  readonly [TypeId]: TypeId
  readonly rollout: Effect.Effect<Rollout>
  /** The present state and every later one. */
  readonly changes: Stream.Stream<Rollout>
  /**
   * Puts weights in force: for all, or for `percent` of the keys. A key that has had the new weights keeps them as the share
   * grows. Promoting the same weights again with a larger share goes on with them.
   */
  readonly promote: (target: Target, options?: { readonly percent?: number | undefined }) => Effect.Effect<
    Rollout,
    PromotionError
  >
  /** Takes a share back: `current` for all again. */
  readonly rollback: Effect.Effect<Rollout>
  /** The weights for a key (a user, a conversation): always the same ones for the same key. Without a key by chance. */
  readonly pick: (key?: string | undefined) => Effect.Effect<Target>
}

/**
 * @since 0.2.0
 * @category guards
 */
export const isModelRef = (u: unknown): u is ModelRef => Predicate.hasProperty(u, TypeId)

/** A number in [0, 100) from a key: FNV-1a, then mixed so that keys which differ in their last letter spread out. */
const placeOf = (key: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32 * 100
}

/**
 * A name for weights, at first those given.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { ModelRef } from "tinkex"
 *
 * const program = Effect.gen(function*() {
 *   const model = yield* ModelRef.make("tinkex/nano")
 *   yield* model.promote("tinker://run/sampler_weights/better", { percent: 10 })
 *   const one = yield* model.pick("a user") // the same weights for this user every time
 *   yield* model.promote("tinker://run/sampler_weights/better")
 *   return one
 * })
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (current: Target): Effect.Effect<ModelRef> =>
  Effect.map(SubscriptionRef.make<Rollout>({ current, next: undefined, percent: 0 }), (ref): ModelRef => {
    const set = (f: (rollout: Rollout) => Rollout) => SubscriptionRef.updateAndGet(ref, f)
    return {
      [TypeId]: TypeId,
      rollout: SubscriptionRef.get(ref),
      changes: ref.changes,
      promote: (target, { percent = 100 } = {}) =>
        percent >= 0 && percent <= 100
          ? set((rollout) =>
            percent === 100
              ? { current: target, next: undefined, percent: 0 }
              : { current: rollout.current, next: target, percent }
          )
          : Effect.fail(
            new PromotionError({
              detail: `a share is a percentage from 0 to 100, not ${percent}: ${target} stays as it is`
            })
          ),
      rollback: set((rollout) => ({ current: rollout.current, next: undefined, percent: 0 })),
      pick: (key) =>
        Effect.flatMap(SubscriptionRef.get(ref), ({ current, next, percent }) =>
          next === undefined
            ? Effect.succeed(current)
            : Effect.map(
              key === undefined ? Effect.map(Random.next, (value) => value * 100) : Effect.succeed(placeOf(key)),
              (place) => place < percent ? next : current
            ))
    }
  })
