/**
 * The embedded Tinker-compatible server, independent of sockets: an HTTP application over an `Engine`.
 *
 * @since 0.1.0
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Path from "@effect/platform/Path"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import type { Engine } from "../engine/Engine.js"
import * as CheckpointStore from "./CheckpointStore.js"
import { FaultInjector } from "./FaultInjector.js"
import * as Futures from "./Futures.js"
import { unauthorized } from "./internal/auth.js"
import * as Body from "./internal/body.js"
import * as Faults from "./internal/faults.js"
import * as Http from "./internal/http.js"
import { endpointOf, localPath } from "./internal/location.js"
import { notFound, Refusal } from "./internal/refusal.js"
import * as Uploads from "./internal/uploads.js"
import * as Models from "./Models.js"
import { routes as futureRoutes } from "./routes/futures.js"
import { routes as modelRoutes } from "./routes/models.js"
import { routes as samplingRoutes } from "./routes/sampling.js"
import { routes as serviceRoutes } from "./routes/service.js"
import { routes as sessionRoutes } from "./routes/sessions.js"
import { routes as trainingRoutes } from "./routes/training.js"
import { routes as weightRoutes } from "./routes/weights.js"
import * as Runs from "./Runs.js"
import * as Samplers from "./Samplers.js"
import * as ServerConfig from "./ServerConfig.js"
import * as Sessions from "./Sessions.js"

/**
 * The server. It works as long as the scope in which it was made is open.
 *
 * @since 0.1.0
 * @category services
 */
export class Server extends Context.Tag("tinkex/Server")<Server, {
  /** The application: every request gets an answer. */
  readonly app: HttpApp.Default
  /** The same as a function on web requests, for any runtime and for tests. Rejects where a connection would break. */
  readonly fetch: (request: Request) => Promise<Response>
  /** A client whose requests go straight to the application, without a socket, whatever host they name. */
  readonly client: HttpClient.HttpClient
  /** Makes polls that are being held answer now, so that connections can be closed. */
  readonly drain: Effect.Effect<void>
  readonly stats: Effect.Effect<Stats>
}>() {}

