/**
 * Where a request goes, and how the server is reached.
 *
 * @internal
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

const prefix = "/api/v1/"

/**
 * The path below any base path, with ids decoded: clients send `:` and `/` in ids literally and percent-encoded. What
 * some routers take for the end of a path (`;`, `#`) is a character like any other here.
 *
 * @internal
 */
export const localPath = (url: string): { readonly path: string; readonly url: string } => {
  const start = url.startsWith("http") ? url.indexOf("/", url.indexOf("//") + 2) : 0
  const query = url.indexOf("?", Math.max(start, 0))
  const whole = start < 0 ? "/" : url.slice(start, query < 0 ? undefined : query)
  const at = whole.indexOf(prefix)
  const local = at < 0 ? whole : whole.slice(at)
  const path = local.replaceAll(/%3a/gi, ":").replaceAll(/%2f/gi, "/").replaceAll(";", "%3B").replaceAll("#", "%23")
  return { path, url: query < 0 ? path : path + url.slice(query) }
}

/**
 * The address under which a connection reached the server, `http://host:port`, as the server itself knows it. Absent
 * where there are no connections: then the URL of the request is that of the program that called.
 *
 * @internal
 */
export class Reached extends Context.Reference<Reached>()("tinkex/server/Reached", {
  defaultValue: (): string | undefined => undefined
}) {}

/**
 * The URL up to the path of the protocol, for links. Nothing that a client says of the host goes into it.
 *
 * @internal
 */
export const origin = (
  publicUrl: string | undefined
): Effect.Effect<string, never, HttpServerRequest.HttpServerRequest> =>
  Effect.gen(function*() {
    if (publicUrl !== undefined) return publicUrl.replace(/\/+$/, "")
    const reached = yield* Reached
    const { originalUrl } = yield* HttpServerRequest.HttpServerRequest
    const absolute = /^(https?:\/\/[^/]+)(.*)$/.exec(originalUrl)
    const path = absolute?.[2] ?? originalUrl
    return `${reached ?? absolute?.[1] ?? ""}${path.slice(0, Math.max(0, path.indexOf(prefix)))}`
  })
