/**
 * Checkpoints as requests address them.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import { attempt, conflict, notFound, Refusal } from "../http/refusal.js"
import type { CheckpointError } from "./CheckpointStore.js"

/** @internal */
export interface CheckpointParams {
  readonly run: string
  readonly kind: string
  readonly name: string
}

/** @internal */
export const pathOf = (params: CheckpointParams): Effect.Effect<TinkerPath.TinkerPath, Refusal> =>
  Effect.suspend(() => attempt(() => TinkerPath.unsafeFromCheckpointId(params.run, `${params.kind}/${params.name}`)))

/**
 * What went wrong with a checkpoint, as an answer.
 *
 * @internal
 */
export const stored = <A>(effect: Effect.Effect<A, CheckpointError>): Effect.Effect<A, Refusal> =>
  Effect.mapError(effect, (error) => {
    switch (error.reason) {
      case "NotFound":
        return notFound("No checkpoint of that id exists, or it has expired")
      case "AlreadyExists":
        return conflict(error.message)
      default:
        return new Refusal({ status: 503, detail: error.message })
    }
  })
