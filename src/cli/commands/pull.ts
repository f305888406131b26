/**
 * What `tinkex model pull` does.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as NodeTinkex from "../../NodeTinkex.js"
import { progressBar } from "../../observability/Plot.js"
import { Failed } from "../terminal/failed.js"
import * as Show from "../terminal/show.js"
import { Terminal } from "../terminal/terminal.js"

export const pull = (args: {
  readonly repository: string
  readonly file: Option.Option<string>
  readonly revision: string
  readonly json: boolean
  readonly format: "table" | "json"
}) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    const started = yield* Clock.currentTimeMillis
    let first: number | undefined
    const pulled = yield* NodeTinkex.pullModel(args.repository, {
      file: Option.getOrUndefined(args.file),
      revision: args.revision,
      onProgress: ({ file, receivedBytes, totalBytes }) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          first ??= receivedBytes
          const speed = (receivedBytes - first) / Math.max(0.001, (now - started) / 1000)
          return terminal.progress(
            `${progressBar({ done: receivedBytes, total: Math.max(1, totalBytes), width: 24 })} ${
              Show.size(receivedBytes)
            } of ${Show.size(totalBytes)}, ${Show.size(speed)}/s  ${file}`
          )
        })
    }).pipe(
      Effect.ensuring(terminal.progress("")),
      Effect.catchTag("HubError", (error) =>
        new Failed({ message: error.reason === "Ambiguous" ? `${error.message}, with --file` : error.message }))
    )
    const { commit, files, path } = pulled
    if (Show.wantsJson(args)) {
      return yield* Show.json({
        repository: args.repository,
        commit,
        path,
        files: files.map(({ name, sizeBytes }) => ({ name, size_bytes: sizeBytes }))
      })
    }
    const bytes = files.reduce((sum, { sizeBytes }) =>
      sum + sizeBytes, 0)
    yield* terminal.note(
      `${files.length} ${files.length === 1 ? "file" : "files"}, ${Show.size(bytes)}; tinkex serve --model ${
        files.length === 1 ? path : args.repository
      }`
    )
    yield* terminal.print(path)
  }).pipe(Effect.provide(NodeTinkex.layerHttpClient()))
