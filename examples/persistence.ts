/**
 * Save, stop, load, go on: the restored run does exactly what the first would have done.
 *
 *     npx tsx examples/persistence.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect } from "effect"
import { Datum, Future, ServiceClient, Tokenizer, type TrainingClient } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const { encode } = Tokenizer.nano
const data = [Datum.fromCompletion(encode("2 + 2 ="), encode(" 4\n"))]

const steps = (client: TrainingClient.Client, n: number) =>
  Effect.forEach(Array.from({ length: n }), () =>
    Effect.gen(function*() {
      const pass = yield* client.forwardBackward(data, "cross_entropy")
      yield* Effect.flatMap(client.optimStep({ learningRate: 5e-3 }), Future.await)
      return (yield* Future.await(pass)).metrics["loss:sum"]
    }))

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const first = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 8, seed: 1 })
  yield* steps(first, 5)
  const { path } = yield* Effect.flatMap(first.saveState("after-5", { ttl: "30 days" }), Future.await)
  const went = yield* steps(first, 5)

  // with the state of the optimiser; createTrainingClientFromState starts with a fresh one
  const second = yield* service.createTrainingClientFromStateWithOptimizer(path)
  const goes = yield* steps(second, 5)
  yield* Effect.log(`without a break: ${went.join(" ")}`)
  yield* Effect.log(`from ${path}: ${goes.join(" ")}`)

  const sampler = yield* second.saveWeightsAndGetSamplingClient
  const { sequences } = yield* sampler.sample({ prompt: encode("2 + 2 ="), maxTokens: 4, temperature: 0, stop: "\n" })
  yield* Effect.log(`2 + 2 =${Tokenizer.nano.decode(sequences[0]?.tokens ?? [])}`)
}).pipe(Effect.scoped)

// With `server: { dataDir: "./runs" }` the checkpoints outlive the program.
program.pipe(Effect.provide(LocalTinkex.layer()), NodeRuntime.runMain)
