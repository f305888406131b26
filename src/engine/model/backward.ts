/**
 * The backward pass: from d loss / d logits to the gradients of the trained parameters. Gradients are added to flat
 * arrays in the layout of the parameters.
 *
 * @since 0.1.0
 */
import { attentionBackward, columnsOf, matrix, rmsNormBackward, rotateBackward, rowsOf } from "../kernels/views.js"
import { layerForward } from "./forward.js"
import { headOf, type Pass } from "./layers.js"
import { gradientOf, linearBackward, type Trained } from "./linear.js"
import { kvDim, qkvDim, queryDim } from "./modelConfig.js"

/**
 * The head: takes d loss / d logits of rows `first` to `first + count` from `activations.logits`, and leaves
 * d loss / d final in those rows of `activations.dWide`.
 */
export const headBackward = (pass: Pass, trained: Trained, first: number, count: number): void => {
  const { activations, model: { config, kernels }, sequences: { rows } } = pass
  const dFinal = rowsOf(matrix(activations.dWide, rows, config.dModel), first, count)
  const adapters = trained._tag === "Lora" ? trained.layout.head : undefined
  const linear = headOf(pass, first, count)
  linearBackward(kernels, trained, linear, adapters, linear.y, dFinal)
}

/** Everything below the head, after `headBackward` has filled `dWide` for all rows. Destroys activations. */
export const backward = (pass: Pass, trained: Trained): void => {
  const { activations: a, finalNorm, layers, model: { config, kernels }, sequences, weights } = pass
  const { dModel, ffnDim } = config
  const { rows, tokens } = sequences
  const q = queryDim(config)
  const kv = kvDim(config)
  const dStream = matrix(a.dStream, rows, dModel) // of the residual stream
  const dNormed = matrix(a.dWide, rows, dModel) // of what a norm gave
  const dAttended = matrix(a.dWide, rows, q)
  const dHidden = matrix(a.dHidden, rows, ffnDim)
  const dQkv = matrix(a.dQkv, rows, qkvDim(config))
  const dQueries = columnsOf(dQkv, 0, q)
  const dKeys = columnsOf(dQkv, q, kv)
  const dValues = columnsOf(dQkv, q + kv, kv)
  const dRotated = { queries: matrix(a.dQueries, rows, q), keys: matrix(a.dKeys, rows, kv) }
  const gradient = (parameter: number): number => gradientOf(trained, parameter)

  kernels.floats(dStream.at, rows * dModel).fill(0)
  rmsNormBackward(kernels, finalNorm, dNormed, dStream, gradient(finalNorm.gain)) // [rows][dModel]
  for (let l = layers.length - 1; l >= 0; l--) {
    const layer = layers[l]!
    if (a.recomputes) layerForward(kernels, layer)
    const lora = trained._tag === "Lora" ? trained.layout.layers[l] : undefined
    // Frozen embeddings below a frozen layer 0 need no gradient.
    const bottom = l === 0 && trained._tag === "Lora"

    linearBackward(kernels, trained, layer.down, lora?.down, dStream, dHidden) // [rows][dModel] -> [rows][ffnDim]
    const dGateUp = layer.gateUp.y // the activations make room for their gradient
    kernels.swigluBackward(rows, ffnDim, dGateUp.at, dHidden.at) // [rows][ffnDim] -> [rows][2 * ffnDim]
    linearBackward(kernels, trained, layer.gateUp, lora?.gateUp, dGateUp, dNormed) // -> [rows][dModel]
    rmsNormBackward(kernels, layer.mlpNorm, dNormed, dStream, gradient(layer.mlpNorm.gain))

    linearBackward(kernels, trained, layer.o, lora?.o, dStream, dAttended) // [rows][dModel] -> [rows][heads * headDim]
    if (bottom && lora?.qkv === undefined) return
    attentionBackward(kernels, layer.attention, { out: dAttended, ...dRotated, values: dValues })
    rotateBackward(kernels, layer.queries, dRotated.queries, dQueries, gradient(layer.queries.gain))
    rotateBackward(kernels, layer.keys, dRotated.keys, dKeys, gradient(layer.keys.gain))
    linearBackward(kernels, trained, layer.qkv, lora?.qkv, dQkv, bottom ? undefined : dNormed) // -> [rows][dModel]
    if (bottom) return
    rmsNormBackward(kernels, layer.attentionNorm, dNormed, dStream, gradient(layer.attentionNorm.gain))
  }
  if (trained._tag === "Full") kernels.embedBackward(rows, dModel, tokens, dStream.at, gradient(weights.embedding.at))
}
