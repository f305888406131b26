/**
 * Checkpoints as requests address them.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import { attempt, conflict, notFound, Refusal } from "../http/refusal.js"
import type { CheckpointError } from "./CheckpointError.js"

/** @internal */
export interface CheckpointParams {
  readonly run: string
  readonly kind: string
  readonly name: string
}

/** @internal */
export const pathOf = (params: CheckpointParams): Effect.Effect<TinkerPath.TinkerPath, Refusal> =>
  Effect.suspend(() => attempt(() => TinkerPath.unsafeFromCheckpointId(params.run, `${params.kind}/${params.name}`)))

/** Tells clients that asking again will not help. */
const final = { "x-should-retry": "false" }

/** What a file system says that does not change by itself. */
const lasting: ReadonlySet<string> = new Set(["EROFS", "EACCES", "EPERM", "ENOTDIR", "EISDIR", "ENAMETOOLONG"])

/**
 * The same for a checkpoint that a field of a request names.
 *
 * @internal
 */
export const named = <A>(field: string, effect: Effect.Effect<A, CheckpointError>): Effect.Effect<A, Refusal> =>
  Effect.catchIf(
    effect,
    ({ reason }) => reason === "NotFound",
    () => Effect.fail(notFound(`${field}: no checkpoint of that path exists, or it has expired`))
  ).pipe(Effect.catchTag("CheckpointError", (error) => stored(Effect.fail(error))))

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
      case "Damaged":
        return new Refusal({ status: 500, detail: error.message, headers: final })
      default:
        return new Refusal({
          status: 503,
          detail: error.message,
          ...(lasting.has(error.code ?? "") ? { headers: final } : {})
        })
    }
  })
