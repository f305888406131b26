/**
 * Files of checkpoints: archives, and links that need no key.
 *
 * @internal
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ArchiveUrl } from "../../protocol/Checkpoint.js"
import { archived } from "../checkpoints/checkpointFiles.js"
import { pathOf, stored } from "../checkpoints/checkpointPath.js"
import { CheckpointStore } from "../checkpoints/CheckpointStore.js"
import * as Tar from "../checkpoints/tar.js"
import { json, open, route } from "../http/http.js"
import * as Json from "../http/json.js"
import { origin } from "../http/location.js"
import { forbidden } from "../http/refusal.js"
import { Tokens } from "../http/tokens.js"
import { ServerConfig } from "../ServerConfig.js"

const decodeCheckpoint = Json.decode(
  Schema.Struct({ run: Schema.String, kind: Schema.String, name: Schema.String })
)
const decodeFile = Json.decode(Schema.Struct({ token: Schema.String, file: Schema.String }))
const encodeUrl = Schema.encode(ArchiveUrl)

/** @internal */
export const routes = Effect.gen(function*() {
  const checkpoints = yield* CheckpointStore
  const config = yield* ServerConfig
  const tokens = yield* Tokens

  const follow = (token: string) =>
    Effect.filterOrFail(
      tokens.follow(token),
      (path) => path !== undefined,
      () => forbidden("The link is not of this server, or it has expired")
    )

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
        const { expires, token } = yield* tokens.link(path)
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
