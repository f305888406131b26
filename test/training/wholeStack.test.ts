import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Future from "../../src/client/Future.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import type { Client } from "../../src/client/TrainingClient.js"
import * as Datum from "../../src/protocol/Datum.js"
import type { LossFn, LossFnConfig } from "../../src/protocol/Training.js"
import { TestServer } from "../../src/testing/index.js"
import * as CustomLoss from "../../src/training/CustomLoss.js"
import { lossSum } from "../../src/training/internal/losses.js"

const training = Effect.flatMap(
  ServiceClient.ServiceClient,
  (service) => service.createLoraTrainingClient({ baseModel: "tinkex/nano-random", rank: 8, seed: 3 })
)
const sequences = [[5, 80, 120, 33, 9], [200, 7, 31], [44, 45, 46, 47]]

const rollouts = (q: (d: number, i: number) => number, whole = false) =>
  sequences.map((tokens, d) =>
    Datum.fromRollout({
      prompt: tokens.slice(0, 1),
      completion: tokens.slice(1),
      logprobs: tokens.slice(1).map((_, i) => q(d, i)),
      // With one advantage a datum, gspo's gradient is the derivative of its value.
      advantages: whole ? [1.5, -0.7, 0.4][d % 3] : tokens.slice(1).map((_, i) => [1.5, -0.7, 0.4][(d + i) % 3]),
      sequenceRatioMask: whole
    })
  )

const cases: ReadonlyArray<readonly [LossFn, LossFnConfig | undefined]> = [
  ["cross_entropy", undefined],
  ["importance_sampling", undefined],
  ["ppo", { clip_low_threshold: 0.5, clip_high_threshold: 1.6 }],
  ["cispo", { clip_low_threshold: 0.2, clip_high_threshold: 3 }],
  ["dro", { beta: 0.3 }],
  ["gspo", { clip_low_threshold: 0.9, clip_high_threshold: 1.5 }]
]

/** A batch whose ratios stand on both sides of the clips: near what the model itself says. */
const batchOf = (lossFn: LossFn, client: Client) =>
  Effect.gen(function*() {
    if (lossFn === "cross_entropy") {
      return sequences.map((tokens) => Datum.fromCompletion(tokens.slice(0, 1), tokens.slice(1)))
    }
    const own = yield* Effect.flatMap(
      client.forward(rollouts(() => -6), "importance_sampling"),
      Future.await
    )
    return rollouts(
      (d, i) => Number(own.lossFnOutputs[d]["logprobs"].data[i]) + [0.05, 0.9, -0.8, -0.1][(d + i) % 4],
      lossFn === "gspo"
    )
  })

/**
 * How much a loss falls when the weights go `h` along its negative gradient: with β₁ = 0 and an ε far above every gradient,
 * AdamW's update is h times the gradient. So (L(0) - L(h)) / h tends to |g|², which the update itself reports.
 */
const slope = (
  lossOf: (client: Client) => Effect.Effect<number, unknown>,
  gradient: (client: Client) => Effect.Effect<unknown, unknown>,
  prepare: (client: Client) => Effect.Effect<void, unknown>
) =>
  Effect.gen(function*() {
    const eps = 1e4
    const at = (h: number) =>
      Effect.scoped(Effect.gen(function*() {
        const client = yield* training
        yield* prepare(client)
        const before = yield* lossOf(client)
        yield* gradient(client)
        const { metrics } = yield* Effect.flatMap(
          client.optimStep({ learningRate: h * eps, beta1: 0, beta2: 0, eps, weightDecay: 0 }),
          Future.await
        )
        return { fell: (before - (yield* lossOf(client))) / h, square: metrics["unclipped_grad_l2:mean"] ** 2 }
      }))
    const rough = 0.02 / Math.max(1e-3, (yield* at(1e-6)).square)
    const [coarse, fine] = [yield* at(2 * rough), yield* at(rough)]
    // Richardson: the error of first order in h goes
    return { measured: 2 * fine.fell - coarse.fell, expected: fine.square }
  })

