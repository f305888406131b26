/**
 * The backward pass: from d loss / d logits to the gradients of the trained parameters. Gradients are added to flat
 * arrays in the layout of the parameters.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"
import type { Sequences } from "../run/microBatch.js"
import type { LoraGroup, LoraLayout } from "./lora.js"
import type { Model } from "./model.js"
import { kvDim, qkvDim, queryDim } from "./modelConfig.js"
import type { Activations } from "./workspace.js"

/** What is trained: every parameter of the model, or adapters. `gradients` is the address of the flat array. */
export type Trained =
  | { readonly _tag: "Full"; readonly gradients: number }
  | {
    readonly _tag: "Lora"
    readonly layout: LoraLayout
    readonly adapters: number
    readonly gradients: number
    /** Scratch for `loraScratch` words. */
    readonly scratch: number
  }

/** Words of scratch for the adapters' inner products over `rows` rows. */
const loraScratch = (layout: LoraLayout, rows: number): number => 2 * rows * 3 * layout.rank

/** Describes a set of parameters to train, with scratch for micro-batches of up to `rows` rows. */
export const trained = (
  model: Model,
  lora: { readonly layout: LoraLayout; readonly adapters: number } | undefined,
  gradients: number,
  rows: number
): Either.Either<Trained, EngineError> =>
  lora === undefined
    ? Either.right({ _tag: "Full", gradients })
    : Either.map(
      model.workspace.block("lora", loraScratch(lora.layout, rows)),
      (scratch) => ({ _tag: "Lora", ...lora, gradients, scratch })
    )

/** A matrix `[output][input]` at offset `weight`, with the adapters on it. */
interface Matrix {
  readonly weight: number
  readonly input: number
  readonly output: number
  readonly group: LoraGroup | undefined
}

/** Adds the gradient of `y = x W^T` to the trained parameters and writes `dx` unless it is 0. */
const linearBackward = (
  { kernels }: Model,
  weights: number,
  trained: Trained,
  { group, input, output, weight }: Matrix,
  rows: number,
  x: number,
  dy: number,
  dx: number
): void => {
  if (dx !== 0) kernels.gemm(rows, input, output, dy, output, 1, weights + weight * 4, input, 1, dx, input, 1, 0)
  if (trained._tag === "Full") {
    kernels.gemm(output, input, rows, dy, 1, output, x, input, 1, trained.gradients + weight * 4, input, 1, 1)
    return
  }
  if (group === undefined) return
  const { adapters, gradients, layout: { rank, scale }, scratch } = trained
  const inner = group.members.length * rank
  const projected = scratch
  const upstream = scratch + rows * inner * 4
  kernels.gemm(rows, inner, input, x, input, 1, adapters + group.a * 4, 1, input, projected, inner, 1, 0)
  group.members.forEach(({ b, row, rows: outputs }, i) => {
    const from = dy + row * 4
    const column = i * rank * 4
    kernels.gemm(rows, rank, outputs, from, output, 1, adapters + b * 4, rank, 1, upstream + column, inner, scale, 0)
    kernels.gemm(outputs, rank, rows, from, 1, output, projected + column, inner, 1, gradients + b * 4, rank, scale, 1)
  })
  kernels.gemm(inner, input, rows, upstream, 1, inner, x, input, 1, gradients + group.a * 4, input, 1, 1)
}

/** Address of the gradient of the base parameter at `offset`, or 0 when it is frozen. */
const parameter = (trained: Trained, offset: number): number =>
  trained._tag === "Full" ? trained.gradients + offset * 4 : 0

/**
 * The head: takes d loss / d logits of rows `first` to `first + count` from `a.logits`, and leaves d loss / d final in
 * those rows of `a.dWide`.
 */
export const headBackward = (
  model: Model,
  weights: number,
  trained: Trained,
  a: Activations,
  first: number,
  count: number
): void => {
  const { config: { dModel, vocabSize }, layout } = model
  const matrix: Matrix = {
    weight: layout.head,
    input: dModel,
    output: vocabSize,
    group: trained._tag === "Lora" ? trained.layout.head : undefined
  }
  const at = first * dModel * 4
  linearBackward(model, weights, trained, matrix, count, a.final + at, a.logits, a.dWide + at)
}

