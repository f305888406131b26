/**
 * One server per data directory: two would clear away each other's drafts.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as DirectoryLock from "../../node/DirectoryLock.js"
import { CheckpointError } from "./CheckpointError.js"

/**
 * Holds a data directory until the scope closes. What it gives is to be run before something is changed: it fails when the
 * directory is not the same any more.
 *
 * @internal
 */
export const lockDirectory = (
  directory: string
): Effect.Effect<Effect.Effect<void, CheckpointError>, CheckpointError, Scope.Scope> =>
  DirectoryLock.hold(directory).pipe(
    Effect.mapError((cause) =>
      new CheckpointError({
        reason: cause.reason === "InUse" ? "InUse" : "Storage",
        detail: cause.reason === "InUse"
          ? `The data directory ${directory} is in use by ${
            cause.owner ?? "another server"
          }. Stop that server, or take another directory`
          : `locking the data directory ${directory}: ${cause.cause?.message}`,
        code: cause.cause?.code,
        cause
      })
    ),
    Effect.map(({ intact }) =>
      Effect.filterOrFail(intact, (same) => same, () =>
        new CheckpointError({
          reason: "Storage",
          detail:
            `The data directory ${directory} was removed or replaced while the server ran: nothing is written to it. Start the server again`
        })).pipe(Effect.asVoid)
    )
  )
