/**
 * Cassettes: what a program and a service said to each other, in a file, and the program again without the service. For tests
 * that need a real answer, and for sending somebody a program that fails.
 *
 * @since 0.2.0
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { version } from "../protocol/Version.js"
import { type Body, Exchange, Header } from "./replay/cassette.js"
import * as Matching from "./replay/matching.js"
import { answered, requestOf } from "./replay/recorder.js"

/**
 * @since 0.2.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/testing/Replay")

/**
 * @since 0.2.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * A cassette that cannot be used. `File`: it cannot be read or written. `Malformed`: a line of it is not what a cassette
 * holds; the message names the line.
 *
 * @since 0.2.0
 * @category errors
 */
export class ReplayError extends Data.TaggedError("ReplayError")<{
  readonly reason: "File" | "Malformed"
  readonly file: string
  readonly detail: string
  readonly cause?: unknown
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return `the cassette ${this.file}: ${this.detail}`
  }
}

/**
 * What a replay has come to.
 *
 * @since 0.2.0
 * @category services
 */
export class Replay extends Context.Tag("tinkex/testing/Replay")<Replay, {
  /**
   * Recorded answers that nobody has asked for, as method and path, in the order of the recording; polls that came too early,
   * heartbeats and telemetry aside. Empty when the program did again all that it did.
   */
  readonly unused: Effect.Effect<ReadonlyArray<string>>
}>() {}

/**
 * How alike a request must be.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /**
   * `"strict"` (the default): method, path and body are the same, but for the version of the client, and each answer is given
   * once. `"lenient"`: where the body is another, the next answer to the same method and path; the last one again where none is left.
   */
  readonly matching?: "strict" | "lenient" | undefined
}

const encodeExchange = Schema.encodeSync(Schema.parseJson(Exchange))
const encodeHeader = Schema.encodeSync(Schema.parseJson(Header))
const decodeHeader = Schema.decodeUnknownEither(Schema.parseJson(Header))
const decodeExchange = Schema.decodeUnknownEither(Schema.parseJson(Exchange))

const unreadable = (file: string) => (cause: unknown) =>
  new ReplayError({
    reason: "File",
    file,
    detail: cause instanceof Error ? cause.message : String(cause),
    cause
  })

const bytesOf = (
  request: HttpClientRequest.HttpClientRequest
): Effect.Effect<Uint8Array, HttpClientError.RequestError> => {
  const { body } = request
  switch (body._tag) {
    case "Empty":
      return Effect.succeed(new Uint8Array(0))
    case "Uint8Array":
      return Effect.succeed(body.body)
    case "Raw":
      if (typeof body.body === "string") return Effect.succeed(new TextEncoder().encode(body.body))
      if (body.body instanceof Uint8Array) return Effect.succeed(body.body)
      break
    case "Stream":
      return Stream.runFold(body.stream, new Uint8Array(0), (all, chunk) => {
        const joined = new Uint8Array(all.length + chunk.length)
        joined.set(all)
        joined.set(chunk, all.length)
        return joined
      }).pipe(
        Effect.mapError((cause) => new HttpClientError.RequestError({ request, reason: "Encode", cause }))
      )
  }
  return Effect.fail(
    new HttpClientError.RequestError({
      request,
      reason: "Encode",
      description: "a cassette keeps bodies of bytes and text only"
    })
  )
}

/** The library types bytes as over any buffer; web responses want an ArrayBuffer. */
const webBody = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => Uint8Array.from(bytes)

/** Answers of these statuses have no body in the web's `Response`. */
const bodiless = new Set([101, 204, 205, 304])

const responseOf = (
  request: HttpClientRequest.HttpClientRequest,
  status: number,
  headers: Readonly<Record<string, string>>,
  bytes: Uint8Array
): HttpClientResponse.HttpClientResponse =>
  HttpClientResponse.fromWeb(
    request,
    new Response(bodiless.has(status) ? null : webBody(bytes), { status, headers: { ...headers } })
  )

const bodyBytes = (body: Body): Uint8Array => {
  if ("json" in body) return new TextEncoder().encode(JSON.stringify(body.json))
  if ("text" in body) return new TextEncoder().encode(body.text)
  return "base64" in body
    ? Either.getOrElse(Encoding.decodeBase64(body.base64), () => new Uint8Array(0))
    : new Uint8Array(0)
}

