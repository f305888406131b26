/**
 * An HttpClient over undici for the requests that matter: those of the SDK's transport, which are small, read to their end and
 * traced by the transport itself. They cost a third of what platform's client over undici needs (the bench "client" shows it);
 * everything else goes through that one.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type { Dispatcher } from "@effect/platform-node/Undici"
import * as Cookies from "@effect/platform/Cookies"
import * as Headers from "@effect/platform/Headers"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

const decoder = new TextDecoder()

/** An answer whose body is there, as far as anybody wants to read it. */
class BufferedResponse extends Inspectable.Class implements HttpClientResponse.HttpClientResponse {
  readonly [HttpIncomingMessage.TypeId]: HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly [HttpClientResponse.TypeId]: HttpClientResponse.TypeId = HttpClientResponse.TypeId
  readonly headers: Headers.Headers

  constructor(
    readonly request: HttpClientRequest.HttpClientRequest,
    readonly status: number,
    headers: Headers.Input,
    readonly body: Uint8Array
  ) {
    super()
    this.headers = Headers.fromInput(headers)
  }

  get cookies(): Cookies.Cookies {
    return Cookies.fromSetCookie(this.headers["set-cookie"] ?? [])
  }
  get remoteAddress(): Option.Option<string> {
    return Option.none()
  }
  get text(): Effect.Effect<string> {
    return Effect.sync(() => decoder.decode(this.body))
  }
  get json(): Effect.Effect<unknown, HttpClientError.ResponseError> {
    return this.attempt(() => {
      const text = decoder.decode(this.body)
      return text === "" ? null : JSON.parse(text) as unknown
    })
  }
  get arrayBuffer(): Effect.Effect<ArrayBuffer> {
    return Effect.sync(() => this.copy().buffer)
  }
  get stream(): Stream.Stream<Uint8Array> {
    return Stream.make(this.body)
  }
  get urlParamsBody(): Effect.Effect<UrlParams.UrlParams, HttpClientError.ResponseError> {
    return this.attempt(() => UrlParams.fromInput(new URLSearchParams(decoder.decode(this.body))))
  }
  get formData(): Effect.Effect<FormData, HttpClientError.ResponseError> {
    const headers = { "content-type": this.headers["content-type"] ?? "" }
    return Effect.tryPromise({
      try: () => new Response(this.copy(), { headers }).formData(),
      catch: (cause) => this.undecodable(cause)
    })
  }
  toJSON(): unknown {
    return HttpIncomingMessage.inspect(this, {
      _id: "@effect/platform/HttpClientResponse",
      request: this.request.toJSON(),
      status: this.status
    })
  }

  /** An error of an answer that had begun. */
  undecodable(cause: unknown): HttpClientError.ResponseError {
    return new HttpClientError.ResponseError({ request: this.request, response: this, reason: "Decode", cause })
  }

  /** In memory of its own: the body may be a view of a larger buffer. */
  private copy(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.body)
  }
  private attempt<A>(evaluate: () => A): Effect.Effect<A, HttpClientError.ResponseError> {
    return Effect.try({ try: evaluate, catch: (cause) => this.undecodable(cause) })
  }
}

const none = new Uint8Array(0)

const join = (chunks: ReadonlyArray<Uint8Array>, length: number): Uint8Array => {
  if (chunks.length === 1) return chunks[0] ?? none
  const whole = new Uint8Array(length)
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.length
  }
  return whole
}

/** Why undici ends a request that nobody waits for, or whose answer is longer than anybody reads. */
const abandoned = new Error("the request was abandoned")

/** How many bytes of an answer are read at most, by its status. What goes beyond is given as far as it came, and no further. */
export interface Limit {
  (status: number): number
}

const dispatch = (
  dispatcher: Dispatcher,
  request: HttpClientRequest.HttpClientRequest,
  url: URL,
  body: Uint8Array | null,
  limit: Limit
): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError> =>
  Effect.async((resume) => {
    const chunks: Array<Uint8Array> = []
    let length = 0
    let controller: Dispatcher.DispatchController | undefined
    let over = false
    let status: number | undefined
    let headers: Headers.Input = {}
    const end = (effect: Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>) => {
      if (over) return
      over = true
      resume(effect)
    }
    const response = (status: number) => new BufferedResponse(request, status, headers, join(chunks, length))
    const fail = (cause: unknown) =>
      end(Effect.fail(
        status === undefined
          ? new HttpClientError.RequestError({ request, reason: "Transport", cause })
          : response(status).undecodable(cause)
      ))
    try {
      dispatcher.dispatch({
        origin: url.origin,
        path: url.pathname + url.search,
        method: request.method as Dispatcher.HttpMethod, // both know the same methods
        headers: request.headers,
        body,
        // time limits are the transport's
        headersTimeout: 0,
        bodyTimeout: 0
      }, {
        onRequestStart: (started) => {
          controller = started
          if (over) started.abort(abandoned)
        },
        onResponseStart: (_, code, fields) => {
          status = code
          headers = fields
        },
        onResponseData: (current, chunk) => {
          if (over || status === undefined) return
          chunks.push(chunk)
          length += chunk.length
          if (length <= limit(status)) return
          const cut = response(status)
          end(Effect.succeed(cut))
          current.abort(abandoned)
        },
        onResponseEnd: () => {
          const code = status
          if (code !== undefined) end(Effect.sync(() => response(code)))
        },
        onResponseError: (_, cause) => fail(cause)
      })
    } catch (cause) {
      fail(cause)
    }
    return Effect.sync(() => {
      over = true
      controller?.abort(abandoned)
    })
  })

const bodyOf = ({ body }: HttpClientRequest.HttpClientRequest): Uint8Array | null | undefined =>
  body._tag === "Uint8Array" ? body.body : body._tag === "Empty" ? null : undefined

/** A request that is not traced and whose body is bytes is dispatched at once and read to its end; any other is platform's. */
export const make = (dispatcher: Dispatcher, limit: Limit): HttpClient.HttpClient => {
  const platform = NodeHttpClient.makeUndici(dispatcher)
  return HttpClient.makeWith<never, never, HttpClientError.HttpClientError, never>(
    Effect.flatMap((request) =>
      Effect.withFiberRuntime<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>((fiber) => {
        const body = bodyOf(request)
        if (body === undefined || !fiber.getFiberRef(HttpClient.currentTracerDisabledWhen)(request)) {
          return platform.execute(request)
        }
        const url = UrlParams.makeUrl(request.url, request.urlParams, request.hash)
        return url._tag === "Left"
          ? Effect.fail(new HttpClientError.RequestError({ request, reason: "InvalidUrl", cause: url.left }))
          : dispatch(dispatcher, request, url.right, body, limit)
      })
    ),
    Effect.succeed
  )
}
