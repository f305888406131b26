import { FetchHttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Layer, Option, Stream } from "effect"
import {
  Batch,
  Datum,
  RestClient,
  type RestClient as Rest,
  type SamplingClient,
  ServiceClient,
  Tinkex,
  TinkexConfig,
  TrainingClient,
  TrainingLoop
} from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"
import * as NodeTinkex from "tinkex/NodeTinkex"
import { TestServer } from "tinkex/testing"
import { known } from "../src/protocol/options.js"

const path = "tinker://run:train:0/weights/x"
const datum = Datum.fromCompletion([1, 2], [3])
const options = { baseUrl: TestServer.baseUrl, telemetry: false } as const

const failureOf = (exit: Exit.Exit<unknown, unknown>): { readonly _tag?: string; readonly message?: string } => {
  assert.isTrue(Exit.isFailure(exit), "it was accepted")
  const failure = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
  assert.isDefined(failure, `no typed failure: ${exit}`)
  return failure as { readonly _tag?: string; readonly message?: string } // it is defined, and every error here has them
}

describe("options of names that nobody reads", () => {
  it.effect("are refused by every call of a client, and nothing is sent", () =>
    Effect.gen(function*() {
      const service = yield* ServiceClient.make(options)
      const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 1 })
      const sampler = yield* service.createSamplingClient({ baseModel: "tinkex/nano" })
      const rest = yield* RestClient.connect(options)
      const typo = { nonsense: 1 } as never
      const all = (stream: Stream.Stream<unknown, unknown>) => Stream.runDrain(stream)
      const calls: Readonly<Record<string, Effect.Effect<unknown, unknown, never>>> = {
        createLoraTrainingClient: Effect.scoped(
          service.createLoraTrainingClient({ baseModel: "tinkex/nano", ...typo as object })
        ),
        createTrainingClientFromState: Effect.scoped(service.createTrainingClientFromState(path, typo)),
        createTrainingClientFromStateWithOptimizer: Effect.scoped(
          service.createTrainingClientFromStateWithOptimizer(path, typo)
        ),
        createSamplingClient: Effect.scoped(
          service.createSamplingClient({ baseModel: "tinkex/nano", ...typo as object })
        ),
        sample: sampler.sample({ prompt: [1], ...typo as object }),
        computeLogprobs: sampler.computeLogprobs([1, 2], typo),
        optimStep: training.optimStep(typo),
        saveState: training.saveState("a", typo),
        saveWeightsForSampler: training.saveWeightsForSampler("a", typo),
        saveWeightsExternal: training.saveWeightsExternal("a", typo),
        loadState: training.loadState(path, typo),
        getTrainingRun: rest.getTrainingRun("run", typo),
        getTrainingRunByPath: rest.getTrainingRunByPath(path, typo),
        listTrainingRuns: all(rest.listTrainingRuns(typo)),
        trainingRunsPage: rest.trainingRunsPage(typo),
        listUserCheckpoints: all(rest.listUserCheckpoints(typo)),
        userCheckpointsPage: rest.userCheckpointsPage(typo),
        copyWeights: rest.copyWeights(path, typo),
        getSession: rest.getSession("s", typo),
        listSessions: all(rest.listSessions(typo)),
        searchSessions: all(rest.searchSessions(typo)),
        getCheckpointStorage: rest.getCheckpointStorage(typo),
        getAuditLog: rest.getAuditLog(typo),
        "Batch.forwardBackward": Batch.forwardBackward(training, [{ data: [datum], lossFn: "cross_entropy" }], typo),
        "TrainingLoop.trainStep": TrainingLoop.trainStep(training, [datum], {
          loss: "cross_entropy",
          ...typo as object
        }),
        "TrainingLoop.run": all(
          TrainingLoop.run(Stream.make([datum]), training, { loss: "cross_entropy", ...typo as object })
        )
      }
      for (const [name, call] of Object.entries(calls)) {
        const error = failureOf(yield* Effect.exit(call))
        assert.strictEqual(error._tag, "InvalidInput", `${name}: ${error.message}`)
        assert.include(error.message, "nonsense", name)
      }
      // nothing of it counts: the next step is the first that the service sees
      yield* training.optimStep({ learningRate: 1e-3 })
    }).pipe(Effect.scoped, Effect.provide(TestServer.layerServer())))

  it.effect("are refused by the settings, also further in", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [object, string]> = [
        [{ base_url: "http://a.test" }, "base_url: expected baseUrl, got an option of another name"],
        [{ apikey: "tml-x" }, "apikey: expected apiKey"],
        [{ retry: { tmies: 1 } }, "retry.tmies"],
        [{ retry: { delay: 1 } }, "retry.delay: expected an option of retry (base, cap, times)"],
        [{ timeouts: { all: 1 } }, "timeouts.all"],
        [{ pools: { train: 1 } }, "pools.train"],
        [{ chunks: { tokens: 1 } }, "chunks.tokens"],
        [{ sampling: { throtled: 1 } }, "sampling.throtled"],
        [{ samplingRetry: { policy: "progress-timeout", timeout: 1 } }, "samplingRetry.timeout"],
        [{ cloudflareAccess: { id: "a", clientSecret: "b" } }, "cloudflareAccess.id"]
      ]
      for (const [given, said] of cases) {
        const error = failureOf(yield* Effect.exit(TinkexConfig.make({ baseUrl: "http://a.test", ...given })))
        assert.strictEqual(error._tag, "ConfigurationError")
        assert.include(error.message, said)
      }
      const error = failureOf(yield* Effect.exit(TinkexConfig.make("http://a.test" as never)))
      assert.strictEqual(error.message, "options: expected an object with the options of a client, got text")
    }))

  it.effect("are refused by the front doors", () =>
    Effect.gen(function*() {
      const typo = { nonsense: 1 } as never
      const build = <A, E>(layer: Layer.Layer<A, E>) => Effect.exit(Effect.scoped(Layer.build(layer)))
      const doors: Readonly<Record<string, Layer.Layer<never, unknown>>> = {
        "Tinkex.layerShared": Layer.discard(Layer.provide(Tinkex.layerShared(typo), FetchHttpClient.layer)),
        "Tinkex.layer": Layer.discard(Layer.provide(Tinkex.layer(typo), FetchHttpClient.layer)),
        "Tinkex.layerConfig": Layer.discard(Layer.provide(Tinkex.layerConfig(typo), FetchHttpClient.layer)),
        "NodeTinkex.layerShared": Layer.discard(NodeTinkex.layerShared(typo)),
        "NodeTinkex.layer": Layer.discard(NodeTinkex.layer(typo)),
        "NodeTinkex.layerConfig": Layer.discard(NodeTinkex.layerConfig(typo)),
        "LocalTinkex.layer": Layer.discard(LocalTinkex.layer(typo)),
        "LocalTinkex.layerServer": Layer.discard(LocalTinkex.layerServer(typo)),
        limiter: Layer.discard(NodeTinkex.layerShared({ limiter: typo })),
        breaker: Layer.discard(NodeTinkex.layerShared({ breaker: typo })),
        "breaker.rate": Layer.discard(NodeTinkex.layerShared({ breaker: { rate: typo } })),
        budget: Layer.discard(NodeTinkex.layerShared({ budget: typo }))
      }
      for (const [name, layer] of Object.entries(doors)) {
        const error = failureOf(yield* build(layer))
        assert.strictEqual(error._tag, "ConfigurationError", `${name}: ${error.message}`)
        assert.include(error.message, "nonsense", name)
      }
      // what each of them takes is taken together
      const fine = NodeTinkex.layerShared({ metrics: false, connections: 2, limiter: { jitter: 0 } })
      assert.isTrue(Exit.isSuccess(yield* build(fine)))
    }))

  it("are refused by the constructors of data", () => {
    for (
      const make of [
        () => Datum.make({ modelInput: [1], loss_fn_inputs: {} } as never),
        () => Datum.fromRollout({ prompt: [1], completion: [2], logprobs: [0], advantages: 1, mask: [1] } as never),
        () => Datum.fromSegments([{ tokens: [1, 2], weight: 1 }], { max_length: 2 } as never)
      ]
    ) assert.throws(make, /option/)
  })

  it("say what may have been meant", () => {
    const check = known<{ readonly maxTokens?: number; readonly seed?: number }>("a test", {
      maxTokens: true,
      seed: true
    })
    const said = (given: object) => {
      try {
        check(given)
        return "accepted"
      } catch (cause) {
        return (cause as Error).message // of ours
      }
    }
    assert.strictEqual(said({ max_tokens: 1 }), "max_tokens: expected maxTokens, got an option of another name")
    assert.strictEqual(said({ maxtoken: 1 }), "maxtoken: expected maxTokens, got an option of another name")
    assert.strictEqual(said({ seeds: 1 }), "seeds: expected seed, got an option of another name")
    assert.strictEqual(
      said({ temperature: 1 }),
      "temperature: expected an option of a test (maxTokens, seed), got an option of another name"
    )
    // text in the wrong place is not shown
    assert.notInclude(said({ "my secret prompt": 1 }), "secret")
    assert.strictEqual(said({ maxTokens: undefined }), "accepted")
    assert.deepStrictEqual(check.pick({ seed: 1, other: 2 }), { seed: 1 })
  })

  it("are compile errors", () => {
    /** Compiled, and never called. */
    const never = (call: () => unknown) => void call
    const sampler = undefined as unknown as SamplingClient.Client
    const training = undefined as unknown as TrainingClient.Client
    const service = undefined as unknown as ServiceClient.Client
    const rest = undefined as unknown as Rest.Client
    // @ts-expect-error
    never(() => sampler.sample({ prompt: [1], max_tokens: 1 }))
    // @ts-expect-error
    never(() => sampler.computeLogprobs([1], { last_n: 1 }))
    // @ts-expect-error
    never(() => training.optimStep({ learning_rate: 1 }))
    // @ts-expect-error
    never(() => training.optimStep({ learningRate: 1, beta_1: 0.9 }))
    // @ts-expect-error
    never(() => training.saveState("a", { overwrit: true }))
    // @ts-expect-error
    never(() => training.loadState("a", { optimiser: true }))
    // @ts-expect-error
    never(() => training.saveWeightsForSampler("a", { ttlSeconds: 1 }))
    // @ts-expect-error
    never(() => service.createLoraTrainingClient({ baseModel: "a", loraRank: 1 }))
    // @ts-expect-error
    never(() => service.createTrainingClientFromState("a", { base_model: "a" }))
    // @ts-expect-error
    never(() => service.createSamplingClient({ baseModel: "a", model: "b" }))
    // @ts-expect-error
    never(() => rest.listTrainingRuns({ pagesize: 1 }))
    // @ts-expect-error
    never(() => rest.copyWeights("a", { project: "p" }))
    // @ts-expect-error
    never(() => TinkexConfig.make({ base_url: "a" }))
    // @ts-expect-error
    never(() => TinkexConfig.make({ retry: { tmies: 1 } }))
    // @ts-expect-error
    never(() => Tinkex.layer({ metric: false }))
    // @ts-expect-error
    never(() => NodeTinkex.layer({ connection: 1 }))
    // @ts-expect-error
    never(() => LocalTinkex.layer({ servers: {} }))
    // @ts-expect-error
    never(() => Datum.fromRollout({ prompt: [1], completion: [1], logprobs: [1], advantage: 1 }))
    // @ts-expect-error
    never(() => TrainingLoop.trainStep(training, [], { loss: "ppo", learningRate: 1 }))
    // @ts-expect-error
    never(() => TrainingClient.layerFromState("a", { optimiser: true }))
    assert.isTrue(Duration.isDuration(Duration.zero))
  })
})
