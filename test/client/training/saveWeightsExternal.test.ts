import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Future, RestClient, ServiceClient } from "tinkex"
import { TestServer } from "tinkex/testing"

const options = { baseUrl: TestServer.baseUrl, telemetry: false } as const

describe("saveWeightsExternal", () => {
  it.scopedLive("exports weights whose files have addresses, and passes on what the server refuses", () =>
    Effect.gen(function*() {
      const service = yield* ServiceClient.make(options)
      const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 1 })
      const { path = "", sizeBytes } = yield* Effect.flatMap(
        training.saveWeightsExternal("export-1.0", { ttl: "1 hour" }),
        Future.await
      )
      assert.match(path, /^tinker:\/\/.*\/external_weights\/export-1\.0$/)
      assert.isAbove(sizeBytes ?? 0, 0)
      const rest = yield* RestClient.connect(options)
      const { urls } = yield* rest.getExternalWeightsUrls(path)
      assert.isAbove(Object.keys(urls).length, 0)
      const refused = yield* Effect.flip(training.saveWeightsExternal("other", { ageEncryptionRecipients: ["age1x"] }))
      assert.strictEqual(refused._tag, "BadRequest")
      assert.strictEqual((yield* Effect.flip(training.saveWeightsExternal("a/b")))._tag, "InvalidInput")
    }).pipe(Effect.provide(Layer.mergeAll(TestServer.layerServer({ metrics: false })))))
})
