/**
 * What routes are made of.
 *
 * @internal
 */
import type * as HttpMethod from "@effect/platform/HttpMethod"
import type * as HttpRouter from "@effect/platform/HttpRouter"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { UntypedFuture } from "../../protocol/Futures.js"
import type * as Body from "./body.js"
import { sha256 } from "./hash.js"
import * as Json from "./json.js"
import type { Refusal } from "./refusal.js"

/**
 * What is found out about a request while it is being handled, for faults and logs.
 *
 * @internal
 */
export interface RequestInfo {
  readonly endpoint: string
  modelId: string | undefined
  seqId: number | undefined
  requestId: string | undefined
}

/** @internal */
export const RequestInfo = Context.GenericTag<RequestInfo>("tinkex/server/RequestInfo")

/** @internal */
export const BodyReader = Context.GenericTag<Body.BodyReader>("tinkex/server/BodyReader")

/**
 * What the server gives to every handler.
 *
 * @internal
 */
export type Provided =
  | HttpServerRequest.HttpServerRequest
  | HttpServerRequest.ParsedSearchParams
  | HttpRouter.RouteContext
  | RequestInfo
  | Body.BodyReader

/** @internal */
export interface Route {
  readonly method: HttpMethod.HttpMethod
  readonly path: HttpRouter.PathInput
  /** Whether it answers those who have no key. */
  readonly open: boolean
  readonly handler: Effect.Effect<HttpServerResponse.HttpServerResponse, Refusal, Provided>
}

/**
 * A route for those who have the key.
 *
 * @internal
 */
export const route = (method: HttpMethod.HttpMethod, path: HttpRouter.PathInput, handler: Route["handler"]): Route => ({
  method,
  path,
  open: false,
  handler
})

/**
 * The same for everybody.
 *
 * @internal
 */
export const open = (self: Route): Route => ({ ...self, open: true })

/**
 * The last fixed part of a route's path, which names its endpoint.
 *
 * @internal
 */
export const endpointOf = (path: string): string =>
  path.split("/").findLast((part) => part !== "" && !part.startsWith(":")) ?? path

/**
 * A POST of JSON that the description of the endpoints leaves out.
 *
 * @internal
 */
export const post = <A, I>(
  path: HttpRouter.PathInput,
  payload: Schema.Schema<A, I>,
  handle: (payload: A, fingerprint: string) => Effect.Effect<HttpServerResponse.HttpServerResponse, Refusal, Provided>
): Route => {
  const decode = Json.decode(payload)
  return route(
    "POST",
    path,
    Effect.gen(function*() {
      const bytes = yield* Effect.flatMap(BodyReader, (reader) => reader.bytes)
      const value = yield* Effect.flatMap(Json.parseJson(bytes), decode)
      return yield* handle(value, sha256(path, bytes))
    })
  )
}

/** @internal */
export const json = (body: unknown, status = 200): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.unsafeJson(body, { status })

/** @internal */
export const refused = (refusal: Refusal): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.unsafeJson(
    { detail: refusal.detail },
    { status: refusal.status, ...(refusal.headers === undefined ? {} : { headers: refusal.headers }) }
  )

const encodeFuture = Schema.encode(UntypedFuture)

/**
 * The promise of a result, under 202 (docs/protocol/futures.md#promises).
 *
 * @internal
 */
export const promised = (future: UntypedFuture) =>
  Effect.zipRight(
    note({ requestId: future.requestId }),
    Effect.map(Effect.orDie(encodeFuture(future)), (body) => json(body, 202))
  )

/** @internal */
export const note = (
  known: { readonly modelId?: string; readonly seqId?: number | undefined; readonly requestId?: string }
): Effect.Effect<void, never, RequestInfo> => Effect.map(RequestInfo, (info) => void Object.assign(info, known))
