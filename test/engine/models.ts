/** Small models for the engine's tests. */
import * as Either from "effect/Either"
import { makeKernels } from "../../src/engine/kernels/kernels.js"
import { makeModel, type Model } from "../../src/engine/model/model.js"
import { type ModelConfig } from "../../src/engine/model/modelConfig.js"

/** Two layers, grouped queries, sizes that leave ragged edges in every kernel. */
export const tiny: ModelConfig = {
  vocabSize: 37,
  maxContext: 96,
  dModel: 20,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 8,
  ffnDim: 28,
  ropeTheta: 10_000,
  normEps: 1e-6
}

/** The shapes of the other families: Llama 3 (no norms of heads, stretched frequencies), SmolLM2 (tied), Qwen2 (biases). */
export const families: Readonly<Record<string, ModelConfig>> = {
  "Llama 3": { ...tiny, qkNorm: false, ropeFactors: [1, 1.3, 4, 4], kvHeads: 1 },
  SmolLM2: { ...tiny, qkNorm: false, tied: true, heads: 6 },
  Qwen2: { ...tiny, qkNorm: false, qkvBias: true, tied: true }
}

/** A random model whose norms are not 1 and whose logits are not flat. */
export const tinyModel = (seed = 1n, config: ModelConfig = tiny): Model => {
  const kernels = makeKernels()
  const model = Either.getOrThrow(makeModel(kernels, config, { seed }))
  for (const { length, name, offset } of model.layout.tensors) {
    const weights = kernels.floats(model.flat + offset * 4, length)
    if (name.endsWith("norm.weight")) { for (let i = 0; i < length; i++) weights[i]! += 0.3 * Math.sin(i + offset) }
    if (name.endsWith(".bias")) { for (let i = 0; i < length; i++) weights[i] = 0.4 * Math.sin(i + offset) }
    if (name.includes("embed") || name.includes("head")) { for (let i = 0; i < length; i++) weights[i]! *= 20 }
  }
  return model
}

/** A deterministic sequence of tokens. */
export const tokensOf = (length: number, seed: number, vocabSize = tiny.vocabSize): Int32Array =>
  Int32Array.from({ length }, (_, i) => (Math.imul(i * 2 + seed * 7919 + 1, 2654435761) >>> 8) % vocabSize)

/** A wave of numbers without structure. */
export const wave = (length: number, seed: number, amplitude: number, offset = 0): Float32Array =>
  Float32Array.from({ length }, (_, i) => offset + amplitude * Math.sin(i * 1.7 + seed * 3.1))
