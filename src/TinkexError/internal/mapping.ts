/**
 * From what HTTP gives to `TinkexError`.
 *
 * @internal
 */
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { MalformedMessage } from "../../protocol/MalformedMessage.js"
import * as Errors from "./errors.js"

/**
 * Response headers by lower-case name.
 *
 * @since 0.1.0
 * @category models
 */
export type Headers = Readonly<Record<string, string | undefined>>

/**
 * The longest that a server's wish to wait is honoured.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxRetryAfter: Duration.Duration = Duration.seconds(60)

/**
 * The wait after a 429 that names none: 1 s, or 5 s when the request's body is over 128 KiB.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultRetryAfter = (bodyBytes: number): Duration.Duration =>
  bodyBytes > 128 * 1024 ? Duration.seconds(5) : Duration.seconds(1)

/**
 * What the server asks to wait: `retry-after-ms`, or `retry-after` as seconds or as an HTTP date. Never negative; none
 * when absent or not readable. Not capped here.
 *
 * @since 0.1.0
 * @category decoding
 */
export const retryAfterOf = (headers: Headers, nowMillis: number): Option.Option<Duration.Duration> => {
  const millis = numeric(headers["retry-after-ms"])
  if (millis !== undefined) return Option.some(Duration.millis(millis))
  const text = headers["retry-after"]?.trim()
  const seconds = numeric(text)
  if (seconds !== undefined) return Option.some(Duration.millis(seconds * 1000))
  // against the server's own clock, where it tells it: ours may be wrong
  const server = Date.parse(headers["date"] ?? "")
  const date = text === undefined || !/[a-z]/i.test(text) ? Number.NaN : Date.parse(text)
  return Number.isNaN(date)
    ? Option.none()
    : Option.some(Duration.millis(Math.max(0, date - (Number.isNaN(server) ? nowMillis : server))))
}

const numeric = (text: string | undefined): number | undefined =>
  text !== undefined && /^\s*\d+(?:\.\d+)?\s*$/.test(text) ? Number(text) : undefined

/**
 * The server's id of a request, from the usual headers.
 *
 * @since 0.1.0
 * @category decoding
 */
export const requestIdOf = (headers: Headers, redact: Redact = unchanged): string | undefined => {
  const id = headers["x-tinker-request-id"] ?? headers["x-request-id"] ?? headers["request-id"]
  return id === undefined ? undefined : shorten(redact(id))
}

/** What takes out of a server's words what nobody should read. It gets them parsed, and before they are shortened. */
type Redact = (text: string) => string

const unchanged: Redact = (text) => text

const limit = 500

const shorten = (text: string): string => text.length > limit ? `${text.slice(0, limit)}...` : text

/**
 * The server's words from an error body: `detail`, `error` or `message` of a JSON object (of a list of validation
 * problems, where and what each is, never the rejected values), otherwise the text itself; at most 500 characters.
 *
 * @since 0.1.0
 * @category decoding
 */
export const detailOf = (body: string, redact: (text: string) => string = unchanged): string => {
  let parsed: unknown
  try {
    parsed = JSON.parse(body)
  } catch {
    if (/<html|<!doctype/i.test(body)) return "an HTML page"
    return shorten(redact(xmlWords(body) ?? body.trim()))
  }
  return shorten(redact(wordsOf(parsed)))
}

/** Stores of files answer in XML, with the request beside the words. */
const xmlWords = (body: string): string | undefined => {
  if (!/^\s*<\?xml|^\s*<Error>/.test(body)) return undefined
  const words = ["Code", "Message"].map((name) => new RegExp(`<${name}>([^<]{0,500})</${name}>`).exec(body)?.[1] ?? "")
  return words.filter((text) => text !== "").join(": ")
}

const wordsOf = (body: unknown): string => {
  if (typeof body === "string") return body
  if (Array.isArray(body)) return body.map(problemOf).filter((text) => text !== "").join("; ")
  if (!Predicate.isRecord(body)) return ""
  for (const key of ["detail", "error", "message"]) {
    const found = body[key]
    if (found !== undefined && found !== null) return wordsOf(found)
  }
  return problemOf(body)
}

