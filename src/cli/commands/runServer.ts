/**
 * Runs the server until the process is told to end.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as WorkerEngine from "../../engine/host/WorkerEngine.js"
import * as NodeServer from "../../server/NodeServer.js"
import * as FaultScript from "../../testing/FaultScript.js"
import { Failed } from "../terminal/failed.js"
import { Terminal } from "../terminal/terminal.js"

/** The script of a file; what cannot be used is refused before anything listens. */
const readScript = (path: string) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFileString(path)).pipe(
    Effect.flatMap(FaultScript.parse),
    Effect.mapError((error) => new Failed({ message: `--faults ${path}: ${error.message}` }))
  )

export const runServer = (args: {
  readonly host: string
  readonly port: number
  readonly dataDir: Option.Option<string>
  readonly apiKey: Option.Option<Redacted.Redacted>
  readonly workers: number
  readonly strictLoad: boolean
  readonly faults: Option.Option<string>
}) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    const script = yield* Effect.transposeMapOption(args.faults, readScript)
    const listen = Effect.gen(function*() {
      const { url } = yield* NodeServer.NodeServer
      yield* terminal.print(`listening on ${url}`)
      if (Option.isSome(args.faults)) yield* terminal.print(`misbehaving as ${args.faults.value} says`)
      return yield* Effect.never
    })
    return yield* Effect.provide(
      listen,
      NodeServer.layer({
        host: args.host,
        port: args.port,
        dataDir: Option.getOrUndefined(args.dataDir),
        apiKey: Option.getOrUndefined(args.apiKey),
        strictLoad: args.strictLoad
      }).pipe(
        Layer.provide(WorkerEngine.layer({ workers: args.workers })),
        Layer.provide(Option.match(script, { onNone: () => Layer.empty, onSome: FaultScript.layer }))
      )
    )
  })
