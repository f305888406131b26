/**
 * A server as the conformance suite talks to it: plain requests of the protocol, without a client's retries and repairs, so
 * that what came is what the server said.
 *
 * @since 0.2.0
 */
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as ForwardBackwardCodec from "../protocol/ForwardBackwardCodec.js"
import * as Json from "../protocol/Json.js"
import { prefix } from "../protocol/Routes.js"

/**
 * The server did not answer, or not in the time that a check has.
 *
 * @since 0.2.0
 * @category errors
 */
export class Unreachable extends Data.TaggedError("Unreachable")<{
  readonly request: string
  readonly detail: string
}> {
  override get message(): string {
    return `${this.request}: ${this.detail}`
  }
}

/**
 * What came back.
 *
 * @since 0.2.0
 * @category models
 */
export interface Answer {
  readonly request: string
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly bytes: Uint8Array
  /** The body as JSON; `undefined` when it is none. */
  readonly json: unknown
}

/**
 * How a future ended: with a result, or refused with words.
 *
 * @since 0.2.0
 * @category models
 */
export type Outcome =
  | { readonly _tag: "Done"; readonly answer: Answer }
  | { readonly _tag: "Failed"; readonly status: number; readonly category: string | undefined; readonly detail: string }

/**
 * Where the server is, and what to ask it with.
 *
 * @since 0.2.0
 * @category models
 */
export interface PeerOptions {
  readonly baseUrl: string
  readonly apiKey?: Redacted.Redacted | undefined
  /** The base model that checks train and sample. The first of the server's own list unless given. */
  readonly baseModel?: string | undefined
  /** How long a future may take. 5 minutes unless given: the first request of a shape may compile for a minute. */
  readonly patience?: Duration.DurationInput | undefined
}

/**
 * Requests to the server.
 *
 * @since 0.2.0
 * @category models
 */
export interface Peer {
  readonly baseModel: string
  /** A session of its own, made once for all checks. */
  readonly session: Effect.Effect<string, Unreachable>
  readonly newSession: Effect.Effect<string, Unreachable>
  /** Finishes every session of this run, and with them what was made in them, where the server knows how. */
  readonly finish: Effect.Effect<void>
  /** Remembers a model, to be unloaded when the check that made it has ended. */
  readonly made: (modelId: string) => void
  /** Unloads the models made since the last time: a server holds so many and no more. */
  readonly release: Effect.Effect<void>
  /** A number that no other request of this run has: seq ids of models and samplers, names of checkpoints. */
  readonly next: () => number
  readonly request: (
    method: HttpMethod,
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>
  ) => Effect.Effect<Answer, Unreachable>
  readonly post: (
    path: string,
    body: unknown,
    headers?: Readonly<Record<string, string>>
  ) => Effect.Effect<Answer, Unreachable>
  readonly get: (path: string) => Effect.Effect<Answer, Unreachable>
  /** One poll. */
  readonly poll: (requestId: string, headers?: Readonly<Record<string, string>>) => Effect.Effect<Answer, Unreachable>
  /** Polls until the future has ended. */
  readonly outcome: (
    requestId: string,
    options?: { readonly protobuf?: boolean }
  ) => Effect.Effect<Outcome, Unreachable>
}

/**
 * A field of a JSON object; `undefined` for anything else.
 *
 * @since 0.2.0
 * @category getters
 */
export const field = (json: unknown, ...path: ReadonlyArray<string>): unknown =>
  path.reduce<unknown>((value, name) => Predicate.isRecord(value) ? value[name] : undefined, json)

/**
 * A text field of a JSON object, empty where there is none.
 *
 * @since 0.2.0
 * @category getters
 */
export const text = (json: unknown, ...path: ReadonlyArray<string>): string => {
  const value = field(json, ...path)
  return typeof value === "string" ? value : ""
}

/**
 * The words of an error answer, cut to a line.
 *
 * @since 0.2.0
 * @category getters
 */
export const wordsOf = (answer: Answer): string => {
  const detail = field(answer.json, "detail") ?? field(answer.json, "error") ?? answer.json
  const words = typeof detail === "string" ? detail : JSON.stringify(detail) ?? `${answer.bytes.length} bytes`
  return `${answer.status} ${words.replaceAll(/\s+/g, " ").slice(0, 160)}`
}