/** Everything below the head, after `headBackward` has filled `a.dWide` for all rows. Destroys activations. */
export const backward = (
  model: Model,
  weights: number,
  trained: Trained,
  a: Activations,
  { count, positions, rows, starts, tokens }: Sequences
): void => {
  const { config, cosine, kernels, layout, sine } = model
  const { dModel, ffnDim, headDim, heads, kvHeads } = config
  const projected = qkvDim(config)
  const queries = queryDim(config)
  const keyWidth = kvDim(config)
  const at = (offset: number): number => weights + offset * 4
  const gradient = (offset: number): number => parameter(trained, offset)

  kernels.floats(a.dStream, rows * dModel).fill(0)
  kernels.rmsNormBackward(
    rows,
    dModel,
    a.output,
    at(layout.finalNorm),
    a.finalInverse,
    a.dWide,
    a.dStream,
    gradient(layout.finalNorm)
  )
  for (let l = config.layers - 1; l >= 0; l--) {
    const w = layout.layers[l]!
    const x = a.layers[l]!
    const lora = trained._tag === "Lora" ? trained.layout.layers[l] : undefined
    // Frozen embeddings below a frozen layer 0 need no gradient.
    const bottom = l === 0 && trained._tag === "Lora"

    const down: Matrix = { weight: w.down, input: ffnDim, output: dModel, group: lora?.down }
    linearBackward(model, weights, trained, down, rows, x.hidden, a.dStream, a.dHidden)
    kernels.swigluBackward(rows, ffnDim, x.gateUp, a.dHidden)
    const gateUp: Matrix = { weight: w.gateUp, input: dModel, output: 2 * ffnDim, group: lora?.gateUp }
    linearBackward(model, weights, trained, gateUp, rows, x.mlpInput, x.gateUp, a.dWide)
    kernels.rmsNormBackward(
      rows,
      dModel,
      x.middle,
      at(w.mlpNorm),
      x.mlpInverse,
      a.dWide,
      a.dStream,
      gradient(w.mlpNorm)
    )

    const o: Matrix = { weight: w.o, input: queries, output: dModel, group: lora?.o }
    linearBackward(model, weights, trained, o, rows, x.attention, a.dStream, a.dWide)
    if (bottom && lora?.qkv === undefined) return
    const dValues = a.dQkv + (queries + keyWidth) * 4
    kernels.attentionBackward(
      count,
      starts,
      heads,
      kvHeads,
      headDim,
      x.queries,
      queries,
      x.keys,
      keyWidth,
      x.qkv + (queries + keyWidth) * 4,
      projected,
      x.attention,
      queries,
      x.lse,
      a.dWide,
      a.dQueries,
      queries,
      a.dKeys,
      keyWidth,
      dValues,
      projected,
      a.attentionScratch
    )
    kernels.headNormRotateBackward(
      rows,
      heads,
      headDim,
      x.qkv,
      projected,
      at(w.qNorm),
      a.dQueries,
      queries,
      a.dQkv,
      projected,
      positions,
      cosine,
      sine,
      x.queryInverse,
      gradient(w.qNorm)
    )
    kernels.headNormRotateBackward(
      rows,
      kvHeads,
      headDim,
      x.qkv + queries * 4,
      projected,
      at(w.kNorm),
      a.dKeys,
      keyWidth,
      a.dQkv + queries * 4,
      projected,
      positions,
      cosine,
      sine,
      x.keyInverse,
      gradient(w.kNorm)
    )
    const qkv: Matrix = { weight: w.qkv, input: dModel, output: projected, group: lora?.qkv }
    linearBackward(model, weights, trained, qkv, rows, x.attentionInput, a.dQkv, bottom ? 0 : a.dWide)
    if (bottom) return
    kernels.rmsNormBackward(
      rows,
      dModel,
      x.input,
      at(w.inputNorm),
      x.attentionInverse,
      a.dWide,
      a.dStream,
      gradient(w.inputNorm)
    )
  }
  if (trained._tag === "Full") kernels.embedBackward(rows, dModel, tokens, a.dStream, gradient(layout.embedding))
}
