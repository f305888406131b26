/**
 * Checks a sample request against a model and puts it into the engine's form. Throws `InvalidInput`; changes nothing.
 *
 * @internal
 */
import type * as Engine from "../../engine/Engine.js"
import * as ModelInput from "../../protocol/ModelInput.js"
import { refuse } from "../../protocol/refuse.js"
import type { SampleRequest } from "../../protocol/Sampling.js"
import { checkText, validateTokens } from "../runs/validatePass.js"

const maxSamples = 1024
const maxStops = 64
const maxTopk = 128

/** Tokens and their alternatives that one result may hold: about 128 MiB. */
const maxCells = 16 * 1024 * 1024

const between = (field: string, value: number, low: number, high: number): void => {
  if (value < low || value > high) refuse(field, `a whole number from ${low} to ${high}`, `${value}`)
}

/** Seeds of any size are folded into [0, 2^63 - 1) (docs/protocol/sampling.md#parameters). */
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
  // text to stop at leaves the end of the sequence in force, tokens take its place (docs/protocol-notes.md#what-newer-sdks-changed-and-what-tinkex-does)
  return tokens.length > 0 ? { stopTokens: tokens } : { stopStrings: strings }
}

/** Holds the lengths against the context window and the memory; looks at no token. */
const checkWindow = (request: SampleRequest, model: Engine.ModelInfo): void => {
  const { maxTokens } = request.samplingParams
  checkText("prompt", request.prompt, model)
  const length = ModelInput.length(request.prompt)
  if (maxTokens !== undefined && maxTokens < 1) refuse("sampling_params.max_tokens", "at least 1", `${maxTokens}`)
  if (length >= model.maxContext) {
    refuse("prompt", `fewer than ${model.maxContext} tokens, the context window of ${model.name}`, `${length}`)
  }
  if (maxTokens !== undefined && length + maxTokens > model.maxContext) {
    refuse(
      "sampling_params.max_tokens",
      `at most ${model.maxContext - length}`,
      `${maxTokens}: Prompt length plus max_tokens exceeds the model's context window: ${length} + ${maxTokens} > ${model.maxContext}`
    )
  }
  const cells = request.numSamples * (maxTokens ?? model.maxContext - length) * (1 + request.topkSampleLogprobs)
  if (cells > maxCells) {
    refuse(
      "num_samples",
      `num_samples * max_tokens * (1 + topk_sample_logprobs) of at most ${maxCells}, what one result may hold`,
      `${cells}`
    )
  }
}

/** @internal */
export const validateSample = (request: SampleRequest, model: Engine.ModelInfo): Engine.SampleRequest => {
  const params = request.samplingParams
  checkWindow(request, model)
  const prompt = validateTokens("prompt", request.prompt, model)
  between("num_samples", request.numSamples, 1, maxSamples)
  if (!(params.temperature >= 0) || !Number.isFinite(params.temperature)) {
    refuse("sampling_params.temperature", "a number from 0", `${params.temperature}`)
  }
  if (params.topK < -1) refuse("sampling_params.top_k", "-1 (off) or a whole number from 1", `${params.topK}`)
  if (!(params.topP > 0 && params.topP <= 1)) refuse("sampling_params.top_p", "above 0, at most 1", `${params.topP}`)
  between("topk_prompt_logprobs", request.topkPromptLogprobs, 0, Math.min(maxTopk, model.vocabSize))
  between("topk_sample_logprobs", request.topkSampleLogprobs, 0, Math.min(maxTopk, model.vocabSize))
  if (request.targetPromptLogprobs !== undefined) {
    refuse("target_prompt_logprobs", "nothing, this server does not offer it", "a tensor")
  }
  if (request.promptAltTokensK !== 0) {
    refuse("prompt_alt_tokens_k", "0, this server does not offer it", `${request.promptAltTokensK}`)
  }
  const lastN = request.promptLogprobsLastN
  if (lastN !== undefined) {
    if (request.promptLogprobs !== true) {
      refuse("prompt_logprobs_last_n", "nothing unless prompt_logprobs is set", `${lastN}`)
    }
    if (prompt.length < 2) refuse("prompt_logprobs_last_n", "nothing for a prompt of one token", `${lastN}`)
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
