/**
 * The forward pass over sequences of any lengths, packed one after another without padding.
 *
 * The value of each row depends on its own sequence only, bit for bit, whatever is packed around it.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"
import type { Kernels } from "../kernels/kernels.js"
import { attention, copy, rmsNorm, rotate } from "../kernels/views.js"
import { headOf, type LayerPass, layPass, type Pass, type Sequences } from "./layers.js"
import { embed, linear } from "./linear.js"
import type { Model } from "./model.js"
import type { Weights } from "./parameters.js"

/**
 * Runs the layers. The result's `finalNorm.out` holds, per row, the normalised state that
 * the head multiplies. With `keep` all that the backward pass needs is kept, or
 * what it computes the rest from.
 */
export const forward = (
  model: Model,
  weights: Weights,
  sequences: Sequences,
  keep: boolean
): Either.Either<Pass, EngineError> =>
  Either.map(model.workspace.activations(sequences.rows, keep), (activations) => {
    const { kernels } = model
    const pass = layPass(model, weights, activations, sequences)
    const { finalNorm, layers } = pass
    const { tokens } = sequences
    embed(kernels, weights.embedding, tokens, layers[0]!.input) // -> [rows][dModel]
    for (const layer of layers) layerForward(kernels, layer)
    rmsNorm(kernels, finalNorm) // [rows][dModel] -> [rows][dModel]
    return pass
  })

/** One layer, from the residual stream that enters to the one that leaves. */
export const layerForward = (kernels: Kernels, layer: LayerPass): void => {
  rmsNorm(kernels, layer.attentionNorm) // [rows][dModel] -> [rows][dModel]
  linear(kernels, layer.qkv) // [rows][dModel] -> [rows][q + k + v]
  rotate(kernels, layer.queries) // [rows][heads][headDim] of q
  rotate(kernels, layer.keys) // [rows][kvHeads][headDim] of k
  attention(kernels, layer.attention) // -> [rows][heads * headDim]
  copy(kernels, layer.o.y, layer.input)
  linear(kernels, layer.o, true) // [rows][heads * headDim] -> added to [rows][dModel]
  rmsNorm(kernels, layer.mlpNorm) // [rows][dModel] -> [rows][dModel]
  linear(kernels, layer.gateUp) // [rows][dModel] -> [rows][2 * ffnDim]
  kernels.swiglu(layer.down.x.rows, layer.down.x.columns, layer.gateUp.y.at, layer.down.x.at) // -> [rows][ffnDim]
  copy(kernels, layer.down.y, layer.o.y)
  linear(kernels, layer.down, true) // [rows][ffnDim] -> added to [rows][dModel]
}

/**
 * Logits of rows `first` to `first + count` into `activations.logits`, and the log-sum-exp of each into
 * `activations.logitsLse`. `count` is at most `activations.headRows`.
 */
export const logits = (pass: Pass, first: number, count: number): void => {
  const { activations, model: { config, kernels } } = pass
  linear(kernels, headOf(pass, first, count)) // [count][dModel] -> [count][vocabSize]
  kernels.logSumExp(count, config.vocabSize, activations.logits, activations.logitsLse)
}
