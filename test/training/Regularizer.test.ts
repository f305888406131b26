import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc } from "effect"
import * as Datum from "../../src/protocol/Datum.js"
import * as Regularizer from "../../src/training/Regularizer.js"

const datum = Datum.fromCompletion([1, 2], [3, 4])

const batch = (shapes: ReadonlyArray<ReadonlyArray<number>>, value: (i: number) => number) => {
  let i = 0
  return shapes.map((shape): Regularizer.Logprobs => ({
    shape,
    values: Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => value(i++))
  }))
}

/** Largest difference of the gradient to central differences, as a share of its largest entry. */
const mismatch = (self: Regularizer.Regularizer, logprobs: ReadonlyArray<Regularizer.Logprobs>, step = 1e-5) =>
  Effect.gen(function*() {
    const data = logprobs.map(() => datum)
    const { gradients } = yield* self.apply(data, logprobs)
    let worst = 0
    let largest = 0
    for (let d = 0; d < logprobs.length; d++) {
      for (let i = 0; i < logprobs[d].values.length; i++) {
        const at = (by: number) =>
          Effect.map(
            self.apply(
              data,
              logprobs.map((tensor, e) =>
                e === d ? { ...tensor, values: tensor.values.map((x, j) => j === i ? x + by : x) } : tensor
              )
            ),
            ({ value }) => value
          )
        const difference = ((yield* at(step)) - (yield* at(-step))) / (2 * step)
        worst = Math.max(worst, Math.abs(difference - gradients[d][i]))
        largest = Math.max(largest, Math.abs(difference))
      }
    }
    assert.isAbove(largest, 0, "the penalty does not depend on its input")
    return worst / largest
  })

const quadratic: Regularizer.Differentiable = {
  // f(x) = sum_i (i + 1) x_i^3 / 6 + x_0 x_1
  gradient: (x) => x.map((v, i) => (i + 1) * v * v / 2 + (i === 0 ? x[1] : i === 1 ? x[0] : 0)),
  hessianVector: (x, v) => x.map((a, i) => (i + 1) * a * v[i] + (i === 0 ? v[1] : i === 1 ? v[0] : 0))
}

const reference: Regularizer.Reference = (_, d) => [-0.7 - d / 5, -1.9, -0.4, -2.2, -1.1, -3.1].slice(0, 6)

const cases: ReadonlyArray<Regularizer.Regularizer> = [
  ...(["sum", "mean"] as const).flatMap((reduction) => [
    ...(["logprobs", "probs"] as const).flatMap((target) => [
      Regularizer.l1({ name: `l1 ${target} ${reduction}`, target, reduction }),
      Regularizer.l2({ name: `l2 ${target} ${reduction}`, target, reduction }),
      Regularizer.l2({ name: `l2 centred ${target} ${reduction}`, target, reduction, center: "mean" }),
      Regularizer.l2({
        name: `l2 clipped ${target} ${reduction}`,
        target,
        reduction,
        ...(target === "probs" ? { center: 0.4, clip: 0.2 } : { center: -1, clip: 0.6 })
      }),
      Regularizer.elasticNet({ name: `elastic net ${target} ${reduction}`, target, reduction, l1Ratio: 0.3 })
    ]),
    ...(["minimize", "maximize"] as const).flatMap((mode) => [
      Regularizer.entropy({ name: `entropy ${mode} ${reduction}`, mode, reduction }),
      Regularizer.entropy({
        name: `entropy at T ${mode} ${reduction}`,
        mode,
        reduction,
        temperature: 0.7,
        normalize: true
      })
    ]),
    ...(["forward", "reverse", "symmetric"] as const).map((direction) =>
      Regularizer.klDivergence({ name: `kl ${direction} ${reduction}`, reference, direction, reduction })
    ),
    ...(["mse", "l1", "cosine", "kl"] as const).map((metric) =>
      Regularizer.consistency({ name: `consistency ${metric} ${reduction}`, pair: reference, metric, reduction })
    )
  ]),
  ...(["soft", "hard", "spectral"] as const).flatMap((mode) =>
    (["rows", "sequence", "vocabulary"] as const).flatMap((axis) => [
      Regularizer.orthogonality({ name: `orthogonality ${mode} ${axis}`, mode, axis }),
      Regularizer.orthogonality({ name: `orthogonality ${mode} ${axis} raw`, mode, axis, normalize: false })
    ])
  ),
  Regularizer.gradientPenalty({ name: "gradient penalty", f: quadratic }),
  Regularizer.gradientPenalty({ name: "gradient penalty, other norm", f: quadratic, targetNorm: 0.2 })
]

