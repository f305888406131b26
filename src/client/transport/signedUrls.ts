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
  fromHttpClientError,
  fromStatus,
  MalformedResponse,
  requestIdOf,
  type TransportError
} from "../../TinkexError.js"
import { longestAnswer, longestError, textWithin } from "./body.js"
import * as Json from "./json.js"
import type { Redactor } from "./redact.js"
import type { Answer, Request, Transport } from "./types.js"

/** An archive in the making is asked for so often, so far apart. */
const attempts = 6
const wait = Duration.seconds(30)
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
    times: 2
  })
  const repeat = (n: number): Effect.Effect<Answer, TransportError> =>
    Effect.catchTag(ask, "ServerError", (error) =>
      error.status !== 503 || n >= attempts
        ? Effect.fail(error)
        : Effect.logInfo(`the service is making the archive of ${path}; asking again in 30 s`).pipe(
          Effect.zipRight(Effect.sleep(wait)),
          Effect.zipRight(repeat(n + 1))
        ))
  return Effect.flatMap(repeat(1), (answer) => read(transport, operation, answer))
}
