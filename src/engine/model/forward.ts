/**
 * The forward pass over sequences of any lengths, packed one after another without padding.
 *
 * The value of each row depends on its own sequence only, bit for bit, whatever is packed around it.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"
import { attention, copy, rmsNorm, rotate } from "../kernels/views.js"
import { headOf, layPass, type Pass, type Sequences } from "./layers.js"
import { linear } from "./linear.js"
import type { Model } from "./model.js"

/**
 * Runs the layers on flat weights at an address. The result's `finalNorm.out` holds, per row, the normalised state that
 * the head multiplies. With `keep` all that the backward pass needs is kept.
 */
export const forward = (
  model: Model,
  weights: number,
  sequences: Sequences,
  keep: boolean
): Either.Either<Pass, EngineError> =>
  Either.map(model.workspace.activations(sequences.rows, keep), (activations) => {
    const { config: { dModel, ffnDim }, kernels } = model
    const pass = layPass(model, weights, activations, sequences)
    const { embedding, finalNorm, layers } = pass
    const { rows, tokens } = sequences
    kernels.embed(rows, dModel, tokens, embedding.at, layers[0]!.input.at) // -> [rows][dModel]
    for (const layer of layers) {
      rmsNorm(kernels, layer.attentionNorm) // [rows][dModel] -> [rows][dModel]
      linear(kernels, layer.qkv) // [rows][dModel] -> [rows][q + k + v]
      rotate(kernels, layer.queries) // [rows][heads][headDim] of q
      rotate(kernels, layer.keys) // [rows][kvHeads][headDim] of k
      attention(kernels, layer.attention) // -> [rows][heads * headDim]
      copy(kernels, layer.o.y, layer.input)
      linear(kernels, layer.o, true) // [rows][heads * headDim] -> added to [rows][dModel]
      rmsNorm(kernels, layer.mlpNorm) // [rows][dModel] -> [rows][dModel]
      linear(kernels, layer.gateUp) // [rows][dModel] -> [rows][2 * ffnDim]
      kernels.swiglu(rows, ffnDim, layer.gateUp.y.at, layer.down.x.at) // -> [rows][ffnDim]
      copy(kernels, layer.down.y, layer.o.y)
      linear(kernels, layer.down, true) // [rows][ffnDim] -> added to [rows][dModel]
    }
    rmsNorm(kernels, finalNorm) // [rows][dModel] -> [rows][dModel]
    return pass
  })

/**
 * Logits of rows `first` to `first + count` into `activations.logits`, and the log-sum-exp of each into
 * `activations.logitsLse`. `count` is at most `activations.headRows`.
 */
export const logits = (pass: Pass, first: number, count: number): void => {
  const { activations, head, model: { kernels } } = pass
  linear(kernels, headOf(pass, first, count)) // [count][dModel] -> [count][vocabSize]
  kernels.logSumExp(count, head.rows, activations.logits, activations.logitsLse)
}
