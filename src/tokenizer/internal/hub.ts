/**
 * Files of repositories on the Hugging Face hub.
 *
 * @internal
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { TokenizerError } from "../TokenizerError.js"
import { isSafeId, type RepositoryFiles } from "./files.js"

/** Revisions that the official SDK pins (SDK 0.38, sampling client). */
const revisions: Readonly<Record<string, string>> = {
  "moonshotai/Kimi-K2-Thinking": "612681931a8c906ddb349f8ad0f582cb552189cd",
  "moonshotai/Kimi-K2.5": "4d01dfe0332d63057c186e0b262165819efb6611",
  "moonshotai/Kimi-K2.6": "b5aabbfb20227ed42becbf5541dbffd213942c58",
  "moonshotai/Kimi-K3": "f831ab66814297da540d832a5235f8e904f29d06"
}

/** @internal */
export const revisionOf = (id: string): string => Object.hasOwn(revisions, id) ? revisions[id]! : "main"

const attemptTimeout = Duration.seconds(60)
const maxRedirects = 5

const backOff = (retries: number) =>
  Schedule.exponential("500 millis").pipe(Schedule.jittered, Schedule.intersect(Schedule.recurs(retries)))

const unreachable = (id: string, detail: string, cause?: unknown) =>
  new TokenizerError({ reason: "Unreachable", id, detail: `${detail}; check the connection and try again`, cause })

/** Answers that are not the file. */
const refusal = (id: string, file: string, status: number, hasToken: boolean): TokenizerError =>
  status === 401 || status === 403
    ? new TokenizerError({
      reason: "Unauthorized",
      id,
      detail: hasToken
        ? `the hub answered ${status}: the token may not read this repository, or there is none of this name`
        : `the hub answered ${status}: there is no repository of this name, or it is gated and needs a token (HF_TOKEN)`
    })
    : unreachable(id, `the hub answered ${status} for ${file}`)

/** @internal */
export const files = (
  client: HttpClient.HttpClient,
  options: {
    readonly token?: Redacted.Redacted<string> | undefined
    readonly endpoint?: string | undefined
    readonly retries?: number | undefined
  }
): RepositoryFiles => {
  const endpoint = (options.endpoint ?? "https://huggingface.co").replace(/\/+$/, "")

  /** Redirects lead to another host for large files: the token stays behind. */
  const get = (
    url: URL,
    origin: string,
    redirects: number
  ): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError> => {
    const request = HttpClientRequest.get(url)
    return Effect.flatMap(
      client.execute(
        options.token !== undefined && url.origin === origin
          ? HttpClientRequest.bearerToken(request, options.token)
          : request
      ),
      (response) => {
        const location = response.headers["location"]
        return response.status >= 300 && response.status < 400 && location !== undefined && redirects < maxRedirects
          ? get(new URL(location, url), origin, redirects + 1)
          : Effect.succeed(response)
      }
    )
  }

  return Effect.fn("Tokenizers.hub")(function*(id, file) {
    yield* Effect.annotateCurrentSpan({ tokenizer: id, file })
    if (!isSafeId(id)) return Option.none()
    const url = yield* Effect.try({
      try: () => new URL(`${endpoint}/${id}/resolve/${revisionOf(id)}/${file}`),
      catch: () =>
        new TokenizerError({
          reason: "Malformed",
          id,
          detail: `the endpoint "${endpoint}" is no URL; give one like https://huggingface.co`
        })
    })
    return yield* get(url, url.origin, 0).pipe(
      Effect.flatMap((response) => Effect.map(response.text, (text) => ({ status: response.status, text }))),
      Effect.scoped,
      Effect.mapError((cause) => unreachable(id, `${url.host} could not be reached for ${file}`, cause)),
      Effect.timeoutFail({
        duration: attemptTimeout,
        onTimeout: () => unreachable(id, `${url.host} took more than ${Duration.format(attemptTimeout)} for ${file}`)
      }),
      Effect.flatMap(({ status, text }) =>
        status === 404
          ? Effect.succeedNone
          : status === 200
          ? Effect.succeedSome(text)
          : Effect.fail(refusal(id, file, status, options.token !== undefined))
      ),
      Effect.retry({ schedule: backOff(options.retries ?? 3), while: (error) => error.reason === "Unreachable" })
    )
  })
}
