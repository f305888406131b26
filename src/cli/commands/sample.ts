/**
 * `tinkex sample`: text from a model.
 *
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import { connection, output } from "../terminal/options.js"

const options = {
  baseModel: Options.text("base-model").pipe(Options.optional, Options.withDescription("The base model to sample")),
  modelPath: Options.text("model-path").pipe(
    Options.optional,
    Options.withDescription("The checkpoint to sample: tinker://<training run>/sampler_weights/<name>")
  ),
  prompt: Options.text("prompt").pipe(Options.optional, Options.withDescription("The text to go on from")),
  promptFile: Options.text("prompt-file").pipe(
    Options.optional,
    Options.withDescription("A file with the text, or with a JSON list of tokens; - for standard input")
  ),
  maxTokens: Options.integer("max-tokens").pipe(
    Options.withDefault(64),
    Options.withDescription("Tokens of a sequence at most")
  ),
  temperature: Options.float("temperature").pipe(
    Options.withDefault(1),
    Options.withDescription("0 takes the likeliest token every time")
  ),
  topK: Options.integer("top-k").pipe(
    Options.withDefault(-1),
    Options.withDescription("Draw from so many of the likeliest tokens; -1 for all")
  ),
  topP: Options.float("top-p").pipe(
    Options.withDefault(1),
    Options.withDescription("Draw from the likeliest tokens that together have this probability")
  ),
  numSamples: Options.integer("num-samples").pipe(
    Options.withAlias("n"),
    Options.withDefault(1),
    Options.withDescription("Sequences to draw")
  ),
  seed: Options.integer("seed").pipe(Options.optional, Options.withDescription("The same seed gives the same draws")),
  stop: Options.text("stop").pipe(
    Options.repeated,
    Options.withDescription("A text that ends a sequence; may be given more than once")
  ),
  logprobs: Options.boolean("logprobs").pipe(
    Options.withDescription(
      "Also report the log-probabilities of the prompt; those of the samples are always in the JSON"
    )
  ),
  output: Options.text("output").pipe(
    Options.withAlias("o"),
    Options.optional,
    Options.withDescription("Write to this file instead of standard output")
  ),
  json: output.json,
  format: output.format,
  ...connection
}

/**
 * @since 0.1.0
 * @category commands
 */
export const command = Command.make("sample", options, (args) =>
  // Loaded only when it runs: clients and tokenizers would slow down every other command
  Effect.flatMap(Effect.promise(() => import("./drawSamples.js")), ({ drawSamples }) => drawSamples(args)))
  .pipe(
    Command.withDescription("Sample text from a base model or a checkpoint")
  )
