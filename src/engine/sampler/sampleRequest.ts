/**
 * What keeps a sampling request from being run, said so that the caller can mend it.
 */
import type { ModelInfo, SampleRequest } from "../Engine.js"

/** A sampling request whose seed is known. */
export interface SeededRequest extends SampleRequest {
  readonly seed: bigint
}

const count = (n: number): boolean => Number.isSafeInteger(n) && n >= 0

/** The first thing that is wrong, naming the field and what would be right; or undefined. */
export const requestProblem = (model: ModelInfo, request: SampleRequest): string | undefined => {
  const { maxContext, vocabSize } = model
  const { maxTokens, numSamples, prompt, stopStrings, stopTokens, temperature, topK, topP } = request
  if (prompt.length === 0) return "prompt is empty: it needs at least one token"
  const bad = prompt.findIndex((token) => token < 0 || token >= vocabSize)
  if (bad >= 0) return `prompt[${bad}] is no token of ${model.name}: tokens are 0 to ${vocabSize - 1}`
  if (maxTokens !== undefined && !count(maxTokens)) return `maxTokens is ${maxTokens}, not a count of tokens`
  if (prompt.length + (maxTokens ?? 1) > maxContext) {
    return maxTokens === undefined
      ? `the prompt of ${prompt.length} tokens leaves no room in the context of ${maxContext} tokens`
      : `the prompt of ${prompt.length} tokens and maxTokens ${maxTokens} exceed the context of ${maxContext} tokens`
  }
  if (!count(numSamples) || numSamples < 1) return `numSamples is ${numSamples}, not a positive integer`
  if (!(temperature >= 0 && temperature < Infinity)) return `temperature is ${temperature}, not a number from 0 up`
  if (topK !== -1 && !(count(topK) && topK >= 1)) return `topK is ${topK}: it must be -1 (off) or a positive integer`
  if (!(topP > 0 && topP <= 1)) return `topP is ${topP}: it must be above 0 and at most 1 (off)`
  for (const field of ["topkPromptLogprobs", "topkSampleLogprobs"] as const) {
    const k = request[field]
    if (!count(k) || k > vocabSize) return `${field} is ${k}: it must be an integer from 0 (off) to ${vocabSize}`
  }
  const stop = stopTokens?.findIndex((token) => !count(token) || token >= vocabSize) ?? -1
  if (stop >= 0) return `stopTokens[${stop}] is no token of ${model.name}: tokens are 0 to ${vocabSize - 1}`
  const empty = stopStrings?.indexOf("") ?? -1
  if (empty >= 0) return `stopStrings[${empty}] is empty`
  return undefined
}
