/**
 * Several passes in one turn: neighbours with one loss travel as one request, results come back item by item.
 *
 *     npx tsx examples/batch-training.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Exit } from "effect"
import { Batch, Datum, Future, ServiceClient, Tokenizer } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const { encode } = Tokenizer.nano
const lesson = (prompt: string, completion: string) => ({
  data: [Datum.fromCompletion(encode(prompt), encode(completion))],
  lossFn: "cross_entropy" as const
})

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 8 })
  const items = [lesson("one", " two"), lesson("three", " four"), lesson("five", " six")]
  const batch = yield* Batch.forwardBackward(training, items)
  const step = yield* training.optimStep({ learningRate: 1e-3 })
  for (const [i, exit] of (yield* batch.await).entries()) {
    const loss = Exit.isSuccess(exit) ? exit.value.metrics["loss:sum"]?.toFixed(3) : "failed"
    yield* Effect.log(`item ${i}: loss ${loss}`)
  }
  yield* Future.await(step)
}).pipe(Effect.scoped)

program.pipe(Effect.provide(LocalTinkex.layer()), NodeRuntime.runMain)
