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
import { command as checkpoint } from "./checkpoint.js"
import { command as demo } from "./demo.js"
import { optionsFirst } from "./internal/argv.js"
import { withHelp } from "./internal/help.js"
import { reportFailure } from "./internal/reportFailure.js"
import { exitCode } from "./internal/teardown.js"
import * as Terminal from "./internal/terminal.js"
import { command as run } from "./run.js"
import { command as sample } from "./sample.js"
import { command as serve } from "./serve.js"
import { auth, billing, capabilities, model } from "./service.js"
import { command as session } from "./session.js"
import { command as versionCommand } from "./version.js"

const groups = new Set(["auth", "billing", "checkpoint", "model", "run", "session"])

const tinkex = Command.make("tinkex").pipe(
  Command.withDescription("Fine-tune and sample open-weight language models over the Tinker protocol"),
  Command.withSubcommands([
    demo,
    serve,
    sample,
    checkpoint,
    run,
    session,
    model,
    capabilities,
    billing,
    auth,
    versionCommand
  ])
)

const cli = Command.run(tinkex, { name: "tinkex", version })

let interrupted = 130
process.once("SIGTERM", () => {
  interrupted = 143
})
// whoever reads the output has seen enough
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1))

const [node = "node", program = "tinkex", ...args] = process.argv

cli([node, program, ...optionsFirst(args, groups)]).pipe(
  withHelp,
  reportFailure,
  Effect.provide(Layer.merge(NodeContext.layer, Terminal.layer)),
  NodeRuntime.runMain({
    disableErrorReporting: true,
    teardown: (exit, onExit) => onExit(exitCode(exit, interrupted))
  })
)
