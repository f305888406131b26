import { Effect, Layer, Logger, LogLevel } from "effect"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Future from "../src/client/Future.js"
import * as ServiceClient from "../src/client/ServiceClient.js"
import * as NodeTinkex from "../src/NodeTinkex.js"
import * as NodeServer from "../src/server/NodeServer.js"
import * as Datum from "../src/protocol/Datum.js"
import * as Engine from "../src/engine/InProcessEngine.js"

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 16 })
  const { decode, encode } = yield* training.tokenizer
  const data = [Datum.fromCompletion(encode("2 + 2 ="), encode(" 4"))]
  for (let i = 0; i < 5; i++) {
    const gradients = yield* training.forwardBackward(data, "cross_entropy")
    const step = yield* training.optimStep({ learningRate: 1e-2 })
    const [{ metrics }] = yield* Effect.all([Future.await(gradients), Future.await(step)])
    yield* Effect.log(`loss ${metrics["loss:sum"]}`)
  }
  const sampler = yield* training.saveWeightsAndGetSamplingClient
  const { sequences } = yield* sampler.sample({ prompt: encode("2 + 2 ="), maxTokens: 4 })
  yield* Effect.log(sequences.map((sequence) => decode(sequence.tokens)))
}).pipe(Effect.scoped)

const live = Layer.unwrapEffect(Effect.map(NodeServer.NodeServer, ({ url }) => NodeTinkex.layer({ baseUrl: url }))).pipe(
  Layer.provide(NodeServer.layer({ port: 0 })), Layer.provide(Engine.layer() as never)
)
program.pipe(Effect.provide(live as never), Logger.withMinimumLogLevel(LogLevel.Debug), NodeRuntime.runMain as never)