const problemOf = (problem: unknown): string => {
  if (typeof problem === "string") return problem
  if (!Predicate.isRecord(problem)) return ""
  const where = Array.isArray(problem["loc"]) ? problem["loc"].join(".") : ""
  const what = typeof problem["msg"] === "string" ? problem["msg"] : ""
  return where === "" ? what : `${where}: ${what}`
}

/** Where a redirect leads: the query may hold a key or a signature. */
const redirectOf = (
  { headers, origin, redact = unchanged, status }: {
    readonly headers: Headers
    readonly origin: string
    readonly redact?: Redact | undefined
    readonly status: number
  }
): string | undefined => {
  const { location } = headers
  // 0 is what a browser makes of a redirect that it was told not to follow
  if (status === 0) return "a redirect, which browsers do not show"
  if (location === undefined || status < 300 || status >= 400) return undefined
  if (!URL.canParse(location, origin)) return "a redirect to what is no URL"
  const target = new URL(location, origin)
  const place = shorten(redact(`${target.origin}${target.pathname}`))
  return target.origin === origin ? `a redirect to ${place}` : `a redirect to ${place}, which is another origin`
}

/**
 * The error of an answer that is not a success. A 410 is a `BadRequest` of that status; who polls makes it a `FutureExpired`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromStatus = (answer: {
  readonly operation: string
  /** Where the request went: scheme, host and port. */
  readonly origin: string
  readonly status: number
  readonly headers: Headers
  /** The whole body as text. */
  readonly body: string
  /** What takes secrets out of the server's words, once they are parsed. Without it they are shown as they came. */
  readonly redact?: ((text: string) => string) | undefined
  readonly nowMillis: number
  /** Size of the request, for the default wait of a 429. */
  readonly requestBytes?: number | undefined
}): StatusError => {
  const { body, headers, nowMillis, operation, origin, status } = answer
  const shouldRetry = headers["x-should-retry"]?.trim().toLowerCase()
  const retryAfter = retryAfterOf(headers, nowMillis)
  const fields: Errors.Answer = {
    operation,
    status,
    detail: redirectOf(answer) ?? detailOf(body, answer.redact),
    requestId: requestIdOf(headers, answer.redact),
    shouldRetry: shouldRetry === "true" ? true : shouldRetry === "false" ? false : undefined,
    retryAfter: Option.getOrUndefined(retryAfter)
  }
  switch (status) {
    case 400:
      // a gateway's rejection: the service itself always says why (docs/protocol/transport.md#gateway-rejections)
      return body === "" && fields.shouldRetry === undefined
        ? new Errors.ConnectionError({
          operation,
          origin,
          reason: "edge",
          certainlyNotSent: false,
          detail: "400 without a body"
        })
        : new Errors.BadRequest(fields)
    case 401:
      return new Errors.Unauthorized(fields)
    case 402:
      return new Errors.BillingPaused(fields)
    case 403:
      return new Errors.PermissionDenied(fields)
    case 404:
      return new Errors.NotFound(fields)
    case 408:
      return new Errors.RequestTimeout(fields)
    case 409:
      return new Errors.Conflict(fields)
    case 429:
      return new Errors.RateLimited({
        ...fields,
        retryAfter: Option.getOrElse(
          Option.filter(retryAfter, Duration.greaterThan(Duration.zero)),
          () => defaultRetryAfter(answer.requestBytes ?? 0)
        )
      })
    default:
      return status >= 500
        ? new Errors.ServerError(fields)
        : status >= 400
        ? new Errors.BadRequest(fields)
        : new Errors.UnexpectedStatus(fields)
  }
}

/**
 * What an answer that is not a success can become.
 *
 * @since 0.1.0
 * @category models
 */
