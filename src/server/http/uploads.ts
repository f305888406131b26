/**
 * @internal
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"

/**
 * Bodies that are being received: while there are some, an absent `seq_id` may still be on its way.
 *
 * @internal
 */
export interface Uploads {
  inFlight: number
  /** What has come of them so far. */
  bytes: number
}

/** @internal */
export const Uploads = Context.GenericTag<Uploads>("tinkex/server/Uploads")

/** @internal */
export const layer = Layer.sync(Uploads, (): Uploads => ({ inFlight: 0, bytes: 0 }))
