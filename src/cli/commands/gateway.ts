/**
 * `tinkex gateway`: the APIs of OpenAI and Anthropic in front of any service.
 *
 * @since 0.2.0
 */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import { connection } from "../terminal/options.js"

const options = {
  host: Options.text("host").pipe(
    Options.withDefault("127.0.0.1"),
    Options.withDescription("Address to listen on; 0.0.0.0 lets other machines in (then set --gateway-key)")
  ),
  port: Options.integer("port").pipe(Options.withDefault(8788), Options.withDescription("Port; 0 takes any free one")),
  model: Options.keyValueMap("model").pipe(
    Options.optional,
    Options.withDescription(
      "NAME=PATH: what answers under a name, weights or a base model; may be given more than once"
    )
  ),
  renderer: Options.text("renderer").pipe(
    Options.optional,
    Options.withDescription("The renderer of all models, in place of each one's own")
  ),
  gatewayKey: Options.redacted("gateway-key").pipe(
    Options.optional,
    Options.withDescription("The key that callers must show; without it anybody who reaches the port is answered")
  ),
  ...connection
}

/**
 * @since 0.2.0
 * @category commands
 */
export const command = Command.make("gateway", options, (args) =>
  // Loaded only when it runs: clients and HTTP would slow down every other command
  Effect.flatMap(Effect.promise(() => import("./runGateway.js")), ({ runGateway }) => runGateway(args))).pipe(
    Command.withDescription("Answer OpenAI's and Anthropic's clients with models of a Tinker service")
  )
