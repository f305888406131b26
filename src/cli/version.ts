/**
 * `tinkex version`.
 *
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Console from "effect/Console"
import { version } from "../protocol/Version.js"

/**
 * @since 0.1.0
 * @category commands
 */
export const command = Command.make("version", {}, () => Console.log(`tinkex ${version}`)).pipe(
  Command.withDescription("Print the version of tinkex")
)
