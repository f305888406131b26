/**
 * The application: every request gets an answer.
 *
 * @internal
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as OpenApi from "@effect/platform/OpenApi"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { prefix } from "../../protocol/Routes.js"
import { TinkerCompleteApi } from "../../protocol/TinkerApi.js"
import { FaultInjector } from "../FaultInjector.js"
import { authorize } from "../http/auth.js"
import * as Body from "../http/body.js"
import * as Faults from "../http/faults.js"
import * as Http from "../http/http.js"
import { localPath } from "../http/location.js"
import { notFound, Refusal } from "../http/refusal.js"
import { Tokens } from "../http/tokens.js"
import { Uploads } from "../http/uploads.js"
import { routes as checkpointRoutes } from "../routes/checkpoints.js"
import { routes as fileRoutes } from "../routes/files.js"
import { routes as futureRoutes } from "../routes/futures.js"
import { routes as modelRoutes } from "../routes/models.js"
import { routes as organisationRoutes } from "../routes/organisation.js"
import { routes as samplingRoutes } from "../routes/sampling.js"
import { routes as serviceRoutes } from "../routes/service.js"
import { routes as sessionRoutes } from "../routes/sessions.js"
import { routes as tokenizerRoutes } from "../routes/tokenizers.js"
import { routes as trainingRoutes } from "../routes/training.js"
import { routes as weightRoutes } from "../routes/weights.js"
import { ServerConfig } from "../ServerConfig.js"
import { monotonic } from "../time.js"
import type { Counts } from "./countedEngine.js"
import * as ServerMetrics from "./serverMetrics.js"
import type { Stats } from "./stats.js"

/** What answers a request, and whom. */
interface Guarded<R> {
  readonly open: boolean
  readonly handler: Effect.Effect<HttpServerResponse.HttpServerResponse, Refusal, R>
}

/**
 * Another application, for those only who have the server's key.
 *
 * @internal
 */
export type Protect = <R>(guest: HttpApp.Default<never, R>) => HttpApp.Default<never, R>

const openApi = Effect.sync(() => Http.json(OpenApi.fromApi(TinkerCompleteApi)))

/** @internal */
export const make = Effect.fnUntraced(function*(stats: Effect.Effect<Stats>, work: Readonly<Counts>) {
  const config = yield* ServerConfig
  const faults = yield* FaultInjector
  const tokens = yield* Tokens
  const metrics = yield* ServerMetrics.make(stats, work)
  const reader = Body.make({ each: config.limits.bodyBytes, together: config.limits.uploadBytes }, yield* Uploads)

  /** The answer to whoever may have it. */
  const answer = <R>(
    route: Guarded<R>,
    request: HttpServerRequest.HttpServerRequest,
    info: Http.RequestInfo
  ) =>
    Effect.zipRight(
      route.open ? Effect.void : authorize(request.headers, config.apiKey, tokens.isJwt),
      Effect.scoped(route.handler)
    ).pipe(
      Effect.provideService(Http.RequestInfo, info),
      Effect.provideService(Http.BodyReader, reader),
      Effect.catchAllCause((cause) => failed(cause, info))
    )

  /** What happens to every request once its route is found: faults, the key, the handler, metrics. */
  const serve = <R>(endpoint: string, route: Guarded<R>) =>
    Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      const started = yield* monotonic
      const info: Http.RequestInfo = { endpoint, modelId: undefined, seqId: undefined, requestId: undefined }
      const point = { endpoint, method: request.method, path: localPath(request.url).path }
      const early = yield* Effect.flatMap(faults({ ...point, phase: "request" }), Faults.beforeRequest)
      if (early !== undefined) return early
      const response = yield* answer(route, request, info)
      yield* metrics.answered(endpoint, response.status, started)
      const iteration = Number(request.headers["x-tinker-request-iteration"] ?? Number.NaN)
      const injected = yield* faults({
        ...point,
        phase: "reply",
        status: response.status,
        modelId: info.modelId,
        seqId: info.seqId,
        requestId: info.requestId,
        iteration: Number.isSafeInteger(iteration) ? iteration : undefined
      })
      return injected.length === 0 ? response : yield* Faults.onReply(response, injected)
    })

  const routes = (yield* Effect.all([
    serviceRoutes,
    sessionRoutes,
    modelRoutes,
    trainingRoutes,
    weightRoutes,
    samplingRoutes,
    futureRoutes,
    organisationRoutes,
    checkpointRoutes,
    fileRoutes
  ])).flat().map((route): Http.Route => ({ ...route, path: `${prefix}${route.path}` }))
  const all = [
    ...routes,
    ...(yield* tokenizerRoutes),
    Http.route("GET", "/metrics", metrics.app),
    Http.route("GET", "/openapi.json", openApi)
  ]

  const router = yield* HttpRouter.toHttpApp(HttpRouter.fromIterable(
    all.map((route) => HttpRouter.makeRoute(route.method, route.path, serve(Http.endpointOf(route.path), route)))
  )).pipe(
    // signed links are long
    HttpRouter.withRouterConfig({ maxParamLength: 4096 })
  )
  // no route is no exception: who has no key does not learn what there is
  const nowhere = serve("unknown", { open: false, handler: notFound("There is nothing under this path and method") })

  const app: HttpApp.Default = Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    (request) =>
      Effect.provideService(
        Effect.catchTag(router, "RouteNotFound", () => nowhere),
        HttpServerRequest.HttpServerRequest,
        request.modify({ url: localPath(request.url).url })
      )
  ).pipe(Effect.interruptible)

  const protect: Protect = (guest) =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
      Effect.matchEffect(authorize(headers, config.apiKey, tokens.isJwt), {
        onFailure: (refusal) => Effect.succeed(Http.refused(refusal)),
        onSuccess: () =>
          guest
      }))
  return { app, routes: all, protect }
})

const failed = (cause: Cause.Cause<unknown>, info: Http.RequestInfo) => {
  const error = Cause.squash(cause)
  if (error instanceof Refusal) return Effect.succeed(Http.refused(error))
  if (Cause.isInterruptedOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>) // holds no failure
  return Effect.as(
    Effect.logError(`${info.endpoint} failed unexpectedly`, cause),
    Http.refused(new Refusal({ status: 500, detail: "The server failed to handle the request" }))
  )
}
