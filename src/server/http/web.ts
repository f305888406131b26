/**
 * The application as a function on web requests, and as a client without a socket.
 *
 * @internal
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import { isReset } from "./faults.js"

/** A connection that was broken on purpose. */
class ConnectionReset extends Error {
  override readonly name = "ConnectionReset"
  override readonly message = "the connection was reset"
}

type Respond = (request: Request) => Effect.Effect<Response, ConnectionReset>

/** @internal */
export const make = Effect.fnUntraced(function*(app: HttpApp.Default) {
  const runtime = yield* Effect.runtime<never>()
  const respond: Respond = (request) =>
    Effect.flatMap(
      Effect.provideService(app, HttpServerRequest.HttpServerRequest, HttpServerRequest.fromWeb(request)),
      (response) =>
        isReset(response)
          ? Effect.fail(new ConnectionReset())
          : Effect.succeed(HttpServerResponse.toWeb(response, { withoutBody: request.method === "HEAD", runtime }))
    )
  return { fetch: toFetch(respond, Runtime.runFork(runtime)), client: toClient(respond) }
})

const toFetch =
  (respond: Respond, runFork: ReturnType<typeof Runtime.runFork<never>>) => (request: Request): Promise<Response> =>
    new Promise((resolve, reject) => {
      const fiber = runFork(respond(request))
      const abort = () => fiber.unsafeInterruptAsFork(fiber.id())
      request.signal.addEventListener("abort", abort, { once: true })
      fiber.addObserver((exit) => {
        request.signal.removeEventListener("abort", abort)
        if (exit._tag === "Success") resolve(exit.value)
        else reject(Cause.squash(exit.cause))
      })
    })

const toClient = (respond: Respond): HttpClient.HttpClient =>
  HttpClient.make((request, url, signal) =>
    Effect.gen(function*() {
      const { body } = request
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
  )
