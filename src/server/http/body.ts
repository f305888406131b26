/**
 * Request bodies: read with a bound, decompressed with a bound, decoded with errors that name the field and no value.
 *
 * @internal
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Zlib from "node:zlib"
import * as Json from "../../protocol/Json.js"
import * as ParseProblem from "../../protocol/ParseProblem.js"
import * as Zstd from "../../protocol/Zstd.js"
import { track, type Uploads } from "../futures/uploads.js"
import { badRequest, Refusal, tooLarge } from "./refusal.js"

/** @internal */
export interface BodyReader {
  /** The decompressed body of the current request. */
  readonly bytes: Effect.Effect<Uint8Array, Refusal, HttpServerRequest.HttpServerRequest>
}

/** @internal */
export const make = (limit: number, uploads: Uploads): BodyReader => {
  const beyond = () => tooLarge(`The body is larger than ${limit} bytes. Send less at a time`)

  const raw = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const announced = Number(request.headers["content-length"] ?? Number.NaN)
    if (announced > limit) return Effect.fail(beyond())
    const unreadable = () => badRequest("The body could not be read to its end")
    if (announced >= 0) {
      return Effect.mapBoth(request.arrayBuffer, {
        onFailure: unreadable,
        onSuccess: (buffer) => new Uint8Array(buffer)
      })
    }
    return request.stream.pipe(
      Stream.mapError(unreadable),
      Stream.runFoldEffect({ size: 0, chunks: Chunk.empty<Uint8Array>() }, (state, chunk) => {
        const size = state.size + chunk.length
        // a little more is read and thrown away: who is still writing does not read an answer
        if (size > 2 * limit) return Effect.fail(beyond())
        return Effect.succeed(
          size > limit ? { size, chunks: Chunk.empty() } : { size, chunks: Chunk.append(state.chunks, chunk) }
        )
      }),
      Effect.flatMap(({ chunks, size }) => size > limit ? Effect.fail(beyond()) : Effect.succeed(concat(chunks, size)))
    )
  })

  const bytes = Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    (request) =>
      Effect.flatMap(track(uploads, raw), (body) => {
        const encoding = (request.headers["content-encoding"] ?? "identity").trim().toLowerCase()
        switch (encoding) {
          case "identity":
          case "":
            return body.length > limit ? Effect.fail(beyond()) : Effect.succeed(body)
          case "zstd":
            return Effect.mapError(Zstd.decompress(body, { maxBytes: limit }), (error) =>
              error.reason === "TooLarge" ? beyond() : badRequest(`The body is not readable zstd: ${error.detail}`))
          case "gzip":
            return inflate(Zlib.gunzip, body, limit, beyond)
          case "deflate":
            return inflate(Zlib.inflate, body, limit, beyond)
          default:
            return Effect.fail(
              new Refusal({
                status: 415,
                detail: "Content-Encoding: expected zstd, gzip, deflate or none, got another"
              })
            )
        }
      })
  )

  return { bytes }
}

const concat = (chunks: Iterable<Uint8Array>, size: number): Uint8Array => {
  const out = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    out.set(chunk, at)
    at += chunk.length
  }
  return out
}

type Inflate = (
  body: Uint8Array,
  options: Zlib.ZlibOptions,
  done: (error: NodeJS.ErrnoException | null, result: Buffer) => void
) => void

const inflate = (run: Inflate, body: Uint8Array, limit: number, beyond: () => Refusal) =>
  Effect.async<Uint8Array, Refusal>((resume) =>
    run(body, { maxOutputLength: limit }, (error, result) =>
      resume(
        error === null
          ? Effect.succeed(result)
          : Effect.fail(
            error.code === "ERR_BUFFER_TOO_LARGE" ? beyond() : badRequest("The body could not be decompressed")
          )
      ))
  )

const decoder = new TextDecoder("utf-8", { fatal: true })

/**
 * The body as JSON; an empty one is `{}`.
 *
 * @internal
 */
export const parseJson = (bytes: Uint8Array): Effect.Effect<unknown, Refusal> =>
  bytes.length === 0
    ? Effect.succeed({})
    : Effect.try({ try: () => decoder.decode(bytes), catch: () => badRequest("The body is not UTF-8 text") }).pipe(
      Effect.flatMap((text) => Effect.mapError(Json.parse(text), () => badRequest("The body is not valid JSON")))
    )

/** @internal */
export const decode = <A, I>(schema: Schema.Schema<A, I>): (input: unknown) => Effect.Effect<A, Refusal> => {
  const run = Schema.decodeUnknown(schema)
  return (input) => Effect.mapError(run(input), (error) => badRequest(ParseProblem.describe(error)))
}
