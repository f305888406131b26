/**
 * Linear layers, `y = x W^T + b`, with adapters that are added to their products or trained on them; and what is trained.
 *
 * @since 0.2.0
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"
import type { Kernels } from "../kernels/kernels.js"
import { embedPanels, multiplyPanels, multiplyPanelsTransposed, type Panels } from "../kernels/panels.js"
import { columnsOf, type Matrix, matrix, multiply, multiplyPacked, type Packed, transposed } from "../kernels/views.js"
import type { LoraGroup, LoraLayout, LoraMember } from "./lora.js"
import type { Model } from "./model.js"

/** A weight `[output][input]`: row-major and perhaps trained, packed for a sampler, or stored once for all. */
export type Weight = Matrix | Packed | Panels

/** `y = alpha x W^T`, added to `y` with `accumulate`. Only weights that are not packed take an alpha. */
const product = (
  kernels: Kernels,
  y: Matrix, // [rows][output]
  x: Matrix, // [rows][input]
  weight: Weight,
  accumulate: boolean,
  alpha = 1
): void => {
  if ("form" in weight) multiplyPanels(kernels, y, x, weight, alpha, accumulate)
  else if ("rowStride" in weight) multiply(kernels, y, x, transposed(weight), alpha, accumulate)
  else multiplyPacked(kernels, y, x, weight, accumulate)
}

/** Row `tokens[r]` of a table as row r. */
export const embed = (
  kernels: Kernels,
  table: Weight, // [vocabSize][dModel], not packed
  tokens: number, // [rows] integers
  out: Matrix // [rows][dModel]
): void => {
  if ("form" in table) embedPanels(kernels, out, tokens, table)
  else kernels.embed(out.rows, out.columns, tokens, table.at, out.at)
}

/** Adapters of a layer that are added to its products, `x A^T B^T scale`, rather than merged into its weight. */
export interface Apart {
  /** The A's of all members, one after another. */
  readonly down: Weight
  /** The B of each member. */
  readonly ups: ReadonlyArray<Weight>
  /** Which columns of the product are whose. */
  readonly members: ReadonlyArray<LoraMember>
  readonly rank: number
  readonly scale: number
  /** [rows][members * rank] */
  readonly scratch: number
}

/** A linear layer of a pass. */
export interface Linear {
  /** [rows][input] */
  readonly x: Matrix
  /** [output][input] */
  readonly weight: Weight
  /** [output]; 0: none */
  readonly bias: number
  readonly apart: Apart | undefined
  /** [rows][output] */
  readonly y: Matrix
}

/** Fills `y`, or adds to it with `accumulate`. */
export const linear = (kernels: Kernels, { apart, bias, weight, x, y }: Linear, accumulate = false): void => {
  product(kernels, y, x, weight, accumulate)
  if (bias !== 0) kernels.addToRows(y.rows, y.columns, y.at, bias)
  if (apart === undefined) return
  const { down, members, rank, scale, scratch, ups } = apart
  const projected = matrix(scratch, x.rows, members.length * rank) // x A^T
  product(kernels, projected, x, down, false)
  members.forEach(({ row, rows }, i) =>
    product(kernels, columnsOf(y, row, rows), columnsOf(projected, i * rank, rank), ups[i]!, true, scale)
  )
}

/** What is trained: every parameter of the model, or adapters. `gradients` is the address of the flat array. */
export type Trained =
  | { readonly _tag: "Full"; readonly weights: number; readonly gradients: number }
  | {
    readonly _tag: "Lora"
    readonly layout: LoraLayout
    readonly adapters: number
    readonly gradients: number
    /** Scratch for the adapters' inner products. */
    readonly scratch: number
  }

/** Describes a set of parameters to train, with scratch for micro-batches of up to `rows` rows. */
export const trained = (
  model: Model,
  lora: { readonly layout: LoraLayout; readonly adapters: number } | undefined,
  weights: number,
  gradients: number,
  rows: number
): Either.Either<Trained, EngineError> =>
  lora === undefined
    ? Either.right({ _tag: "Full", weights, gradients })
    : Either.map(
      model.workspace.block("lora", 2 * rows * 3 * lora.layout.rank),
      (scratch) => ({ _tag: "Lora", ...lora, gradients, scratch })
    )

/** Address of the gradient of the base parameter at an address, or 0 when it is frozen or there is none. */
export const gradientOf = (trained: Trained, parameter: number): number =>
  trained._tag === "Full" && parameter !== 0 ? trained.gradients + parameter - trained.weights : 0

/** Adds the gradient of a linear layer to what is trained of it, and writes `dx` if it is given. */
export const linearBackward = (
  kernels: Kernels,
  trained: Trained,
  { apart, bias, weight, x }: Linear,
  adapters: LoraGroup | undefined,
  dy: Matrix, // [rows][output]
  dx: Matrix | undefined // [rows][input]
): void => {
  if (dx !== undefined) inputGradient(kernels, weight, dy, dx)
  if (trained._tag === "Full") {
    if (!("rowStride" in weight)) return
    const dWeight = { ...weight, at: gradientOf(trained, weight.at) }
    multiply(kernels, dWeight, transposed(dy), x, 1, true)
    if (bias !== 0) kernels.sumRows(dy.rows, dy.columns, dy.at, gradientOf(trained, bias))
  } else if (adapters !== undefined) {
    adaptersBackward(kernels, trained, adapters, x, dy, apart === undefined ? undefined : dx)
  }
}

/** `dx = dy W`. Packed weights are a sampler's: no pass has them. */
const inputGradient = (kernels: Kernels, weight: Weight, dy: Matrix, dx: Matrix): void => {
  if ("form" in weight) multiplyPanelsTransposed(kernels, dx, dy, weight)
  else if ("rowStride" in weight) multiply(kernels, dx, dy, weight)
}

/**
 * With `y = x (W + s B A)^T`: `dB += s dy^T (x A^T)` and `dA += s (dy B)^T x`; and to `dx`, which is given when the
 * adapters are apart from W, `s (dy B) A` is added.
 */
const adaptersBackward = (
  kernels: Kernels,
  { adapters, gradients, layout: { rank, scale }, scratch }: Extract<Trained, { readonly _tag: "Lora" }>,
  { a, members }: LoraGroup,
  x: Matrix, // [rows][input]
  dy: Matrix, // [rows][output]
  dx: Matrix | undefined // [rows][input]
): void => {
  const inner = members.length * rank
  const downs = matrix(adapters + a * 4, inner, x.columns) // the A's of all members
  const dDowns = matrix(gradients + a * 4, inner, x.columns)
  const projected = matrix(scratch, x.rows, inner) // x A^T
  const upstream = matrix(scratch + x.rows * inner * 4, x.rows, inner) // s dy B
  multiply(kernels, projected, x, transposed(downs))
  members.forEach(({ b, row, rows }, i) => {
    const dPart = columnsOf(dy, row, rows)
    const up = matrix(adapters + b * 4, rows, rank)
    const dUp = matrix(gradients + b * 4, rows, rank)
    multiply(kernels, columnsOf(upstream, i * rank, rank), dPart, up, scale)
    multiply(kernels, dUp, transposed(dPart), columnsOf(projected, i * rank, rank), scale, true)
  })
  multiply(kernels, dDowns, transposed(upstream), x, 1, true)
  if (dx !== undefined) multiply(kernels, dx, upstream, downs, 1, true)
}