const parse = (bytes: Uint8Array): unknown => {
  try {
    return Json.unsafeParse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
}

const isPending = (answer: Answer): boolean =>
  answer.status === 408 || (answer.status < 300 && field(answer.json, "type") === "try_again")

const patienceOf = ({ patience = "5 minutes" }: PeerOptions): number => Duration.toMillis(patience)

/** One request, sent once and read whole. */
const requests = (client: HttpClient.HttpClient, options: PeerOptions): Peer["request"] => {
  const root = options.baseUrl.replace(/\/+$/, "") + prefix
  const patience = patienceOf(options)
  return (method, path, body, headers = {}) => {
    const named = `${method} ${path.split("?")[0]}`
    const bytes = body === undefined
      ? undefined
      : body instanceof Uint8Array
      ? body
      : new TextEncoder().encode(typeof body === "string" ? body : Json.stringify(body))
    const outgoing = HttpClientRequest.make(method)(`${root}${path}`, {
      headers: {
        accept: "application/json",
        ...(options.apiKey === undefined ? {} : { "x-api-key": Redacted.value(options.apiKey) }),
        ...headers
      },
      ...(bytes === undefined
        ? {}
        : { body: HttpBody.uint8Array(bytes, headers["content-type"] ?? "application/json") })
    })
    return client.execute(outgoing).pipe(
      Effect.flatMap((response) =>
        Effect.map(response.arrayBuffer, (buffer): Answer => {
          const received = new Uint8Array(buffer)
          return {
            request: named,
            status: response.status,
            headers: response.headers,
            bytes: received,
            json: parse(received)
          }
        })
      ),
      Effect.scoped,
      Effect.timeoutFail({
        duration: Duration.millis(patience),
        onTimeout: () => new Unreachable({ request: named, detail: "no answer" })
      }),
      Effect.mapError((error) =>
        error._tag === "Unreachable"
          ? error
          : new Unreachable({ request: named, detail: `no answer (${error.reason})` })
      )
    )
  }
}

/**
 * A peer over the HTTP client of the context.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (options: PeerOptions): Effect.Effect<Peer, Unreachable, HttpClient.HttpClient> =>
  Effect.gen(function*() {
    const client = yield* HttpClient.HttpClient
    const patience = patienceOf(options)
    // names must not meet those of an earlier run against the same server
    let counter = (yield* Clock.currentTimeMillis) % 1_000_000_000

    const request = requests(client, options)
    const post: Peer["post"] = (path, body, headers) => request("POST", path, body, headers)
    const poll: Peer["poll"] = (requestId, headers) =>
      post("/retrieve_future", { request_id: requestId, allow_metadata_only: false }, headers)

    const outcome: Peer["outcome"] = (requestId, { protobuf = false } = {}) =>
      Effect.gen(function*() {
        const started = yield* Clock.currentTimeMillis
        for (;;) {
          const answer = yield* poll(requestId, protobuf ? { accept: ForwardBackwardCodec.mediaType } : {})
          const now = yield* Clock.currentTimeMillis
          if (isPending(answer) || answer.status >= 500 || answer.status === 429) {
            if (now - started > patience) {
              return yield* new Unreachable({
                request: answer.request,
                detail: `no result within ${Duration.format(Duration.millis(patience))}`
              })
            }
            yield* Effect.sleep("50 millis")
            continue
          }
          if (answer.status >= 300) {
            return { _tag: "Failed", status: answer.status, category: undefined, detail: wordsOf(answer) }
          }
          const error = field(answer.json, "error")
          if (error !== undefined) {
            const category = field(answer.json, "category")
            return {
              _tag: "Failed",
              status: 200,
              category: typeof category === "string" ? category : undefined,
              detail: String(error)
            }
          }
          return { _tag: "Done", answer }
        }
      })

    const opened: Array<string> = []
    const newSession = Effect.flatMap(
      post("/create_session", {
        tags: ["conformance"],
        user_metadata: {},
        sdk_version: "0.38.0",
        type: "create_session"
      }),
      (answer) => {
        const id = text(answer.json, "session_id")
        return id === ""
          ? Effect.fail(new Unreachable({ request: answer.request, detail: `no session: ${wordsOf(answer)}` }))
          : Effect.sync(() => {
            opened.push(id)
            return id
          })
      }
    )

    const baseModel = options.baseModel ?? (yield* firstModel(request))
    let models: Array<string> = []
    const self: Peer = {
      baseModel,
      made: (modelId) => {
        models.push(modelId)
      },
      release: Effect.suspend(() => {
        const left = models
        models = []
        return Effect.forEach(
          left,
          (id) => Effect.ignore(post("/unload_model", { model_id: id, type: "unload_model" })),
          { discard: true }
        )
      }),
      session: yield* Effect.cached(newSession),
      newSession,
      finish: Effect.suspend(() =>
        Effect.forEach(
          opened.splice(0),
          (id) => post(`/sessions/${id}/finish`, { reason: { type: "success" }, detail: null }),
          { discard: true }
        )
      ).pipe(Effect.timeout("10 seconds"), Effect.ignore),
      next: () => counter++,
      request,
      post,
      get: (path) => request("GET", path),
      poll,
      outcome
    }
    return self
  })

const firstModel = (request: Peer["request"]): Effect.Effect<string, Unreachable> =>
  Effect.flatMap(request("GET", "/get_server_capabilities"), (answer) => {
    const models = field(answer.json, "supported_models")
    const names = Array.isArray(models) ? models.map((model) => text(model, "model_name")) : []
    return Option.match(Option.fromNullable(names.find((name) => name !== "")), {
      onNone: () =>
        Effect.fail(
          new Unreachable({
            request: answer.request,
            detail: `no base model is named (${wordsOf(answer)}); say which to use`
          })
        ),
      onSome: Effect.succeed
    })
  })
