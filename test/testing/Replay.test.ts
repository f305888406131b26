import { FileSystem, HttpClient, HttpClientResponse } from "@effect/platform"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { Datum, Future, ServiceClient, Tinkex } from "tinkex"
import { Replay, TestServer } from "tinkex/testing"

const key = "tml-a+secret/with=signs"

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 8 })
  const { encode } = yield* training.tokenizer
  const data = [Datum.fromCompletion(encode("2 + 2 ="), encode(" 4"))]
  const losses: Array<number> = []
  for (let i = 0; i < 3; i++) {
    const gradients = yield* training.forwardBackward(data, "cross_entropy")
    const step = yield* training.optimStep({ learningRate: 1e-2 })
    const [{ metrics }] = yield* Effect.all([Future.await(gradients), Future.await(step)])
    losses.push(metrics["loss:sum"]!)
  }
  const sampler = yield* training.saveWeightsAndGetSamplingClient
  const { sequences } = yield* sampler.sample({ prompt: encode("2 + 2 ="), maxTokens: 4, temperature: 0 })
  return { losses, tokens: sequences.map(({ tokens }) => [...tokens]) }
}).pipe(Effect.scoped)

const cassette = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  return `${yield* fs.makeTempDirectoryScoped()}/program.cassette`
})

const recorded = (file: string) =>
  Effect.provide(
    program,
    Tinkex.layer({ baseUrl: TestServer.baseUrl, apiKey: key }).pipe(
      Layer.provide(Replay.record(file)),
      Layer.provide(TestServer.layerServer({ server: { apiKey: Redacted.make(key) } }))
    )
  )

const tinkex = Tinkex.layer({ baseUrl: "http://elsewhere.test:81", apiKey: "tml-another" })

describe("Replay", () => {
  it.live("a program does again from its cassette what it did with a service", () =>
    Effect.gen(function*() {
      const file = yield* cassette
      const first = yield* recorded(file)
      const [second, unused] = yield* Effect.provide(program, tinkex).pipe(
        Effect.zip(Effect.flatMap(Replay.Replay, ({ unused }) => unused)),
        Effect.provide(Replay.layer(file))
      )
      assert.deepStrictEqual(second, first)
      assert.deepStrictEqual(unused, [])
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))

  it.live("a cassette has no key in any spelling, and one line for each exchange", () =>
    Effect.gen(function*() {
      const file = yield* cassette
      yield* recorded(file)
      const text = yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFileString(file))
      for (const spelling of [key, encodeURIComponent(key), btoa(key), key.slice(4)]) {
        assert.notInclude(text, spelling)
      }
      const lines = text.trimEnd().split("\n")
      assert.include(lines[0], `"cassette":1`)
      assert.isAbove(lines.length, 12)
      for (const line of lines) assert.doesNotThrow(() => JSON.parse(line))
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))

  it.live("a request that is not in the cassette is refused in words, at once; leniently it gets the nearest answer", () =>
    Effect.gen(function*() {
      const file = yield* cassette
      yield* recorded(file)
      const other = Effect.gen(function*() {
        const service = yield* ServiceClient.ServiceClient
        const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 16 })
        return training
      }).pipe(Effect.scoped)
      const error = yield* Effect.flip(Effect.provide(other, Layer.provide(tinkex, Replay.layer(file))))
      assert.include(error.message, "answer to POST /api/v1/create_model, none to one with this body")
      yield* Effect.provide(
        Effect.asVoid(other),
        Layer.provide(tinkex, Replay.layer(file, { matching: "lenient" }))
      )
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))

  it.live("failures are kept, repeats run out, unused answers are told", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const file = yield* cassette
      let calls = 0
      const service = Layer.succeed(
        HttpClient.HttpClient,
        HttpClient.make((request) =>
          Effect.sync(() => HttpClientResponse.fromWeb(request, new Response(`{"n":${calls++}}`, { status: 503 })))
        )
      )
      const ask = Effect.flatMap(HttpClient.HttpClient, (client) => client.get("http://a.test/api/v1/thing?q=1"))
      yield* Effect.provide(Effect.zip(ask, ask), Layer.provide(Replay.record(file), service))
      yield* Effect.gen(function*() {
        const replay = yield* Replay.Replay
        assert.deepStrictEqual(yield* replay.unused, ["GET /api/v1/thing", "GET /api/v1/thing"])
        const first = yield* ask
        assert.deepStrictEqual([first.status, yield* first.json], [503, { n: 0 }])
        assert.deepStrictEqual(yield* Effect.flatMap(ask, ({ json }) => json), { n: 1 })
        const third = yield* ask
        assert.deepStrictEqual([third.status, third.headers["x-should-retry"]], [400, "false"])
        assert.include(yield* third.text, "all have been given")
        assert.deepStrictEqual(yield* replay.unused, [])
      }).pipe(Effect.provide(Replay.layer(file)))
      // cut off in the middle of its last line, it is still good; anywhere else it is not
      const text = yield* fs.readFileString(file)
      yield* fs.writeFileString(file, text.slice(0, -20))
      yield* Effect.provide(ask, Replay.layer(file))
      yield* fs.writeFileString(file, text.replace(`"request"`, `"requests"`))
      const malformed = yield* Effect.flip(Effect.provide(ask, Replay.layer(file)))
      assert.include(malformed.message, "line 2")
      const missing = yield* Effect.flip(Effect.provide(ask, Replay.layer(`${file}.none`)))
      assert.include(missing.message, "program.cassette.none")
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)))
})
