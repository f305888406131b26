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
import { command as checkpoint } from "./commands/checkpoint.js"
import { command as conformance } from "./commands/conformance.js"
import { command as demo } from "./commands/demo.js"
import { command as gateway } from "./commands/gateway.js"
import { command as report } from "./commands/report.js"
import { command as run } from "./commands/run.js"
import { command as sample } from "./commands/sample.js"
import { command as serve } from "./commands/serve.js"
import { auth, billing, capabilities, model } from "./commands/service.js"
import { command as session } from "./commands/session.js"
import { command as train } from "./commands/train.js"
import { command as versionCommand } from "./commands/version.js"
import { optionsFirst } from "./terminal/argv.js"
import { withHelp } from "./terminal/help.js"
import * as Log from "./terminal/log.js"
import { reportFailure } from "./terminal/reportFailure.js"
import { exitCode } from "./terminal/teardown.js"
import * as Terminal from "./terminal/terminal.js"

const groups = new Set(["auth", "billing", "checkpoint", "model", "run", "session", "train"])

const tinkex = Command.make("tinkex").pipe(
  Command.withDescription("Fine-tune and sample open-weight language models over the Tinker protocol"),
  Command.withSubcommands([
    demo,
    serve,
    sample,
    train,
    checkpoint,
    run,
    report,
    session,
    model,
    capabilities,
    billing,
    auth,
    gateway,
    conformance,
    versionCommand
  ])
)

const cli = Command.run(tinkex, { name: "tinkex", version })

let interrupted = 130
process.once("SIGTERM", () => {
  interrupted = 143
})

const [node = "node", program = "tinkex", ...args] = process.argv

cli([node, program, ...optionsFirst(args, groups)]).pipe(
  withHelp,
  reportFailure,
  Effect.provide(
    Layer.provideMerge(Log.layer({ dated: false }), Layer.merge(NodeContext.layer, Terminal.layer))
  ),
  NodeRuntime.runMain({
    disableErrorReporting: true,
    teardown: (exit, onExit) => onExit(exitCode(exit, interrupted))
  })
)
