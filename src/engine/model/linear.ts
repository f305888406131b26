/**
 * Linear layers, `y = x W^T`, with the adapters that may be trained on them; and what is trained.
 *
 * @since 0.2.0
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"
import type { Kernels } from "../kernels/kernels.js"
import { columnsOf, type Matrix, matrix, multiply, transposed } from "../kernels/views.js"
import type { LoraGroup, LoraLayout } from "./lora.js"
import type { Model } from "./model.js"

/** A linear layer of a pass. */
export interface Linear {
  /** [rows][input] */
  readonly x: Matrix
  /** [output][input] */
  readonly weight: Matrix
  /** [rows][output] */
  readonly y: Matrix
}

/** `y = x W^T`, added to `y` with `accumulate`. */
export const linear = (kernels: Kernels, { weight, x, y }: Linear, accumulate = false): void =>
  multiply(kernels, y, x, transposed(weight), 1, accumulate)

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

/** Address of the gradient of the base parameter at an address, or 0 when it is frozen. */
export const gradientOf = (trained: Trained, parameter: number): number =>
  trained._tag === "Full" ? trained.gradients + parameter - trained.weights : 0

/** Adds the gradient of a linear layer to what is trained of it, and writes `dx` if it is given. */
export const linearBackward = (
  kernels: Kernels,
  trained: Trained,
  { weight, x }: Linear,
  adapters: LoraGroup | undefined,
  dy: Matrix, // [rows][output]
  dx: Matrix | undefined // [rows][input]
): void => {
  if (dx !== undefined) multiply(kernels, dx, dy, weight)
  if (trained._tag === "Full") {
    const dWeight = { ...weight, at: gradientOf(trained, weight.at) }
    multiply(kernels, dWeight, transposed(dy), x, 1, true)
  } else if (adapters !== undefined) adaptersBackward(kernels, trained, adapters, x, dy)
}

/** With `y = x (W + s B A)^T`: `dB += s dy^T (x A^T)` and `dA += s (dy B)^T x`. */
const adaptersBackward = (
  kernels: Kernels,
  { adapters, gradients, layout: { rank, scale }, scratch }: Extract<Trained, { readonly _tag: "Lora" }>,
  { a, members }: LoraGroup,
  x: Matrix, // [rows][input]
  dy: Matrix // [rows][output]
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
}