describe("Regularizer", () => {
  for (const regularizer of cases) {
    it.effect(`${regularizer.name}: the gradient matches finite differences`, () =>
      Effect.gen(function*() {
        const logprobs = batch([[3, 2], [3, 2]], (i) => -0.3 - ((i * 7) % 5) / 2 - i / 40)
        assert.isBelow(yield* mismatch(regularizer, logprobs), 1e-6)
      }))
  }

  it.effect.prop(
    "gradients match finite differences on random batches",
    [fc.array(fc.double({ min: -6, max: -0.05, noNaN: true }), { minLength: 6, maxLength: 6 })],
    ([values]) =>
      Effect.gen(function*() {
        const logprobs = batch([[2, 3]], (i) => values[i])
        const all = [
          Regularizer.entropy(),
          Regularizer.klDivergence({ reference, direction: "symmetric" }),
          Regularizer.consistency({ pair: reference }),
          Regularizer.orthogonality({ axis: "sequence", mode: "hard" })
        ]
        for (const regularizer of all) {
          const { gradients } = yield* regularizer.apply([datum], logprobs)
          // A gradient that vanishes to rounding has nothing to be compared with
          if (Math.max(...gradients[0].map(Math.abs)) > 1e-3) {
            assert.isBelow(yield* mismatch(regularizer, logprobs), 1e-4)
          }
        }
      })
  )

  it.effect("the values are the formulas'", () =>
    Effect.gen(function*() {
      const logprobs = batch([[2]], (i) => [Math.log(0.25), Math.log(0.75)][i])
      const value = (self: Regularizer.Regularizer) => Effect.map(self.apply([datum], logprobs), (p) => p.value)
      const close = (actual: number, expected: number) => assert.closeTo(actual, expected, 1e-12)
      close(yield* value(Regularizer.l1()), Math.log(4) + Math.log(4 / 3))
      close(yield* value(Regularizer.l1({ target: "probs", reduction: "mean" })), 0.5)
      close(yield* value(Regularizer.l2({ target: "probs" })), 0.0625 + 0.5625)
      close(yield* value(Regularizer.l2({ target: "probs", center: "mean" })), 2 * 0.0625)
      const h = -(0.25 * Math.log(0.25) + 0.75 * Math.log(0.75))
      close(yield* value(Regularizer.entropy()), h)
      close(yield* value(Regularizer.entropy({ mode: "maximize", normalize: true })), -h / Math.log(2))
      const half = () => [Math.log(0.5), Math.log(0.5)]
      const forward = 0.25 * Math.log(0.5) + 0.75 * Math.log(1.5)
      const reverse = 0.5 * Math.log(2) + 0.5 * Math.log(2 / 3)
      close(yield* value(Regularizer.klDivergence({ reference: half })), forward)
      close(yield* value(Regularizer.klDivergence({ reference: half, direction: "reverse" })), reverse)
      close(
        yield* value(Regularizer.klDivergence({ reference: half, direction: "symmetric" })),
        (forward + reverse) / 2
      )
      close(yield* value(Regularizer.consistency({ pair: (_, d) => logprobs[d].values })), 0)
    }))

  it.effect("orthogonal rows cost nothing, equal rows most", () =>
    Effect.gen(function*() {
      const of = (values: ReadonlyArray<number>) => [{ shape: [2, 2], values: Float64Array.from(values) }]
      const value = (logprobs: ReadonlyArray<Regularizer.Logprobs>, mode: "soft" | "hard") =>
        Effect.map(Regularizer.orthogonality({ axis: "sequence", mode }).apply([datum], logprobs), (p) => p.value)
      assert.closeTo(yield* value(of([-1, 0, 0, -2]), "soft"), 0, 1e-12)
      assert.closeTo(yield* value(of([-1, 0, 0, -2]), "hard"), 0, 1e-12)
      assert.closeTo(yield* value(of([-1, -1, -2, -2]), "soft"), 2, 1e-12)
    }))

  it.effect("at the floors the gradient is that of what is left", () =>
    Effect.gen(function*() {
      const zero = [{ shape: [2, 2], values: new Float64Array(4) }]
      for (
        const regularizer of [
          Regularizer.orthogonality({ axis: "sequence" }),
          Regularizer.consistency({ pair: () => [0, 0, 0, 0], metric: "cosine" }),
          Regularizer.gradientPenalty({ f: { gradient: () => [0, 0, 0, 0], hessianVector: () => [1, 1, 1, 1] } })
        ]
      ) {
        const { gradients } = yield* regularizer.apply([datum], zero)
        assert.deepStrictEqual([...gradients[0]].map((x) => Math.abs(x)), [0, 0, 0, 0])
      }
      const far = [{ shape: [2], values: Float64Array.of(-300, -0.5) }]
      const penalty = yield* Regularizer.klDivergence({ reference: () => [-1, -150], direction: "forward" }).apply(
        [datum],
        far
      )
      assert.strictEqual(penalty.gradients[0][0], 0)
      const clipped = Math.exp(-0.5)
      assert.closeTo(penalty.gradients[0][1], clipped * 100, 1e-9)
    }))

  it.effect("an interpolated gradient penalty draws its points from Random and is exact there", () =>
    Effect.gen(function*() {
      const logprobs = batch([[3], [3]], (i) => -0.5 - i / 3)
      const regularizer = Regularizer.gradientPenalty({
        f: quadratic,
        reference: () => [-2, -1, -0.5]
      })
      const run = Effect.withRandomFixed(regularizer.apply([datum, datum], logprobs), [0.25, 0.75])
      const { gradients } = yield* run
      const h = 1e-5
      for (let d = 0; d < 2; d++) {
        for (let i = 0; i < 3; i++) {
          const at = (by: number) =>
            Effect.map(
              Effect.withRandomFixed(
                regularizer.apply(
                  [datum, datum],
                  logprobs.map((tensor, e) =>
                    e === d ? { ...tensor, values: tensor.values.map((x, j) => i === j ? x + by : x) } : tensor
                  )
                ),
                [0.25, 0.75]
              ),
              (p) => p.value
            )
          assert.closeTo(gradients[d][i], ((yield* at(h)) - (yield* at(-h))) / (2 * h), 1e-5)
        }
      }
    }))

  it.effect("refuses what it cannot compare, naming field, datum and lengths", () =>
    Effect.gen(function*() {
      const logprobs = batch([[2], [3]], () => -1)
      const data = [datum, datum]
      const short = yield* Effect.flip(Regularizer.klDivergence({ reference: () => [-1] }).apply(data, logprobs))
      assert.strictEqual(
        short.message,
        "klDivergence.reference[0]: expected 2 reference log-probabilities, one for each of the datum, got 1"
      )
      const ragged = yield* Effect.flip(Regularizer.orthogonality().apply(data, logprobs))
      assert.match(ragged.message, /^orthogonality\.data\[1\]: expected 2 log-probabilities/)
      const first = { gradient: () => [1, 1] } as unknown as Regularizer.Differentiable // what untyped code may pass
      const missing = yield* Effect.flip(Regularizer.gradientPenalty({ f: first }).apply(data, logprobs))
      assert.match(missing.message, /Hessian-vector product/)
    }))

  it("names and weights have the kind's defaults", () => {
    assert.deepInclude(Regularizer.l1(), { name: "l1_sparsity", weight: 1 })
    assert.deepInclude(Regularizer.entropy({ name: "calm", weight: 0.1 }), { name: "calm", weight: 0.1 })
  })
})