/**
 * The client of the context, with everything that passes through it written to a file, which is made anew. A line is written
 * as soon as the answer is there, so a program that dies leaves what it did. Keys, tokens and signatures of links are never
 * written; prompts, data and results are, since without them there is no answer: look at a cassette before giving it away.
 *
 * @since 0.2.0
 * @category layers
 */
export const record = (
  file: string
): Layer.Layer<HttpClient.HttpClient, ReplayError, HttpClient.HttpClient | FileSystem.FileSystem> =>
  Layer.scoped(
    HttpClient.HttpClient,
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const client = yield* HttpClient.HttpClient
      const handle = yield* Effect.mapError(fs.open(file, { flag: "w" }), unreadable(file))
      const write = (line: string) => handle.writeAll(new TextEncoder().encode(`${line}\n`))
      yield* Effect.mapError(
        write(encodeHeader({
          cassette: 1,
          tinkex: version,
          recordedAt: DateTime.formatIso(yield* DateTime.now)
        })),
        unreadable(file)
      )
      // the service is where the first request goes
      let service: string | undefined
      const keep = (exchange: Exchange) =>
        Effect.uninterruptible(write(encodeExchange(exchange))).pipe(
          Effect.catchAll((error) => Effect.logWarning(`the cassette ${file} could not be written: ${error.message}`))
        )
      return HttpClient.make((request, url) =>
        Effect.gen(function*() {
          service ??= url.origin
          const sent = yield* bytesOf(request)
          const asked = requestOf(request, url, sent, service)
          const response = yield* Effect.tapError(client.execute(request), (error) =>
            error._tag === "RequestError"
              ? keep({ request: asked, answer: { failure: error.reason } })
              : Effect.void)
          const bytes = new Uint8Array(yield* response.arrayBuffer)
          yield* keep(answered(asked, request.headers, response, bytes))
          return responseOf(request, response.status, response.headers, bytes)
        })
      )
    })
  )

/** The exchanges of a file. */
const parse = (file: string, text: string): Effect.Effect<ReadonlyArray<Exchange>, ReplayError> =>
  Effect.gen(function*() {
    const malformed = (line: number, detail: string) =>
      new ReplayError({ reason: "Malformed", file, detail: `line ${line}: ${detail}` })
    const [first = "", ...rest] = text.split("\n")
    if (Either.isLeft(decodeHeader(first))) {
      return yield* malformed(1, `expected {"cassette":1,…}, as Replay.record writes it`)
    }
    const exchanges: Array<Exchange> = []
    for (const [i, line] of rest.entries()) {
      if (line === "") continue
      const exchange = decodeExchange(line)
      // the program may have died while it wrote the last line
      if (Either.isLeft(exchange) && i === rest.length - 1) continue
      if (Either.isLeft(exchange)) return yield* malformed(i + 2, "not an exchange of request and answer")
      exchanges.push(exchange.right)
    }
    return exchanges
  })

/**
 * A client that answers from a cassette: no service, no network, no waiting for futures. A request that has no answer gets a
 * 400 whose detail says what the cassette has instead, which no client sends again.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (
  file: string,
  options: Options = {}
): Layer.Layer<HttpClient.HttpClient | Replay, ReplayError, FileSystem.FileSystem> =>
  Layer.effectContext(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const text = yield* Effect.mapError(fs.readFileString(file), unreadable(file))
    const cassette = Matching.make(yield* parse(file, text), options.matching === "lenient")
    let service: string | undefined
    const client = HttpClient.make((request, url) =>
      Effect.gen(function*() {
        service ??= url.origin
        const match = cassette.take(requestOf(request, url, yield* bytesOf(request), service))
        if (match._tag === "Missing") {
          const detail = new TextEncoder().encode(JSON.stringify({ detail: match.detail }))
          return responseOf(
            request,
            400,
            { "content-type": "application/json", "x-should-retry": "false" },
            detail
          )
        }
        const { answer } = match.exchange
        if ("failure" in answer) {
          return yield* new HttpClientError.RequestError({
            request,
            reason: answer.failure,
            description: "as it was recorded"
          })
        }
        return responseOf(request, answer.status, answer.headers, bodyBytes(answer.body))
      })
    )
    return Context.make(HttpClient.HttpClient, client).pipe(
      Context.add(Replay, { unused: Effect.sync(cassette.unused) })
    )
  }))
