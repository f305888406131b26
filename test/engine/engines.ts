/** A small base model, requests and data for tests of the engine's layers. */
import type * as Engine from "../../src/engine/Engine.js"
import type { ModelDefinition } from "../../src/engine/model/Models.js"
import type { SeededRequest } from "../../src/engine/sampler/sampleRequest.js"
import { tiny, tinyModel, tokensOf } from "./models.js"

/** Token 0 ends a text, token `i` is the letter number `i - 1`, from 27 on upper-case. */
export const letters: ReadonlyArray<Uint8Array> = Array.from(
  { length: tiny.vocabSize },
  (_, i) => new TextEncoder().encode(i === 0 ? "<end>" : String.fromCharCode(i <= 26 ? 96 + i : 64 + i - 26))
)

/** The model's flat weights. */
export const flatWeights = (): Float32Array => {
  const model = tinyModel()
  return model.kernels.floats(model.flat, model.layout.total).slice()
}

export const definition: ModelDefinition = {
  name: "tiny",
  shape: tiny,
  weights: { flat: flatWeights() },
  eosTokens: [0],
  tokenizerId: "letters",
  tokenBytes: letters
}

export const lora: Engine.LoraConfig = { rank: 4, seed: 7, trainAttn: true, trainMlp: true, trainUnembed: true }

export const adam: Engine.AdamParams = {
  learningRate: 0.01,
  beta1: 0.9,
  beta2: 0.95,
  eps: 1e-8,
  weightDecay: 0,
  gradClipNorm: 0
}

/** A pass over `count` sequences of `length` tokens, each predicting its next one. */
export const passOf = (count: number, length: number, backward = true): Engine.PassRequest => ({
  data: Array.from({ length: count }, (_, i) => {
    const tokens = tokensOf(length + 1, i)
    return {
      tokens: tokens.slice(0, length),
      lossInputs: { target_tokens: { data: tokens.slice(1), shape: [length] } }
    }
  }),
  lossFn: "cross_entropy",
  lossConfig: {},
  backward
})

/** A request with everything switched off. */
export const requestOf = (some: Partial<SeededRequest> = {}): SeededRequest => ({
  prompt: tokensOf(5, 3),
  numSamples: 1,
  maxTokens: 12,
  temperature: 1,
  topK: -1,
  topP: 1,
  seed: 42n,
  stopTokens: [],
  promptLogprobs: false,
  topkPromptLogprobs: 0,
  topkSampleLogprobs: 0,
  ...some
})
