/**
 * Tuned models for applications that speak to OpenAI or to Anthropic: their HTTP APIs over the clients of this package, in front
 * of any service that speaks the Tinker protocol. Limits, breaker, budgets and metrics are those of the client.
 *
 * @since 0.2.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as ModelRef from "../client/ModelRef.js"
import type { ServiceClient } from "../client/ServiceClient.js"
import type { Tokenizers } from "../tokenizer/Tokenizers.js"
import * as Anthropic from "./anthropic/messages.js"
import { decode as decodeMessages } from "./anthropic/request.js"
import { type Failure, GatewayError, toAnthropic, toGateway, toOpenAi } from "./errors.js"
import * as Models from "./models.js"
import * as Chat from "./openai/chat.js"
import * as Completions from "./openai/completions.js"
import * as Request from "./openai/request.js"
import * as Tokenize from "./openai/tokenize.js"
import { prefixes, serves } from "./paths.js"

/**
 * Settings of a gateway.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** Names that applications use, and what answers to them: weights by path, a base model, or a reference that is promoted. */
  readonly models?: Readonly<Record<string, ModelRef.Target | ModelRef.ModelRef>> | undefined
  /** What callers have to show, as a bearer token or as `x-api-key`. Nothing unless given. */
  readonly apiKey?: Redacted.Redacted | undefined
  /** The renderer of all models, by name, in place of each one's own. */
  readonly renderer?: string | undefined
  /**
   * Names under which the gateway may be called, without ports; a request with another Host, or from a page of another site, is
   * refused. Any unless given. A gateway on loopback without a key needs them: pages in a browser can reach it too.
   */
  readonly hosts?: ReadonlyArray<string> | undefined
  /** Bytes of a request's body at most. 32 MiB unless given. */
  readonly maxBodyBytes?: number | undefined
}

/**
 * The gateway.
 *
 * @since 0.2.0
 * @category services
 */
export class Gateway extends Context.Tag("tinkex/Gateway")<Gateway, {
  /**
   * Answers everything under `/v1` and `/oai/api/v1`, and `undefined` paths with 404.
   */
  readonly app: HttpApp.Default<never, Scope.Scope>
  /** Whether a path is the gateway's. */
  readonly serves: (path: string) => boolean
  /** The names given, to promote other weights under them. */
  readonly models: ReadonlyMap<string, ModelRef.ModelRef>
}>() {}

const defaultMaxBodyBytes = 32 * 1024 * 1024

/** Compares all of both, whatever the first difference is. */
const equal = (a: string, b: string): boolean => {
  let difference = a.length ^ b.length
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i % Math.max(1, b.length))
  return difference === 0
}

const authorised = (apiKey: Redacted.Redacted | undefined, headers: Readonly<Record<string, string | undefined>>) => {
  if (apiKey === undefined) return true
  const bearer = /^bearer (.+)$/i.exec(headers["authorization"] ?? "")?.[1]
  return [bearer, headers["x-api-key"]].some((given) =>
    given !== undefined && given !== "" && equal(given, Redacted.value(apiKey))
  )
}

const hostOf = (header: string | undefined): string => (header ?? "").toLowerCase().replace(/:\d+$/, "")

/** Whether a request comes from where it may come from. */
const invited = (hosts: ReadonlyArray<string> | undefined, headers: Readonly<Record<string, string | undefined>>) => {
  if (hosts === undefined) return true
  const origin = headers["origin"]
  const from = origin === undefined || !URL.canParse(origin) ? undefined : new URL(origin).hostname
  return hosts.includes(hostOf(headers["host"])) &&
    (origin === undefined || (from !== undefined && hosts.includes(from)))
}

const uninvited = new GatewayError({
  status: 403,
  type: "invalid_request_error",
  detail: "This gateway does not answer under this Host, or to pages of this origin"
})

const unauthorised = new GatewayError({
  status: 401,
  type: "authentication_error",
  code: "invalid_api_key",
  detail: "Incorrect API key provided. Send it as a bearer token or as x-api-key"
})

