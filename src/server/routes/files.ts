/**
 * Files: of checkpoints, archives of them and traces of sessions, by links that need no key.
 *
 * @internal
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ArchiveUrl } from "../../protocol/Checkpoint.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import { archived } from "../checkpoints/checkpointFiles.js"
import { pathOf, stored } from "../checkpoints/checkpointPath.js"
import { CheckpointStore } from "../checkpoints/CheckpointStore.js"
import * as Tar from "../checkpoints/tar.js"
import { json, open, route } from "../http/http.js"
import * as Json from "../http/json.js"
import { origin } from "../http/location.js"
import { forbidden, type Refusal } from "../http/refusal.js"
import { Tokens } from "../http/tokens.js"
import { ServerConfig } from "../ServerConfig.js"
import { Sessions } from "../sessions/Sessions.js"

const decodeCheckpoint = Json.decode(
  Schema.Struct({ run: Schema.String, kind: Schema.String, name: Schema.String })
)
const decodeFile = Json.decode(Schema.Struct({ token: Schema.String, file: Schema.String }))
const encodeUrl = Schema.encode(ArchiveUrl)

/**
 * What a link to the trace of a session leads to.
 *
 * @internal
 */
export const traceOf = (sessionId: string): string => `trace ${sessionId}`

/** @internal */
export const routes = Effect.gen(function*() {
  const checkpoints = yield* CheckpointStore
  const config = yield* ServerConfig
  const sessions = yield* Sessions
  const tokens = yield* Tokens

  const wrong = forbidden("The link is not of this server, or it has expired")

  /** Where a link leads: to a checkpoint, or to the session of a trace. */
  type Target = TinkerPath.TinkerPath | { readonly session: string }
  const follow = (token: string) =>
    Effect.flatMap(tokens.follow(token), (target): Effect.Effect<Target, Refusal> => {
      if (target === undefined) return Effect.fail(wrong)
      if (target.startsWith(traceOf(""))) return Effect.succeed({ session: target.slice(traceOf("").length) })
      return Effect.mapError(TinkerPath.parse(target), () => wrong)
    })

  return [
    route(
      "GET",
      "/training_runs/:run/checkpoints/:kind/:name/archive",
      Effect.gen(function*() {
        const path = yield* Effect.flatMap(
          HttpRouter.params,
          (params) => Effect.flatMap(decodeCheckpoint(params), pathOf)
        )
        yield* stored(checkpoints.get(path))
        const { expires, token } = yield* tokens.link(TinkerPath.format(path))
        const url = `${yield* origin(config.publicUrl)}/api/v1/files/${token}/archive.tar`
        const body = yield* Effect.orDie(encodeUrl({ url, expires: DateTime.unsafeMake(expires) }))
        return HttpServerResponse.setHeaders(json(body, 302), {
          location: url,
          expires: new Date(expires).toUTCString()
        })
      })
    ),
    // the link is signed: who has it may follow it
    open(route(
      "GET",
      "/files/:token/:file",
      Effect.gen(function*() {
        const { file, token } = yield* Effect.flatMap(HttpRouter.params, decodeFile)
        const path = yield* follow(token)
        if ("session" in path) {
          const { trace } = yield* sessions.get(path.session)
          return HttpServerResponse.text(trace.json(), { contentType: "application/json" })
        }
        if (file !== "archive.tar") {
          const bytes = yield* stored(checkpoints.file(path, file))
          return HttpServerResponse.uint8Array(bytes, { contentType: "application/octet-stream" })
        }
        const entry = yield* stored(checkpoints.get(path))
        const files = yield* Effect.forEach(
          archived(entry.files.map(({ name }) => name)),
          (name) => Effect.map(stored(checkpoints.file(path, name)), (bytes) => ({ name, bytes }))
        )
        return HttpServerResponse.uint8Array(Tar.pack(files, entry.createdAt), { contentType: "application/x-tar" })
      })
    ))
  ]
})
