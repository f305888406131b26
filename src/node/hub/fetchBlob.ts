/** One file of a repository into the cache: taken up where it broke off, and kept only if its checksum is right. */
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Crypto from "node:crypto"
import { createReadStream } from "node:fs"
import * as Fs from "node:fs/promises"
import { sizeOf, storage } from "./cache.js"
import { HubError } from "./hubError.js"
import type { RemoteFile } from "./repository.js"

const maxRedirects = 5

/** A hub, and how patiently it is asked. */
export interface Hub {
  readonly http: HttpClient.HttpClient
  readonly repository: string
  readonly token: Redacted.Redacted | undefined
  /** Failures in a row, without a new byte between them. */
  readonly attempts: number
  /** A connection that gives no byte for so long counts as broken. */
  readonly idleTimeout: Duration.Duration
}

/** A connection that broke, or a hub that is busy: the rest can be asked for. */
class Broken {
  readonly _tag = "Broken"
  constructor(readonly detail: string) {}
}

const failed = ({ repository }: Hub, reason: HubError["reason"], detail: string) =>
  new HubError({ reason, repository, detail })

/** Redirects lead to other hosts for large files: the token stays behind. */
const get = (
  hub: Hub,
  url: URL,
  headers: Readonly<Record<string, string>>,
  redirects = 0,
  origin = url.origin
): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError> => {
  const request = HttpClientRequest.get(url, { headers: { "accept-encoding": "identity", ...headers } })
  return Effect.flatMap(
    hub.http.execute(
      hub.token !== undefined && url.origin === origin
        ? HttpClientRequest.bearerToken(request, hub.token)
        : request
    ),
    (response) => {
      const location = response.headers["location"]
      return response.status >= 300 && response.status < 400 && location !== undefined && redirects < maxRedirects
        ? get(hub, new URL(location, url), headers, redirects + 1, origin)
        : Effect.succeed(response)
    }
  )
}

/** An answer of the hub that is no refusal. */
const answerOf = (
  hub: Hub,
  url: URL,
  what: string,
  headers: Readonly<Record<string, string>> = {}
): Effect.Effect<HttpClientResponse.HttpClientResponse, HubError | Broken> =>
  get(hub, url, headers).pipe(
    Effect.timeoutFail({
      duration: hub.idleTimeout,
      onTimeout: () => new Broken(`${url.host} did not answer for ${what}`)
    }),
    Effect.mapError((error) =>
      error._tag === "Broken" ? error : new Broken(`${url.host} could not be reached for ${what}`)
    ),
    Effect.flatMap((response): Effect.Effect<HttpClientResponse.HttpClientResponse, HubError | Broken> => {
      const { status } = response
      if (status === 200 || status === 206 || status === 416) return Effect.succeed(response)
      if (status === 401 || status === 403) {
        const advice = hub.token === undefined
          ? "there is no repository of this name, or it is gated and needs a token (HF_TOKEN)"
          : "the token may not read this repository, or there is none of this name"
        return Effect.fail(failed(hub, "Unauthorized", `the hub answered ${status}: ${advice}`))
      }
      if (status === 404) return Effect.fail(failed(hub, "NotFound", `the hub has no ${what}`))
      return status === 408 || status === 429 || status >= 500
        ? Effect.fail(new Broken(`the hub answered ${status} for ${what}`))
        : Effect.fail(failed(hub, "Malformed", `the hub answered ${status} for ${what}`))
    })
  )

/** Tries again, with growing pauses, until so many failures came in a row. `progressed` says that something came meanwhile. */
const persist = <A>(
  hub: Hub,
  attempt: Effect.Effect<A, HubError | Broken>,
  progressed: () => boolean = () => false
): Effect.Effect<A, HubError> => {
  let failures = 0
  const pause = Effect.flatMap(
    Random.nextRange(0.75, 1.25),
    (jitter) => Effect.sleep(Duration.millis(Math.min(30_000, 250 * 2 ** failures) * jitter))
  )
  const again: Effect.Effect<A, HubError> = Effect.catchAll(attempt, (error) => {
    if (error._tag === "HubError") return Effect.fail(error)
    failures = progressed() ? 1 : failures + 1
    return failures >= hub.attempts
      ? Effect.fail(
        failed(hub, "Unreachable", `${error.detail}, ${failures} times in a row; what came is kept: pull it again`)
      )
      : Effect.zipRight(pause, again)
  })
  return again
}

