/**
 * `tinkex conformance`: what a server does of the protocol, and what not.
 *
 * @since 0.2.0
 */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import { connection } from "../terminal/options.js"

const options = {
  baseModel: Options.text("base-model").pipe(
    Options.optional,
    Options.withDescription("The base model that is trained and sampled; the server's first unless given")
  ),
  only: Options.text("only").pipe(
    Options.repeated,
    Options.withDescription("A group or a check, as losses or losses/ppo; may be given more than once")
  ),
  budget: Options.integer("budget").pipe(
    Options.withDefault(20_000),
    Options.withDescription("Tokens that may be trained on and sampled at most")
  ),
  yes: Options.boolean("yes").pipe(
    Options.withAlias("y"),
    Options.withDescription("Do not ask before a server that is not on this machine is charged")
  ),
  list: Options.boolean("list").pipe(Options.withDescription("Print the checks with their cost, and run none")),
  json: Options.boolean("json").pipe(Options.withDescription("Print the report as JSON, and nothing else")),
  junit: Options.boolean("junit").pipe(Options.withDescription("Print the report as JUnit XML, and nothing else")),
  ...connection
}

/**
 * @since 0.2.0
 * @category commands
 */
export const command = Command.make("conformance", options, (args) =>
  // Loaded only when it runs: codecs and HTTP would slow down every other command
  Effect.flatMap(Effect.promise(() => import("./conform.js")), ({ conform }) => conform(args))).pipe(
    Command.withDescription("Check a server against the protocol: what it does, what it lacks, where it deviates")
  )
