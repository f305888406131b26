/** From a response to an answer or an error. */
import type * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as TinkexError from "../../TinkexError.js"
import * as Body from "./body.js"
import type { Call } from "./calls.js"
import type { Redactor } from "./redact.js"
import type { Answer } from "./types.js"

export type RawError = HttpClientError.HttpClientError | TinkexError.TransportError

export const errorOf = (error: RawError, operation: string): TinkexError.TransportError =>
  error._tag === "RequestError" || error._tag === "ResponseError"
    ? TinkexError.fromHttpClientError(error, operation)
    : error

const isBinary = (contentType: string | undefined): boolean =>
  contentType !== undefined &&
  (contentType.includes("application/x-protobuf") || contentType.includes("application/octet-stream"))

export interface Receive {
  (call: Call<unknown>, response: HttpClientResponse.HttpClientResponse): Effect.Effect<Answer, RawError>
}

export const make = (clock: Clock.Clock, origin: string, redact: Redactor): Receive => {
  const tooLong = (
    { request: { operation } }: Call<unknown>,
    { headers, status }: HttpClientResponse.HttpClientResponse
  ) =>
    Effect.fail(
      new TinkexError.MalformedResponse({
        operation,
        status,
        detail: `it is larger than ${Body.longestAnswer / 2 ** 20} MiB`,
        requestId: TinkexError.requestIdOf(headers, redact)
      })
    )
  return (call, response) => {
    const { headers, status } = response
    const { operation, pool, redirects } = call.request
    const success = status >= 200 && (status < 300 || (redirects === true && status < 400))
    // a 408 on a poll is an answer, its body tells the state of the queue
    if (success || (status === 408 && pool === "futures")) {
      return isBinary(headers["content-type"])
        ? Effect.flatMap(
          Body.bytesWithin(response, Body.longestAnswer),
          ({ bytes, cut }): Effect.Effect<Answer, RawError> =>
            cut ? tooLong(call, response) : Effect.succeed({ status, headers, body: { _tag: "Bytes", bytes } })
        )
        : Effect.flatMap(
          Body.textWithin(response, Body.longestAnswer),
          ({ cut, text }): Effect.Effect<Answer, RawError> =>
            cut ? tooLong(call, response) : Effect.succeed({ status, headers, body: { _tag: "Text", text } })
        )
    }
    return Effect.flatMap(Body.textWithin(response, Body.longestError), ({ text }) =>
      Effect.fail(
        TinkexError.fromStatus({
          operation,
          origin,
          status,
          headers,
          body: text,
          redact,
          nowMillis: clock.unsafeCurrentTimeMillis(),
          requestBytes: call.bytes
        })
      ))
  }
}
