/**
 * What can go wrong with a checkpoint.
 *
 * @since 0.2.0
 */
import type * as PlatformError from "@effect/platform/Error"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

/**
 * Why a checkpoint could not be written, read or changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class CheckpointError extends Data.TaggedError("CheckpointError")<{
  readonly reason: "NotFound" | "AlreadyExists" | "BadName" | "Damaged" | "Storage" | "InUse"
  readonly detail: string
  /** What the operating system called it, as `ENOSPC`; only with `Storage`. */
  readonly code?: string | undefined
  readonly cause?: unknown
}> {
  override get message() {
    return this.detail
  }
}

/** `ENOSPC: no space left on device, write` of Node: what comes after the comma is the call and the path. */
const systemWords = /^([A-Z][A-Z0-9]+): ([^,]+)/

const codeOf = (error: PlatformError.PlatformError): string | undefined =>
  error._tag === "SystemError" ? systemWords.exec(error.description ?? "")?.[1] : undefined

/**
 * What the system said, with its code and without paths.
 *
 * @internal
 */
export const systemText = (error: PlatformError.PlatformError): string => {
  if (error._tag !== "SystemError") return error.description ?? "the storage failed"
  const words = systemWords.exec(error.description ?? "")
  return words === null ? error.description ?? error.reason : `${words[1]}: ${words[2]}`
}

/**
 * Failures of the file system as those of a checkpoint; `doing` says what was being done to what.
 *
 * @internal
 */
export const storage = <A, R>(
  doing: string,
  effect: Effect.Effect<A, PlatformError.PlatformError, R>
): Effect.Effect<A, CheckpointError, R> =>
  Effect.mapError(
    effect,
    (cause) =>
      new CheckpointError({ reason: "Storage", detail: `${doing}: ${systemText(cause)}`, code: codeOf(cause), cause })
  )
