/**
 * `tinkex serve`: the embedded server on a port.
 *
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"

const options = {
  host: Options.text("host").pipe(
    Options.withDefault("127.0.0.1"),
    Options.withDescription("Address to listen on; 0.0.0.0 lets other machines in (then set --api-key)")
  ),
  port: Options.integer("port").pipe(Options.withDefault(8787), Options.withDescription("Port; 0 takes any free one")),
  dataDir: Options.text("data-dir").pipe(
    Options.optional,
    Options.withDescription("Where checkpoints and runs are kept; without it they go with the server")
  ),
  apiKey: Options.redacted("api-key").pipe(
    Options.withFallbackConfig(Config.redacted("TINKEX_SERVE_API_KEY")),
    Options.optional,
    Options.withDescription(
      "The key that requests must carry; without it any key, and none, will do. Better in TINKEX_SERVE_API_KEY"
    )
  ),
  workers: Options.integer("workers").pipe(
    Options.withDefault(1),
    Options.withDescription("Threads that train and sample")
  ),
  allowHost: Options.text("allow-host").pipe(
    Options.repeated,
    Options.withDescription(
      "Another name under which the server may be asked; addresses and names without a dot always may"
    )
  ),
  cors: Options.text("cors").pipe(
    Options.repeated,
    Options.withDescription(
      "Origin of web pages that may use the server, as http://localhost:5173; * for all. Default: none"
    )
  ),
  publicUrl: Options.text("public-url").pipe(
    Options.optional,
    Options.withDescription("How links to files begin, for a server behind a proxy, as https://host/path")
  ),
  strictLoad: Options.boolean("strict-load").pipe(
    Options.withDescription("Take load_weights only as a run's first operation, as the hosted service does")
  ),
  experimentalLosses: Options.boolean("experimental-losses").pipe(
    Options.withDescription("Compute a stand-in for losses whose formula is not public (see docs/server.md)")
  ),
  model: Options.text("model").pipe(
    Options.repeated,
    Options.withDescription(
      "A model to serve beside the built-in ones, as PATH or NAME=PATH: a GGUF file, a Hugging Face folder, or what tinkex model pull fetched; may be repeated"
    )
  ),
  alias: Options.text("alias").pipe(
    Options.repeated,
    Options.withDescription("Another name for a model, as OTHER=NAME; may be repeated")
  ),
  weights: Options.choice("weights", ["f32", "f16", "q8"]).pipe(
    Options.optional,
    Options.withDescription(
      "How the weights of --model are held in memory; without it the smallest that keeps the model's answers"
    )
  ),
  faults: Options.file("faults", { exists: "yes" }).pipe(
    Options.optional,
    Options.withDescription("Misbehave as a fault script (JSON, see docs/testing.md) says")
  )
}

/**
 * @since 0.1.0
 * @category commands
 */
export const command = Command.make("serve", options, (args) =>
  // Loaded only when it runs: server and engine would slow down every other command
  Effect.flatMap(Effect.promise(() => import("./runServer.js")), ({ runServer }) => runServer(args))).pipe(
    Command.withDescription("Serve the Tinker protocol on this machine, with an engine that really trains")
  )
