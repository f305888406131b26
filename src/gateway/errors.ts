/**
 * What is said of a request that fails, in the shapes of the two APIs.
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Data from "effect/Data"
import type { RendererError } from "../chat/RendererError.js"
import type { InvalidInput } from "../protocol/InvalidInput.js"
import type { TinkexError } from "../TinkexError.js"
import type { TokenizerError } from "../tokenizer/TokenizerError.js"

/**
 * A request that is refused or fails. `type` and `code` are OpenAI's words.
 */
export class GatewayError extends Data.TaggedError("GatewayError")<{
  readonly status: number
  readonly type:
    | "invalid_request_error"
    | "authentication_error"
    | "rate_limit_error"
    | "insufficient_quota"
    | "server_error"
  readonly code?: string | undefined
  /** The field that is meant. */
  readonly param?: string | undefined
  readonly detail: string
  /** Seconds after which it may be tried again. */
  readonly retryAfter?: number | undefined
}> {
  override get message(): string {
    return this.detail
  }
}

/** Everything that can go wrong on the way of a request. */
export type Failure = GatewayError | TinkexError | TokenizerError | RendererError | InvalidInput

const refused = (detail: string, param?: string): GatewayError =>
  new GatewayError({ status: 400, type: "invalid_request_error", param, detail })

/** A failure of the service as a caller of the gateway is told of it. Messages of ours hold no key, prompt or token. */
export const toGateway = (error: Failure): GatewayError => {
  switch (error._tag) {
    case "GatewayError":
      return error
    case "InvalidInput":
      return refused(error.message, error.field)
    case "RendererError":
    case "TokenizerError":
      return refused(error.message, "model")
    case "BadRequest":
      return refused(error.message)
    case "NotFound":
      return new GatewayError({
        status: 404,
        type: "invalid_request_error",
        code: "model_not_found",
        param: "model",
        detail: error.message
      })
    case "RateLimited":
      return new GatewayError({
        status: 429,
        type: "rate_limit_error",
        code: "rate_limit_exceeded",
        detail: error.message
      })
    case "RequestFailed":
      return error.category === "user"
        ? refused(error.message)
        : new GatewayError({ status: 502, type: "server_error", detail: error.message })
    case "CircuitOpen":
    case "ConnectionError":
      return new GatewayError({ status: 503, type: "server_error", detail: error.message, retryAfter: 5 })
    case "FutureTimeout":
      return new GatewayError({ status: 504, type: "server_error", detail: error.message })
    default:
      return new GatewayError({ status: 502, type: "server_error", detail: error.message })
  }
}

const headersOf = ({ retryAfter }: GatewayError): Record<string, string> =>
  retryAfter === undefined ? {} : { "retry-after": String(retryAfter) }

export const openAiBody = ({ code, detail, param, type }: GatewayError): unknown => ({
  error: { message: detail, type, param: param ?? null, code: code ?? null }
})

export const toOpenAi = (error: GatewayError): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.unsafeJson(openAiBody(error), { status: error.status, headers: headersOf(error) })

const anthropicTypes: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  503: "overloaded_error",
  504: "timeout_error"
}

export const anthropicBody = ({ detail, status }: GatewayError): unknown => ({
  type: "error",
  error: { type: anthropicTypes[status] ?? "api_error", message: detail }
})

export const toAnthropic = (error: GatewayError): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.unsafeJson(anthropicBody(error), { status: error.status, headers: headersOf(error) })
