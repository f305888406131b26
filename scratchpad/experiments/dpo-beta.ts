/**
 * Asks: how does the β of direct preference optimisation change how fast the margin between right and wrong sums grows?
 *
 *     npx tsx scratchpad/experiments/dpo-beta.ts [--quick] [--out DIR]
 */
import { Effect } from "effect"
import { CustomLoss, Datum, Future, ServiceClient, Tokenizer } from "tinkex"
import { runExperiment } from "./harness.js"

const { encode } = Tokenizer.nano
// Right, wrong, right, wrong …
const data = Array.from({ length: 10 }, (_, i) => [i, (i * 3 + 1) % 10] as const).flatMap(([a, b]) =>
  [a + b, a + b + 1].map((answer) => Datum.fromCompletion(encode(`${a} + ${b} =`), encode(` ${answer}<|endoftext|>`)))
)

runExperiment({
  name: "dpo-beta",
  grid: [0.05, 0.1, 0.3, 1],
  quickGrid: [0.1, 1],
  steps: 30,
  quickSteps: 2,
  axes: { x: "step", y: "log-probability margin (nats)" },
  run: (beta, { seed, steps }) =>
    Effect.gen(function*() {
      const service = yield* ServiceClient.ServiceClient
      const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 8, seed })
      const { lossFnOutputs } = yield* Effect.flatMap(training.forward(data, "cross_entropy"), Future.await)
      const loss = CustomLoss.dpo({
        beta,
        reference: (_, index) => Float32Array.from(lossFnOutputs[index]?.["logprobs"]?.data ?? [], Number)
      })
      const curve: Array<number> = []
      for (let step = 0; step < steps; step++) {
        const gradients = yield* CustomLoss.forwardBackwardCustom(training, data, loss)
        const update = yield* training.optimStep({ learningRate: 2e-3 })
        const [{ metrics }] = yield* Effect.all([Future.await(gradients), Future.await(update)])
        curve.push((metrics["dpo.margin"] ?? NaN) / beta)
      }
      return curve
    })
})
