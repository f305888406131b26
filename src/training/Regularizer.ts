/**
 * Penalties on the log-probabilities of a batch, with their exact gradients, to be added to a custom loss.
 *
 * The formula of each stands at its function; every gradient is held against finite differences. Values add up over the data of a
 * batch; with `reduction: "mean"` they are divided by the number of elements (or rows) of the whole batch.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Datum } from "../protocol/Datum.js"
import { InvalidInput } from "../protocol/InvalidInput.js"
import * as divergences from "./internal/regularizers/divergences.js"
import type { Differentiable as InternalDifferentiable } from "./internal/regularizers/gradientPenalty.js"
import { gradientPenalty as penalizeGradient } from "./internal/regularizers/gradientPenalty.js"
import * as norms from "./internal/regularizers/norms.js"
import * as orthogonal from "./internal/regularizers/orthogonality.js"
import type * as rows from "./internal/regularizers/rows.js"

/**
 * The log-probabilities of one datum's targets: `(N)`, or `(N, K)` with K alternatives at each position; row-major.
 *
 * @since 0.1.0
 * @category models
 */
export interface Logprobs extends rows.Tensor {}

/**
 * What a regulariser gives: its value, d value / d log-probability in the shape of each datum, and figures to report.
 *
 * @since 0.1.0
 * @category models
 */
export interface Penalty extends rows.Penalty {}

/**
 * A named penalty. `weight` scales it when it is added to a loss.
 *
 * @since 0.1.0
 * @category models
 */
export interface Regularizer {
  readonly name: string
  /** At least 0. */
  readonly weight: number
  readonly apply: (
    data: ReadonlyArray<Datum>,
    logprobs: ReadonlyArray<Logprobs>
  ) => Effect.Effect<Penalty, InvalidInput>
}

/**
 * What every regulariser can be given besides its own options.
 *
 * @since 0.1.0
 * @category models
 */
export interface Common {
  /** Unique among the regularisers of a loss; the kind unless given. */
  readonly name?: string | undefined
  /** 1 unless given. */
  readonly weight?: number | undefined
}

/**
 * Reference log-probabilities of a datum, in the shape of its own: another model's, an earlier step's.
 *
 * @since 0.1.0
 * @category models
 */
export type Reference = (datum: Datum, index: number) => ArrayLike<number>

/**
 * A regulariser from its value and gradient.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: {
  readonly name: string
  readonly weight?: number | undefined
  readonly apply: Regularizer["apply"]
}): Regularizer => ({ name: options.name, weight: options.weight ?? 1, apply: options.apply })

const named = (kind: string, options: Common, apply: Regularizer["apply"]): Regularizer =>
  make({ name: options.name ?? kind, weight: options.weight, apply })

const pure = (
  kind: string,
  options: Common,
  compute: (logprobs: ReadonlyArray<Logprobs>) => Penalty
): Regularizer => named(kind, options, (_, logprobs) => Effect.sync(() => compute(logprobs)))

/** The references of a batch, refused unless each has as many numbers as its datum. */
const references = (
  field: string,
  reference: Reference,
  data: ReadonlyArray<Datum>,
  logprobs: ReadonlyArray<Logprobs>
): Effect.Effect<ReadonlyArray<Float64Array>, InvalidInput> =>
  Effect.forEach(logprobs, ({ values }, d) => {
    const found = Float64Array.from(reference(data[d], d))
    return found.length === values.length ? Effect.succeed(found) : Effect.fail(
      new InvalidInput({
        field,
        index: d,
        expected: `${values.length} reference log-probabilities, one for each of the datum`,
        actual: `${found.length}`
      })
    )
  })

/**
 * λ Σ|x|, or its mean. On log-probabilities it pulls them to 0, on probabilities (`target: "probs"`) it makes them sparse.
 *
 * @since 0.1.0
 * @category constructors
 */
export const l1 = (
  options: Common & {
    readonly target?: "logprobs" | "probs" | undefined
    readonly reduction?: "sum" | "mean" | undefined
  } = {}
): Regularizer =>
  pure(
    "l1_sparsity",
    options,
    (logprobs) => norms.l1(logprobs, { target: options.target ?? "logprobs", reduction: options.reduction ?? "sum" })
  )

/**
 * λ Σ clip(x - c)², or its mean: centred first, then clipped to ±`clip`. `center: "mean"` is the mean over the batch, and
 * the gradient follows it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const l2 = (
  options: Common & {
    readonly target?: "logprobs" | "probs" | undefined
    readonly reduction?: "sum" | "mean" | undefined
    readonly center?: number | "mean" | undefined
    readonly clip?: number | undefined
  } = {}
): Regularizer =>
  pure("l2_weight_decay", options, (logprobs) =>
    norms.l2(logprobs, {
      target: options.target ?? "logprobs",
      reduction: options.reduction ?? "sum",
      center: options.center ?? 0,
      clip: options.clip ?? Infinity
    }))

/**
 * α L1 + (1 - α) L2, both with the same target and reduction. `l1Ratio` is α, 0.5 unless given.
 *
 * @since 0.1.0
 * @category constructors
 */
export const elasticNet = (
  options: Common & {
    readonly target?: "logprobs" | "probs" | undefined
    readonly reduction?: "sum" | "mean" | undefined
    readonly l1Ratio?: number | undefined
  } = {}
): Regularizer =>
  pure("elastic_net", options, (logprobs) =>
    norms.elasticNet(logprobs, {
      target: options.target ?? "logprobs",
      reduction: options.reduction ?? "sum",
      l1Ratio: options.l1Ratio ?? 0.5
    }))

