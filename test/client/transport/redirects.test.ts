import { FetchHttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { Datum, RestClient, ServiceClient, Tinkex } from "tinkex"
import { rushed } from "../fixtures/FakeService.js"

const origin = "http://service.test"
const elsewhere = "http://elsewhere.test"

/** What a service answers that is all right. */
const answers: Readonly<Record<string, object>> = {
  "client/config": {},
  "client/dynamic_config": {},
  create_session: { type: "create_session", session_id: "s" },
  create_sampling_session: { type: "create_sampling_session", sampling_session_id: "s:sample:0" },
  create_model: { request_id: "m" },
  retrieve_future: { type: "create_model", model_id: "s:train:0" }
}

/** `fetch` as browsers and Node have it: it follows, with every header but Authorization, unless it is told not to. */
const world = (redirected: string) => {
  const strayed: Array<string> = []
  const asked: Array<string> = []
  const inits: Array<RequestInit> = []
  const fetch = (async (input: string | URL, init: RequestInit = {}) => {
    const path = new URL(input).pathname.replace("/api/v1/", "")
    asked.push(path)
    inits.push(init)
    if (!path.includes(redirected)) {
      return Response.json(answers[path] ?? {}, { headers: { "content-type": "application/json" } })
    }
    if (init.redirect !== "manual") strayed.push(JSON.stringify(init.headers))
    return new Response(null, { status: 307, headers: { location: `${elsewhere}/api/v1/${path}?signature=secret` } })
  }) as typeof globalThis.fetch
  const layer = Tinkex.layerShared({ metrics: false }).pipe(
    Layer.provideMerge(FetchHttpClient.layer),
    Layer.provideMerge(Layer.succeedContext(Context.make(FetchHttpClient.Fetch, fetch)))
  )
  return { asked, inits, layer, strayed }
}

const options = { baseUrl: origin, apiKey: "tml-secret-0123456789", retry: { times: 0 }, telemetry: false } as const

const service = ServiceClient.make(options)
const sampler = Effect.flatMap(service, (client) => client.createSamplingClient({ baseModel: "m" }))
const training = Effect.flatMap(service, (client) => client.createLoraTrainingClient({ baseModel: "m", rank: 4 }))
const path = "tinker://s:train:0/weights/x"
const rest = RestClient.connect(options)

const calls = {
  "client/config": service,
  create_session: service,
  create_sampling_session: sampler,
  asample: Effect.flatMap(sampler, (client) => client.sample({ prompt: [1], maxTokens: 1 })),
  create_model: training,
  forward_backward: Effect.flatMap(
    training,
    (client) => client.forwardBackward([Datum.fromCompletion([1, 2], [3])], "cross_entropy")
  ),
  optim_step: Effect.flatMap(training, (client) => client.optimStep({ learningRate: 1 })),
  save_weights: Effect.flatMap(training, (client) => client.saveState("x")),
  get_server_capabilities: Effect.flatMap(service, (client) => client.serverCapabilities),
  "auth/token": Effect.flatMap(rest, (client) => client.whoami),
  weights_info: Effect.flatMap(rest, (client) => client.getWeightsInfo(path)),
  copy_weights: Effect.flatMap(rest, (client) => client.copyWeights(path, { projectId: "p" })),
  ttl: Effect.flatMap(rest, (client) => client.setCheckpointTtl(path, "1 hour")),
  publish: Effect.flatMap(rest, (client) => client.publishCheckpoint(path))
}

describe("redirects", () => {
  for (const [name, call] of Object.entries(calls)) {
    it.effect(`of ${name} are not followed over fetch, and say where they lead`, () => {
      const { asked, layer, strayed } = world(name)
      return Effect.gen(function*() {
        // they differ in what they would give; a poll is asked again some seconds later
        const error = yield* rushed(Effect.flip(call as typeof service), "1 second")
        assert.strictEqual(error._tag, "UnexpectedStatus")
        assert.include(
          error.message,
          `${elsewhere}/api/v1/${name.split("/")[0]!.slice(0, 2)}`.slice(0, elsewhere.length + 8)
        )
        assert.include(error.message, "another origin")
        assert.notInclude(error.message, "signature")
        assert.isTrue(asked.some((one) => one.includes(name)))
        assert.deepStrictEqual(strayed, [])
      }).pipe(Effect.scoped, Effect.provide(layer))
    })
  }

  it.live("of a poll are not followed either; it is asked again", () => {
    const { asked, layer, strayed } = world("retrieve_future")
    return Effect.gen(function*() {
      yield* Effect.forkScoped(training)
      while (asked.filter((one) => one === "retrieve_future").length < 2) yield* Effect.sleep("5 millis")
      assert.deepStrictEqual(strayed, [])
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("of an archive are an answer, not followed with the key either", () => {
    const { layer, strayed } = world("archive")
    return Effect.gen(function*() {
      const client = yield* rest
      const { url } = yield* client.getCheckpointArchiveUrl(path)
      assert.strictEqual(new URL(url).origin, elsewhere)
      assert.deepStrictEqual(strayed, [])
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("keep what the user's own request settings say", () => {
    const { inits, layer } = world("nothing")
    return Effect.scoped(service).pipe(
      Effect.provideService(FetchHttpClient.RequestInit, { credentials: "omit", redirect: "follow" }),
      Effect.provide(layer),
      Effect.map(() => {
        assert.isAbove(inits.length, 2)
        for (const init of inits) {
          assert.strictEqual(init.credentials, "omit")
          assert.strictEqual(init.redirect, "manual")
        }
      })
    )
  })
})
