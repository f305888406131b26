/**
 * Where a request goes.
 *
 * @internal
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"

const prefix = "/api/v1/"

/**
 * The path below any base path, with ids decoded: clients send `:` and `/` in ids literally and percent-encoded.
 *
 * @internal
 */
export const localPath = (url: string): { readonly path: string; readonly url: string } => {
  const start = url.startsWith("http") ? url.indexOf("/", url.indexOf("//") + 2) : 0
  const query = url.indexOf("?", Math.max(start, 0))
  const whole = start < 0 ? "/" : url.slice(start, query < 0 ? undefined : query)
  const at = whole.indexOf(prefix)
  const local = at < 0 ? whole : whole.slice(at)
  const path = local.replaceAll(/%3a/gi, ":").replaceAll(/%2f/gi, "/")
  return { path, url: query < 0 ? path : path + url.slice(query) }
}

const words = new Set([
  "healthz",
  "config",
  "dynamic_config",
  "token",
  "me",
  "get_server_capabilities",
  "telemetry",
  "create_session",
  "session_heartbeat",
  "sessions",
  "finish",
  "project",
  "trace_export",
  "search",
  "create_model",
  "get_info",
  "unload_model",
  "copy_weights",
  "forward_backward",
  "forward",
  "optim_step",
  "create_custom_loss",
  "save_weights",
  "save_weights_for_sampler",
  "save_weights_external",
  "load_weights",
  "weights_info",
  "create_sampling_session",
  "join_sampling_session",
  "samplers",
  "asample",
  "cancel_future",
  "retrieve_future",
  "retrieve_futures",
  "training_runs",
  "checkpoints",
  "archive",
  "publish",
  "ttl",
  "external_weights_urls",
  "files",
  "audit",
  "events",
  "current",
  "metrics"
])

/**
 * The last fixed part of a path, which names its endpoint; `unknown` for paths that have none.
 *
 * @internal
 */
export const endpointOf = (path: string): string =>
  path.split("/").reverse().find((part) => words.has(part)) ?? "unknown"

/**
 * The URL under which the client reached the server, up to the path of the protocol.
 *
 * @internal
 */
export const origin: Effect.Effect<string, never, HttpServerRequest.HttpServerRequest> = Effect.map(
  HttpServerRequest.HttpServerRequest,
  ({ headers, originalUrl }) => {
    const absolute = /^(https?:\/\/[^/]+)(.*)$/.exec(originalUrl)
    const path = absolute?.[2] ?? originalUrl
    const base = path.slice(0, Math.max(0, path.indexOf(prefix)))
    const scheme = headers["x-forwarded-proto"] === "https" ? "https" : "http"
    return `${absolute?.[1] ?? `${scheme}://${headers["host"] ?? "localhost"}`}${base}`
  }
)
