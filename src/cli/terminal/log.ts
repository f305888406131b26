/**
 * What is logged while a command runs: on stderr, since stdout is for its result.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { Terminal } from "./terminal.js"

/** Lines of how grave it is and what happened; `dated` with the time, for what runs long. */
export const layer = (options: { readonly dated: boolean }): Layer.Layer<never, never, Terminal> =>
  Layer.unwrapEffect(Effect.map(Terminal, (terminal) =>
    Layer.mergeAll(
      Logger.remove(Logger.defaultLogger),
      // the one that the runtime put in its place
      Logger.remove(Logger.prettyLoggerDefault),
      Logger.add(Logger.make(({ cause, date, logLevel, message }) => {
        const text = Array.isArray(message) ? message.map(String).join(" ") : String(message)
        const more = Cause.isEmpty(cause) ? "" : `\n${Cause.pretty(cause)}`
        const when = options.dated ? `${date.toISOString()} ` : ""
        Effect.runFork(terminal.note(`${when}${logLevel.label.toLowerCase()}: ${text}${more}`))
      }))
    )))
