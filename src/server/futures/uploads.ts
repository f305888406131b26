/**
 * How many request bodies are being received: while there are some, an absent `seq_id` may still be on its way.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** @internal */
export interface Uploads {
  inFlight: number
}

/** @internal */
export const Uploads = Context.GenericTag<Uploads>("tinkex/server/Uploads")

/** @internal */
export const layer = Layer.sync(Uploads, (): Uploads => ({ inFlight: 0 }))

/** @internal */
export const track = <A, E, R>(uploads: Uploads, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      uploads.inFlight++
    }),
    () => effect,
    () =>
      Effect.sync(() => {
        uploads.inFlight--
      })
  )
