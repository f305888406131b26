import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit, Inspectable, Logger, LogLevel, Redacted, type Scope, Tracer } from "effect"
import * as util from "node:util"
import { Datum, Future, Metrics, PrometheusExport, Telemetry, TinkexConfig, TinkexError } from "tinkex"
import { FaultScript } from "tinkex/testing"
import { type Environment, samplerOf, scenario, service, trainingOf, Wire } from "./fixtures/world.js"

const key = "tml-PLANTED01234/56789+abc=\"def"
const otherKey = "BORROWED/0123456789+abcdef=="
const accessSecret = "PLANTED/access+SECRET"
const headerValue = "PLANTED header=VALUE/1"
/** Tokens and numbers that turn up nowhere else. */
const prompt = [401, 402, 403, 404, 405]
const weights = [0.123456791, 0.223456791, 0.323456791, 0.423456791, 0.523456791]

const options: TinkexConfig.Options = {
  apiKey: key,
  tracing: true,
  propagation: true,
  cloudflareAccess: { clientId: "client", clientSecret: accessSecret },
  headers: { "x-proxy-key": headerValue },
  timeouts: { future: "10 minutes" }
}

const secretDatum = Datum.make({
  modelInput: prompt,
  lossFnInputs: { target_tokens: prompt, weights }
})

const base64 = (text: string) => Buffer.from(text).toString("base64")

/** Ways in which a server may repeat a secret. */
const spellings = (secret: string): ReadonlyArray<string> => [
  secret,
  JSON.stringify(secret),
  JSON.stringify(secret).replaceAll("/", "\\/").replaceAll("+", "\\u002b").replaceAll("=", "\\u003D"),
  encodeURIComponent(secret),
  encodeURIComponent(encodeURIComponent(secret)),
  secret.replaceAll("/", "&#x2F;").replaceAll("\"", "&quot;"),
  Buffer.from(secret).toString("hex"),
  base64(secret),
  base64(`u:${secret}`),
  base64(`us:${secret}`)
]

/** What must not be found, as text of any of the usual kinds shows it. */
const secrets: ReadonlyArray<readonly [string, RegExp]> = [
  ["the key", /PLANTED01234|56789.{0,4}abc/],
  ["a borrowed key", /BORROWED|0123456789.{0,4}abcdef/],
  ["the access secret", /PLANTED.{0,8}access/],
  ["a header's value", /PLANTED.{0,4}header/],
  ["the prompt", /401[\s,"\\n]+402[\s,"\\n]+403/],
  ["a tensor", /0\.[12345]23456/],
  ...[key, otherKey, accessSecret, headerValue].flatMap((secret) =>
    [Buffer.from(secret).toString("hex"), base64(secret), base64(`u:${secret}`), base64(`us:${secret}`)].map(
      // what a neighbour touches may stay
      (text) => ["an encoded secret", new RegExp(text.slice(6, 18).replace(/[+/]/g, "."))] as const
    )
  )
]

const audit = (place: string, text: string): void => {
  for (const [what, pattern] of secrets) {
    assert.notMatch(text, pattern, `${what} is shown in ${place}`)
  }
}

/** Every way in which a value is usually shown. */
const shown = (value: unknown): ReadonlyArray<readonly [string, string]> => [
  ["toString", String(value)],
  ["JSON", JSON.stringify(value) ?? ""],
  ["inspect", util.inspect(value, { depth: 12 })],
  ["inspect, hidden fields too", util.inspect(value, { depth: 12, showHidden: true })],
  ["inspect without custom ways", util.inspect(value, { depth: 4, customInspect: false })],
  ["Inspectable", Inspectable.toStringUnknown(value)],
  ["Cause.pretty", Cause.pretty(Cause.fail(value), { renderErrorCause: true })],
  ["an exit", String(Exit.fail(value))],
  ["console", util.format("%s %o %j", value, value, value)],
  ["message and stack", value instanceof Error ? `${value.message}\n${value.stack}\n${util.inspect(value.cause)}` : ""]
]

interface Watch {
  readonly logs: Array<string>
  readonly spans: Array<string>
  readonly errors: Array<TinkexError.TinkexError>
}

const watch = (): Watch => ({ logs: [], spans: [], errors: [] })

