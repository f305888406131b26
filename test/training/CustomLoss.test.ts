import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Future from "../../src/client/Future.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import * as Datum from "../../src/protocol/Datum.js"
import { TestServer } from "../../src/testing/index.js"
import * as CustomLoss from "../../src/training/CustomLoss.js"
import * as Regularizer from "../../src/training/Regularizer.js"

const data = [
  Datum.fromCompletion([10, 20], [30, 40, 50]),
  Datum.fromCompletion([11, 21], [31, 41]),
  Datum.fromCompletion([12], [22, 32, 42]),
  Datum.fromCompletion([60, 61, 62], [63])
]

const training = Effect.flatMap(
  ServiceClient.ServiceClient,
  (service) => service.createLoraTrainingClient({ baseModel: "tinkex/nano-random", rank: 4, seed: 1 })
)

describe("CustomLoss", () => {
  it.scopedLive("a custom loss equal to cross-entropy moves the weights as cross-entropy does", () =>
    Effect.gen(function*() {
      const one = yield* training
      const two = yield* training
      const crossEntropy: CustomLoss.CustomLoss = (batch, logprobs) => {
        let loss = 0
        const gradients = batch.map((datum, d) => {
          const weights = datum.lossFnInputs["weights"].data
          return logprobs[d].values.map((lp, i) => {
            loss -= lp * Number(weights[i])
            return -Number(weights[i])
          })
        })
        return { loss, gradients, metrics: { mine: 1 } }
      }
      const custom = yield* Effect.flatMap(CustomLoss.forwardBackwardCustom(one, data, crossEntropy), Future.await)
      const plain = yield* Effect.flatMap(two.forwardBackward(data, "cross_entropy"), Future.await)
      assert.closeTo(custom.loss, plain.metrics["loss:sum"], 1e-4)
      assert.strictEqual(custom.metrics["mine"], 1)
      const norms = yield* Effect.forEach(
        [one, two],
        (client) => Effect.flatMap(client.optimStep({ learningRate: 1e-2 }), Future.await)
      )
      assert.deepStrictEqual(norms[0].metrics, norms[1].metrics)
      const after = yield* Effect.forEach(
        [one, two],
        (client) => Effect.flatMap(client.forward(data, "cross_entropy"), Future.await)
      )
      assert.deepStrictEqual(after[0].lossFnOutputs, after[1].lossFnOutputs)
    }).pipe(Effect.provide(TestServer.layer())))

  it.scopedLive("DPO through the whole stack: a step along its gradient lowers it as the gradient says", () =>
    Effect.gen(function*() {
      const client = yield* training
      const base = yield* Effect.flatMap(client.forward(data, "cross_entropy"), Future.await)
      const loss = CustomLoss.dpo({
        beta: 0.5,
        reference: (_, d) => base.lossFnOutputs[d]["logprobs"].data as Float32Array
      })
      const first = yield* Effect.flatMap(CustomLoss.forwardBackwardCustom(client, data, loss), Future.await)
      assert.closeTo(first.loss, Math.log(2), 1e-6)
      const { metrics } = yield* Effect.flatMap(client.optimStep({ learningRate: 1e-3 }), Future.await)
      assert.isAbove(metrics?.["unclipped_grad_l2:mean"] ?? 0, 0)
      for (let step = 0; step < 10; step++) {
        yield* CustomLoss.forwardBackwardCustom(client, data, loss)
        yield* client.optimStep({ learningRate: 1e-2 })
      }
      const last = yield* Effect.flatMap(CustomLoss.forwardBackwardCustom(client, data, loss), Future.await)
      assert.isBelow(last.loss, 0.1)
      assert.strictEqual(last.metrics["dpo.accuracy"], 1)
    }).pipe(Effect.provide(TestServer.layer())))

  it.effect("dpo: the gradient matches finite differences", () =>
    Effect.gen(function*() {
      const logprobs = data.map((datum, d): Regularizer.Logprobs => {
        const { length } = datum.lossFnInputs["weights"].data
        return { shape: [length], values: Float64Array.from({ length }, (_, i) => -0.5 - ((d * 3 + i * 5) % 7) / 3) }
      })
      const loss = CustomLoss.dpo({ beta: 0.7, reference: (_, d) => logprobs[d].values.map((x) => x / 2 - 0.3) })
      const value = (by: number, d: number, i: number) =>
        Effect.map(
          CustomLoss.evaluate(
            loss,
            data,
            logprobs.map((t, e) => e === d ? { ...t, values: t.values.map((x, j) => i === j ? x + by : x) } : t)
          ),
          (e) => e.loss
        )
      const { gradients } = yield* CustomLoss.evaluate(
        CustomLoss.dpo({ beta: 0.7, reference: (_, d) => logprobs[d].values.map((x) => x / 2 - 0.3) }),
        data,
        logprobs
      )
      let largest = 0
      for (let d = 0; d < data.length; d++) {
        for (let i = 0; i < logprobs[d].values.length; i++) {
          const frozen = logprobs[d].values.map((x) => x / 2 - 0.3)
          assert.strictEqual(frozen.length, logprobs[d].values.length)
          const difference = ((yield* value(1e-5, d, i)) - (yield* value(-1e-5, d, i))) / 2e-5
          assert.closeTo(gradients[d][i], difference, 1e-7)
          largest = Math.max(largest, Math.abs(difference))
        }
      }
      assert.isAbove(largest, 0.01)
    }))

  it.effect("regularised: values and gradients add up by weight, and the report says of what", () =>
    Effect.gen(function*() {
      const logprobs = data.map((datum): Regularizer.Logprobs => {
        const { length } = datum.lossFnInputs["weights"].data
        return { shape: [length], values: Float64Array.from({ length }, (_, i) => -1 - i) }
      })
      const base: CustomLoss.CustomLoss = (_, all) => ({
        loss: 2,
        gradients: all.map(({ values }) => values.map(() => 0.5)),
        metrics: { base: 7 }
      })
      let report: CustomLoss.Report | undefined
      const total = CustomLoss.regularized(
        base,
        [Regularizer.l1({ weight: 0.1 }), Regularizer.entropy({ weight: 0 })],
        {
          onReport: (value) =>
            Effect.sync(() => {
              report = value
            })
        }
      )
      const sum = logprobs.reduce((all, { values }) => all + values.reduce((a, b) => a - b, 0), 0)
      const evaluation = yield* CustomLoss.evaluate(total, data, logprobs)
      assert.closeTo(evaluation.loss, 2 + 0.1 * sum, 1e-12)
      for (const gradient of evaluation.gradients) {
        for (let i = 0; i < gradient.length; i++) assert.closeTo(gradient[i], 0.5 - 0.1, 1e-12)
      }
      assert.strictEqual(evaluation.metrics?.["base"], 7)
      assert.closeTo(evaluation.metrics?.["l1_sparsity.contribution"] ?? 0, 0.1 * sum, 1e-12)
      const count = logprobs.reduce((all, { values }) => all + values.length, 0)
      assert.closeTo(report?.total ?? 0, evaluation.loss, 1e-12)
      assert.closeTo(report?.gradientNorm ?? 0, 0.4 * Math.sqrt(count), 1e-12)
      assert.closeTo(report?.regularizers["l1_sparsity"].weightedGradientNorm ?? 0, 0.1 * Math.sqrt(count), 1e-12)
      assert.strictEqual(report?.regularizers["entropy"].contribution, 0)
    }))

  it.effect("refuses what would train on nonsense, and says what", () =>
    Effect.gen(function*() {
      const logprobs = [{ shape: [2], values: Float64Array.of(-1, -2) }]
      const one = [Datum.fromCompletion([1], [2, 3])]
      const message = <E>(loss: CustomLoss.CustomLoss<E>, batch = one) =>
        Effect.map(Effect.flip(CustomLoss.evaluate(loss, batch, logprobs)), (error) => (error as Error).message)
      assert.match(
        yield* message(() => ({ loss: NaN, gradients: [[0, 0]] })),
        /customLoss\.loss: expected a finite number/
      )
      assert.match(
        yield* message(() => ({ loss: 0, gradients: [] })),
        /expected 1 gradients, one for each datum, got 0/
      )
      assert.match(
        yield* message(() => ({ loss: 0, gradients: [[1]] })),
        /customLoss\.gradients\[0\]: expected 2 numbers/
      )
      assert.match(
        yield* message(() => ({ loss: 0, gradients: [[1, Infinity]] })),
        /customLoss\.gradients\[0\]\[1\]: expected finite/
      )
      const fine: CustomLoss.CustomLoss = () => ({ loss: 0, gradients: [[0, 0]] })
      assert.match(
        yield* message(CustomLoss.regularized(fine, [Regularizer.l1(), Regularizer.l1()])),
        /regularizers\[1\]: expected names that are not empty and differ/
      )
      assert.match(
        yield* message(CustomLoss.regularized(fine, [Regularizer.l1({ weight: -1 })])),
        /regularizers\.weight\[0\]: expected a finite number, at least 0/
      )
      const broken = Regularizer.make({
        name: "broken",
        apply: () => Effect.succeed({ value: 1, gradients: [new Float64Array(1)], metrics: {} })
      })
      assert.match(
        yield* message(CustomLoss.regularized(fine, [broken])),
        /^regularizers\.broken\.customLoss\.gradients/
      )
      assert.match(yield* message(CustomLoss.dpo({ reference: () => [0, 0] })), /dpo\.data: expected pairs/)
      assert.match(yield* message(CustomLoss.dpo({ beta: 0, reference: () => [0, 0] })), /dpo\.beta/)
    }))
})
