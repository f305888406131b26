import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, FastCheck as fc } from "effect"
import * as Future from "../../src/client/Future.js"
import * as HttpTransport from "../../src/client/HttpTransport.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import * as Datum from "../../src/protocol/Datum.js"
import * as ForwardBackwardCodec from "../../src/protocol/ForwardBackwardCodec.js"
import * as TinkexConfig from "../../src/TinkexConfig.js"
import * as TinkexError from "../../src/TinkexError.js"
import * as TrainingLoop from "../../src/training/TrainingLoop.js"
import {
  type Call,
  type Environment,
  type Fake,
  layerOver,
  makeFake,
  type Reply,
  rushed
} from "./fixtures/FakeService.js"

/** What can become of one attempt. What does not arrive says so with certainty; everything else may have done its work. */
interface Fate {
  readonly name: string
  readonly arrives: boolean
  readonly reply: Reply | "hangs" | "works"
}

const code = (code: string, arrives: boolean, syscall?: string): Fate => ({
  name: `${code} ${syscall ?? ""}`,
  arrives,
  reply: syscall === undefined ? { code } : { code, syscall }
})
const answered = (status: number, headers: Readonly<Record<string, string>> = {}, text = "x"): Fate => ({
  name: `${status} ${JSON.stringify(headers)} ${text}`,
  arrives: true,
  reply: { status, headers, text }
})

const fates: ReadonlyArray<Fate> = [
  ...["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT", "SELF_SIGNED_CERT_IN_CHAIN"].map((name) =>
    code(name, false)
  ),
  ...["ETIMEDOUT", "EHOSTUNREACH", "EMFILE"].map((name) => code(name, false, "connect")),
  ...[
    "ECONNRESET",
    "EPIPE",
    "UND_ERR_SOCKET",
    "UND_ERR_HEADERS_TIMEOUT",
    "UND_ERR_DESTROYED",
    "EPROTO",
    "EMFILE",
    "ENEW"
  ]
    .map((name) => code(name, true)),
  code("EHOSTUNREACH", true, "read"),
  { name: "torn", arrives: true, reply: { code: "ECONNRESET", torn: true } },
  { name: "torn by a refusal", arrives: true, reply: { code: "ECONNREFUSED", torn: true } },
  { name: "hangs", arrives: true, reply: "hangs" },
  ...[302, 400, 401, 403, 404, 408, 409, 410, 413, 425, 500, 502, 503, 504].map((status) => answered(status)),
  answered(400, {}, ""),
  answered(429, { "retry-after-ms": "20" }),
  answered(429, { "retry-after": "3600" }),
  answered(503, { "x-should-retry": "false" }),
  answered(409, { "x-should-retry": "true" }),
  answered(200, {}, "<html>"),
  answered(200, {}, ""),
  { name: "works", arrives: true, reply: "works" }
]

const plan = fc.array(fc.constantFrom(...fates), { minLength: 1, maxLength: 14 })

/** Lets the attempts at some endpoints end as planned, in their order; notes which may have arrived. */
const follow = (fake: Fake, fates: ReadonlyArray<Fate>, ...endpoints: ReadonlyArray<string>) => {
  const arrived: Array<Call> = []
  let n = 0
  for (const endpoint of endpoints) {
    fake.on(endpoint, (call) => {
      const fate = fates[Math.min(n++, fates.length - 1)]!
      if (fate.arrives) arrived.push(call)
      return fate.reply === "works" ? undefined : fate.reply === "hangs" ? Effect.never : fate.reply
    })
  }
  return {
    arrived,
    finish: () => {
      n = fates.length - 1
    }
  }
}

const claims = (error: TinkexError.TinkexError) =>
  (["training", "session", "service", "sampling", "poll", "telemetry"] as const).some((kind) =>
    TinkexError.disposition(error, kind).certainlyNotSent
  ) || ("certainlyNotSent" in error && error.certainlyNotSent) || /not sent/.test(error.message)

const over = <A, E>(
  options: HttpTransport.PartsOptions,
  body: (fake: Fake) => Effect.Effect<A, E, Environment>
) => {
  const fake = makeFake()
  return Effect.provide(Effect.scoped(body(fake)), layerOver(fake, options))
}

const runs = process.env["TINKEX_DEEP"] === "1" ? 2000 : 150
const model = { fastCheck: { numRuns: runs, seed: 20 } }