/** Adapters that are not zero any more, so that A has gradients as well as B. */
const warmUp = (client: Client) =>
  Effect.gen(function*() {
    const data = sequences.map((tokens) => Datum.fromCompletion(tokens.slice(0, 2), tokens.slice(2)))
    for (let i = 0; i < 2; i++) {
      yield* client.forwardBackward(data, "cross_entropy")
      yield* Effect.flatMap(client.optimStep({ learningRate: 5e-3 }), Future.await)
    }
  })

/** |g|² of cross-entropy whose weights are the clipped ratios times the advantages. */
const frozenRatios = (probe: Client, data: ReadonlyArray<Datum.Datum>) =>
  Effect.gen(function*() {
    const output = yield* Effect.flatMap(probe.forward(data, "importance_sampling"), Future.await)
    const weighted = data.map(({ lossFnInputs, modelInput }, d) => {
      const lp = output.lossFnOutputs[d]["logprobs"].data
      const weights = Array.from(lossFnInputs["advantages"].data as Float32Array, (advantage, i) =>
        advantage * Math.min(3, Math.max(0.2, Math.exp(Number(lp[i]) - Number(lossFnInputs["logprobs"].data[i])))))
      return Datum.make({ modelInput, lossFnInputs: { target_tokens: lossFnInputs["target_tokens"], weights } })
    })
    yield* probe.forwardBackward(weighted, "cross_entropy")
    const { metrics } = yield* Effect.flatMap(probe.optimStep({ learningRate: 0 }), Future.await)
    return metrics["unclipped_grad_l2:mean"] ** 2
  })

describe("losses through client, wire, server and engine", () => {
  for (const [lossFn, config] of cases) {
    it.scopedLive(`${lossFn}: the value is the closed form's, the gradient that of finite differences`, () =>
      Effect.gen(function*() {
        const probe = yield* training
        yield* warmUp(probe)
        const data = yield* batchOf(lossFn, probe)
        const output = yield* Effect.flatMap(probe.forward(data, lossFn, config), Future.await)
        const closed = lossSum(data, output.lossFnOutputs, lossFn, config) ?? NaN
        assert.closeTo(output.metrics["loss:sum"], closed, 1e-5 * Math.max(1, Math.abs(closed)))
        const { expected, measured } = yield* slope(
          (client) =>
            Effect.map(
              Effect.flatMap(client.forward(data, lossFn, config), Future.await),
              (output) => lossSum(data, output.lossFnOutputs, lossFn, config) ?? NaN
            ),
          (client) => Effect.flatMap(client.forwardBackward(data, lossFn, config), Future.await),
          warmUp
        )
        // cispo holds its clipped ratio constant: its gradient is that of cross-entropy with weights ratio * advantage
        if (lossFn === "cispo") assert.closeTo(yield* frozenRatios(probe, data), expected, 1e-5 * expected)
        else assert.closeTo(measured / expected, 1, 0.03)
      }).pipe(Effect.provide(TestServer.layer())))
  }

  it.scopedLive("a custom loss (DPO): the gradient is that of finite differences", () =>
    Effect.gen(function*() {
      const data = [sequences[0], sequences[1], sequences[2], [90, 91, 92]].map((tokens) =>
        Datum.fromCompletion(tokens.slice(0, 1), tokens.slice(1))
      )
      const loss = CustomLoss.dpo({
        beta: 0.4,
        reference: (datum) => datum.lossFnInputs["weights"].data as Float32Array
      })
      const { expected, measured } = yield* slope(
        (client) =>
          Effect.gen(function*() {
            const output = yield* Effect.flatMap(client.forward(data, "cross_entropy"), Future.await)
            const logprobs = output.lossFnOutputs.map(({ logprobs }) => ({
              shape: logprobs.shape,
              values: Float64Array.from(logprobs.data, Number)
            }))
            return (yield* CustomLoss.evaluate(loss, data, logprobs)).loss
          }),
        (client) => Effect.flatMap(CustomLoss.forwardBackwardCustom(client, data, loss), Future.await),
        warmUp
      )
      assert.closeTo(measured / expected, 1, 0.03)
    }).pipe(Effect.provide(TestServer.layer())))
})