/** A JSON document of the hub. */
export const fetchJson = (hub: Hub, url: URL, what: string): Effect.Effect<unknown, HubError> =>
  persist(
    hub,
    Effect.flatMap(answerOf(hub, url, what), (response) =>
      Effect.mapError(response.text, () => new Broken(`the connection broke at ${what}`))).pipe(
        Effect.timeoutFail({
          duration: hub.idleTimeout,
          onTimeout: () =>
            new Broken(`${what} did not come`)
        })
      )
  ).pipe(
    Effect.flatMap((text) =>
      Effect.try({
        try: (): unknown => JSON.parse(text),
        catch: () => failed(hub, "Malformed", `the hub's ${what} is no JSON`)
      })
    )
  )

const hasherOf = ({ digest, size }: RemoteFile): Crypto.Hash =>
  digest.kind === "sha256" ? Crypto.createHash("sha256") : Crypto.createHash("sha1").update(`blob ${size}\0`)

/** Where the part begins that came; 0 when the hub gives the whole file instead. */
const beginOf = (hub: Hub, { headers, status }: HttpClientResponse.HttpClientResponse, file: RemoteFile) => {
  if (status !== 206) return Effect.succeed(0)
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers["content-range"] ?? "")
  return range === null || (range[2] !== "*" && Number(range[2]) !== file.size)
    ? Effect.fail(failed(hub, "Malformed", `the hub answered another part of ${file.name} than was asked for`))
    : Effect.succeed(Number(range[1]))
}

/**
 * Brings a file to where it belongs. What came of it earlier, in `<blob>.incomplete`, is gone on with. `onBytes` is told how
 * much of it is there.
 */
export const fetchBlob = (
  hub: Hub,
  url: URL,
  file: RemoteFile,
  blob: string,
  onBytes: (bytes: number) => Effect.Effect<void>
): Effect.Effect<void, HubError> =>
  Effect.scoped(Effect.gen(function*() {
    if ((yield* sizeOf(blob)) === file.size) return yield* onBytes(file.size)
    const partial = `${blob}.incomplete`
    const handle = yield* Effect.acquireRelease(
      storage(hub.repository, partial, () => Fs.open(partial, "a+")),
      (handle) => Effect.promise(() => handle.close().catch(() => undefined))
    )
    let hash = hasherOf(file)
    let there = (yield* sizeOf(partial)) ?? 0
    const restart = Effect.andThen(storage(hub.repository, partial, () => handle.truncate(0)), () => {
      hash = hasherOf(file)
      there = 0
    })
    if (there > file.size) yield* restart
    yield* storage(hub.repository, partial, async () => {
      for await (const piece of createReadStream(partial, { end: Math.max(0, there - 1) })) {
        if (there > 0) hash.update(piece)
      }
    })
    yield* onBytes(there)

    const append = (bytes: Uint8Array) =>
      Effect.gen(function*() {
        if (there + bytes.length > file.size) {
          yield* restart
          return yield* failed(hub, "Corrupt", `more came of ${file.name} than the ${file.size} bytes that it has`)
        }
        yield* storage(hub.repository, partial, () => handle.write(bytes))
        hash.update(bytes)
        there += bytes.length
        yield* onBytes(there)
      })

    let before = there
    const rest = Effect.gen(function*() {
      before = there
      const response = yield* answerOf(hub, url, file.name, there === 0 ? {} : { range: `bytes=${there}-` })
      if (response.status === 416) {
        yield* restart
        return yield* Effect.fail(new Broken(`the hub has no such part of ${file.name}`))
      }
      const begin = yield* beginOf(hub, response, file)
      if (begin !== there) {
        if (begin !== 0) return yield* failed(hub, "Malformed", `the hub answered another part of ${file.name}`)
        yield* restart
      }
      yield* response.stream.pipe(
        Stream.mapError(() => new Broken(`the connection broke at ${file.name}`)),
        Stream.timeoutFail(() => new Broken(`the hub fell silent at ${file.name}`), hub.idleTimeout),
        Stream.runForEach(append)
      )
      if (there < file.size) return yield* Effect.fail(new Broken(`the connection ended early at ${file.name}`))
    })
    if (there < file.size || file.size === 0) yield* persist(hub, rest, () => there > before)

    if (hash.digest("hex") !== file.digest.hex) {
      yield* Effect.ignore(storage(hub.repository, partial, () => Fs.rm(partial, { force: true })))
      return yield* failed(hub, "Corrupt", `${file.name} has another checksum than the hub says; it was thrown away`)
    }
    yield* storage(hub.repository, blob, async () => {
      await handle.sync()
      await Fs.rename(partial, blob)
    })
  }))