const loggers = (logs: Array<string>) =>
  Logger.replace(
    Logger.defaultLogger,
    Logger.make((entry) => {
      logs.push(Logger.logfmtLogger.log(entry), Logger.jsonLogger.log(entry), util.inspect(entry.message, { depth: 8 }))
    })
  )

const tracer = (spans: Array<string>) =>
  Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      const note = (what: string, value: unknown) => spans.push(`${name} ${what} ${util.inspect(value, { depth: 8 })}`)
      const span: Tracer.Span = {
        _tag: "Span",
        name,
        spanId: `${spans.length}`,
        traceId: "trace",
        parent,
        context,
        status: { _tag: "Started", startTime },
        attributes,
        links,
        sampled: true,
        kind,
        end: (_, exit) => void note("end", Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "success"),
        attribute: (field, value) => {
          attributes.set(field, value)
          note(`attribute ${field}`, value)
        },
        event: (event, _, fields) => void note(`event ${event}`, fields),
        addLinks: (more) => void note("links", more)
      }
      return span
    },
    context: (f) => f()
  })

type Tag = TinkexError.TinkexError["_tag"]

const reached = new Set<Tag>()

type Failing = Effect.Effect<unknown, unknown, Environment | Scope.Scope>

/** Runs something that fails with the given error, and looks for the secrets in all that can be seen of it. */
const fails = (
  tag: Tag,
  what: string,
  rules: ReadonlyArray<FaultScript.Rule>,
  body: Failing,
  breaker?: { readonly consecutiveFailures: number }
) =>
  scenario(
    `${tag}: ${what}`,
    { rules, ...(breaker === undefined ? {} : { breaker }) },
    Effect.gen(function*() {
      const seen = watch()
      const telemetry = yield* Telemetry.Telemetry
      const events: Array<string> = []
      yield* telemetry.listen((event) => events.push(JSON.stringify(event), util.inspect(event)))
      const error = yield* Effect.flip(body).pipe(
        Effect.withSpan("of the user"),
        Effect.withTracer(tracer(seen.spans)),
        Logger.withMinimumLogLevel(LogLevel.All),
        Effect.provide(loggers(seen.logs))
      )
      assert.isTrue(TinkexError.isTinkexError(error), `no error of ours: ${error}`)
      if (!TinkexError.isTinkexError(error)) return
      assert.strictEqual(error._tag, tag, error.message)
      reached.add(error._tag)
      for (const [way, text] of shown(error)) audit(`${way} of ${tag}`, text)
      audit("a log", seen.logs.join("\n"))
      audit("a span", seen.spans.join("\n"))
      audit("an event", events.join("\n"))
      const metrics = yield* Metrics.Metrics
      audit("the metrics", PrometheusExport.toText(yield* metrics.all))
      const wire = yield* Wire
      for (const call of wire.of("telemetry")) audit("what is reported to the service", JSON.stringify(call.body))
      // the key went where it belongs, so that the search is not for something that was never there
      assert.isTrue(tag === "ConfigurationError" || wire.calls.some((call) => call.key === key))
    })
  )

const sample = Effect.flatMap(
  Effect.flatMap(service(options), samplerOf),
  (sampler) => sampler.sample({ prompt, maxTokens: 2, promptLogprobs: true })
)

const submitPass = Effect.flatMap(
  Effect.flatMap(service({ ...options, retry: { times: 0 } }), trainingOf),
  (training) => training.forwardBackward([secretDatum], "cross_entropy")
)

const pass = Effect.flatMap(submitPass, Future.await)

/** Everything about the request, as a server might repeat it in its answer. */
const echo = [
  `refused {"tokens": [${prompt.join(", ")}], "weights": [${weights.join(",\n")}]} and ${JSON.stringify(prompt)}`,
  prompt.join(" "),
  ...[key, accessSecret, headerValue].flatMap(spellings)
].join(" ")

const borrowed = `no ${spellings(otherKey).join(" ")}`

const bySample = (status: number, headers: Record<string, string> = {}) => [
  FaultScript.on("asample", FaultScript.status(status, { headers, detail: echo }))
]

