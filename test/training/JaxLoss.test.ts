import { assert, describe, it } from "@effect/vitest"
import * as jax from "@jax-js/jax"
import { Effect } from "effect"
import * as Datum from "../../src/protocol/Datum.js"
import * as CustomLoss from "../../src/training/CustomLoss.js"
import * as JaxLoss from "../../src/training/JaxLoss.js"
import * as Regularizer from "../../src/training/Regularizer.js"

const data = [Datum.fromCompletion([1], [2, 3, 4]), Datum.fromCompletion([1], [5, 6])]
const logprobs: ReadonlyArray<Regularizer.Logprobs> = [
  { shape: [3], values: Float64Array.of(-0.5, -1.5, -2.5) },
  { shape: [2], values: Float64Array.of(-0.25, -3) }
]

describe("JaxLoss", () => {
  it.effect("a differentiable function becomes a custom loss with its gradient", () =>
    Effect.gen(function*() {
      yield* Effect.promise(() => jax.init("wasm"))
      // Σ lp² over the first datum, Σ exp(lp) over the second
      const loss = JaxLoss.make<jax.numpy.Array>(jax, ([a, b]) => jax.numpy.square(a).sum().add(jax.numpy.exp(b).sum()))
      const evaluation = yield* CustomLoss.evaluate(loss, data, logprobs)
      assert.closeTo(evaluation.loss, 0.25 + 2.25 + 6.25 + Math.exp(-0.25) + Math.exp(-3), 1e-5)
      const expected = [[-1, -3, -5], [Math.exp(-0.25), Math.exp(-3)]]
      for (const [d, row] of expected.entries()) {
        for (const [i, value] of row.entries()) assert.closeTo(evaluation.gradients[d][i], value, 1e-5)
      }
    }))

  it.effect("a gradient penalty through jax equals the one by hand", () =>
    Effect.gen(function*() {
      yield* Effect.promise(() => jax.init("wasm"))
      // f(x) = Σ x³ / 6: gradient x² / 2, Hessian diag(x)
      const f = JaxLoss.differentiable<jax.numpy.Array>(jax, (x) => jax.numpy.power(x, 3).sum().mul(1 / 6))
      const byHand: Regularizer.Differentiable = {
        gradient: (x) => x.map((v) => v * v / 2),
        hessianVector: (x, v) => x.map((a, i) => a * v[i])
      }
      const [through, hand] = yield* Effect.forEach([f, byHand], (f) =>
        Regularizer.gradientPenalty({ f }).apply(data, logprobs))
      assert.closeTo(through.value, hand.value, 1e-4)
      for (let d = 0; d < 2; d++) {
        for (let i = 0; i < hand.gradients[d].length; i++) {
          assert.closeTo(through.gradients[d][i], hand.gradients[d][i], 1e-4)
        }
      }
    }))
})
