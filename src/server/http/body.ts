/**
 * Request bodies: read with a bound, decompressed with a bound.
 *
 * @internal
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as Zlib from "node:zlib"
import * as Zstd from "../../protocol/Zstd.js"
import { type Bounds, readBody } from "./readBody.js"
import { badRequest, Refusal, tooLarge } from "./refusal.js"
import type { Uploads } from "./uploads.js"

/** @internal */
export interface BodyReader {
  /** The decompressed body of the current request. */
  readonly bytes: Effect.Effect<Uint8Array, Refusal, HttpServerRequest.HttpServerRequest>
}

/** @internal */
export const make = (bounds: Bounds, uploads: Uploads): BodyReader => {
  const read = readBody(bounds, uploads)
  return {
    bytes: Effect.flatMap(
      HttpServerRequest.HttpServerRequest,
      ({ headers }) => Effect.flatMap(read, (body) => decompress(body, headers["content-encoding"], bounds.each))
    )
  }
}

const decompress = (
  body: Uint8Array,
  encoding: string | undefined,
  limit: number
): Effect.Effect<Uint8Array, Refusal> => {
  const beyond = () => tooLarge(`The body is larger than ${limit} bytes. Send less at a time`)
  switch ((encoding ?? "identity").trim().toLowerCase()) {
    case "identity":
    case "":
      return Effect.succeed(body)
    case "zstd":
      return Effect.mapError(
        Zstd.decompress(body, { maxBytes: limit }),
        (error) => error.reason === "TooLarge" ? beyond() : badRequest(`The body is not readable zstd: ${error.detail}`)
      )
    case "gzip":
      return inflate(Zlib.gunzip, body, limit, beyond)
    case "deflate":
      return inflate(Zlib.inflate, body, limit, beyond)
    default:
      return Effect.fail(
        new Refusal({ status: 415, detail: "Content-Encoding: expected zstd, gzip, deflate or none, got another" })
      )
  }
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