describe("no error claims that nothing was sent unless no attempt of its call can have arrived", () => {
  it.effect.prop(
    "whatever becomes of the attempts of a request",
    [
      plan,
      fc.constantFrom("training", "sampling", "session", "service", "futures", "telemetry"),
      fc.constantFrom(0, 1, 3, 10),
      fc.constantFrom(1, 2, 5),
      fc.boolean()
    ],
    ([fates, pool, times, consecutiveFailures, isolated]) =>
      over({ breaker: { consecutiveFailures, openFor: "1 second" } }, (fake) =>
        Effect.gen(function*() {
          const { arrived } = follow(fake, fates, "optim_step")
          const settings = yield* TinkexConfig.make({ baseUrl: "http://fake", apiKey: "tml-secret" })
          const transport = yield* HttpTransport.make(settings)
          if (isolated) yield* transport.breaker(pool as "training")?.isolate ?? Effect.void
          const delivery: HttpTransport.Delivery = { maybe: false }
          const exit = yield* Effect.exit(rushed(
            transport.send({
              operation: "optim_step (model m)",
              method: "POST",
              path: "optim_step",
              pool: pool as "training",
              times,
              timeout: Duration.seconds(10),
              delivery,
              body: HttpTransport.jsonBody({ model_id: "m" })
            }),
            "10 seconds",
            60
          ))
          assert.strictEqual(delivery.maybe, arrived.length > 0)
          if (Exit.isFailure(exit)) {
            const error = TinkexError.failureOf(exit.cause)!
            assert.strictEqual(claims(error), arrived.length === 0 && error._tag !== "RateLimited", error.message)
          }
        })),
    model
  )

  const settings: TinkexConfig.Options = {
    telemetry: false,
    retry: { times: 4, base: "10 millis", cap: "50 millis" },
    timeouts: { request: "10 seconds", call: "5 minutes", future: "10 seconds" },
    chunks: { examples: 1 }
  }
  const data = [0, 1, 2].map((token) => Datum.fromCompletion([token], [token + 1]))
  const numberOf = (call: Call) =>
    call.endpoint === "forward_backward"
      ? Effect.map(ForwardBackwardCodec.decodeRequest(call.bytes), ({ seqId }) => Number(seqId))
      : Effect.succeed(Number(call.body["seq_id"]))

  it.effect.prop(
    "of a call of several requests; and no number that may have been seen is used for other work",
    [plan, fc.constantFrom("pass", "update", "step"), fc.constantFrom(1, 2, 5)],
    ([fates, kind, consecutiveFailures]) =>
      over({ breaker: { consecutiveFailures, openFor: "1 second" } }, (fake) =>
        Effect.gen(function*() {
          const service = yield* ServiceClient.make({ baseUrl: "http://fake", apiKey: "tml-secret", ...settings })
          const training = yield* rushed(service.createLoraTrainingClient({ baseModel: "tinkex/nano" }))
          const { arrived } = follow(fake, fates, "forward_backward", "optim_step")
          const call: Effect.Effect<unknown, TinkexError.TinkexError> = kind === "pass"
            ? training.forwardBackward(data, "cross_entropy")
            : kind === "update"
            ? training.optimStep()
            : TrainingLoop.trainStep(training, data, { loss: "cross_entropy" })
          const exit = yield* Effect.exit(rushed(call, "10 seconds", 100))
          if (Exit.isFailure(exit)) {
            const error = TinkexError.failureOf(exit.cause)!
            if (arrived.length > 0) assert.isFalse(claims(error), error.message)
          }
          const seen = yield* Effect.forEach(arrived, numberOf)
          fake.on("optim_step", () => undefined)
          yield* (service.transport.breaker("training")!).reset
          yield* rushed(training.optimStep(), "10 seconds", 100)
          const last = yield* numberOf(fake.of("optim_step").at(-1)!)
          assert.isAbove(last, Math.max(0, ...seen))
        })),
    model
  )

  it.effect("a client that is closed while a result is awaited says that the service has the request", () =>
    over({}, (fake) =>
      Effect.gen(function*() {
        fake.on("retrieve_future", ({ body }) => body["request_id"] === "req-1" ? undefined : Effect.never)
        const service = yield* ServiceClient.make({ baseUrl: "http://fake", apiKey: "tml-secret", ...settings })
        const future = yield* Effect.scoped(
          Effect.flatMap(service.createLoraTrainingClient({ baseModel: "tinkex/nano" }), (training) =>
            training.optimStep())
        )
        const error = yield* Effect.flip(Future.await(future))
        assert.strictEqual(error._tag, "ClientClosed")
        assert.isFalse(claims(error))
        assert.include(error.message, "the service has the request")
      })))
})
