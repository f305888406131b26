/**
 * `tinkex version`.
 *
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { version } from "../../protocol/Version.js"
import { output } from "../terminal/options.js"
import { Terminal } from "../terminal/terminal.js"

/**
 * @since 0.1.0
 * @category commands
 */
export const command = Command.make(
  "version",
  output,
  ({ format, json }) =>
    Effect.flatMap(Terminal, (terminal) =>
      terminal.print(
        json || format === "json" ? JSON.stringify({ version, node: process.version }) : `tinkex ${version}`
      ))
).pipe(
  Command.withDescription("Print the version of tinkex")
)
