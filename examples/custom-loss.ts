/**
 * A loss of your own: direct preference optimisation against the frozen base model.
 *
 *     npx tsx examples/custom-loss.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect } from "effect"
import { CustomLoss, Datum, Future, ServiceClient, Tokenizer } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const { encode } = Tokenizer.nano
const pairs = [
  { prompt: "How are you?", chosen: " Very well, thank you.", rejected: " Go away." },
  { prompt: "May I come in?", chosen: " Please do.", rejected: " No." }
]
// Chosen, rejected, chosen, rejected …
const data = pairs.flatMap(({ chosen, prompt, rejected }) =>
  [chosen, rejected].map((completion) => Datum.fromCompletion(encode(prompt), encode(completion)))
)

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 8 })
  // A fresh adapter is the base model: what it says now is the reference
  const { lossFnOutputs } = yield* Effect.flatMap(training.forward(data, "cross_entropy"), Future.await)
  const loss = CustomLoss.dpo({
    beta: 0.2,
    reference: (_, index) => Float32Array.from(lossFnOutputs[index]?.["logprobs"]?.data ?? [], Number)
  })
  for (let step = 1; step <= 20; step++) {
    const gradients = yield* CustomLoss.forwardBackwardCustom(training, data, loss)
    const update = yield* training.optimStep({ learningRate: 2e-3 })
    const [output] = yield* Effect.all([Future.await(gradients), Future.await(update)])
    if (step % 5 === 0) {
      yield* Effect.log(
        `step ${step}: loss ${output.loss.toFixed(4)}, margin ${output.metrics["dpo.margin"]?.toFixed(2)}`
      )
    }
  }
}).pipe(Effect.scoped)

program.pipe(Effect.provide(LocalTinkex.layer()), NodeRuntime.runMain)
