import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, type Scope } from "effect"
import * as Future from "../../src/client/Future.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import type * as TrainingClient from "../../src/client/TrainingClient.js"
import * as NodeTinkex from "../../src/NodeTinkex.js"
import * as Datum from "../../src/protocol/Datum.js"
import * as Tokenizers from "../../src/tokenizer/Tokenizers.js"
import { serve, temporary } from "../cli/support.js"

const data = [
  Datum.fromCompletion([10, 20, 30], [40, 50, 60]),
  Datum.fromCompletion([11, 21], [31, 41]),
  Datum.fromCompletion([12], [22, 32, 42])
]

const step = (client: TrainingClient.Client) =>
  Effect.gen(function*() {
    const pass = yield* client.forwardBackward(data, "cross_entropy")
    const update = yield* client.optimStep({ learningRate: 1e-2, weightDecay: 0.1, gradClipNorm: 1 })
    const { lossFnOutputs, metrics } = yield* Future.await(pass)
    return {
      loss: metrics["loss:sum"],
      logprobs: lossFnOutputs.map((output) => Array.from(output["logprobs"]!.data, Number)),
      norm: (yield* Future.await(update)).metrics
    }
  })

const steps = (client: TrainingClient.Client, n: number) =>
  Effect.forEach(Array.from({ length: n }), () => step(client))

const session = (baseUrl: string) =>
  ServiceClient.layer({ baseUrl }).pipe(
    Layer.provide(NodeTinkex.layerShared({ metrics: false, tokenizers: Tokenizers.layer }))
  )

const within = <A, E>(
  baseUrl: string,
  program: (service: ServiceClient.Client) => Effect.Effect<A, E, Scope.Scope>
) =>
  Effect.runPromise(
    Effect.scoped(Effect.flatMap(ServiceClient.ServiceClient, program)).pipe(Effect.provide(session(baseUrl)))
  )

describe("persistence", () => {
  it("save, kill, load, continue: the same to the last bit as never having stopped", async () => {
    const folder = temporary()
    const options = { baseModel: "tinkex/nano-random", rank: 8, seed: 3 }
    try {
      const first = await serve("--data-dir", folder.path)
      const { expected, path } = await within(first.url, (service) =>
        Effect.gen(function*() {
          const client = yield* service.createLoraTrainingClient(options)
          yield* steps(client, 4)
          const { path } = yield* Effect.flatMap(client.saveState("middle"), Future.await)
          // what was never saved is lost with the server, and must not be found in what was
          const expected = yield* steps(client, 4)
          return { expected, path }
        }))
      first.running.child.kill("SIGKILL")
      assert.isNull((await first.running.done).code)

      const second = await serve("--data-dir", folder.path)
      const actual = await within(second.url, (service) =>
        Effect.gen(function*() {
          const client = yield* service.createTrainingClientFromStateWithOptimizer(path)
          assert.notStrictEqual(`tinker://${client.modelId}/weights/middle`, path)
          return yield* steps(client, 4)
        }))
      assert.deepStrictEqual(actual, expected)

      // without the optimiser's state it is another training: the comparison can fail
      const fresh = await within(
        second.url,
        (service) => Effect.flatMap(service.createTrainingClientFromState(path), (client) => steps(client, 4))
      )
      assert.deepStrictEqual(fresh[0]!.logprobs, expected[0]!.logprobs)
      assert.notDeepEqual(fresh[3]!.logprobs, expected[3]!.logprobs)
      assert.strictEqual((await second.stop()).code, 130)
    } finally {
      folder.remove()
    }
  })
})
