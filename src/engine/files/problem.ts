/**
 * How the parsers of this folder end early: with a problem that is thrown, and caught where the file is opened.
 */
import * as Data from "effect/Data"
import type { ModelFileError } from "./ModelFileError.js"

/** What is wrong with a file. It leaves this folder only as a `ModelFileError`, which names the file. */
export class Problem extends Data.Error<{
  readonly reason: ModelFileError["reason"]
  readonly detail: string
}> {}

/** Ends the parsing. */
export const fail = (reason: ModelFileError["reason"], detail: string): never => {
  throw new Problem({ reason, detail })
}

/** A name out of a file, short enough for a message. */
export const show = (name: string): string => JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}...` : name)
