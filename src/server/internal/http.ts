/**
 * What routes are made of.
 *
 * @internal
 */
import type * as HttpMethod from "@effect/platform/HttpMethod"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { UntypedFuture } from "../../protocol/Futures.js"
import * as Body from "./body.js"
import { sha256 } from "./hash.js"
import { badRequest, type Refusal } from "./refusal.js"

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

type Provided =
  | HttpServerRequest.HttpServerRequest
  | RequestInfo
  | Body.BodyReader
  | HttpRouter.RouteContext
  | HttpServerRequest.ParsedSearchParams

/** @internal */
export interface Route {
  readonly method: HttpMethod.HttpMethod
  readonly path: HttpRouter.PathInput
  readonly handler: Effect.Effect<HttpServerResponse.HttpServerResponse, Refusal, Provided>
}

/** @internal */
export const route = (method: HttpMethod.HttpMethod, path: HttpRouter.PathInput, handler: Route["handler"]): Route => ({
  method,
  path,
  handler
})

/** @internal */
export const json = (body: unknown, status = 200): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.unsafeJson(body, { status })

/** @internal */
export const refused = (refusal: Refusal): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.unsafeJson(
    { detail: refusal.detail },
    { status: refusal.status, ...(refusal.headers === undefined ? {} : { headers: refusal.headers }) }
  )

/** @internal */
export const encoded = <A, I>(schema: Schema.Schema<A, I>, status = 200) => {
  const encode = Schema.encode(schema)
  return (value: A) => Effect.map(Effect.orDie(encode(value)), (body) => json(body, status))
}

/** The promise of a result (wire-protocol 2.0): 202. */
const encodeFuture = encoded(UntypedFuture, 202)

/** @internal */
export const promised = (
  future: { readonly requestId: string; readonly modelId?: string; readonly sampleSequenceIds?: ReadonlyArray<string> }
) => Effect.tap(encodeFuture(future), () => note({ requestId: future.requestId }))

/** @internal */
export const note = (
  known: { readonly modelId?: string; readonly seqId?: number | undefined; readonly requestId?: string }
): Effect.Effect<void, never, RequestInfo> => Effect.map(RequestInfo, (info) => void Object.assign(info, known))

/**
 * A POST of JSON with its decoded body and a fingerprint of it.
 *
 * @internal
 */
export const post = <A, I>(
  path: HttpRouter.PathInput,
  payload: Schema.Schema<A, I>,
  handle: (
    payload: A,
    fingerprint: string
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse, Refusal, Provided>
): Route => withBody("POST", path, payload, handle)

/** @internal */
export const put = <A, I>(
  path: HttpRouter.PathInput,
  payload: Schema.Schema<A, I>,
  handle: (payload: A) => Effect.Effect<HttpServerResponse.HttpServerResponse, Refusal, Provided>
): Route => withBody("PUT", path, payload, handle)

const withBody = <A, I>(
  method: HttpMethod.HttpMethod,
  path: HttpRouter.PathInput,
  payload: Schema.Schema<A, I>,
  handle: (
    payload: A,
    fingerprint: string
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse, Refusal, Provided>
): Route => {
  const decode = Body.decode(payload)
  return {
    method,
    path,
    handler: Effect.gen(function*() {
      const bytes = yield* Effect.flatMap(BodyReader, (reader) => reader.bytes)
      const value = yield* Effect.flatMap(Body.parseJson(bytes), decode)
      return yield* handle(value, sha256(path, bytes))
    })
  }
}

/** @internal */
export const get = (path: HttpRouter.PathInput, handler: Route["handler"]): Route => route("GET", path, handler)

/**
 * A part of the path. The router only calls a handler when all parts are there.
 *
 * @internal
 */
export const param = (name: string): Effect.Effect<string, Refusal, HttpRouter.RouteContext> =>
  Effect.flatMap(HttpRouter.params, (params) =>
    Option.match(Option.fromNullable(params[name]), {
      onNone: () => Effect.fail(badRequest(`${name}: expected a part of the path, got nothing`)),
      onSome: Effect.succeed
    }))

/** @internal */
export const query = <A, I>(
  schema: Schema.Schema<A, I>
): Effect.Effect<A, Refusal, HttpServerRequest.ParsedSearchParams> => {
  const decode = Body.decode(schema)
  return Effect.flatMap(HttpServerRequest.ParsedSearchParams, decode)
}
