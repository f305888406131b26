/** The bytes behind a signed URL, however often the connection breaks. */
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { DownloadError } from "./downloadError.js"

/** A connection that broke, or a server that is busy: the rest can be asked for. */
class Broken {
  readonly _tag = "Broken"
  constructor(readonly detail: string) {}
}

export interface Options<E, R> {
  readonly http: HttpClient.HttpClient
  /** Asks for a URL; again when the last one has expired. */
  readonly url: Effect.Effect<string, E, R>
  /** What is fetched, for messages. */
  readonly path: string
  /** Failures in a row, without a new byte between them. */
  readonly attempts: number
  /** A connection that gives no byte for so long counts as broken. */
  readonly idleTimeout: Duration.Duration
}

export interface RemoteBytes<E, R> {
  readonly stream: Stream.Stream<Uint8Array, E | DownloadError, R>
  readonly received: () => number
  /** Known once the first answer is here, if the server says it. */
  readonly total: () => number | undefined
}

/** Statuses of a signed URL that no longer holds. */
const expired = new Set([401, 403, 404, 410])

export const remoteBytes = <E, R>(options: Options<E, R>): RemoteBytes<E, R> => {
  const { attempts, idleTimeout, path } = options
  const http = HttpClient.followRedirects(options.http, 5)
  let url: string | undefined
  let received = 0
  let total: number | undefined
  let tag: string | undefined
  let failures = 0
  let renewed = 0

  const failed = (reason: DownloadError["reason"], detail: string) => new DownloadError({ path, reason, detail })

  /** How many bytes of this answer are known already; fails when it is not of what was begun. */
  const alreadyHere = (
    { headers, status }: HttpClientResponse.HttpClientResponse
  ): Effect.Effect<number, Broken | DownloadError> =>
    Effect.suspend((): Effect.Effect<number, Broken | DownloadError> => {
      if (status === 206) {
        const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers["content-range"] ?? "")
        if (range === null) return Effect.fail(failed("Corrupt", "the server answered a part without saying which"))
        if (Number(range[1]) !== received) {
          return Effect.fail(failed("Corrupt", "the server answered another part than was asked for"))
        }
        return sameAs(range[2] === "*" ? undefined : Number(range[2]), headers["etag"], 0)
      }
      if (status === 200) {
        const length = headers["content-encoding"] === undefined ? headers["content-length"] : undefined
        return sameAs(length === undefined ? undefined : Number(length), headers["etag"], received)
      }
      if (expired.has(status)) {
        url = undefined
        // a fresh URL that does not hold either never will
        return ++renewed > 2
          ? Effect.fail(failed("Unavailable", `the signed URL was answered with ${status}`))
          : Effect.fail(new Broken(`the signed URL was answered with ${status}`))
      }
      return status === 408 || status === 429 || status >= 500
        ? Effect.fail(new Broken(`the server answered ${status}`))
        : Effect.fail(failed("Unavailable", `the server answered ${status}`))
    })

  const sameAs = (
    length: number | undefined,
    etag: string | undefined,
    skip: number
  ): Effect.Effect<number, DownloadError> => {
    if (received > 0 && ((total !== undefined && length !== undefined && total !== length) || tag !== etag)) {
      return Effect.fail(failed("Changed", "it is another one than when the download began"))
    }
    total = length ?? total
    tag = etag
    return Effect.succeed(skip)
  }

  const attempt: Stream.Stream<Uint8Array, E | DownloadError | Broken, R> = Stream.unwrap(Effect.gen(function*() {
    const at = url ?? (yield* options.url)
    url = at
    const request = HttpClientRequest.get(at, {
      headers: {
        "accept-encoding": "identity",
        ...(received === 0 ? {} : { range: `bytes=${received}-` }),
        // a weak tag says nothing about bytes
        ...(received === 0 || tag === undefined || tag.startsWith("W/") ? {} : { "if-range": tag })
      }
    })
    const response = yield* http.execute(request).pipe(
      Effect.timeoutFail({ duration: idleTimeout, onTimeout: () => new Broken("the server did not answer") }),
      Effect.catchTags({
        RequestError: (error) =>
          Effect.fail(
            error.reason === "InvalidUrl" ? failed("Unavailable", "the URL is none") : new Broken("no connection")
          ),
        ResponseError: () => Effect.fail(new Broken("the connection broke"))
      })
    )
    let skip = yield* alreadyHere(response)
    return response.stream.pipe(
      Stream.catchAll(() => Stream.fail(new Broken("the connection broke"))),
      Stream.timeoutFail(() => new Broken("the server fell silent"), idleTimeout),
      Stream.filterMap((bytes) => {
        const rest = skip >= bytes.length ? undefined : bytes.subarray(skip)
        skip -= bytes.length - (rest?.length ?? 0)
        if (rest === undefined) return Option.none()
        received += rest.length
        failures = 0
        renewed = 0
        return Option.some(rest)
      }),
      Stream.concat(Stream.suspend(() =>
        total === undefined || received === total
          ? Stream.empty
          : Stream.fail(
            received < total
              ? new Broken("the connection ended early")
              : failed("Corrupt", "more came than was announced")
          )
      ))
    )
  }))

  const backoff = Effect.flatMap(
    Random.nextRange(0.75, 1.25),
    (jitter) => Effect.sleep(Duration.millis(Math.min(30_000, 250 * 2 ** failures) * jitter))
  )

  const stream: Stream.Stream<Uint8Array, E | DownloadError, R> = Stream.catchAll(
    attempt,
    (error): Stream.Stream<Uint8Array, E | DownloadError, R> =>
      error instanceof Broken
        ? ++failures >= attempts
          ? Stream.fail(failed("Unavailable", `${error.detail}, ${attempts} times in a row`))
          : Stream.concat(Stream.drain(Stream.fromEffect(backoff)), stream)
        : Stream.fail(error)
  )

  return { stream, received: () => received, total: () => total }
}
