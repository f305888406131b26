/**
 * What `tinkex report`, `tinkex run watch` and `tinkex run prune` do.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { createServer } from "node:http"
import * as LiveReport from "../../runs/LiveReport.js"
import * as Prune from "../../runs/Prune.js"
import * as Report from "../../runs/Report.js"
import * as RunDirectory from "../../runs/RunDirectory.js"
import * as Tokenizer from "../../tokenizer/Tokenizer.js"
import { confirm } from "../terminal/confirm.js"
import { type Connection, rest } from "../terminal/connect.js"
import { Failed } from "../terminal/failed.js"
import * as Show from "../terminal/show.js"
import { Terminal } from "../terminal/terminal.js"

/** Text is shown where the tokenizer is at hand: that of the built-in models. */
const decoding = (directories: ReadonlyArray<string>) =>
  Effect.map(Effect.forEach(directories, RunDirectory.config), (configs): Report.Options => {
    const models = configs.map((config) => config?.["model_name"])
    return models.every((model) => typeof model === "string" && model.startsWith("tinkex/"))
      ? { decode: Tokenizer.nano.decode }
      : {}
  })

export const report = (args: {
  readonly directories: ReadonlyArray<string>
  readonly output: Option.Option<string>
  readonly json: boolean
}) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const terminal = yield* Terminal
    const options = yield* decoding(args.directories)
    if (args.json) return yield* Show.json(yield* Report.data(args.directories, options))
    const file = Option.getOrElse(args.output, () => path.join(args.directories[0] ?? ".", "report.html"))
    yield* fs.writeFileString(file, yield* Report.html(args.directories, options)).pipe(
      Effect.catchTag("SystemError", (error) => new Failed({ message: error.message }))
    )
    yield* terminal.print(file)
  })

export const watch = (args: {
  readonly directories: ReadonlyArray<string>
  readonly host: string
  readonly port: number
}) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    const { events, page } = yield* LiveReport.make(args.directories, yield* decoding(args.directories))
    const app = HttpRouter.empty.pipe(HttpRouter.get("/", page), HttpRouter.get("/events", events))
    const listening = Effect.gen(function*() {
      const { address } = yield* HttpServer.HttpServer
      if (address._tag === "TcpAddress") {
        const host = address.hostname.includes(":") ? `[${address.hostname}]` : address.hostname
        yield* terminal.print(`watching at http://${host}:${address.port}/ (Ctrl-C ends)`)
      }
      return yield* Effect.never
    })
    const http = createServer()
    const server = NodeHttpServer.layer(() => http, { host: args.host, port: args.port })
    return yield* listening.pipe(
      // pages that listen would keep the server from ending
      Effect.ensuring(Effect.sync(() => http.closeAllConnections())),
      Effect.provide(HttpServer.serve(app)),
      Effect.provide(server),
      Effect.catchTag("ServeError", (error) =>
        new Failed({ message: `cannot listen on ${args.host}:${args.port}: ${String(error.cause)}` }))
    )
  })

export const prune = (
  args: Connection & {
    readonly directory: string
    readonly keep: Option.Option<number>
    readonly dryRun: boolean
    readonly yes: boolean
    readonly json: boolean
    readonly format: "table" | "json"
  }
) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    const found = yield* Prune.plan(args.directory, { keep: Option.getOrUndefined(args.keep) })
    if (Show.wantsJson(args)) yield* Show.json({ removable: found })
    else if (found.length === 0) yield* terminal.note("nothing to remove")
    else yield* Show.table(["Checkpoint", "Why"], found.map(({ path, why }) => [path, why]))
    if (args.dryRun || found.length === 0) return
    if (!args.yes) yield* confirm(`Remove ${found.length} checkpoints for ever?`)
    yield* Prune.remove(args.directory, found)
    yield* terminal.note(`${found.length} removed`)
  }).pipe(Effect.provide(Layer.mergeAll(rest(args))))
