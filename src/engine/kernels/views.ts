/**
 * Views of the kernels' memory: what a pass works on, by name instead of by long lists of addresses. A view is a few
 * numbers, built once a pass; it holds no memory and stays good when memory grows.
 *
 * @since 0.2.0
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"
import type { Kernels } from "./kernels.js"

/** Gives the address of so many words, a multiple of 64. */
export type Take = (words: number) => number

/**
 * Lays things out in one block of memory. `lay` is called twice and must only compute addresses: first to count the words,
 * then with those that `reserve` gave.
 */
export const layOut = <A>(
  reserve: (words: number) => Either.Either<number, EngineError>,
  lay: (take: Take) => A
): Either.Either<A, EngineError> => {
  let next = 0
  const take: Take = (words) => {
    const at = next
    next += Math.ceil(words / 16) * 64
    return at
  }
  lay(take)
  return Either.map(reserve(next / 4), (base) => {
    next = base
    return lay(take)
  })
}

/** A matrix of floats: the address of its first element in bytes; how far apart rows and columns are, in floats. */
export interface Matrix {
  readonly at: number
  readonly rows: number
  readonly columns: number
  readonly rowStride: number
  readonly columnStride: number
}

/** A row-major matrix whose rows are `rowStride` floats apart; without gaps by default. */
export const matrix = (at: number, rows: number, columns: number, rowStride = columns): Matrix => ({
  at,
  rows,
  columns,
  rowStride,
  columnStride: 1
})

/** The same numbers with rows and columns exchanged. */
export const transposed = ({ at, columnStride, columns, rowStride, rows }: Matrix): Matrix => ({
  at,
  rows: columns,
  columns: rows,
  rowStride: columnStride,
  columnStride: rowStride
})

/** `count` rows from row `first` on. */
export const rowsOf = (of: Matrix, first: number, count: number): Matrix => ({
  ...of,
  at: of.at + first * of.rowStride * 4,
  rows: count
})

/** `count` columns from column `first` on. */
export const columnsOf = (of: Matrix, first: number, count: number): Matrix => ({
  ...of,
  at: of.at + first * of.columnStride * 4,
  columns: count
})

/** `c = alpha a b`, or with `accumulate` `c += alpha a b`. `c` is row-major. */
export const multiply = (
  kernels: Kernels,
  c: Matrix, // [m][n]
  a: Matrix, // [m][k]
  b: Matrix, // [k][n]
  alpha = 1,
  accumulate = false
): void =>
  kernels.gemm(
    a.rows,
    b.columns,
    a.columns,
    a.at,
    a.rowStride,
    a.columnStride,
    b.at,
    b.rowStride,
    b.columnStride,
    c.at,
    c.rowStride,
    alpha,
    accumulate ? 1 : 0
  )

/** Copies a matrix without gaps onto another one. */
export const copy = (kernels: Kernels, to: Matrix, from: Matrix): void => {
  new Uint8Array(kernels.memory.buffer).copyWithin(to.at, from.at, from.at + from.rows * from.columns * 4)
}

/** A root-mean-square norm: `out = x / rms(x) * gain`, row by row. */
export interface Norm {
  /** [rows][n] */
  readonly x: Matrix
  /** [n] */
  readonly gain: number
  /** [rows][n] */
  readonly out: Matrix
  /** [rows] 1 / rms, kept for the backward pass */
  readonly inverse: number
  readonly eps: number
}

/** Fills `out` and `inverse`. */
export const rmsNorm = (kernels: Kernels, { eps, gain, inverse, out, x }: Norm): void =>
  kernels.rmsNorm(x.rows, x.columns, x.at, gain, out.at, inverse, eps)

/** `dx += d loss / d x` from `dout`; `dgain += d loss / d gain` unless its address is 0. */
export const rmsNormBackward = (
  kernels: Kernels,
  { gain, inverse, x }: Norm,
  dout: Matrix, // [rows][n]
  dx: Matrix, // [rows][n]
  dgain: number // [n]
): void => kernels.rmsNormBackward(x.rows, x.columns, x.at, gain, inverse, dout.at, dx.at, dgain)

/** Heads side by side in each row, normalised one by one and turned to the row's position. */
export interface Rotation {
  readonly heads: number
  readonly headDim: number
  /** [rows][heads * headDim] as projected */
  readonly x: Matrix
  /** [headDim]; 0: the heads are not normalised */
  readonly gain: number
  /** [rows][heads * headDim] without gaps */
  readonly out: Matrix
  /** [rows][heads] 1 / rms, kept for the backward pass */
  readonly inverse: number
  /** [rows] integers */
  readonly positions: number
  /** [maxContext][headDim / 2] */
  readonly cosine: number
  readonly sine: number
  readonly eps: number
}

