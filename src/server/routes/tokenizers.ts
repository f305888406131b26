/**
 * The tokenizers of models that brought theirs, under the paths of a Hugging Face hub: clients, the official SDK and
 * `transformers` find them with this server as their hub (`HF_ENDPOINT`).
 *
 * @internal
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { ModelInfo } from "../../engine/Engine.js"
import { sha256 } from "../http/hash.js"
import { type Route, route } from "../http/http.js"
import { decode } from "../http/json.js"
import { Refusal } from "../http/refusal.js"
import { Models } from "../runs/Models.js"

const decodeParams = decode(
  Schema.Struct({ owner: Schema.optional(Schema.String), name: Schema.String, file: Schema.String })
)

const filesOf = (model: ModelInfo): Readonly<Record<string, string>> =>
  model.tokenizer === undefined ? {} : {
    "tokenizer.json": model.tokenizer.tokenizerJson,
    "tokenizer_config.json": model.tokenizer.configJson
  }

/** @internal */
export const routes = Effect.gen(function*() {
  const models = yield* Models
  const file = Effect.gen(function*() {
    const { file, name, owner } = yield* Effect.flatMap(HttpRouter.params, decodeParams)
    const model = models.withTokenizer(owner === undefined ? name : `${owner}/${name}`)
    const files = Option.match(model, { onNone: (): Readonly<Record<string, string>> => ({}), onSome: filesOf })
    const text = Object.hasOwn(files, file) ? files[file] : undefined
    if (text === undefined) {
      return yield* new Refusal({
        status: 404,
        detail: "This server has no such file of a tokenizer",
        // Hub clients look for many files, and go on without one only when they are told so.
        ...(Option.isSome(model) ? { headers: { "x-error-code": "EntryNotFound" } } : {})
      })
    }
    const etag = sha256(file, new TextEncoder().encode(text))
    return HttpServerResponse.text(text, {
      contentType: "application/json",
      // What hub clients want to know before they keep a file.
      headers: { etag: `"${etag}"`, "x-repo-commit": etag.slice(0, 40) }
    })
  })
  const paths = ["/:name/resolve/:revision/:file", "/:owner/:name/resolve/:revision/:file"] as const
  return paths.flatMap((path): ReadonlyArray<Route> => [route("GET", path, file), route("HEAD", path, file)])
})
