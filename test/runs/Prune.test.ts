import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import * as Future from "../../src/client/Future.js"
import * as RestClient from "../../src/client/RestClient.js"
import * as Datum from "../../src/protocol/Datum.js"
import * as Dataset from "../../src/runs/Dataset.js"
import * as Prune from "../../src/runs/Prune.js"
import * as Run from "../../src/runs/Run.js"
import { TestServer } from "../../src/testing/index.js"

const layer = Layer.provideMerge(RestClient.layer, Layer.merge(TestServer.layer({ metrics: false }), NodeContext.layer))

describe("Prune", () => {
  it.scopedLive(
    "finds what is more than enough, half removed or abandoned, and leaves what others saved",
    () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const rest = yield* RestClient.RestClient
        const directory = yield* fs.makeTempDirectoryScoped()
        const names = (removables: ReadonlyArray<Prune.Removable>) =>
          removables.map(({ path, why }) => `${path.split("/").slice(3).join("/")} ${why}`).sort()
        const batches = yield* Dataset.fromArray([Datum.fromCompletion([1, 2], [3])], { batchSize: 1 })
        const modelId = yield* Effect.scoped(Effect.gen(function*() {
          const run = yield* Run.open(directory, { config: { baseModel: "tinkex/nano-random", rank: 2 } })
          yield* run.train({ batches, total: 4, loss: "cross_entropy", checkpoint: { every: 1 } })
          return yield* run.use(({ client }) =>
            Effect.gen(function*() {
              // what a process was saving when it died, and what somebody saved on purpose
              yield* Effect.flatMap(client.saveState("000077"), Future.await)
              yield* Effect.flatMap(client.saveState("mine"), Future.await)
              return client.modelId
            })
          )
        }))
        const stored = Effect.map(
          Stream.runCollect(rest.listCheckpoints(modelId)),
          (all) => Array.from(all, ({ checkpointId }) => checkpointId).sort()
        )
        assert.deepStrictEqual(names(yield* Prune.plan(directory)), ["weights/000077 abandoned"])
        const found = yield* Prune.plan(directory, { keep: 1 })
        assert.deepStrictEqual(names(found), [
          "sampler_weights/000001 superfluous",
          "sampler_weights/000002 superfluous",
          "weights/000001 superfluous",
          "weights/000002 superfluous",
          "weights/000077 abandoned"
        ])
        const before = yield* stored
        assert.strictEqual(before.length, 10)
        yield* Prune.remove(directory, found)
        assert.deepStrictEqual(yield* stored, [
          "sampler_weights/000003",
          "sampler_weights/final",
          "weights/000003",
          "weights/final",
          "weights/mine"
        ])
        assert.deepStrictEqual(yield* Prune.plan(directory, { keep: 1 }), [])
        // the run goes on without them
        yield* Effect.scoped(Effect.gen(function*() {
          const run = yield* Run.open(directory, { config: { baseModel: "tinkex/nano-random", rank: 2 } })
          assert.deepStrictEqual((yield* run.checkpoints).map(({ name }) => name), ["000003", "final"])
          assert.strictEqual((yield* run.train({ batches, total: 5, loss: "cross_entropy" })).updates, 5)
        }))
        assert.strictEqual((yield* Effect.flip(Prune.plan(directory, { keep: 0 })))._tag, "InvalidInput")
      }).pipe(Effect.provide(layer)),
    60_000
  )

  it.scopedLive("nothing is removed while the run is open", () =>
    Effect.gen(function*() {
      const directory = yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())
      yield* Run.open(directory, { config: { baseModel: "tinkex/nano-random", rank: 2 } })
      const error = yield* Effect.flip(Prune.remove(directory, [{ path: "tinker://a/weights/b", why: "abandoned" }]))
      assert.strictEqual(error._tag, "RunInUse")
    }).pipe(Effect.provide(layer)), 60_000)
})
