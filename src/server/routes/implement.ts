/**
 * Routes from the protocol's description of them.
 *
 * Not `HttpApiBuilder`: its decoding errors repeat the values, and it reads bodies without a bound and loses digits of
 * long integers.
 *
 * @internal
 */
import type * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import type * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Types from "effect/Types"
import { sha256 } from "../http/hash.js"
import { BodyReader, json, type Provided, type Route } from "../http/http.js"
import * as Json from "../http/json.js"
import type { Refusal } from "../http/refusal.js"

type OfName<Endpoints extends HttpApiEndpoint.HttpApiEndpoint.Any, Name extends string> =
  HttpApiEndpoint.HttpApiEndpoint.WithName<Endpoints, Name>

/**
 * One handler per endpoint of a group. Besides what the description gives, a request has the fingerprint of its body.
 *
 * @internal
 */
export type Handlers<Endpoints extends HttpApiEndpoint.HttpApiEndpoint.Any> = {
  readonly [Name in HttpApiEndpoint.HttpApiEndpoint.Name<Endpoints>]: (
    request: Types.Simplify<
      & Omit<HttpApiEndpoint.HttpApiEndpoint.Request<OfName<Endpoints, Name>>, "request">
      & { readonly fingerprint: string }
    >
  ) => Effect.Effect<
    HttpApiEndpoint.HttpApiEndpoint.Success<OfName<Endpoints, Name>> | HttpServerResponse.HttpServerResponse,
    Refusal,
    Provided
  >
}

/** What the description says of any schema; none of ours needs services. */
type AnySchema = Schema.Schema<unknown, unknown>

/** @internal */
export const implement = <Group extends HttpApiGroup.HttpApiGroup.Any>(
  group: Group,
  handlers: Handlers<HttpApiGroup.HttpApiGroup.Endpoints<Group>>
): ReadonlyArray<Route> => {
  // the types of all endpoints at once: what the handlers take and give is held together by `Handlers` above
  const { endpoints } = group as unknown as HttpApiGroup.HttpApiGroup.AnyWithProps
  const byName = handlers as unknown as Readonly<
    Record<string, (request: unknown) => Effect.Effect<unknown, Refusal, Provided>>
  >
  return Object.values(endpoints).map((endpoint) => toRoute(endpoint, byName[endpoint.name]!))
}

const toRoute = (
  endpoint: HttpApiEndpoint.HttpApiEndpoint.AnyWithProps,
  handle: (request: unknown) => Effect.Effect<unknown, Refusal, Provided>
): Route => {
  const decoder = (schema: Option.Option<Schema.Schema.All>) =>
    Option.getOrUndefined(Option.map(schema, (_) => Json.decode(_ as AnySchema))) // the description types schemas loosely
  const decodePath = decoder(endpoint.pathSchema)
  const decodeQuery = decoder(endpoint.urlParamsSchema)
  const decodePayload = decoder(endpoint.payloadSchema)
  const success = endpoint.successSchema as AnySchema // see above
  const status = HttpApiSchema.getStatusSuccess(success)
  const encode = Schema.encode(success)
  const empty = HttpServerResponse.empty({ status })
  return {
    method: endpoint.method,
    path: endpoint.path,
    open: false,
    handler: Effect.gen(function*() {
      const request: Record<string, unknown> = { fingerprint: "" }
      if (decodePath !== undefined) request["path"] = yield* Effect.flatMap(HttpRouter.params, decodePath)
      if (decodeQuery !== undefined) {
        request["urlParams"] = yield* Effect.flatMap(HttpServerRequest.ParsedSearchParams, decodeQuery)
      }
      if (decodePayload !== undefined) {
        const bytes = yield* Effect.flatMap(BodyReader, (reader) => reader.bytes)
        request["payload"] = yield* Effect.flatMap(Json.parseJson(bytes), decodePayload)
        request["fingerprint"] = sha256(endpoint.path, bytes)
      }
      const answer = yield* handle(request)
      if (HttpServerResponse.isServerResponse(answer)) return answer
      return status === 204 ? empty : json(yield* Effect.orDie(encode(answer)), status)
    })
  }
}
