/**
 * Orthogonality of the rows of a matrix, with its exact gradient.
 */
import type { Penalty, Tensor } from "./rows.js"
import { rowsOf, zerosLike } from "./rows.js"

export type Mode = "soft" | "hard" | "spectral"

const leastNorm = 1e-8

interface Matrix {
  readonly rows: number
  readonly columns: number
  readonly values: Float64Array
}

/** Value and gradient for `X[rows][columns]`: with G = X Xᵀ, dG/dX of Σ A∘G is (A + Aᵀ) X. */
const ofMatrix = (x: Matrix, options: { readonly mode: Mode; readonly normalize: boolean }): {
  readonly value: number
  readonly gradient: Float64Array
} => {
  const { columns, rows } = x
  const norms = new Float64Array(rows)
  const u = new Float64Array(x.values)
  for (let i = 0; i < rows; i++) {
    let square = 0
    for (let c = 0; c < columns; c++) square += u[i * columns + c] * u[i * columns + c]
    norms[i] = Math.sqrt(square)
    if (!options.normalize) continue
    const by = Math.max(norms[i], leastNorm)
    for (let c = 0; c < columns; c++) u[i * columns + c] /= by
  }
  const gram = new Float64Array(rows * rows)
  let trace = 0
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < rows; j++) {
      let dot = 0
      for (let c = 0; c < columns; c++) dot += u[i * columns + c] * u[j * columns + c]
      gram[i * rows + j] = dot
    }
    trace += gram[i * rows + i]
  }
  // a = d value / d G, symmetric
  const a = new Float64Array(rows * rows)
  let value = options.mode === "spectral" ? (trace - rows) ** 2 : 0
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < rows; j++) {
      const g = gram[i * rows + j]
      if (i !== j) {
        value += g * g
        a[i * rows + j] = 2 * g
      } else if (options.mode === "hard") {
        value += (g - 1) ** 2
        a[i * rows + j] = 2 * (g - 1)
      } else if (options.mode === "spectral") a[i * rows + j] = 2 * (trace - rows)
    }
  }
  const gradient = new Float64Array(rows * columns)
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < rows; j++) {
      const weight = 2 * a[i * rows + j]
      if (weight === 0) continue
      for (let c = 0; c < columns; c++) gradient[i * columns + c] += weight * u[j * columns + c]
    }
    if (!options.normalize) continue
    // Back through u = x / max(|x|, floor): the part along u is lost, unless the floor held
    const by = Math.max(norms[i], leastNorm)
    let along = 0
    if (norms[i] > leastNorm) {
      for (let c = 0; c < columns; c++) along += gradient[i * columns + c] * u[i * columns + c]
    }
    for (let c = 0; c < columns; c++) {
      gradient[i * columns + c] = (gradient[i * columns + c] - along * u[i * columns + c]) / by
    }
  }
  return { value, gradient }
}

const transpose = (values: Float64Array, rows: number, columns: number): Float64Array => {
  const to = new Float64Array(values.length)
  for (let i = 0; i < rows; i++) for (let c = 0; c < columns; c++) to[c * rows + i] = values[i * columns + c]
  return to
}

/** Rows are data (`rows`; all of one length), the positions of a datum, or its alternatives (`vocabulary`). */
export const orthogonality = (
  tensors: ReadonlyArray<Tensor>,
  options: { readonly mode: Mode; readonly normalize: boolean; readonly axis: "rows" | "sequence" | "vocabulary" }
): Penalty => {
  const gradients = zerosLike(tensors)
  if (options.axis === "rows") {
    const columns = tensors[0]?.values.length ?? 0
    const values = new Float64Array(tensors.length * columns)
    tensors.forEach((tensor, d) => values.set(tensor.values, d * columns))
    const { gradient, value } = ofMatrix({ rows: tensors.length, columns, values }, options)
    gradients.forEach((to, d) => to.set(gradient.subarray(d * columns, (d + 1) * columns)))
    return { value, gradients, metrics: { orthogonality: value } }
  }
  let value = 0
  for (let d = 0; d < tensors.length; d++) {
    const tensor = tensors[d]
    const { rows, width } = rowsOf(tensor)
    const flip = options.axis === "vocabulary"
    const result = ofMatrix(
      flip
        ? { rows: width, columns: rows, values: transpose(tensor.values, rows, width) }
        : { rows, columns: width, values: tensor.values },
      options
    )
    value += result.value
    gradients[d].set(flip ? transpose(result.gradient, width, rows) : result.gradient)
  }
  return { value, gradients, metrics: { orthogonality: value } }
}
