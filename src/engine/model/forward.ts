/**
 * The forward pass over sequences of any lengths, packed one after another without padding.
 *
 * `weights` is the address of a flat array in the layout of `weightLayout`: the base, a trainable copy, or a base with
 * LoRA adapters merged in. The value of each row depends on its own sequence only, bit for bit, whatever is packed
 * around it.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"
import type { Sequences } from "../run/microBatch.js"
import type { Model } from "./model.js"
import { kvDim, qkvDim, queryDim } from "./modelConfig.js"
import type { Activations } from "./workspace.js"

/**
 * Runs the layers. The result's `final` holds, per row, the normalised state that the head multiplies. With `keep` all
 * that the backward pass needs is kept.
 */
export const forward = (
  model: Model,
  weights: number,
  sequences: Sequences,
  keep: boolean
): Either.Either<Activations, EngineError> =>
  Either.map(model.workspace.activations(sequences.rows, keep), (a) => {
    const { config, cosine, kernels, layout, sine } = model
    const { dModel, ffnDim, headDim, heads, kvHeads, normEps } = config
    const { count, positions, rows, starts, tokens } = sequences
    const projected = qkvDim(config)
    const queries = queryDim(config)
    const keyWidth = kvDim(config)
    const at = (offset: number): number => weights + offset * 4
    kernels.embed(rows, dModel, tokens, at(layout.embedding), a.layers[0]!.input)
    for (let l = 0; l < config.layers; l++) {
      const w = layout.layers[l]!
      const x = a.layers[l]!
      const output = l + 1 < config.layers ? a.layers[l + 1]!.input : a.output
      kernels.rmsNorm(rows, dModel, x.input, at(w.inputNorm), x.attentionInput, x.attentionInverse, normEps)
      linear(model, rows, dModel, projected, x.attentionInput, at(w.qkv), x.qkv, 0)
      kernels.headNormRotate(
        rows,
        heads,
        headDim,
        x.qkv,
        projected,
        at(w.qNorm),
        x.queries,
        queries,
        positions,
        cosine,
        sine,
        x.queryInverse,
        normEps
      )
      kernels.headNormRotate(
        rows,
        kvHeads,
        headDim,
        x.qkv + queries * 4,
        projected,
        at(w.kNorm),
        x.keys,
        keyWidth,
        positions,
        cosine,
        sine,
        x.keyInverse,
        normEps
      )
      kernels.attentionForward(
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
        a.attentionScratch
      )
      copy(model, x.middle, x.input, rows * dModel)
      linear(model, rows, queries, dModel, x.attention, at(w.o), x.middle, 1)
      kernels.rmsNorm(rows, dModel, x.middle, at(w.mlpNorm), x.mlpInput, x.mlpInverse, normEps)
      linear(model, rows, dModel, 2 * ffnDim, x.mlpInput, at(w.gateUp), x.gateUp, 0)
      kernels.swiglu(rows, ffnDim, x.gateUp, x.hidden)
      copy(model, output, x.middle, rows * dModel)
      linear(model, rows, ffnDim, dModel, x.hidden, at(w.down), output, 1)
    }
    kernels.rmsNorm(rows, dModel, a.output, at(layout.finalNorm), a.final, a.finalInverse, normEps)
    return a
  })

/** `y[rows][out] (+)= x[rows][in] W[out][in]^T` */
const linear = (
  { kernels }: Model,
  rows: number,
  input: number,
  output: number,
  x: number,
  w: number,
  y: number,
  accumulate: 0 | 1
): void => kernels.gemm(rows, output, input, x, input, 1, w, 1, input, y, output, 1, accumulate)

const copy = ({ kernels }: Model, to: number, from: number, words: number): void => {
  new Uint8Array(kernels.memory.buffer).copyWithin(to, from, from + words * 4)
}

/**
 * Logits of rows `first` to `first + count` of a forward pass into `a.logits`, and the log-sum-exp of each into
 * `a.logitsLse`. `count` is at most `a.headRows`.
 */
export const logits = (model: Model, weights: number, a: Activations, first: number, count: number): void => {
  const { config: { dModel, vocabSize }, kernels, layout } = model
  linear(model, count, dModel, vocabSize, a.final + first * dModel * 4, weights + layout.head * 4, a.logits, 0)
  kernels.logSumExp(count, vocabSize, a.logits, a.logitsLse)
}
