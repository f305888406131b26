/**
 * A command that ran but did not do what it was asked; ends the process with exit code 1.
 */
import * as Data from "effect/Data"

export class Failed extends Data.TaggedError("Failed")<{ readonly message: string }> {}
