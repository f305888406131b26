/**
 * `tinkex run`: training runs.
 *
 * @since 0.1.0
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
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

/**
 * @since 0.1.0
 * @category commands
 */
export const command = Command.make("run").pipe(
  Command.withDescription("Look at training runs"),
  Command.withSubcommands([list, info])
)
