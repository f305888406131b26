/** From what is to be sampled to the body that says it. Written by hand: a schema over long prompts is what would be slow. */
import * as Schema from "effect/Schema"
import * as ModelInput from "../../protocol/ModelInput.js"
import { shown } from "../../protocol/numbers.js"
import { refuse } from "../../protocol/refuse.js"
import { TensorDataSchema } from "../../protocol/TensorData.js"
import * as Names from "../options.js"
import type { SampleOptions } from "../SamplingClient.js"

const whole = (field: string, value: number | undefined, least: number): void => {
  if (value !== undefined && !(Number.isSafeInteger(value) && value >= least)) {
    refuse(field, `a whole number from ${least}`, shown(value))
  }
}

const within = (field: string, value: number | undefined, holds: (n: number) => boolean, expected: string): void => {
  if (value !== undefined && !(Number.isFinite(value) && holds(value))) {
    refuse(field, expected, shown(value))
  }
}

const checkStop = (stop: SampleOptions["stop"]): void => {
  if (stop === undefined || typeof stop === "string") return
  const first = typeof stop[0]
  for (let i = 0; i < stop.length; i++) {
    const item = stop[i]
    const right = typeof item === first && (typeof item === "string" || (Number.isSafeInteger(item) && item! >= 0))
    if (!right) refuse("stop", "texts only, or tokens only", "something else", i)
  }
}

const tensorJson = Schema.encodeSync(TensorDataSchema)
const chunkJson = Schema.encodeSync(ModelInput.ChunkSchema)

/** What a prompt weighs on the way (docs/protocol/data.md#counting-bytes): ten bytes for a token, images and audio as they are. */
const weightOf = (input: ModelInput.ModelInput): number => {
  let bytes = 0
  for (const chunk of input.chunks) {
    bytes += chunk.type === "encoded_text"
      ? 10 * chunk.tokens.length
      : chunk.type === "image"
      ? chunk.data.length
      : chunk.type === "dmel"
      ? chunk.dmel.length
      : chunk.location.length
  }
  return bytes
}

const tokenCountOf = (input: ModelInput.ModelInput): number => {
  let count = 0
  for (const chunk of input.chunks) {
    count += chunk.type === "encoded_text" ? chunk.tokens.length : chunk.type === "dmel" ? 0 : chunk.expectedTokens ?? 0
  }
  return count
}

export interface Prepared {
  readonly weight: number
  readonly promptTokens: number
  readonly toJson: (samplingSessionId: string, seqId: number) => object
}

/** Checks everything, or throws `InvalidInput`; then what goes out. */
export const prepare = (options: SampleOptions): Prepared => {
  Names.sample(options ?? {})
  const input = ModelInput.from(options?.prompt, "prompt")
  const onlyText = input.chunks.every((chunk) => chunk.type === "encoded_text")
  const promptTokens = tokenCountOf(input)
  if (input.chunks.length === 0 || (onlyText && promptTokens === 0)) refuse("prompt", "at least 1 token", "none")
  whole("numSamples", options.numSamples, 1)
  whole("maxTokens", options.maxTokens, 1)
  within("temperature", options.temperature, (n) => n >= 0, "a number from 0")
  within(
    "topK",
    options.topK,
    (n) => Number.isInteger(n) && (n === -1 || n >= 1),
    "a whole number from 1, or -1 for all"
  )
  within("topP", options.topP, (n) => n > 0 && n <= 1, "a number above 0 and at most 1")
  if (typeof options.seed === "number" && !Number.isSafeInteger(options.seed)) {
    refuse("seed", "a whole number, or a bigint beyond 2^53", shown(options.seed))
  }
  checkStop(options.stop)
  whole("topkPromptLogprobs", options.topkPromptLogprobs, 0)
  whole("topkSampleLogprobs", options.topkSampleLogprobs, 0)
  whole("promptAltTokensK", options.promptAltTokensK, 0)
  whole("promptLogprobsLastN", options.promptLogprobsLastN, 1)
  if (options.promptLogprobsLastN !== undefined) {
    if (options.promptLogprobs !== true) refuse("promptLogprobsLastN", "promptLogprobs: true with it", "none")
    if (onlyText && options.promptLogprobsLastN >= promptTokens) {
      refuse("promptLogprobsLastN", `at most ${promptTokens - 1}, one less than the prompt has tokens`, "more")
    }
  }
  const target = options.targetPromptLogprobs
  if (target !== undefined && (target.dtype !== "int64" || target.shape.length !== 2)) {
    refuse("targetPromptLogprobs", "an int64 tensor of two dimensions", `${target.dtype} of ${target.shape.length}`)
  }
  const samplingParams: Record<string, unknown> = {
    temperature: options.temperature ?? 1,
    top_k: options.topK ?? -1,
    top_p: options.topP ?? 1
  }
  if (options.maxTokens !== undefined) samplingParams["max_tokens"] = options.maxTokens
  if (options.seed !== undefined) samplingParams["seed"] = options.seed
  if (options.stop !== undefined) samplingParams["stop"] = options.stop
  return {
    weight: weightOf(input),
    promptTokens,
    toJson: (samplingSessionId, seqId) => {
      const body: Record<string, unknown> = {
        num_samples: options.numSamples ?? 1,
        prompt: {
          chunks: input.chunks.map((chunk) =>
            chunk.type === "encoded_text"
              ? { tokens: Array.isArray(chunk.tokens) ? chunk.tokens : Array.from(chunk.tokens), type: "encoded_text" }
              : chunkJson(chunk)
          )
        },
        sampling_params: samplingParams,
        sampling_session_id: samplingSessionId,
        seq_id: seqId,
        prompt_logprobs: options.promptLogprobs ?? false,
        topk_prompt_logprobs: options.topkPromptLogprobs ?? 0,
        topk_sample_logprobs: options.topkSampleLogprobs ?? 0,
        prompt_alt_tokens_k: options.promptAltTokensK ?? 0,
        record_stability_info: options.recordStabilityInfo ?? false,
        type: "sample"
      }
      if (target !== undefined) body["target_prompt_logprobs"] = tensorJson(target)
      if (options.promptLogprobsLastN !== undefined) body["prompt_logprobs_last_n"] = options.promptLogprobsLastN
      return body
    }
  }
}
