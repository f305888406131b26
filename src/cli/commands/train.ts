/**
 * `tinkex train`: trainings of the usual kinds, out of a file that describes them.
 *
 * @since 0.2.0
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import { connection, output } from "../terminal/options.js"

// Loaded only when one of them runs: clients and recipes would slow down every other command
const actions = Effect.promise(() => import("./runTraining.js"))

const options = {
  local: Options.boolean("local").pipe(
    Options.withDescription("Train in this process, without a service; weights are kept in the run's directory")
  ),
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription("Show the data, what is learnt of them, tokens and cost, and train nothing")
  ),
  ...output,
  ...connection,
  config: Args.text({ name: "config" }).pipe(
    Args.withDescription("A JSON file that describes the training; - for standard input")
  )
}

const sft = Command.make("sft", options, (args) => Effect.flatMap(actions, ({ sft }) => sft(args))).pipe(
  Command.withDescription("Teach a model conversations")
)
const dpo = Command.make("dpo", options, (args) => Effect.flatMap(actions, ({ dpo }) => dpo(args))).pipe(
  Command.withDescription("Teach a model which of two answers is better")
)
const rl = Command.make("rl", options, (args) => Effect.flatMap(actions, ({ rl }) => rl(args))).pipe(
  Command.withDescription("Reward a model for right answers")
)
const distill = Command.make("distill", options, (args) => Effect.flatMap(actions, ({ distill }) => distill(args)))
  .pipe(
    Command.withDescription("Teach a model what another one would say")
  )

/**
 * @since 0.2.0
 * @category commands
 */
export const command = Command.make("train").pipe(
  Command.withDescription("Train a model as a file describes it; what was cut off goes on"),
  Command.withSubcommands([sft, rl, dpo, distill])
)
