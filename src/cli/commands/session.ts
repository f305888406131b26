/**
 * `tinkex session`: sessions of clients.
 *
 * @since 0.1.0
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import { accessScope, connection, output, page } from "../terminal/options.js"

// Loaded only when one of them runs: clients and HTTP would slow down every other command
const actions = Effect.promise(() => import("./sessions.js"))

const sessionId = Args.text({ name: "session-id" })

const list = Command.make(
  "list",
  { ...page, accessScope, ...output, ...connection },
  (args) => Effect.flatMap(actions, ({ list }) => list(args))
).pipe(Command.withDescription("List sessions, newest first"))

const info = Command.make(
  "info",
  { accessScope, ...output, ...connection, sessionId },
  (args) => Effect.flatMap(actions, ({ info }) => info(args))
).pipe(Command.withDescription("Show the training runs and samplers of a session"))

const exportTrace = Command.make("export-trace", {
  output: Options.text("output").pipe(
    Options.withAlias("o"),
    Options.optional,
    Options.withDescription("The file to write; <session id>.pftrace unless given")
  ),
  urlOnly: Options.boolean("url-only").pipe(Options.withDescription("Only print where the trace can be fetched")),
  ...output,
  ...connection,
  sessionId
}, (args) => Effect.flatMap(actions, ({ exportTrace }) => exportTrace(args))).pipe(
  Command.withDescription("Export the timeline of a session, for Perfetto")
)

/**
 * @since 0.1.0
 * @category commands
 */
export const command = Command.make("session").pipe(
  Command.withDescription("Look at sessions"),
  Command.withSubcommands([list, info, exportTrace])
)
