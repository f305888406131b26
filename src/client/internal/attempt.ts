/** One attempt of a request: made, sent, read to its end, told to the listeners. */
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpTraceContext from "@effect/platform/HttpTraceContext"
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Telemetry } from "../../observability/Telemetry.js"
import type { Operation } from "../../observability/TelemetryEvent.js"
import type { Settings } from "../../TinkexConfig.js"
import type { OperationClass, TransportError } from "../../TinkexError.js"
import * as TinkexError from "../../TinkexError.js"
import type { Answer, Request } from "../HttpTransport.js"
import * as Deadlines from "./deadlines.js"
import { failureOf } from "./exits.js"
import { commonHeaders } from "./headers.js"
import type * as Redact from "./redact.js"

export const operationClasses: Readonly<Record<Operation, OperationClass>> = {
  training: "training",
  sampling: "sampling",
  futures: "poll",
  session: "session",
  service: "service",
  telemetry: "telemetry"
}

/** A logical call, as far as all of its attempts are alike. */
export interface Prepared {
  readonly request: Request
  /** The template of the whole path. */
  readonly route: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: HttpBody.HttpBody
  readonly bytes: number
  readonly timeout: Duration.Duration
}

export interface Attempts {
  readonly prepare: (request: Request) => Prepared
  /**
   * Sends a call for the `n`th time, from 0. `onError` runs before the error comes out, while whatever the attempt was given to
   * hold is still held.
   */
  readonly run: (
    prepared: Prepared,
    n: number,
    credential: Redacted.Redacted | undefined,
    onError: (error: TransportError) => Effect.Effect<void>
  ) => Effect.Effect<Answer, TransportError>
}

type RawError = HttpClientError.HttpClientError | TransportError

const isBinary = (contentType: string | undefined): boolean =>
  contentType !== undefined &&
  (contentType.includes("application/x-protobuf") || contentType.includes("application/octet-stream"))

const queryOf = (query: Request["query"]): string => {
  if (query === undefined) return ""
  const params = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") params.append(name, String(value))
  }
  const text = params.toString()
  return text === "" ? "" : `?${text}`
}

/** A different one in every process and for every transport; the calls of one are numbered. */
const newIdempotencyPrefix = (): string => {
  const random = crypto.getRandomValues(new Uint8Array(12))
  return `tinkex-retry-${Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("")}`
}

const errorOf = (error: RawError, operation: string): TransportError =>
  error._tag === "RequestError" || error._tag === "ResponseError"
    ? TinkexError.fromHttpClientError(error, operation)
    : error

const traceHeaders = Effect.map(
  Effect.option(Effect.currentSpan),
  (span): Readonly<Record<string, string>> => Option.isSome(span) ? HttpTraceContext.toHeaders(span.value) : {}
)

