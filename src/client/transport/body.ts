/** Reading the body of an answer, never more of it than can be right. */
import type * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** The largest results of training are some tens of megabytes. */
export const longestAnswer = 256 * 1024 * 1024

/** More of an error's words is never shown. */
export const longestError = 64 * 1024

export interface Read {
  readonly bytes: Uint8Array
  /** Whether there was more. The connection is given up then. */
  readonly cut: boolean
}

const counted = (
  response: HttpClientResponse.HttpClientResponse,
  limit: number
): Effect.Effect<Read, HttpClientError.ResponseError> =>
  Effect.suspend(() => {
    const chunks: Array<Uint8Array> = []
    let total = 0
    const read = Stream.runForEachWhile(response.stream, (chunk) =>
      Effect.sync(() => {
        chunks.push(chunk)
        total += chunk.length
        return total <= limit
      }))
    return Effect.map(
      // an answer may have none
      Effect.catchIf(read, ({ reason }) => reason === "EmptyBody", () => Effect.void),
      () => {
        const bytes = new Uint8Array(total)
        let at = 0
        for (const chunk of chunks) {
          bytes.set(chunk, at)
          at += chunk.length
        }
        return { bytes: total > limit ? bytes.subarray(0, limit) : bytes, cut: total > limit }
      }
    )
  })

/** Whether the headers promise a body that fits, in so many words: the HTTP client holds the server to it. */
const fits = ({ headers }: HttpClientResponse.HttpClientResponse, limit: number): boolean => {
  const length = headers["content-length"]
  return length !== undefined && headers["content-encoding"] === undefined && Number(length) <= limit
}

const decoder = new TextDecoder()

export const bytesWithin = (
  response: HttpClientResponse.HttpClientResponse,
  limit: number
): Effect.Effect<Read, HttpClientError.ResponseError> =>
  fits(response, limit)
    ? Effect.map(response.arrayBuffer, (buffer) => ({ bytes: new Uint8Array(buffer), cut: false }))
    : counted(response, limit)

export const textWithin = (
  response: HttpClientResponse.HttpClientResponse,
  limit: number
): Effect.Effect<{ readonly text: string; readonly cut: boolean }, HttpClientError.ResponseError> =>
  fits(response, limit)
    ? Effect.map(response.text, (text) => ({ text, cut: false }))
    : Effect.map(counted(response, limit), ({ bytes, cut }) => ({ text: decoder.decode(bytes), cut }))
