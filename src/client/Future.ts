/**
 * The result of an operation that the service has accepted: many may wait for it, one fiber polls.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import type * as Inspectable from "effect/Inspectable"
import type * as Option from "effect/Option"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type { Covariant } from "effect/Types"
import type { QueueState } from "../protocol/Futures.js"
import type { TinkexError } from "../TinkexError.js"
import * as internal from "./future/future.js"

/**
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = internal.TypeId

/**
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * An operation that has been accepted. It is polled by a fiber of its own in the scope of its client, whether anybody waits or
 * not; `Future.await` waits. A future that fails and that nobody looks at is logged when that scope closes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Future<out A> extends Pipeable, Inspectable.Inspectable {
  readonly [TypeId]: { readonly _A: Covariant<A> }
  /** The service's ids of the requests behind it, in order: one, or one per chunk. */
  readonly requestIds: ReadonlyArray<string>
}

/**
 * @since 0.1.0
 * @category guards
 */
export const isFuture = (u: unknown): u is Future<unknown> => Predicate.hasProperty(u, TypeId)

const _await: <A>(self: Future<A>) => Effect.Effect<A, TinkexError> = internal.wait

export {
  /**
   * Waits for the result. Any number of fibers may wait; one that is interrupted stops only its own wait.
   *
   * A failure that says nothing about the operation itself (a `FutureTimeout`, a connection or an answer that was lost once too
   * often, a key that was refused) is not its end: the service still has the request, and who awaits it again, after such a
   * failure was seen, asks again. `RequestFailed`, `FutureExpired` and `ClientClosed` are final.
   *
   * @since 0.1.0
   * @category getters
   */
  _await as await
}

/**
 * The result, if it is there. Does not wait.
 *
 * @since 0.1.0
 * @category getters
 */
export const poll: <A>(self: Future<A>) => Effect.Effect<Option.Option<Exit.Exit<A, TinkexError>>> = internal.peek

/**
 * What the service last said of the queue that the operation waits in; `unknown` before it said anything. Of several requests
 * the first that is not done.
 *
 * @since 0.1.0
 * @category getters
 */
export const queueState: (
  self: Future<unknown>
) => Effect.Effect<{ readonly state: QueueState; readonly reason: string | undefined }> = internal.queueState

/**
 * The service's id of the operation, the first of `requestIds`: what to name when asking about it.
 *
 * @since 0.1.0
 * @category getters
 */
export const requestId = (self: Future<unknown>): string => self.requestIds[0] ?? ""

/**
 * Time since the operation was accepted.
 *
 * @since 0.1.0
 * @category getters
 */
export const age: (self: Future<unknown>) => Effect.Effect<Duration.Duration> = internal.age

/**
 * A future of what a function makes of the result, once, however many wait for it.
 *
 * @since 0.1.0
 * @category combinators
 */
export const map: {
  <A, B>(f: (a: A) => B): (self: Future<A>) => Future<B>
  <A, B>(self: Future<A>, f: (a: A) => B): Future<B>
} = dual(2, <A, B>(self: Future<A>, f: (a: A) => B): Future<B> => internal.map(self, f))

/**
 * A future of all results, in order. It fails as soon as one of them does; the others go on being polled.
 *
 * @since 0.1.0
 * @category combinators
 */
export const all: <A>(futures: ReadonlyArray<Future<A>>) => Future<ReadonlyArray<A>> = internal.all

/**
 * A future of what a function makes of two results. It fails with the first failure of the two, in that order.
 *
 * @since 0.1.0
 * @category combinators
 */
export const zipWith = <A, B, C>(self: Future<A>, that: Future<B>, f: (a: A, b: B) => C): Future<C> =>
  // all keeps the order: the first value is self's, the second that's
  map(all<unknown>([self, that]), ([a, b]) => f(a as A, b as B))
