/**
 * The gradient penalty of a function f of the log-probabilities of one datum: (|∇f(x)| - t)². Its gradient is
 * 2 (|g| - t) H g / |g| with g = ∇f(x) and H the Hessian of f, asked for as a Hessian-vector product.
 */
import type { Penalty, Tensor } from "./rows.js"

export interface Differentiable {
  /** ∇f at `x`, of the length of `x`. */
  readonly gradient: (x: Float64Array, index: number) => ArrayLike<number>
  /** H v at `x`. */
  readonly hessianVector: (x: Float64Array, v: Float64Array, index: number) => ArrayLike<number>
}

/** `mix[d]` is 1 at the data's own point, ε for a point between it and its reference. */
export const gradientPenalty = (
  tensors: ReadonlyArray<Tensor>,
  f: Differentiable,
  options: {
    readonly targetNorm: number
    readonly points: ReadonlyArray<Float64Array>
    readonly mix: ReadonlyArray<number>
  }
): Penalty => {
  let value = 0
  let norms = 0
  const gradients = tensors.map(({ values }, d) => {
    const point = options.points[d]
    const g = Float64Array.from(f.gradient(point, d))
    const norm = Math.sqrt(g.reduce((sum, x) => sum + x * x, 0))
    norms += norm
    value += (norm - options.targetNorm) ** 2
    // At a vanishing gradient the norm has no derivative: 0 is a subgradient
    if (norm === 0) return new Float64Array(values.length)
    const hg = f.hessianVector(point, g, d)
    const scale = 2 * (norm - options.targetNorm) / norm * options.mix[d]
    return Float64Array.from(hg, (x) => scale * x)
  })
  return {
    value,
    gradients,
    metrics: { gradient_norm: tensors.length === 0 ? 0 : norms / tensors.length }
  }
}
