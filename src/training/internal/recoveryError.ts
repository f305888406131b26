/** What can go wrong with a recovery. */
import * as Data from "effect/Data"
import type { TinkexError } from "../../TinkexError.js"

/**
 * The run could not be restored.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecoveryError extends Data.TaggedError("RecoveryError")<{
  /** Empty when there was none yet. */
  readonly runId: string
  readonly attempts: number
  /** `NoCheckpoint`: nothing was ever saved. `Exhausted`: every attempt failed. */
  readonly reason: "NoCheckpoint" | "Exhausted"
  /** Why the last attempt failed. */
  readonly cause?: TinkexError | undefined
}> {
  override get message(): string {
    if (this.runId === "") {
      return `no client could be opened in ${this.attempts} attempt${this.attempts === 1 ? "" : "s"}${
        this.cause === undefined ? "" : `: ${this.cause.message}`
      }`
    }
    return this.reason === "NoCheckpoint"
      ? `training run ${this.runId} is corrupted and has no checkpoint to go back to. Save its state now and then`
      : `training run ${this.runId} is corrupted and was not restored in ${this.attempts} attempts${
        this.cause === undefined ? "" : `: ${this.cause.message}`
      }`
  }
}