/** Fills `out` and `inverse`. */
export const rotate = (kernels: Kernels, view: Rotation): void => {
  const { cosine, eps, gain, headDim, heads, inverse, out, positions, sine, x } = view
  if (gain === 0) {
    return kernels.headRotate(x.rows, heads, headDim, x.at, x.rowStride, out.at, positions, cosine, sine)
  }
  kernels.headNormRotate(
    x.rows,
    heads,
    headDim,
    x.at,
    x.rowStride,
    gain,
    out.at,
    positions,
    cosine,
    sine,
    inverse,
    eps
  )
}

/** Writes `dx` from `dout`, which is destroyed; `dgain += d loss / d gain` unless its address is 0. */
export const rotateBackward = (
  kernels: Kernels,
  { cosine, gain, headDim, heads, inverse, positions, sine, x }: Rotation,
  dout: Matrix, // [rows][heads * headDim]
  dx: Matrix, // [rows][heads * headDim], rows as far apart as those of x
  dgain: number // [headDim]
): void => {
  if (gain === 0) {
    return kernels.headRotateBackward(
      x.rows,
      heads,
      headDim,
      x.rowStride,
      dout.at,
      dx.at,
      positions,
      cosine,
      sine
    )
  }
  kernels.headNormRotateBackward(
    x.rows,
    heads,
    headDim,
    x.at,
    x.rowStride,
    gain,
    dout.at,
    dx.at,
    positions,
    cosine,
    sine,
    inverse,
    dgain
  )
}

/** Causal attention of grouped queries, each sequence over itself. */
export interface Attention {
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  /** Sequences, and the address of the offsets of their first rows: `count + 1` integers. */
  readonly count: number
  readonly starts: number
  /** [rows][heads * headDim] */
  readonly queries: Matrix
  /** [rows][kvHeads * headDim] */
  readonly keys: Matrix
  /** [rows][kvHeads * headDim], a part of wider rows */
  readonly values: Matrix
  /** [rows][heads * headDim] */
  readonly out: Matrix
  /** [rows][heads] log-sum-exp of the scores, kept for the backward pass */
  readonly lse: number
  readonly scratch: number
}

/** Fills `out` and `lse`. */
export const attention = (kernels: Kernels, view: Attention): void => {
  const { count, headDim, heads, keys, kvHeads, lse, out, queries, scratch, starts, values } = view
  kernels.attentionForward(
    count,
    starts,
    heads,
    kvHeads,
    headDim,
    queries.at,
    keys.at,
    values.at,
    values.rowStride,
    out.at,
    lse,
    scratch
  )
}

/** Gradients of attention, in the shapes of what they belong to. */
export interface AttentionGradients {
  readonly out: Matrix
  readonly queries: Matrix
  readonly keys: Matrix
  readonly values: Matrix
}

/** Writes the gradients of queries, keys and values from that of `out`. */
export const attentionBackward = (kernels: Kernels, view: Attention, gradients: AttentionGradients): void => {
  const { count, headDim, heads, keys, kvHeads, lse, out, queries, scratch, starts, values } = view
  kernels.attentionBackward(
    count,
    starts,
    heads,
    kvHeads,
    headDim,
    queries.at,
    keys.at,
    values.at,
    values.rowStride,
    out.at,
    lse,
    gradients.out.at,
    gradients.queries.at,
    gradients.keys.at,
    gradients.values.at,
    scratch
  )
}

/** A weight `[output][input]` packed for products with few rows. */
export interface Packed {
  readonly at: number
  readonly output: number
  readonly input: number
}

/** `y = x W^T`, added to `y` with `accumulate`; the bits of `multiply`. */
export const multiplyPacked = (
  kernels: Kernels,
  y: Matrix, // [rows][output]
  x: Matrix, // [rows][input]
  { at, input, output }: Packed,
  accumulate = false
): void => kernels.gemmPacked(x.rows, output, input, x.at, x.rowStride, at, y.at, y.rowStride, accumulate ? 1 : 0)

/** The cache of the sequences that some rows belong to, and the part of it that is a layer's. */
export interface Cached {
  /** [rows] addresses of page tables */
  readonly tables: number
  /** [rows] integers */
  readonly positions: number
  /** Offset of the layer in a page, in bytes. */
  readonly layer: number
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  /** Scratch for the scores of the longest sequence, in whole pages. */
  readonly scores: number
}

/** Puts keys and values into the pages of their sequences. */
export const remember = (
  kernels: Kernels,
  { layer, positions, tables }: Cached,
  keys: Matrix, // [rows][kvHeads * headDim]
  values: Matrix // [rows][kvHeads * headDim]
): void =>
  kernels.remember(
    keys.rows,
    keys.at,
    keys.rowStride,
    values.at,
    values.rowStride,
    tables,
    positions,
    layer,
    keys.columns
  )

/** Causal attention of rows over the pages of their sequences, which hold the rows themselves. */
export const attend = (
  kernels: Kernels,
  { headDim, heads, kvHeads, layer, positions, scores, tables }: Cached,
  queries: Matrix, // [rows][heads * headDim]
  out: Matrix // [rows][heads * headDim]
): void => kernels.attend(queries.rows, queries.at, tables, positions, layer, out.at, scores, heads, kvHeads, headDim)