/**
 * A gateway over the service of the context.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<Context.Tag.Service<Gateway>, never, ServiceClient | Tokenizers | Scope.Scope> =>
  Effect.gen(function*() {
    const names = new Map<string, ModelRef.ModelRef>()
    for (const [name, model] of Object.entries(options.models ?? {})) {
      names.set(name, typeof model === "string" ? yield* ModelRef.make(model) : model)
    }
    const models = yield* Models.make({ names, renderer: options.renderer })
    const limit = options.maxBodyBytes ?? defaultMaxBodyBytes

    const tooLarge = new GatewayError({
      status: 413,
      type: "invalid_request_error",
      detail: `the body is larger than ${limit} bytes`
    })
    const body = Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      if (Number(request.headers["content-length"] ?? 0) > limit) return yield* tooLarge
      const pieces: Array<Uint8Array> = []
      let total = 0
      yield* Stream.runForEach(request.stream, (piece) => {
        total += piece.length
        pieces.push(piece)
        return total > limit ? tooLarge : Effect.void
      }).pipe(
        Effect.catchTag(
          "RequestError",
          () => new GatewayError({ status: 400, type: "invalid_request_error", detail: "the body could not be read" })
        )
      )
      const whole = new Uint8Array(total)
      let at = 0
      for (const piece of pieces) {
        whole.set(piece, at)
        at += piece.length
      }
      return new TextDecoder().decode(whole)
    })

    const route = <E extends Failure>(
      handle: Effect.Effect<
        HttpServerResponse.HttpServerResponse,
        E,
        HttpServerRequest.HttpServerRequest | HttpRouter.RouteContext | Scope.Scope
      >,
      failed: (error: GatewayError) => HttpServerResponse.HttpServerResponse = toOpenAi
    ) =>
      Effect.gen(function*() {
        const { headers } = yield* HttpServerRequest.HttpServerRequest
        if (!invited(options.hosts, headers)) return failed(uninvited)
        return authorised(options.apiKey, headers) ? yield* handle : failed(unauthorised)
      }).pipe(
        Effect.catchAll((error) => Effect.succeed(failed(toGateway(error)))),
        Effect.catchAllCause((cause) =>
          Cause.isInterruptedOnly(cause)
            ? Effect.failCause(cause as Cause.Cause<never>) // an interruption has no error
            : Effect.as(
              Effect.logError("the gateway failed", cause),
              failed(
                new GatewayError({ status: 500, type: "server_error", detail: "the gateway failed; its log says why" })
              )
            )
        )
      )

    const chat = Effect.flatMap(body, (text) =>
      Effect.flatMap(
        Request.decodeBody(Request.ChatRequest, Request.ChatRequest.fields, text),
        (request) => Chat.respond(models, request)
      ))
    const completions = Effect.flatMap(body, (text) =>
      Effect.flatMap(
        Request.decodeBody(Request.CompletionRequest, Request.CompletionRequest.fields, text),
        (request) => Completions.respond(models, request)
      ))
    const tokenize = Effect.flatMap(body, (text) =>
      Effect.flatMap(
        Request.decodeBody(Request.TokenizeRequest, Request.TokenizeRequest.fields, text),
        (request) => Tokenize.tokenize(models, request)
      ))
    const detokenize = Effect.flatMap(body, (text) =>
      Effect.flatMap(
        Request.decodeBody(Request.DetokenizeRequest, Request.DetokenizeRequest.fields, text),
        (request) => Tokenize.detokenize(models, request)
      ))
    const messages = Effect.flatMap(
      body,
      (text) => Effect.flatMap(decodeMessages(text), (request) => Anthropic.respond(models, request))
    )
    const model = Effect.flatMap(
      HttpRouter.params,
      ({ "*": name }) => Tokenize.one(models, decodeURIComponent(name ?? ""))
    )

    const routes = HttpRouter.empty.pipe(
      HttpRouter.post("/chat/completions", route(chat)),
      HttpRouter.post("/completions", route(completions)),
      HttpRouter.post("/messages", route(messages, toAnthropic)),
      HttpRouter.post("/tokenize", route(tokenize)),
      HttpRouter.post("/detokenize", route(detokenize)),
      HttpRouter.get("/models", route(Tokenize.list(models))),
      HttpRouter.get("/models/*", route(model))
    )
    const router = prefixes.reduce<HttpRouter.HttpRouter<never, Scope.Scope>>(
      (all, prefix) => HttpRouter.concat(all, HttpRouter.prefixAll(routes, prefix)),
      HttpRouter.empty
    )
    const app = Effect.catchTag(router, "RouteNotFound", ({ request }) =>
      Effect.succeed(toOpenAi(
        new GatewayError({
          status: 404,
          type: "invalid_request_error",
          detail: `Invalid URL (${request.method} ${request.url.split("?")[0] ?? ""})`
        })
      ))).pipe(
        // servers let nothing interrupt what they run; who goes away is to stop what was asked for
        Effect.interruptible
      )
    return {
      app,
      serves,
      models: names
    }
  })

/**
 * A gateway for as long as the layer is in use.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Gateway, never, ServiceClient | Tokenizers> =>
  Layer.scoped(Gateway, make(options))