/**
 * H = -Σ p log p over the last axis, minimised or (`mode: "maximize"`) rewarded. `normalize` divides by the log of the
 * axis' length; a temperature other than 1 first makes softmax(log p / T) of each row.
 *
 * @since 0.1.0
 * @category constructors
 */
export const entropy = (
  options: Common & {
    readonly mode?: "minimize" | "maximize" | undefined
    readonly reduction?: "sum" | "mean" | undefined
    readonly normalize?: boolean | undefined
    readonly temperature?: number | undefined
  } = {}
): Regularizer =>
  pure("entropy", options, (logprobs) =>
    divergences.entropy(logprobs, {
      mode: options.mode ?? "minimize",
      reduction: options.reduction ?? "mean",
      normalize: options.normalize ?? false,
      temperature: options.temperature ?? 1
    }))

/**
 * KL(P‖Q) to reference log-probabilities, summed over the last axis; `reverse` is KL(Q‖P), `symmetric` half the sum of both.
 * Log-ratios are clipped to ±100 and terms of probability up to 1e-10 dropped, in the value and in the gradient.
 *
 * @since 0.1.0
 * @category constructors
 */
export const klDivergence = (
  options: Common & {
    readonly reference: Reference
    readonly direction?: "forward" | "reverse" | "symmetric" | undefined
    readonly reduction?: "sum" | "mean" | undefined
  }
): Regularizer =>
  named(
    "kl_divergence",
    options,
    (data, logprobs) =>
      Effect.map(references("klDivergence.reference", options.reference, data, logprobs), (found) =>
        divergences.klDivergence(logprobs, found, {
          direction: options.direction ?? "forward",
          reduction: options.reduction ?? "mean"
        }))
  )

/**
 * Distance to the log-probabilities of a pair (the same datum, altered): mean square, mean absolute, `1 - cosine` of the
 * flattened batch, or symmetric KL.
 *
 * @since 0.1.0
 * @category constructors
 */
export const consistency = (
  options: Common & {
    readonly pair: Reference
    readonly metric?: "mse" | "l1" | "cosine" | "kl" | undefined
    readonly reduction?: "sum" | "mean" | undefined
  }
): Regularizer =>
  named(
    "consistency",
    options,
    (data, logprobs) =>
      Effect.map(references("consistency.pair", options.pair, data, logprobs), (found) =>
        divergences.consistency(logprobs, found, {
          metric: options.metric ?? "mse",
          reduction: options.reduction ?? "mean"
        }))
  )

/**
 * How far the rows of a matrix are from orthogonal: with G = X Xᵀ of rows scaled to length 1, `soft` is Σ_{i≠j} G²,
 * `hard` ‖G - I‖², `spectral` (tr G - n)² + Σ_{i≠j} G². Rows are the data of the batch (`axis: "rows"`, which must be of one
 * length), the positions of each datum (`sequence`) or its alternatives (`vocabulary`).
 *
 * @since 0.1.0
 * @category constructors
 */
export const orthogonality = (
  options: Common & {
    readonly mode?: "soft" | "hard" | "spectral" | undefined
    readonly normalize?: boolean | undefined
    readonly axis?: "rows" | "sequence" | "vocabulary" | undefined
  } = {}
): Regularizer =>
  named("orthogonality", options, (_, logprobs) => {
    const axis = options.axis ?? "rows"
    const odd = axis === "rows" ? logprobs.findIndex(({ values }) => values.length !== logprobs[0].values.length) : -1
    return odd === -1
      ? Effect.sync(() =>
        orthogonal.orthogonality(logprobs, {
          mode: options.mode ?? "soft",
          normalize: options.normalize ?? true,
          axis
        })
      )
      : Effect.fail(
        new InvalidInput({
          field: "orthogonality.data",
          index: odd,
          expected: `${logprobs[0].values.length} log-probabilities, as the first datum has (or another axis)`,
          actual: `${logprobs[odd].values.length}`
        })
      )
  })

/**
 * A function of the log-probabilities of one datum by its first and second derivative.
 *
 * @since 0.1.0
 * @category models
 */
export interface Differentiable extends InternalDifferentiable {}

/**
 * Σ (‖∇f(x)‖ - t)² over the data. With a `reference` y the gradient is taken at εx + (1 - ε)y, ε uniform in [0, 1) from
 * `Random` for each datum (WGAN-GP, arXiv:1704.00028). Its own gradient needs second derivatives: a Hessian-vector product.
 *
 * @since 0.1.0
 * @category constructors
 */
export const gradientPenalty = (
  options: Common & {
    readonly f: Differentiable
    /** t, 1 unless given. */
    readonly targetNorm?: number | undefined
    readonly reference?: Reference | undefined
  }
): Regularizer =>
  named("gradient_penalty", options, (data, logprobs) =>
    Effect.gen(function*() {
      if (typeof options.f.hessianVector !== "function") {
        return yield* Effect.fail(
          new InvalidInput({
            field: "gradientPenalty.f.hessianVector",
            expected: "the Hessian-vector product of f: without it the penalty has no gradient and would not train",
            actual: "none"
          })
        )
      }
      const { reference } = options
      if (reference === undefined) {
        return penalizeGradient(logprobs, options.f, {
          targetNorm: options.targetNorm ?? 1,
          points: logprobs.map(({ values }) => values),
          mix: logprobs.map(() => 1)
        })
      }
      const found = yield* references("gradientPenalty.reference", reference, data, logprobs)
      const mix = yield* Effect.forEach(logprobs, () => Random.next)
      return penalizeGradient(logprobs, options.f, {
        targetNorm: options.targetNorm ?? 1,
        points: logprobs.map(({ values }, d) => values.map((x, i) => mix[d] * x + (1 - mix[d]) * found[d][i])),
        mix
      })
    }))
