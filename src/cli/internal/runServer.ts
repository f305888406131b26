/**
 * Runs the server until the process is told to end.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as WorkerEngine from "../../engine/WorkerEngine.js"
import * as NodeServer from "../../server/NodeServer.js"
import { Terminal } from "./terminal.js"

export const runServer = (args: {
  readonly host: string
  readonly port: number
  readonly dataDir: Option.Option<string>
  readonly apiKey: Option.Option<Redacted.Redacted>
  readonly workers: number
  readonly strictLoad: boolean
}) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    const { url } = yield* NodeServer.NodeServer
    yield* terminal.print(`listening on ${url}`)
    return yield* Effect.never
  }).pipe(
    Effect.provide(
      NodeServer.layer({
        host: args.host,
        port: args.port,
        dataDir: Option.getOrUndefined(args.dataDir),
        apiKey: Option.getOrUndefined(args.apiKey),
        strictLoad: args.strictLoad
      }).pipe(Layer.provide(WorkerEngine.layer({ workers: args.workers })))
    )
  )
