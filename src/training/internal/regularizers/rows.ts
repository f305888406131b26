/**
 * What the regularisers compute on: float64 copies of the log-probabilities of a batch, a tensor for each datum, and a
 * gradient of the same shapes.
 */

/** Log-probabilities of the targets of one datum, row-major; the last axis holds alternatives where there are several. */
export interface Tensor {
  readonly values: Float64Array
  readonly shape: ReadonlyArray<number>
}

export interface Penalty {
  readonly value: number
  /** d value / d log-probability, a tensor for each datum, in its shape. */
  readonly gradients: ReadonlyArray<Float64Array>
  readonly metrics: Readonly<Record<string, number>>
}

export const elements = (tensors: ReadonlyArray<Tensor>): number =>
  tensors.reduce((sum, { values }) => sum + values.length, 0)

/** Length of the last axis, and how many rows of it there are. */
export const rowsOf = ({ shape, values }: Tensor): { readonly rows: number; readonly width: number } => {
  const width = shape[shape.length - 1] ?? values.length
  return { rows: width === 0 ? 0 : values.length / width, width }
}

export const zerosLike = (tensors: ReadonlyArray<Tensor>): ReadonlyArray<Float64Array> =>
  tensors.map(({ values }) => new Float64Array(values.length))

/** What every term is multiplied with: 1 for a sum, 1 / count for a mean. */
export const reductionScale = (reduction: "sum" | "mean", count: number): number =>
  reduction === "sum" || count === 0 ? 1 : 1 / count
