/**
 * Asks: which learning rate does a rank-8 adapter of `tinkex/nano` learn one-digit sums with, in sixty steps?
 *
 *     npx tsx scratchpad/experiments/learning-rate-sweep.ts [--quick] [--out DIR]
 *
 * Copy it for a sweep of your own: `run` gives the curve of one setting.
 */
import { Effect, Stream } from "effect"
import { ServiceClient, TrainingLoop } from "tinkex"
import { runExperiment } from "./harness.js"
import { training as data, weight } from "./questions.js"

runExperiment({
  name: "learning-rate-sweep",
  grid: [3e-4, 1e-3, 3e-3, 1e-2, 3e-2],
  quickGrid: [1e-3, 1e-2],
  steps: 60,
  quickSteps: 3,
  axes: { x: "step", y: "loss of a token (nats)" },
  run: (learningRate, { seed, steps }) =>
    Effect.gen(function*() {
      const service = yield* ServiceClient.ServiceClient
      const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 8, seed })
      const losses = yield* Stream.repeatValue(data).pipe(
        Stream.take(steps),
        TrainingLoop.run(training, { loss: "cross_entropy", adam: { learningRate } }),
        Stream.map(({ output }) => (output.metrics["loss:sum"] ?? NaN) / weight(data)),
        Stream.runCollect
      )
      return Array.from(losses)
    })
})