export type StatusError =
  | Errors.BadRequest
  | Errors.Unauthorized
  | Errors.BillingPaused
  | Errors.PermissionDenied
  | Errors.NotFound
  | Errors.RequestTimeout
  | Errors.Conflict
  | Errors.RateLimited
  | Errors.ServerError
  | Errors.UnexpectedStatus
  | Errors.ConnectionError

interface CodeMeaning {
  readonly reason: Errors.ConnectionReason
  readonly certainlyNotSent: boolean
}

const never = (reason: Errors.ConnectionReason): CodeMeaning => ({ reason, certainlyNotSent: true })
const maybe = (reason: Errors.ConnectionReason): CodeMeaning => ({ reason, certainlyNotSent: false })

/**
 * Codes of Node, undici and OpenSSL. A request is on its way once a connection stands, and what is said of a connection may be
 * said of one that stood.
 */
const codes: Readonly<Record<string, CodeMeaning>> = {
  ECONNREFUSED: never("refused"),
  EHOSTUNREACH: never("refused"),
  ENETUNREACH: never("refused"),
  ENETDOWN: maybe("refused"),
  EADDRNOTAVAIL: never("refused"),
  ENOTFOUND: never("dns"),
  EAI_AGAIN: never("dns"),
  EAI_NODATA: never("dns"),
  EAI_NONAME: never("dns"),
  UND_ERR_CONNECT_TIMEOUT: never("timeout"),
  ETIMEDOUT: maybe("timeout"),
  UND_ERR_HEADERS_TIMEOUT: maybe("timeout"),
  UND_ERR_BODY_TIMEOUT: maybe("timeout"),
  ECONNRESET: maybe("reset"),
  EPIPE: maybe("reset"),
  ECONNABORTED: maybe("reset"),
  UND_ERR_SOCKET: maybe("reset"),
  UND_ERR_ABORTED: maybe("reset"),
  // what is refused because the agent was closed was not begun; of one that was destroyed, requests under way end so, too
  UND_ERR_CLOSED: never("reset"),
  UND_ERR_DESTROYED: maybe("reset"),
  ERR_INVALID_URL: never("request"),
  ERR_SOCKET_BAD_PORT: never("request"),
  UND_ERR_INVALID_ARG: never("request"),
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: maybe("protocol"),
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: maybe("protocol"),
  UND_ERR_RES_EXCEEDED_MAX_SIZE: maybe("protocol"),
  UND_ERR_HEADERS_OVERFLOW: maybe("protocol"),
  EMFILE: maybe("local"),
  ENFILE: maybe("local"),
  ENOBUFS: maybe("local"),
  ENOMEM: maybe("local"),
  EPERM: maybe("local"),
  EACCES: maybe("local"),
  ERR_SSL_WRONG_VERSION_NUMBER: never("tls"),
  ERR_SSL_UNSUPPORTED_PROTOCOL: never("tls"),
  EPROTO: maybe("tls")
}

const meaningOf = (code: string): CodeMeaning | undefined =>
  Object.hasOwn(codes, code)
    ? codes[code]
    // certificates are looked at before anything is sent
    : /^(?:CERT_|ERR_TLS_CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|HOSTNAME_MISMATCH)/.test(code)
    ? never("tls")
    : /^(?:ERR_TLS_|ERR_SSL_)/.test(code)
    ? maybe("tls")
    : code.startsWith("HPE_")
    ? maybe("protocol")
    : undefined

interface Coded extends CodeMeaning {
  readonly code: string
}

/** What the system was asked to do tells whether a connection stood. */
const coded = (code: string, meaning: CodeMeaning, syscall: unknown): Coded => ({
  code,
  reason: meaning.reason,
  certainlyNotSent: syscall === "connect" || syscall === "getaddrinfo"
    ? true
    : syscall === "read" || syscall === "write"
    ? false
    : meaning.certainlyNotSent
})

