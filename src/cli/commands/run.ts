/**
 * `tinkex run`: training runs.
 *
 * @since 0.1.0
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import { accessScope, connection, output, page } from "../terminal/options.js"

// Loaded only when one of them runs: clients and HTTP would slow down every other command
const actions = Effect.promise(() => import("./runs.js"))

const list = Command.make(
  "list",
  { ...page, accessScope, ...output, ...connection },
  (args) => Effect.flatMap(actions, ({ list }) => list(args))
).pipe(Command.withDescription("List training runs, newest first"))

const info = Command.make(
  "info",
  { accessScope, ...output, ...connection, runId: Args.text({ name: "run-id" }) },
  (args) => Effect.flatMap(actions, ({ info }) => info(args))
).pipe(Command.withDescription("Show a training run"))

const pages = Effect.promise(() => import("./runPages.js"))

const watch = Command.make(
  "watch",
  {
    host: Options.text("host").pipe(
      Options.withDefault("127.0.0.1"),
      Options.withDescription("Address to listen on; whoever reaches it sees the run")
    ),
    port: Options.integer("port").pipe(
      Options.withDefault(8790),
      Options.withDescription("Port; 0 takes any free one")
    ),
    directories: Args.directory({ name: "run", exists: "yes" }).pipe(
      Args.atLeast(1),
      Args.withDescription("Directories of runs")
    )
  },
  (args) => Effect.flatMap(pages, ({ watch }) => watch(args))
).pipe(Command.withDescription("Show runs on a page that keeps itself up to date"))

const prune = Command.make(
  "prune",
  {
    keep: Options.integer("keep").pipe(
      Options.optional,
      Options.withDescription("How many checkpoints to keep beside the final one; all unless given")
    ),
    dryRun: Options.boolean("dry-run").pipe(Options.withDescription("Tell what would be removed, and remove nothing")),
    yes: Options.boolean("yes").pipe(Options.withAlias("y"), Options.withDescription("Do not ask")),
    ...output,
    ...connection,
    directory: Args.directory({ name: "run", exists: "yes" })
  },
  (args) => Effect.flatMap(pages, ({ prune }) => prune(args))
).pipe(Command.withDescription("Remove checkpoints that a run's directory no longer needs"))

/**
 * @since 0.1.0
 * @category commands
 */
export const command = Command.make("run").pipe(
  Command.withDescription("Look at training runs and their directories"),
  Command.withSubcommands([list, info, watch, prune])
)
