import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Datum, Future, ServiceClient } from "tinkex"
import { RecordingEngine, TestServer, VirtualClock } from "tinkex/testing"

const example = (target: number, weight: number) =>
  Datum.make({ modelInput: [1], lossFnInputs: { target_tokens: [target], weights: [weight] } })

const world = (options?: RecordingEngine.Options) =>
  TestServer.layerWithoutEngine().pipe(Layer.provideMerge(RecordingEngine.layer(options)))

describe("RecordingEngine", () => {
  it.effect("writes down what is done, in order, and adds it up", () =>
    VirtualClock.run(
      Effect.gen(function*() {
        const engine = yield* RecordingEngine.RecordingEngine
        const service = yield* ServiceClient.make({ baseUrl: TestServer.baseUrl })
        const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano" })
        yield* training.forwardBackward([example(7, 2), example(8, 3)], "cross_entropy")
        yield* training.forward([example(9, 100)], "cross_entropy")
        yield* training.optimStep({ learningRate: 0.5 })
        const save = yield* training.saveState("mid")
        yield* training.forwardBackward([example(7, 1)], "cross_entropy")
        yield* Effect.flatMap(training.optimStep({ learningRate: 1 }), Future.await)
        assert.strictEqual(yield* engine.weight(training.modelId), 0.5 * 5 + 1)

        yield* Effect.flatMap(training.loadState((yield* Future.await(save)).path), Future.await)
        assert.strictEqual(yield* engine.weight(training.modelId), 2.5)

        const sampler = yield* training.saveWeightsAndGetSamplingClient
        const { sequences } = yield* sampler.sample({ prompt: [4, 5], maxTokens: 2, numSamples: 2 })
        assert.deepStrictEqual(sequences.map(({ tokens }) => Array.from(tokens)), [[5, 5], [5, 5]])
        const missing = yield* Effect.flip(service.createLoraTrainingClient({ baseModel: "no/such" }))
        assert.strictEqual(missing._tag, "BadRequest")

        assert.deepStrictEqual(
          (yield* engine.operations).map(({ _tag }) => _tag).filter((tag) => tag !== "ReleaseSampler"),
          [
            "CreateRun",
            "Pass",
            "Pass",
            "OptimStep",
            "ExportRun",
            "Pass",
            "OptimStep",
            "LoadRun",
            "CreateSampler",
            "ExportRun",
            "Sample"
          ]
        )
        assert.deepStrictEqual((yield* engine.applied).map(({ seqId }) => seqId), [0, 1, 2, 3, 4, 5, 6, 7, 8])
      }).pipe(Effect.scoped, Effect.provide(world()))
    ))

  it.effect("can forget", () =>
    VirtualClock.run(
      Effect.gen(function*() {
        const engine = yield* RecordingEngine.RecordingEngine
        const service = yield* ServiceClient.make({ baseUrl: TestServer.baseUrl })
        const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano" })
        yield* Effect.flatMap(training.optimStep(), Future.await)
        assert.deepStrictEqual(yield* engine.operations, [])
        assert.deepStrictEqual(yield* engine.applied, [])
      }).pipe(Effect.scoped, Effect.provide(world({ record: false })))
    ))
})
