/**
 * Tells the user what went wrong, in one line on stderr, and leaves the failure to set the exit code. Mistakes in the
 * command line have been explained by the parser already.
 */
import * as ValidationError from "@effect/cli/ValidationError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { plain } from "./plain.js"
import { style, Terminal } from "./terminal.js"

export const reportFailure = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Terminal> =>
  Effect.tapErrorCause(self, (cause) =>
    Effect.gen(function*() {
      if (Cause.isInterruptedOnly(cause)) return
      const error = Cause.squash(cause)
      if (ValidationError.isValidationError(error)) return
      const terminal = yield* Terminal
      const message = plain(error instanceof Error ? error.message : String(error))
      yield* terminal.note(`${style(terminal, 31, "error:")} ${message}`)
      // A defect is our mistake: show where
      if (Cause.isDie(cause) && error instanceof Error && error.stack !== undefined) yield* terminal.note(error.stack)
    }))