describe("secrets", () => {
  fails("Unauthorized", "401", bySample(401), sample)
  fails("PermissionDenied", "403", bySample(403), sample)
  fails("NotFound", "404", bySample(404), sample)
  fails("Conflict", "409", bySample(409), sample)
  fails("BadRequest", "422", bySample(422), sample)
  fails("RequestTimeout", "408", bySample(408), sample)
  fails("RateLimited", "429", bySample(429, { "retry-after": "1" }), sample)
  fails("RateLimited", "429, longer than anybody waits", bySample(429, { "retry-after": "4000" }), sample)
  fails("ServerError", "500", bySample(500), sample)
  fails("BillingPaused", "402, for an hour", bySample(402), sample)
  fails("ConnectionError", "a broken connection", [FaultScript.on("asample", FaultScript.reset())], sample)
  fails(
    "ConnectionError",
    "a broken connection while training",
    [FaultScript.on("forward_backward", FaultScript.reset("after"))],
    submitPass
  )
  fails("MalformedResponse", "rubbish", [FaultScript.on("asample", FaultScript.malformed)], sample)
  fails("MalformedResponse", "a result that is rubbish", [
    FaultScript.on("retrieve_future", FaultScript.malformed, { skip: 1 })
  ], pass)
  fails("RequestTimeout", "no answer", [FaultScript.on("asample", FaultScript.latency("5 minutes"))], sample)
  fails("FutureExpired", "410", [
    FaultScript.on("retrieve_future", FaultScript.status(410, { detail: echo }), { skip: 1 })
  ], pass)
  fails("FutureTimeout", "a result that never comes", [
    FaultScript.on("forward_backward", FaultScript.latency("10 hours", "applied"))
  ], pass)
  fails(
    "RequestFailed",
    "a full disk",
    [
      FaultScript.on("all", FaultScript.storageFailure("write"), { skip: 2 })
    ],
    Effect.gen(function*() {
      const training = yield* trainingOf(yield* service(options))
      yield* training.forwardBackward([secretDatum], "cross_entropy")
      return yield* Effect.flatMap(training.saveState("one"), Future.await)
    })
  )
  fails(
    "CircuitOpen",
    "after an outage",
    [FaultScript.on("asample", FaultScript.status(503, { detail: echo }))],
    Effect.gen(function*() {
      const sampler = yield* samplerOf(yield* service(options))
      yield* Effect.exit(sampler.sample({ prompt, maxTokens: 1 }))
      return yield* sampler.sample({ prompt, maxTokens: 1 })
    }),
    { consecutiveFailures: 1 }
  )
  fails(
    "ClientClosed",
    "a client whose scope is over",
    [],
    Effect.flatMap(
      Effect.scoped(Effect.flatMap(service(options), samplerOf)),
      (sampler) => sampler.sample({ prompt, maxTokens: 1 })
    )
  )
  fails(
    "InvalidInput",
    "a prompt that is none",
    [],
    Effect.flatMap(
      Effect.flatMap(service(options), samplerOf),
      (sampler) => sampler.sample({ prompt: [...prompt, 0.123456791], maxTokens: 1 })
    )
  )
  fails(
    "InvalidInput",
    "a tensor of the wrong length",
    [],
    Effect.flatMap(
      Effect.flatMap(service(options), trainingOf),
      (training) =>
        training.forwardBackward([{
          ...secretDatum,
          lossFnInputs: {
            ...secretDatum.lossFnInputs,
            weights: { dtype: "float32", data: Float32Array.from([...weights, 0.623456791]), shape: [6] }
          }
        }], "cross_entropy")
    )
  )
  fails(
    "InvalidInput",
    "a tensor with a number that is none",
    [],
    Effect.flatMap(
      Effect.flatMap(service(options), trainingOf),
      (training) =>
        training.forwardBackward([{
          ...secretDatum,
          lossFnInputs: {
            ...secretDatum.lossFnInputs,
            weights: { dtype: "float32", data: Float32Array.from([...weights.slice(1), Number.NaN]), shape: [5] }
          }
        }], "cross_entropy")
    )
  )
  fails("ConfigurationError", "a key in the wrong place", [], service({ ...options, baseUrl: `http://user:${key}@` }))
  fails(
    "ConfigurationError",
    "a key that the hosted service does not take",
    [],
    service({
      ...options,
      apiKey: "PLANTED0123456789abcdef",
      baseUrl: TinkexConfig.hostedBaseUrl
    })
  )
  fails(
    "UnexpectedStatus",
    "a redirect",
    [],
    Effect.gen(function*() {
      const wire = yield* Wire
      wire.intercept = ({ endpoint }) =>
        endpoint === "asample"
          ? {
            status: 302,
            headers: { location: `https://else.where/${encodeURIComponent(key)}?key=${encodeURIComponent(key)}` }
          }
          : undefined
      return yield* sample
    })
  )
  fails(
    "RequestFailed",
    "the words of a result",
    [],
    Effect.gen(function*() {
      const training = yield* trainingOf(yield* service(options))
      const wire = yield* Wire
      let polls = 0
      wire.intercept = ({ endpoint }) =>
        endpoint !== "retrieve_future" ? undefined : {
          headers: { "content-type": "application/json" },
          ...(polls++ === 0
            // the reason of a queue, which is logged and told to listeners
            ? {
              status: 408,
              body: JSON.stringify({ type: "try_again", queue_state: "paused_rate_limit", queue_state_reason: echo })
            }
            : { status: 200, body: JSON.stringify({ error: echo, category: "user" }) })
        }
      return yield* Effect.flatMap(training.forwardBackward([secretDatum], "cross_entropy"), Future.await)
    })
  )
  fails(
    "NotFound",
    "a request id that is the key",
    [],
    Effect.gen(function*() {
      const sampler = yield* samplerOf(yield* service(options))
      const wire = yield* Wire
      wire.intercept = ({ endpoint }) =>
        endpoint === "asample"
          ? { status: 404, headers: { "x-request-id": encodeURIComponent(key) }, body: JSON.stringify(echo) }
          : undefined
      return yield* sampler.sample({ prompt, maxTokens: 1 })
    })
  )
  fails(
    "MalformedResponse",
    "names of fields that are the key",
    [],
    Effect.gen(function*() {
      const client = yield* service(options)
      const wire = yield* Wire
      wire.intercept = ({ endpoint }) =>
        endpoint === "get_server_capabilities"
          ? {
            status: 200,
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ [key]: 1, supported_models: { [key]: echo } })
          }
          : undefined
      return yield* client.serverCapabilities
    })
  )
  fails(
    "ServerError",
    "after the messages of a session",
    [],
    Effect.gen(function*() {
      const wire = yield* Wire
      wire.intercept = ({ endpoint }) =>
        endpoint === "create_session"
          ? {
            status: 200,
            headers: { "content-type": "application/json" },
            body: JSON.stringify({
              type: "create_session",
              session_id: "s",
              info_message: echo,
              warning_message: echo,
              error_message: echo
            })
          }
          : endpoint === "get_server_capabilities"
          ? { status: 503, headers: { "content-type": "text/plain" }, body: echo }
          : undefined
      const client = yield* service({ ...options, retry: { times: 0 } })
      return yield* client.serverCapabilities
    })
  )
  fails(
    "PermissionDenied",
    "a borrowed key",
    [
      FaultScript.on("load_weights", FaultScript.status(403, { detail: borrowed }))
    ],
    Effect.gen(function*() {
      const training = yield* trainingOf(yield* service(options))
      return yield* training.loadState(`tinker://${training.modelId}/weights/x`, {
        weightsAccessToken: Redacted.make(otherKey)
      })
    })
  )

  scenario(
    "clients, futures, settings and the registry show none of them",
    {},
    Effect.gen(function*() {
      const client = yield* service(options)
      const sampler = yield* samplerOf(client)
      const training = yield* trainingOf(client)
      const future = yield* training.forwardBackward([secretDatum], "cross_entropy")
      yield* sampler.sample({ prompt, maxTokens: 1 })
      for (const value of [client, client.settings, sampler, training, future, yield* client.pending]) {
        for (const [way, text] of shown(value)) {
          if (way !== "inspect without custom ways") audit(`${way} of a handle`, text)
        }
      }
    })
  )

  scenario(
    "every error there is was produced",
    {},
    Effect.sync(() => {
      const tags: Record<Tag, true> = {
        BadRequest: true,
        BillingPaused: true,
        CircuitOpen: true,
        ClientClosed: true,
        ConfigurationError: true,
        Conflict: true,
        ConnectionError: true,
        FutureExpired: true,
        FutureTimeout: true,
        InvalidInput: true,
        MalformedResponse: true,
        NotFound: true,
        PermissionDenied: true,
        RateLimited: true,
        RequestFailed: true,
        RequestTimeout: true,
        ServerError: true,
        Unauthorized: true,
        UnexpectedStatus: true
      }
      assert.deepStrictEqual([...reached].sort(), Object.keys(tags).sort())
    })
  )
})
