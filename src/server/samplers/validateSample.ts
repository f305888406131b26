/**
 * Checks a sample request against a model and puts it into the engine's form. Throws `InvalidInput`; changes nothing.
 *
 * @internal
 */
import type * as Engine from "../../engine/Engine.js"
import { InvalidInput } from "../../protocol/InvalidInput.js"
import type { SampleRequest } from "../../protocol/Sampling.js"
import { validateTokens } from "../runs/validatePass.js"

const maxSamples = 1024
const maxStops = 64
const maxTopk = 128

const refuse = (field: string, expected: string, actual: string, index?: number): never => {
  throw new InvalidInput({ field, index, expected, actual })
}

const between = (field: string, value: number, low: number, high: number): void => {
  if (value < low || value > high) refuse(field, `a whole number from ${low} to ${high}`, "another number")
}

/** Seeds of any size are folded into [0, 2^63 - 1) (wire-protocol 3.7). */
const foldSeed = (seed: number | bigint): bigint => {
  const modulus = 2n ** 63n - 1n
  const rest = BigInt(seed) % modulus
  return rest < 0n ? rest + modulus : rest
}

const stopsOf = (
  stop: string | ReadonlyArray<string> | ReadonlyArray<number> | undefined
): Pick<Engine.SampleRequest, "stopTokens" | "stopStrings"> => {
  if (stop === undefined) return {}
  if (typeof stop !== "string" && stop.length === 0) return { stopTokens: [] }
  const strings: Array<string> = []
  const tokens: Array<number> = []
  for (const one of typeof stop === "string" ? [stop] : stop) {
    if (typeof one === "string") strings.push(one)
    else tokens.push(one)
  }
  if (strings.length + tokens.length > maxStops) {
    refuse("sampling_params.stop", `at most ${maxStops} stops`, `${strings.length + tokens.length}`)
  }
  const empty = strings.indexOf("")
  if (empty >= 0) refuse("sampling_params.stop", "text that is not empty", "empty text", empty)
  // text to stop at leaves the end of the sequence in force, tokens take its place (drift 1.1)
  return tokens.length > 0 ? { stopTokens: tokens } : { stopStrings: strings }
}

/** @internal */
export const validateSample = (request: SampleRequest, model: Engine.ModelInfo): Engine.SampleRequest => {
  const prompt = validateTokens("prompt", request.prompt, model)
  const params = request.samplingParams
  between("num_samples", request.numSamples, 1, maxSamples)
  if (params.maxTokens !== undefined) {
    if (params.maxTokens < 1) refuse("sampling_params.max_tokens", "at least 1", "a smaller number")
    if (prompt.length + params.maxTokens > model.maxContext) {
      throw new InvalidInput({
        field: "sampling_params.max_tokens",
        expected: `at most ${model.maxContext - prompt.length}`,
        actual:
          `more: Prompt length plus max_tokens exceeds the model's context window: ${prompt.length} + ${params.maxTokens} > ${model.maxContext}`
      })
    }
  } else if (prompt.length >= model.maxContext) {
    refuse("prompt", `fewer than ${model.maxContext} tokens, the context window of ${model.name}`, `${prompt.length}`)
  }
  if (!(params.temperature >= 0) || !Number.isFinite(params.temperature)) {
    refuse("sampling_params.temperature", "a number from 0", "another number")
  }
  if (params.topK < -1) refuse("sampling_params.top_k", "-1 (off) or a whole number from 1", "another number")
  if (!(params.topP > 0 && params.topP <= 1)) refuse("sampling_params.top_p", "above 0, at most 1", "another number")
  between("topk_prompt_logprobs", request.topkPromptLogprobs, 0, Math.min(maxTopk, model.vocabSize))
  between("topk_sample_logprobs", request.topkSampleLogprobs, 0, Math.min(maxTopk, model.vocabSize))
  if (request.targetPromptLogprobs !== undefined) {
    refuse("target_prompt_logprobs", "nothing, this server does not offer it", "a tensor")
  }
  if (request.promptAltTokensK !== 0) {
    refuse("prompt_alt_tokens_k", "0, this server does not offer it", "another number")
  }
  const lastN = request.promptLogprobsLastN
  if (lastN !== undefined) {
    if (request.promptLogprobs !== true) {
      refuse("prompt_logprobs_last_n", "nothing unless prompt_logprobs is set", "a number")
    }
    between("prompt_logprobs_last_n", lastN, 1, prompt.length - 1)
  }
  return {
    prompt,
    numSamples: request.numSamples,
    maxTokens: params.maxTokens,
    temperature: params.temperature,
    topK: params.topK === 0 ? -1 : params.topK,
    topP: params.topP,
    seed: params.seed === undefined ? undefined : foldSeed(params.seed),
    promptLogprobs: request.promptLogprobs ?? false,
    topkPromptLogprobs: request.topkPromptLogprobs,
    topkSampleLogprobs: request.topkSampleLogprobs,
    ...stopsOf(params.stop)
  }
}
