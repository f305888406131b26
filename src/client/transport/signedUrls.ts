/** Answers that lead to signed URLs, which are fetched without the key (docs/protocol/checkpoints.md#archives). */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { ArchiveUrl } from "../../protocol/Checkpoint.js"
import * as Routes from "../../protocol/Routes.js"
import type { TinkerPath } from "../../protocol/TinkerPath.js"
import {
  disposition,
  fromHttpClientError,
  fromStatus,
  MalformedResponse,
  requestIdOf,
  RequestTimeout,
  type TransportError
} from "../../TinkexError.js"
import * as Monotonic from "../monotonic.js"
import { longestAnswer, longestError, textWithin } from "./body.js"
import * as Json from "./json.js"
import type { Redactor } from "./redact.js"
import type { Answer, Request, Transport } from "./types.js"

/** An archive in the making is asked for so far apart, unless the service says otherwise, and for so long in all. */
const wait = Duration.seconds(30)
const patience = Duration.minutes(3)
/** A signed URL without a date holds at least so long. */
const life = Duration.minutes(15)

/** A path of `Routes` as the transport takes it. */
export const below = (path: string): string => path.slice(1)

/** `/training_runs/{run}/checkpoints/{id}` and what is behind it, for metrics. */
export const checkpointRoute = (action?: string): string =>
  `training_runs/{training_run_id}/checkpoints/{checkpoint_id}${action === undefined ? "" : `/${action}`}`

export const textOf = (answer: Answer): string => answer.body._tag === "Text" ? answer.body.text : ""

/** An address in an answer, fetched without the key. */
export const fetchSigned = (
  http: HttpClient.HttpClient,
  redact: Redactor,
  operation: string,
  url: string
): Effect.Effect<string, TransportError> =>
  Effect.gen(function*() {
    const response = yield* http.get(url)
    const { headers, status } = response
    const success = status >= 200 && status < 300
    const { cut, text: body } = yield* textWithin(response, success ? longestAnswer : longestError)
    if (success) {
      return cut
        ? yield* new MalformedResponse({
          operation,
          status,
          detail: `it is larger than ${longestAnswer / 2 ** 20} MiB`
        })
        : body
    }
    const nowMillis = yield* Clock.currentTimeMillis
    return yield* Effect.fail(
      fromStatus({ operation, origin: new URL(url).origin, status, headers, body, redact, nowMillis, requestBytes: 0 })
    )
  }).pipe(
    Effect.mapError((error): TransportError =>
      error._tag === "RequestError" || error._tag === "ResponseError"
        ? fromHttpClientError(error, operation)
        : error
    )
  )

/** Sends a request whose redirect is the answer. */
export const sendUnfollowed = (transport: Transport, request: Request): Effect.Effect<Answer, TransportError> =>
  transport.send({ ...request, redirects: true })

const read = (
  transport: Transport,
  operation: string,
  answer: Answer
): Effect.Effect<ArchiveUrl, TransportError> =>
  Effect.gen(function*() {
    const requestId = requestIdOf(answer.headers, transport.redact)
    if (answer.status < 300) {
      const body = yield* Json.parse(textOf(answer), operation, requestId)
      return yield* Json.decode(body, ArchiveUrl, operation, requestId, transport.redact)
    }
    const { expires, location } = answer.headers
    if (location === undefined) {
      return yield* new MalformedResponse({
        operation,
        status: answer.status,
        detail: "a redirect without Location",
        requestId
      })
    }
    const until = Date.parse(expires ?? "")
    const now = yield* Clock.currentTimeMillis
    return {
      url: new URL(location, `${transport.settings.baseUrl}/`).href,
      expires: DateTime.unsafeMake(Number.isNaN(until) ? now + Duration.toMillis(life) : until)
    }
  })

/** How long to wait for an archive that is being made; nothing for what says something else. */
const inTheMaking = (error: TransportError): Duration.Duration | undefined => {
  if (!("status" in error) || (error.status !== 503 && error.status !== 425)) return undefined
  const asked = "retryAfter" in error ? error.retryAfter : undefined
  return asked !== undefined && Duration.greaterThan(asked, Duration.zero) ? asked : wait
}

/** Some services say so in an answer that is a success. */
const isGenerating = (answer: Answer): boolean => {
  if (answer.status === 202) return true
  if (answer.status >= 300) return false
  return /"status"\s*:\s*"(?:generating|pending|processing)"/.test(textOf(answer).slice(0, 4096))
}

/** Asks for an archive, and again while the service makes it. */
export const archiveUrl = (
  transport: Transport,
  path: string,
  parsed: TinkerPath
): Effect.Effect<ArchiveUrl, TransportError> => {
  const operation = `archive (${path})`
  const ask = sendUnfollowed(transport, {
    operation,
    method: "GET",
    pool: "service",
    path: below(Routes.checkpoint(parsed, "archive")),
    route: checkpointRoute("archive"),
    headers: { accept: "application/json" },
    // a 503 may say that it is being made: that says nothing about the service, and there is one budget for all of it
    unguarded: true,
    times: 0
  })
  const late = (): TransportError =>
    new RequestTimeout({
      operation,
      detail: `the service has been making the archive for ${Duration.format(patience)}`
    })
  return Effect.flatMap(Monotonic.millis, (begun) => {
    const again = (
      n: number,
      delay: Duration.Duration,
      error: () => TransportError
    ): Effect.Effect<ArchiveUrl, TransportError> =>
      Effect.flatMap(Monotonic.millis, (now) =>
        now - begun + Duration.toMillis(delay) > Duration.toMillis(patience)
          ? Effect.fail(error())
          : Effect.zipRight(Effect.sleep(delay), repeat(n + 1)))
    const making = (n: number, delay: Duration.Duration, error: () => TransportError) =>
      Effect.zipRight(
        n === 0
          ? Effect.logInfo(`the service is making the archive of ${path}; asking again every ${Duration.format(delay)}`)
          : Effect.void,
        again(n, delay, error)
      )
    const repeat = (n: number): Effect.Effect<ArchiveUrl, TransportError> =>
      Effect.matchEffect(ask, {
        onFailure: (error) => {
          const delay = inTheMaking(error)
          if (delay !== undefined) return making(n, delay, () => error)
          const { retry } = disposition(error, "service")
          return retry._tag === "Backoff" || retry._tag === "After"
            ? again(n, retry._tag === "After" ? retry.delay : Duration.seconds(Math.min(30, 2 ** n)), () => error)
            : Effect.fail(error)
        },
        onSuccess: (answer) => isGenerating(answer) ? making(n, wait, late) : read(transport, operation, answer)
      })
    return repeat(0)
  })
}