/** The first known code down the chain of causes and the members of aggregates. */
const knownIn = (cause: unknown, depth: number): Coded | undefined => {
  if (depth > 8 || !Predicate.isObject(cause)) return undefined
  const { code, syscall } = cause as { readonly code?: unknown; readonly syscall?: unknown } // of anything
  const meaning = typeof code === "string" ? meaningOf(code) : undefined
  if (meaning !== undefined) return coded(code as string, meaning, syscall) // only texts have a meaning
  const members = Predicate.hasProperty(cause, "errors") && Array.isArray(cause.errors) ? cause.errors : []
  const found = members.map((member) => knownIn(member, depth + 1)).filter((one) => one !== undefined)
  // of several tries to connect, all have to be certain
  if (found.length > 0) return { ...found[0]!, certainlyNotSent: found.every((one) => one.certainlyNotSent) }
  return Predicate.hasProperty(cause, "cause") ? knownIn(cause.cause, depth + 1) : undefined
}

/** undici says how much a connection that was closed had read before; without pipelining that was of earlier answers. */
const wasIdle = (cause: unknown, depth: number): boolean => {
  if (depth > 8 || !Predicate.isObject(cause)) return false
  const { code, socket } = cause as { readonly code?: unknown; readonly socket?: unknown } // of anything
  if (code === "UND_ERR_SOCKET" && Predicate.hasProperty(socket, "bytesRead")) {
    return typeof socket.bytesRead === "number" && socket.bytesRead > 0
  }
  return Predicate.hasProperty(cause, "cause") && wasIdle(cause.cause, depth + 1)
}

/** A code that nobody here knows: told by its own name, if it is shaped like one. */
const unknownIn = (cause: unknown, depth: number): string | undefined => {
  if (depth > 8 || !Predicate.isObject(cause)) return undefined
  if (
    Predicate.hasProperty(cause, "code") && typeof cause.code === "string" && /^[A-Z][A-Z0-9_]{2,60}$/.test(cause.code)
  ) {
    return cause.code
  }
  return Predicate.hasProperty(cause, "cause") ? unknownIn(cause.cause, depth + 1) : undefined
}

const originOf = (url: string): string => {
  try {
    return new URL(url).origin
  } catch {
    return "an invalid URL"
  }
}

/**
 * The error of a request that got no answer, or of an answer whose body could not be read. Holds nothing of the request's
 * headers and body.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromHttpClientError = (
  error: HttpClientError.HttpClientError,
  operation: string
): Errors.ConnectionError | Errors.MalformedResponse => {
  const origin = originOf(error.request.url)
  const meaning = knownIn(error.cause, 0)
  const code = meaning?.code ?? unknownIn(error.cause, 0)
  if (error._tag === "ResponseError") {
    // without a code, as in browsers, only what cannot be parsed is known not to be a connection that broke
    return error.reason === "EmptyBody" || error.cause instanceof SyntaxError
      ? new Errors.MalformedResponse({
        operation,
        detail: error.reason === "EmptyBody" ? "it has no body" : "its body could not be read",
        status: error.response.status,
        requestId: requestIdOf(error.response.headers)
      })
      : new Errors.ConnectionError({
        operation,
        origin,
        reason: meaning?.reason ?? "reset",
        certainlyNotSent: false,
        detail: code ?? "the answer broke off"
      })
  }
  if (error.reason !== "Transport") {
    return new Errors.ConnectionError({
      operation,
      origin,
      reason: "request",
      certainlyNotSent: true,
      detail: error.reason === "InvalidUrl" ? "the URL is invalid" : "the body could not be encoded"
    })
  }
  return new Errors.ConnectionError({
    operation,
    origin,
    reason: meaning?.reason ?? "unknown",
    certainlyNotSent: meaning?.certainlyNotSent ?? false,
    detail: code ?? "",
    ...(wasIdle(error.cause, 0) ? { wasIdle: true } : {})
  })
}

/**
 * The error of an answer that does not decode.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromMalformedMessage = (
  error: MalformedMessage,
  operation: string,
  requestId?: string
): Errors.MalformedResponse => new Errors.MalformedResponse({ operation, detail: error.message, requestId })
