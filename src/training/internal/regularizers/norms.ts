/**
 * L1, L2 and elastic net, with exact gradients. The L1 subgradient at 0 is 0.
 */
import { elements, reductionScale, zerosLike } from "./rows.js"
import type { Penalty, Tensor } from "./rows.js"

export type Target = "logprobs" | "probs"

/** The penalised values, and their derivative by the log-probability. */
const targets = (tensors: ReadonlyArray<Tensor>, target: Target): ReadonlyArray<Float64Array> =>
  target === "logprobs" ? tensors.map(({ values }) => values) : tensors.map(({ values }) => values.map(Math.exp))

const derivative = (target: Target, x: number): number => target === "logprobs" ? 1 : x

export const l1 = (
  tensors: ReadonlyArray<Tensor>,
  options: { readonly target: Target; readonly reduction: "sum" | "mean" }
): Penalty => {
  const xs = targets(tensors, options.target)
  const count = elements(tensors)
  const scale = reductionScale(options.reduction, count)
  const gradients = zerosLike(tensors)
  let raw = 0
  for (let d = 0; d < xs.length; d++) {
    const x = xs[d]
    const g = gradients[d]
    for (let i = 0; i < x.length; i++) {
      raw += Math.abs(x[i])
      g[i] = scale * Math.sign(x[i]) * derivative(options.target, x[i])
    }
  }
  return { value: scale * raw, gradients, metrics: { l1_raw: raw, l1_mean: count === 0 ? 0 : raw / count } }
}

export const l2 = (
  tensors: ReadonlyArray<Tensor>,
  options: {
    readonly target: Target
    readonly reduction: "sum" | "mean"
    readonly center: number | "mean"
    readonly clip: number
  }
): Penalty => {
  const xs = targets(tensors, options.target)
  const count = elements(tensors)
  const scale = reductionScale(options.reduction, count)
  let center = 0
  if (options.center === "mean") {
    for (const x of xs) for (let i = 0; i < x.length; i++) center += x[i]
    center = count === 0 ? 0 : center / count
  } else center = options.center
  const gradients = zerosLike(tensors)
  let raw = 0
  // The centre moves with every element, so each takes a share of what all of them pull
  let pull = 0
  for (let d = 0; d < xs.length; d++) {
    const x = xs[d]
    const g = gradients[d]
    for (let i = 0; i < x.length; i++) {
      const centred = x[i] - center
      const clipped = Math.min(options.clip, Math.max(-options.clip, centred))
      raw += clipped * clipped
      g[i] = Math.abs(centred) < options.clip ? 2 * scale * clipped : 0
      pull += g[i]
    }
  }
  const share = options.center === "mean" && count > 0 ? pull / count : 0
  for (let d = 0; d < xs.length; d++) {
    const x = xs[d]
    const g = gradients[d]
    for (let i = 0; i < x.length; i++) g[i] = (g[i] - share) * derivative(options.target, x[i])
  }
  return { value: scale * raw, gradients, metrics: { l2_raw: raw, l2_mean: count === 0 ? 0 : raw / count, center } }
}

export const elasticNet = (
  tensors: ReadonlyArray<Tensor>,
  options: { readonly target: Target; readonly reduction: "sum" | "mean"; readonly l1Ratio: number }
): Penalty => {
  const absolute = l1(tensors, options)
  const square = l2(tensors, { ...options, center: 0, clip: Infinity })
  const mix = (a: number, b: number) => options.l1Ratio * a + (1 - options.l1Ratio) * b
  const value = mix(absolute.value, square.value)
  return {
    value,
    gradients: absolute.gradients.map((gradient, d) => gradient.map((a, i) => mix(a, square.gradients[d][i]))),
    metrics: { elastic_net: value, l1_ratio: options.l1Ratio }
  }
}
