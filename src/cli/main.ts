/**
 * The `tinkex` command.
 *
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { version } from "../protocol/Version.js"
import { command as demo } from "./demo.js"
import { reportFailure } from "./internal/reportFailure.js"
import * as Terminal from "./internal/terminal.js"
import { command as serve } from "./serve.js"
import { command as versionCommand } from "./version.js"

const tinkex = Command.make("tinkex").pipe(
  Command.withDescription("Fine-tune and sample open-weight language models over the Tinker protocol"),
  Command.withSubcommands([demo, serve, versionCommand])
)

const cli = Command.run(tinkex, { name: "tinkex", version })

cli(process.argv).pipe(
  reportFailure,
  Effect.provide(Layer.merge(NodeContext.layer, Terminal.layer)),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
