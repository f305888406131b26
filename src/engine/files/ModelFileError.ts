/**
 * Why the files of a model cannot be used.
 *
 * @since 0.2.0
 */
import * as Data from "effect/Data"

/**
 * - `Unreadable`: the file is not there or cannot be read.
 * - `Malformed`: it is not what its name says, or damaged.
 * - `Unsupported`: a model of another architecture, or with tensors that the engine does not know.
 * - `TooLarge`: it does not fit the memory that the engine may take; the sum is in the message.
 *
 * @since 0.2.0
 * @category errors
 */
export class ModelFileError extends Data.TaggedError("ModelFileError")<{
  readonly reason: "Unreadable" | "Malformed" | "Unsupported" | "TooLarge"
  readonly path: string
  readonly detail: string
}> {
  override get message() {
    return `${this.path}: ${this.detail}`
  }
}
