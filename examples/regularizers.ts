/**
 * Cross-entropy with regularisers: a KL leash to the base model and an entropy bonus, reported one by one.
 *
 *     npx tsx examples/regularizers.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect } from "effect"
import { CustomLoss, Datum, Future, Regularizer, ServiceClient, Tokenizer } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const { encode } = Tokenizer.nano
const data = [
  Datum.fromCompletion(encode("The sky is"), encode(" green")),
  Datum.fromCompletion(encode("Grass is"), encode(" blue"))
]

const crossEntropy: CustomLoss.CustomLoss = (batch, logprobs) => {
  let loss = 0
  const gradients = logprobs.map(({ values }, d) => {
    const weights = Float64Array.from(batch[d]?.lossFnInputs["weights"]?.data ?? [], Number)
    values.forEach((value, i) => {
      loss -= (weights[i] ?? 0) * value
    })
    return weights.map((weight) => -weight)
  })
  return { loss, gradients }
}

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 8 })
  const { lossFnOutputs } = yield* Effect.flatMap(training.forward(data, "cross_entropy"), Future.await)
  const base = lossFnOutputs.map(({ logprobs }) => Float32Array.from(logprobs?.data ?? [], Number))
  const loss = CustomLoss.regularized(
    crossEntropy,
    [
      Regularizer.klDivergence({ weight: 0.5, reference: (_, index) => base[index] ?? [] }),
      Regularizer.entropy({ weight: 0.05, mode: "maximize" })
    ],
    {
      onReport: ({ base, gradientNorm, regularizers, total }) =>
        Effect.log(
          `total ${total.toFixed(3)} = ${base.value.toFixed(3)}`
            + Object.entries(regularizers).map(([name, part]) => ` + ${part.contribution.toFixed(3)} (${name})`).join(
              ""
            )
            + `, gradient ${gradientNorm.toFixed(2)}`
        )
    }
  )
  for (let step = 0; step < 5; step++) {
    const gradients = yield* CustomLoss.forwardBackwardCustom(training, data, loss)
    const update = yield* training.optimStep({ learningRate: 2e-3 })
    yield* Effect.all([Future.await(gradients), Future.await(update)])
  }
}).pipe(Effect.scoped)

program.pipe(Effect.provide(LocalTinkex.layer()), NodeRuntime.runMain)