export const make = (
  settings: Settings,
  redact: Redact.Redact
): Effect.Effect<Attempts, never, HttpClient.HttpClient | Scope.Scope> =>
  Effect.gen(function*() {
    // the spans are the transport's own: those of HttpClient show every header
    const http = HttpClient.withTracerDisabledWhen(yield* HttpClient.HttpClient, () => true)
    const telemetry = yield* Telemetry
    const deadlines = yield* Deadlines.make
    const clock = yield* Effect.clock
    const common = commonHeaders(settings)
    const prefix = newIdempotencyPrefix()
    const root = `${settings.baseUrl}/api/v1/`
    const { origin } = new URL(settings.baseUrl)
    const tenant = settings.tenant.label
    let calls = 0

    const prepare: Attempts["prepare"] = (request) => {
      const { body } = request
      const timeout = request.timeout ?? settings.timeouts.request
      const headers: Record<string, string> = {
        ...common,
        "x-stainless-read-timeout": String(Duration.toSeconds(timeout)),
        ...request.headers
      }
      if (request.method !== "GET") {
        if (body === undefined) headers["content-type"] = "application/json"
        if (headers["x-idempotency-key"] === undefined) headers["x-idempotency-key"] = `${prefix}-${calls++}`
        if (body?.contentEncoding !== undefined) headers["content-encoding"] = body.contentEncoding
      }
      return {
        request,
        route: `/api/v1/${request.route ?? request.path}`,
        url: `${root}${request.path}${queryOf(request.query)}`,
        headers,
        body: body === undefined ? HttpBody.empty : HttpBody.uint8Array(body.bytes, body.contentType),
        bytes: body?.bytes.length ?? 0,
        timeout
      }
    }

    const receive = (
      { bytes, request: { credential, operation, pool, redirects } }: Prepared,
      response: HttpClientResponse.HttpClientResponse
    ): Effect.Effect<Answer, RawError> => {
      const { headers, status } = response
      // a 408 on a poll is an answer, its body tells the state of the queue
      const success = status >= 200 && (status < 300 || (redirects === true && status < 400))
      if (success || (status === 408 && pool === "futures")) {
        return isBinary(headers["content-type"])
          ? Effect.map(
            response.arrayBuffer,
            (buffer): Answer => ({ status, headers, body: { _tag: "Bytes", bytes: new Uint8Array(buffer) } })
          )
          : Effect.map(response.text, (text): Answer => ({ status, headers, body: { _tag: "Text", text } }))
      }
      return Effect.flatMap(response.text, (text) => {
        const body = redact(text, credential)
        const nowMillis = clock.unsafeCurrentTimeMillis()
        return Effect.fail(
          TinkexError.fromStatus({ operation, origin, status, headers, body, nowMillis, requestBytes: bytes })
        )
      })
    }

    const go = (
      prepared: Prepared,
      n: number,
      credential: Redacted.Redacted | undefined,
      trace: Readonly<Record<string, string>> | undefined,
      onError: (error: TransportError) => Effect.Effect<void>
    ): Effect.Effect<Answer, TransportError> => {
      const { request, route, timeout } = prepared
      const { delivery, method, operation, pool } = request
      const headers: Record<string, string> = { ...prepared.headers, "x-stainless-retry-count": String(n), ...trace }
      if (credential !== undefined) headers["x-api-key"] = Redacted.value(credential)
      const sent = Effect.flatMap(
        http.execute(HttpClientRequest.make(method)(prepared.url, { headers, body: prepared.body })),
        (response) => receive(prepared, response)
      )
      const start = clock.unsafeCurrentTimeMillis()
      const fields = { method, route, operation: pool, tenant, attempt: n }
      const stop = (status: number | undefined, error: string): Effect.Effect<void> => {
        if (!telemetry.enabled) return Effect.void
        const durationMs = clock.unsafeCurrentTimeMillis() - start
        return telemetry.emit(
          status === undefined
            ? { _tag: "HttpException", ...fields, error, durationMs }
            : { _tag: "HttpStop", ...fields, status, durationMs }
        )
      }
      const before = delivery?.maybe
      if (delivery !== undefined) delivery.maybe = true
      const limited = deadlines.limit(sent, {
        millis: Duration.toMillis(timeout),
        onTimeout: (): RawError => new TinkexError.RequestTimeout({ operation, timeout, detail: "" }),
        onInterrupt: Effect.suspend(() => stop(undefined, "Interrupted")),
        settle: (exit): Effect.Effect<Answer, TransportError> => {
          if (Exit.isSuccess(exit)) return Effect.as(stop(exit.value.status, ""), exit.value)
          const raw = failureOf(exit)
          // a defect, or an interruption from outside: no failure in it
          if (raw === undefined) {
            return Effect.zipRight(stop(undefined, "Defect"), Effect.failCause(exit.cause as Cause.Cause<never>))
          }
          const error = errorOf(raw, operation)
          if (
            delivery !== undefined && before !== undefined &&
            TinkexError.disposition(error, operationClasses[pool]).certainlyNotSent
          ) delivery.maybe = before
          return stop("status" in error ? error.status : undefined, error._tag).pipe(
            Effect.zipRight(onError(error)),
            Effect.zipRight(Effect.fail(error))
          )
        }
      })
      return telemetry.enabled
        ? Effect.zipRight(telemetry.emit({ _tag: "HttpStart", ...fields }), limited)
        : limited
    }

    return {
      prepare,
      run: settings.propagation
        ? (prepared, n, credential, onError) =>
          Effect.flatMap(traceHeaders, (trace) => go(prepared, n, credential, trace, onError))
        : (prepared, n, credential, onError) => Effect.suspend(() => go(prepared, n, credential, undefined, onError))
    }
  })
