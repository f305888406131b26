/**
 * Entropy, Kullback-Leibler divergence and consistency, with exact gradients: clipped and dropped terms have gradient 0.
 */
import { elements, reductionScale, rowsOf, zerosLike } from "./rows.js"
import type { Penalty, Tensor } from "./rows.js"

/** Below this log-probability a term of the entropy is dropped: it is less than 1e-20. */
const negligible = -50
const leastProbability = 1e-10
const clipLogRatio = 100

const logSoftmax = (x: Float64Array): Float64Array => {
  let max = -Infinity
  for (let i = 0; i < x.length; i++) max = Math.max(max, x[i])
  let sum = 0
  for (let i = 0; i < x.length; i++) sum += Math.exp(x[i] - max)
  const norm = max + Math.log(sum)
  return x.map((value) => value - norm)
}

const rowCount = (tensors: ReadonlyArray<Tensor>): number => tensors.reduce((sum, t) => sum + rowsOf(t).rows, 0)

export const entropy = (
  tensors: ReadonlyArray<Tensor>,
  options: {
    readonly mode: "minimize" | "maximize"
    readonly reduction: "sum" | "mean"
    readonly normalize: boolean
    readonly temperature: number
  }
): Penalty => {
  const sign = options.mode === "minimize" ? 1 : -1
  const total = rowCount(tensors)
  const scale = reductionScale(options.reduction, total)
  const gradients = zerosLike(tensors)
  let value = 0
  let sum = 0
  for (let d = 0; d < tensors.length; d++) {
    const tensor = tensors[d]
    const { rows, width } = rowsOf(tensor)
    for (let r = 0; r < rows; r++) {
      const x = tensor.values.subarray(r * width, (r + 1) * width)
      const tempered = options.temperature !== 1
      const q = tempered ? logSoftmax(x.map((value) => value / options.temperature)) : x
      const unit = options.normalize && width > 1 ? 1 / Math.log(width) : 1
      let h = 0
      // d H / d q, before it is taken back through the softmax
      const g = new Float64Array(width)
      let gSum = 0
      for (let i = 0; i < width; i++) {
        if (q[i] <= negligible) continue
        const p = Math.exp(q[i])
        h -= p * q[i]
        g[i] = -p * (q[i] + 1)
        gSum += g[i]
      }
      sum += h * unit
      value += sign * scale * unit * h
      const to = gradients[d]
      for (let i = 0; i < width; i++) {
        const back = tempered ? (g[i] - Math.exp(q[i]) * gSum) / options.temperature : g[i]
        to[r * width + i] = sign * scale * unit * back
      }
    }
  }
  return {
    value,
    gradients,
    metrics: { entropy: total === 0 ? 0 : sum / total, temperature: options.temperature }
  }
}

/** KL(P||Q) of one row by log-probabilities, its derivative by log P added into `to`. */
const forwardRow = (p: Float64Array, q: Float64Array, scale: number, to: Float64Array, at: number): number => {
  let value = 0
  for (let i = 0; i < p.length; i++) {
    const probability = Math.exp(p[i])
    if (probability <= leastProbability) continue
    const ratio = p[i] - q[i]
    const clipped = Math.min(clipLogRatio, Math.max(-clipLogRatio, ratio))
    value += probability * clipped
    to[at + i] += scale * probability * (clipped + (Math.abs(ratio) < clipLogRatio ? 1 : 0))
  }
  return value
}

/** KL(Q||P), its derivative by log P added into `to`. */
const reverseRow = (p: Float64Array, q: Float64Array, scale: number, to: Float64Array, at: number): number => {
  let value = 0
  for (let i = 0; i < p.length; i++) {
    const probability = Math.exp(q[i])
    if (probability <= leastProbability) continue
    const ratio = q[i] - p[i]
    value += probability * Math.min(clipLogRatio, Math.max(-clipLogRatio, ratio))
    if (Math.abs(ratio) < clipLogRatio) to[at + i] -= scale * probability
  }
  return value
}

export type Direction = "forward" | "reverse" | "symmetric"

export const klDivergence = (
  tensors: ReadonlyArray<Tensor>,
  references: ReadonlyArray<Float64Array>,
  options: { readonly direction: Direction; readonly reduction: "sum" | "mean" }
): Penalty => {
  const total = rowCount(tensors)
  const scale = reductionScale(options.reduction, total)
  const gradients = zerosLike(tensors)
  let sum = 0
  let least = Infinity
  let most = -Infinity
  for (let d = 0; d < tensors.length; d++) {
    const tensor = tensors[d]
    const { rows, width } = rowsOf(tensor)
    for (let r = 0; r < rows; r++) {
      const at = r * width
      const p = tensor.values.subarray(at, at + width)
      const q = references[d].subarray(at, at + width)
      const to = gradients[d]
      const row = options.direction === "forward"
        ? forwardRow(p, q, scale, to, at)
        : options.direction === "reverse"
        ? reverseRow(p, q, scale, to, at)
        : (forwardRow(p, q, scale / 2, to, at) + reverseRow(p, q, scale / 2, to, at)) / 2
      sum += row
      least = Math.min(least, row)
      most = Math.max(most, row)
    }
  }
  return {
    value: scale * sum,
    gradients,
    metrics: {
      kl_divergence: total === 0 ? 0 : sum / total,
      kl_min: total === 0 ? 0 : least,
      kl_max: total === 0 ? 0 : most
    }
  }
}

const leastNorm = 1e-8

const cosine = (tensors: ReadonlyArray<Tensor>, pairs: ReadonlyArray<Float64Array>): Penalty => {
  let xx = 0
  let yy = 0
  let xy = 0
  for (let d = 0; d < tensors.length; d++) {
    const x = tensors[d].values
    const y = pairs[d]
    for (let i = 0; i < x.length; i++) {
      xx += x[i] * x[i]
      yy += y[i] * y[i]
      xy += x[i] * y[i]
    }
  }
  const nx = Math.max(Math.sqrt(xx), leastNorm)
  const ny = Math.max(Math.sqrt(yy), leastNorm)
  const similarity = xy / (nx * ny)
  const shrinks = Math.sqrt(xx) > leastNorm
  const gradients = tensors.map(({ values }, d) =>
    values.map((x, i) => -(pairs[d][i] / (nx * ny) - (shrinks ? similarity * x / (nx * nx) : 0)))
  )
  return { value: 1 - similarity, gradients, metrics: { consistency_metric: 1 - similarity } }
}

export const consistency = (
  tensors: ReadonlyArray<Tensor>,
  pairs: ReadonlyArray<Float64Array>,
  options: { readonly metric: "mse" | "l1" | "cosine" | "kl"; readonly reduction: "sum" | "mean" }
): Penalty => {
  if (options.metric === "cosine") return cosine(tensors, pairs)
  if (options.metric === "kl") {
    const penalty = klDivergence(tensors, pairs, { direction: "symmetric", reduction: options.reduction })
    return { ...penalty, metrics: { consistency_metric: penalty.value } }
  }
  const count = elements(tensors)
  const scale = reductionScale(options.reduction, count)
  const gradients = zerosLike(tensors)
  let sum = 0
  for (let d = 0; d < tensors.length; d++) {
    const x = tensors[d].values
    const y = pairs[d]
    const to = gradients[d]
    for (let i = 0; i < x.length; i++) {
      const difference = x[i] - y[i]
      sum += options.metric === "mse" ? difference * difference : Math.abs(difference)
      to[i] = scale * (options.metric === "mse" ? 2 * difference : Math.sign(difference))
    }
  }
  return { value: scale * sum, gradients, metrics: { consistency_metric: scale * sum } }
}
