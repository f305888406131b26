/**
 * Asks: how much does the rank of the adapter matter on what was not trained: sums that are held out?
 *
 *     npx tsx scratchpad/experiments/rank-sweep.ts [--quick] [--out DIR]
 */
import { Effect } from "effect"
import { Future, ServiceClient, TrainingLoop } from "tinkex"
import { runExperiment } from "./harness.js"
import { heldOut, training as data, weight } from "./questions.js"

runExperiment({
  name: "rank-sweep",
  grid: [1, 2, 4, 8, 16, 32],
  quickGrid: [1, 8],
  steps: 40,
  quickSteps: 2,
  axes: { x: "step", y: "held-out loss of a token (nats)" },
  run: (rank, { seed, steps }) =>
    Effect.gen(function*() {
      const service = yield* ServiceClient.ServiceClient
      const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank, seed })
      const curve: Array<number> = []
      for (let step = 0; step < steps; step++) {
        const trained = yield* TrainingLoop.trainStep(training, data, {
          loss: "cross_entropy",
          adam: { learningRate: 5e-3 }
        })
        const measured = yield* training.forward(heldOut, "cross_entropy")
        yield* Future.await(trained)
        const { metrics } = yield* Future.await(measured)
        curve.push((metrics["loss:sum"] ?? NaN) / weight(heldOut))
      }
      return curve
    })
})
