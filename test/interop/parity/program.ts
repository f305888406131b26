/** The program of program.py through tinkex, over whatever HTTP client and time it is given. */
import { Effect, Stream } from "effect"
import { Datum, Future, HttpTransport, RestClient, ServiceClient, type TinkexConfig } from "tinkex"

const datum = (tokens: ReadonlyArray<number>): Datum.Datum =>
  Datum.make({
    modelInput: tokens.slice(0, -1),
    lossFnInputs: {
      target_tokens: tokens.slice(1),
      weights: tokens.slice(1).map(() => 0.5)
    }
  })

export const program = (options: TinkexConfig.Options) =>
  Effect.gen(function*() {
    const service = yield* ServiceClient.make({ ...options, userMetadata: { suite: "parity" } })
    yield* service.serverCapabilities
    const training = yield* service.createLoraTrainingClient({
      baseModel: "tinkex/nano",
      rank: 8,
      seed: 1,
      userMetadata: { run: "parity" }
    })
    const data = [datum([10, 20, 30, 40]), datum([50, 60, 70])]
    const gradients = yield* training.forwardBackward(data, "cross_entropy")
    const update = yield* training.optimStep({ learningRate: 1e-3 })
    yield* Future.await(gradients)
    yield* Future.await(update)
    yield* Effect.flatMap(training.forward(data, "cross_entropy"), Future.await)
    const { path: state } = yield* Effect.flatMap(training.saveState("state"), Future.await)
    const { path: weights } = yield* Effect.flatMap(
      training.saveWeightsForSampler("sampler", { ttl: "1 hour" }),
      Future.await
    )
    const snapshot = yield* training.saveWeightsAndGetSamplingClient
    const prompt = [10, 20, 30, 40, 50]
    yield* snapshot.sample({
      prompt,
      numSamples: 2,
      maxTokens: 4,
      temperature: 0.5,
      topK: 20,
      topP: 0.9,
      seed: 3,
      stop: [1],
      promptLogprobs: true,
      topkPromptLogprobs: 2
    })
    const sampler = yield* service.createSamplingClient({ modelPath: weights })
    yield* sampler.computeLogprobs(prompt)
    const base = yield* service.createSamplingClient({ baseModel: "tinkex/nano" })
    yield* base.sample({ prompt, maxTokens: 3 })
    yield* Effect.flatMap(training.loadState(state), Future.await)
    yield* Effect.flatMap(training.loadState(state, { optimizer: true }), Future.await)
    yield* training.getInfo
    const other = yield* service.createTrainingClientFromState(state)
    yield* Effect.flatMap(other.optimStep({ learningRate: 1e-3, gradClipNorm: 1 }), Future.await)

    const rest = yield* Effect.provideService(RestClient.make, HttpTransport.HttpTransport, service.transport)
    const run = state.split("/")[2] ?? ""
    yield* rest.getTrainingRun(run)
    yield* Stream.runDrain(rest.listCheckpoints(run))
    yield* rest.getWeightsInfo(state)
    yield* rest.publishCheckpoint(weights)
    yield* rest.unpublishCheckpoint(weights)
    yield* rest.setCheckpointTtl(weights, "2 hours")
    yield* Stream.runDrain(rest.listUserCheckpoints())
    yield* rest.deleteCheckpoint(weights)
    // an error of the user, reported on the way
    const missing = yield* Effect.flip(rest.getTrainingRun("nobody"))
    if (missing._tag !== "NotFound") return yield* missing
    yield* Effect.sleep("11 seconds") // a heartbeat, and what is reported
  }).pipe(Effect.scoped)
