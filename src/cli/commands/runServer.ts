/**
 * Runs the server until the process is told to end.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as ModelFiles from "../../engine/files/ModelFiles.js"
import * as WorkerEngine from "../../engine/host/WorkerEngine.js"
import type { Form } from "../../engine/kernels/panels.js"
import { builtIn, type ModelDefinition } from "../../engine/model/Models.js"
import * as NodeServer from "../../server/NodeServer.js"
import * as FaultScript from "../../testing/FaultScript.js"
import { Failed } from "../terminal/failed.js"
import * as Log from "../terminal/log.js"
import { Terminal } from "../terminal/terminal.js"
import { mount } from "./mountGateway.js"

/** The script of a file; what cannot be used is refused before anything listens. */
const readScript = (path: string) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFileString(path)).pipe(
    Effect.flatMap(FaultScript.parse),
    Effect.mapError((error) => new Failed({ message: `--faults ${path}: ${error.message}` }))
  )

/** What stands on both sides of the first `=`. */
const pair = (text: string): readonly [before: string, after: string] | undefined => {
  const at = text.indexOf("=")
  return at > 0 && at < text.length - 1 ? [text.slice(0, at), text.slice(at + 1)] : undefined
}

/** The models of `--model`, each PATH or NAME=PATH; a path may hold a `=` itself. */
const openModels = (given: ReadonlyArray<string>, form: Form | undefined) =>
  Effect.forEach(given, (text) =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const named = (yield* fs.exists(text)) ? undefined : pair(text)
      return named === undefined ? { path: text } : { name: named[0], path: named[1] }
    })).pipe(
      Effect.flatMap((models) => ModelFiles.openAll(models, { form })),
      Effect.mapError((error) =>
        error._tag === "ModelFileError" ? new Failed({ message: `--model ${error.message}` }) : error
      )
    )

/** The other names of `--alias`; one for a model that is not served is refused. */
const readAliases = (given: ReadonlyArray<string>, models: ReadonlyArray<ModelDefinition>) =>
  Effect.map(
    Effect.forEach(given, (text) => {
      const named = pair(text)
      if (named === undefined) return Effect.fail(new Failed({ message: `--alias ${text}: give it as OTHER=NAME` }))
      const [, name] = named
      return models.some((model) => model.name === name)
        ? Effect.succeed(named)
        : Effect.fail(
          new Failed({
            message: `--alias ${text}: there is no model ${name}; there are ${
              models.map(({ name }) => name).join(", ")
            }`
          })
        )
    }),
    (pairs) => Object.fromEntries(pairs)
  )

/** Settings are told by the name that was typed. */
const flagOf = (field: string): string => `--${field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`

export const runServer = (args: {
  readonly host: string
  readonly port: number
  readonly dataDir: Option.Option<string>
  readonly apiKey: Option.Option<Redacted.Redacted>
  readonly workers: number
  readonly allowHost: ReadonlyArray<string>
  readonly cors: ReadonlyArray<string>
  readonly publicUrl: Option.Option<string>
  readonly strictLoad: boolean
  readonly model: ReadonlyArray<string>
  readonly alias: ReadonlyArray<string>
  readonly weights: Option.Option<Form>
  readonly faults: Option.Option<string>
}) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    if (args.workers < 1) return yield* new Failed({ message: `--workers: expected at least 1, got ${args.workers}` })
    const script = yield* Effect.transposeMapOption(args.faults, readScript)
    const models = [...builtIn, ...(yield* openModels(args.model, Option.getOrUndefined(args.weights)))]
    const aliases = yield* readAliases(args.alias, models)
    const listen = Effect.gen(function*() {
      const { url } = yield* NodeServer.NodeServer
      yield* terminal.print(`listening on ${url}`)
      for (const { name } of models.slice(builtIn.length)) yield* terminal.print(`serving ${name}`)
      if (Option.isSome(args.faults)) yield* terminal.print(`misbehaving as ${args.faults.value} says`)
      return yield* Effect.never
    })
    return yield* Effect.mapError(
      Effect.provide(
        listen,
        NodeServer.layer({
          host: args.host,
          port: args.port,
          dataDir: Option.getOrUndefined(args.dataDir),
          apiKey: Option.getOrUndefined(args.apiKey),
          allowedHosts: args.allowHost,
          cors: args.cors,
          publicUrl: Option.getOrUndefined(args.publicUrl),
          strictLoad: args.strictLoad,
          mount: mount(Option.getOrUndefined(args.apiKey)),
          aliases
        }).pipe(
          Layer.provide(Log.layer({ dated: true })),
          Layer.provide(WorkerEngine.layer({ workers: args.workers, models })),
          Layer.provide(Option.match(script, { onNone: () => Layer.empty, onSome: FaultScript.layer }))
        )
      ),
      (error) =>
        error._tag === "SettingError"
          ? new Failed({ message: `${flagOf(error.field)}: expected ${error.expected}, got ${error.actual}` })
          : error
    )
  })
