/**
 * `tinkex demo`, which `npm start` runs: trains the built-in model on sixteen questions through the public clients and
 * the embedded server, over HTTP, and shows what it learnt.
 *
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"

const options = {
  model: Options.text("model").pipe(
    Options.withDefault("tinkex/nano"),
    Options.withDescription("The base model to train")
  ),
  steps: Options.integer("steps").pipe(
    Options.withDefault(60),
    Options.withDescription("Optimiser steps; each reads all sixteen questions")
  ),
  rank: Options.integer("rank").pipe(Options.withDefault(16), Options.withDescription("Rank of the LoRA adapters")),
  learningRate: Options.float("learning-rate").pipe(
    Options.withDefault(1e-2),
    Options.withDescription("Peak learning rate of AdamW")
  ),
  seed: Options.integer("seed").pipe(Options.withDefault(0), Options.withDescription("Seed of the adapters")),
  json: Options.boolean("json").pipe(Options.withDescription("Print the report as JSON, and nothing else"))
}

/**
 * @since 0.1.0
 * @category commands
 */
export const command = Command.make("demo", options, (args) =>
  // Loaded only when it runs: server and engine would slow down every other command
  Effect.flatMap(Effect.promise(() => import("./showDemo.js")), ({ showDemo }) => showDemo(args))).pipe(
    Command.withDescription("Train the built-in model on a few questions and show what it learnt")
  )
