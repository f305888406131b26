/**
 * `tinkex report`: a run on one page.
 *
 * @since 0.2.0
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"

const options = {
  output: Options.file("output").pipe(
    Options.withAlias("o"),
    Options.optional,
    Options.withDescription("Where to write it; report.html in the directory of the first run unless given")
  ),
  json: Options.boolean("json").pipe(Options.withDescription("Print what the report shows as JSON, and write no page")),
  directories: Args.directory({ name: "run", exists: "yes" }).pipe(
    Args.atLeast(1),
    Args.withDescription("Directories of runs; the curves of several are drawn over each other")
  )
}

/**
 * @since 0.2.0
 * @category commands
 */
export const command = Command.make("report", options, (args) =>
  // Loaded only when it runs: the page and its script would slow down every other command
  Effect.flatMap(Effect.promise(() => import("./runPages.js")), ({ report }) => report(args))).pipe(
    Command.withDescription("Write a run's curves, time, samples, checkpoints and cost as one HTML file")
  )