/**
 * What the server holds at the moment.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stats {
  readonly sessions: number
  readonly runs: number
  readonly queuedOperations: number
  readonly samplers: number
  readonly sampleRequests: number
  readonly pendingFutures: number
  readonly keptResults: number
  readonly keptResultBytes: number
}

type Rooms =
  | ServerConfig.ServerConfig
  | Models.Models
  | Sessions.Sessions
  | Runs.Runs
  | Samplers.Samplers
  | Futures.Futures
  | CheckpointStore.CheckpointStore
  | Uploads.Uploads

/**
 * The server over rooms that are already there.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<Context.Tag.Service<Server>, never, Rooms | Engine> = Effect.gen(function*() {
  const config = yield* ServerConfig.ServerConfig
  const faults = yield* FaultInjector
  const uploads = yield* Uploads.Uploads
  const sessions = yield* Sessions.Sessions
  const runs = yield* Runs.Runs
  const samplers = yield* Samplers.Samplers
  const futures = yield* Futures.Futures
  const runtime = yield* Effect.runtime<never>()
  const reader = Body.make(config.limits.bodyBytes, uploads)

  const all = yield* Effect.all([
    serviceRoutes,
    sessionRoutes,
    modelRoutes,
    trainingRoutes,
    weightRoutes,
    samplingRoutes,
    futureRoutes
  ])
  const router = yield* HttpRouter.toHttpApp(HttpRouter.fromIterable(
    all.flat().map(({ handler, method, path }) => HttpRouter.makeRoute(method, `/api/v1${path}`, handler))
  ))

  const answer = (
    request: HttpServerRequest.HttpServerRequest,
    info: Http.RequestInfo
  ): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
    Effect.suspend(() => {
      const refusal = info.endpoint === "healthz"
        ? undefined
        : unauthorized(request.headers, config.apiKey, () => false)
      return refusal === undefined ? Effect.scoped(router) : Effect.fail(refusal)
    }).pipe(
      Effect.provideService(HttpServerRequest.HttpServerRequest, request),
      Effect.provideService(Http.RequestInfo, info),
      Effect.provideService(Http.BodyReader, reader),
      Effect.catchAllCause((cause) => failed(cause, info))
    )

  const app: HttpApp.Default = Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    (original) =>
      Effect.gen(function*() {
        const { path, url } = localPath(original.url)
        const endpoint = endpointOf(path)
        const info: Http.RequestInfo = { endpoint, modelId: undefined, seqId: undefined, requestId: undefined }
        const point = { endpoint, method: original.method, path }
        const early = yield* Effect.flatMap(faults({ ...point, phase: "request" }), Faults.beforeRequest)
        if (early !== undefined) return early
        const response = yield* answer(original.modify({ url }), info)
        const iteration = Number(original.headers["x-tinker-request-iteration"] ?? Number.NaN)
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
  ).pipe(Effect.interruptible)

  const runFork = Runtime.runFork(runtime)
  const respond = (request: Request): Effect.Effect<Response, ConnectionReset> =>
    Effect.flatMap(
      Effect.provideService(app, HttpServerRequest.HttpServerRequest, HttpServerRequest.fromWeb(request)),
      (response) =>
        Faults.isReset(response)
          ? Effect.fail(new ConnectionReset())
          : Effect.succeed(HttpServerResponse.toWeb(response, { withoutBody: request.method === "HEAD", runtime }))
    )

  return {
    app,
    fetch: (request) =>
      new Promise((resolve, reject) => {
        const fiber = runFork(respond(request))
        const abort = () => fiber.unsafeInterruptAsFork(fiber.id())
        request.signal.addEventListener("abort", abort, { once: true })
        fiber.addObserver((exit) => {
          request.signal.removeEventListener("abort", abort)
          if (exit._tag === "Success") resolve(exit.value)
          else reject(Cause.squash(exit.cause))
        })
      }),
    client: HttpClient.make((request, url, signal) =>
      Effect.gen(function*() {
        const body = request.body
        const init: RequestInit = { method: request.method, headers: request.headers, signal }
        // the library types bytes as over any buffer, web requests want an ArrayBuffer
        if (body._tag === "Uint8Array") init.body = body.body as Uint8Array<ArrayBuffer>
        else if (body._tag === "Raw" && typeof body.body === "string") init.body = body.body
        else if (body._tag !== "Empty") {
          return yield* new HttpClientError.RequestError({
            request,
            reason: "Encode",
            description: "only bodies of bytes and text are sent to the embedded server"
          })
        }
        const response = yield* Effect.mapError(respond(new Request(url, init)), (cause) =>
          new HttpClientError.RequestError({ request, reason: "Transport", cause }))
        return HttpClientResponse.fromWeb(request, response)
      })
    ),
    drain: futures.release,
    stats: Effect.gen(function*() {
      const run = yield* runs.stats
      const sampler = yield* samplers.stats
      const future = yield* futures.stats
      return {
        sessions: (yield* sessions.list).filter((session) => !session.expired).length,
        runs: run.loaded,
        queuedOperations: run.queued,
        samplers: sampler.samplers,
        sampleRequests: sampler.requests,
        pendingFutures: future.pending,
        keptResults: future.kept,
        keptResultBytes: future.bytes
      }
    })
  }
})

/** A connection that was broken on purpose. */
class ConnectionReset extends Error {
  override readonly name = "ConnectionReset"
  override readonly message = "the connection was reset"
}

const failed = (cause: Cause.Cause<unknown>, info: Http.RequestInfo) => {
  const error = Cause.squash(cause)
  if (error instanceof Refusal) return Effect.succeed(Http.refused(error))
  if (Cause.isInterruptedOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>) // holds no failure
  if (typeof error === "object" && error !== null && "_tag" in error && error._tag === "RouteNotFound") {
    return Effect.succeed(Http.refused(notFound("There is nothing under this path and method")))
  }
  return Effect.as(
    Effect.logError(`${info.endpoint} failed unexpectedly`, cause),
    Http.refused(new Refusal({ status: 500, detail: "The server failed to handle the request" }))
  )
}

/**
 * The server with its rooms, over an engine and a file system.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: ServerConfig.Options = {}
): Layer.Layer<Server, CheckpointStore.CheckpointError, Engine | FileSystem.FileSystem | Path.Path> =>
  Layer.effect(Server, make).pipe(
    Layer.provide(Runs.layer),
    Layer.provide(Samplers.layer),
    Layer.provide(Layer.mergeAll(Models.layer, Sessions.layer, Futures.layer, CheckpointStore.layer, Uploads.layer)),
    Layer.provide(ServerConfig.layer(options))
  )
