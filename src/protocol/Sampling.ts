/**
 * Sampling requests and their results.
 *
 * @since 0.1.0
 */
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { topkFromPairs, topkToPairs } from "./internal/topk.js"
import { defaulted, Float, optional, required, typed } from "./internal/wire.js"
import { ModelInputSchema } from "./ModelInput.js"
import { FloatArray, Int32List, NullableFloatArray, TopkPairs } from "./NumericArray.js"
import { type TensorData, TensorDataSchema } from "./TensorData.js"

const BigInteger = Schema.BigIntFromSelf.annotations({ jsonSchema: { type: "integer" } })

/**
 * An integer of up to 64 bits: a number within ±(2^53 - 1), a bigint beyond (see `Json`).
 *
 * @since 0.1.0
 * @category schemas
 */
export const WideInt: Schema.Schema<number | bigint> = Schema.Union(Schema.Int, BigInteger)

/**
 * When to stop. Absent: the model's own end tokens stop. A text or texts, or token ids: those stop. An empty list: nothing
 * stops, not even the end tokens, until `maxTokens` (docs/protocol-notes.md#what-newer-sdks-changed-and-what-tinkex-does). Absent is never turned into the empty list.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Stop: Schema.Schema<
  string | ReadonlyArray<string> | ReadonlyArray<number>
> = Schema.Union(Schema.String, Schema.Array(Schema.String), Int32List)

/**
 * @since 0.1.0
 * @category models
 */
export type Stop = typeof Stop.Type

/**
 * How to sample, in JSON (docs/protocol/sampling.md#parameters). `topK` -1 and `topP` 1 mean no limit.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SamplingParams = Schema.Struct({
  maxTokens: optional(Schema.Int, "max_tokens"),
  seed: optional(WideInt, "seed"),
  stop: optional(Stop, "stop"),
  temperature: defaulted(Float, "temperature", () => 1),
  topK: defaulted(Schema.Int, "top_k", () => -1),
  topP: defaulted(Float, "top_p", () => 1)
})

/**
 * How to sample.
 *
 * @since 0.1.0
 * @category models
 */
export interface SamplingParams extends Schema.Schema.Type<typeof SamplingParams> {}

/**
 * The service's defaults: temperature 1, no top-k or top-p limit.
 *
 * @since 0.1.0
 * @category constants
 */
export const samplingDefaults: SamplingParams = { temperature: 1, topK: -1, topP: 1 }

/**
 * Body of `POST /asample` (docs/protocol/sampling.md#requests). A sampling session and `seqId`, or a base model or model path.
 * `seqId` may exceed 2^53: parse bodies with `Json.parse` and write them with `Json.stringify`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SampleRequest = typed("sample", {
  numSamples: defaulted(Schema.Int, "num_samples", () => 1),
  prompt: ModelInputSchema,
  samplingParams: required(SamplingParams, "sampling_params"),
  baseModel: optional(Schema.String, "base_model"),
  modelPath: optional(Schema.String, "model_path"),
  samplingSessionId: optional(Schema.String, "sampling_session_id"),
  seqId: optional(WideInt, "seq_id"),
  promptLogprobs: optional(Schema.Boolean, "prompt_logprobs"),
  /** Likeliest tokens to report per prompt token; 0 is off. */
  topkPromptLogprobs: defaulted(Schema.Int, "topk_prompt_logprobs", () => 0),
  /** Likeliest tokens to report per sampled token; 0 is off. */
  topkSampleLogprobs: defaulted(Schema.Int, "topk_sample_logprobs", () => 0),
  /** Token ids to score, int64 `[prompt length - 1, K]`, -1 for none; may be sparse. */
  targetPromptLogprobs: optional(TensorDataSchema, "target_prompt_logprobs"),
  /** Draws to make from the model's distribution at every prompt position after the first; 0 is off. */
  promptAltTokensK: defaulted(Schema.Int, "prompt_alt_tokens_k", () => 0),
  /** Score only the last N prompt tokens, 1 to prompt length - 1; needs `promptLogprobs`. */
  promptLogprobsLastN: optional(Schema.Int, "prompt_logprobs_last_n"),
  recordStabilityInfo: optional(Schema.Boolean, "record_stability_info")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface SampleRequest extends Schema.Schema.Type<typeof SampleRequest> {}

/**
 * Why a sequence ended: a stop, or its length.
 *
 * @since 0.1.0
 * @category models
 */
export type StopReason = "stop" | "length"

/**
 * The `k` likeliest tokens at each of `length` positions, row-major. Cells that hold nothing are token 0 with
 * log-probability -99999; `topkRows` leaves them out.
 *
 * @since 0.1.0
 * @category models
 */
export interface TopkLogprobs {
  readonly tokens: Int32Array
  readonly logprobs: Float32Array
  readonly k: number
  readonly length: number
}

/**
 * One sampled sequence. `logprobs` has one entry per token; `sequenceId` is what later requests call it, absent until the
 * client has stamped it from the answer to the submission.
 *
 * @since 0.1.0
 * @category models
 */
export interface SampledSequence {
  readonly stopReason: StopReason
  readonly tokens: Int32Array
  readonly logprobs?: Float32Array | undefined
  readonly topkLogprobs?: TopkLogprobs | undefined
  readonly sequenceId?: string | undefined
}

/**
 * Result of `asample`. In `promptLogprobs` a NaN stands where none was computed, as for the first token; `toNullable`
 * turns those into `null`.
 *
 * @since 0.1.0
 * @category models
 */
export interface SampleResponse {
  readonly sequences: ReadonlyArray<SampledSequence>
  readonly promptLogprobs?: Float32Array | undefined
  readonly topkPromptLogprobs?: TopkLogprobs | undefined
  readonly targetPromptLogprobs?: TensorData | undefined
  readonly promptAltTokens?: PromptAltTokens | undefined
  /** Prompt tokens billed as found in the prefix cache, once per prompt. */
  readonly promptCacheHitTokens: number
}

/**
 * Draws at every prompt position after the first: token ids and their log-probabilities, each `[prompt length - 1, k]`.
 *
 * @since 0.1.0
 * @category models
 */
export interface PromptAltTokens {
  readonly tokens: TensorData
  readonly logprobs: TensorData
}

/**
 * Log-probabilities with `null` in place of NaN.
 *
 * @since 0.1.0
 * @category getters
 */
export const toNullable = (logprobs: Float32Array): Array<number | null> => {
  const out: Array<number | null> = []
  for (let i = 0; i < logprobs.length; i++) {
    const value = logprobs[i]!
    out.push(Number.isNaN(value) ? null : value)
  }
  return out
}

/**
 * Top-k results as rows of `[token id, log-probability]`, likeliest first; `null` for a position without any.
 *
 * @since 0.1.0
 * @category getters
 */
export const topkRows = (topk: TopkLogprobs): Array<Array<readonly [tokenId: number, logprob: number]> | null> =>
  topkToPairs(topk)

const SampleResponseWire = Schema.Struct({
  sequences: Schema.Array(Schema.Struct({
    stop_reason: Schema.Literal("length", "stop"),
    tokens: Int32List,
    logprobs: Schema.optionalWith(FloatArray, { nullable: true }),
    topk_logprobs: Schema.optionalWith(TopkPairs, { nullable: true }),
    sequence_id: Schema.optionalWith(Schema.String, { nullable: true })
  })),
  type: Schema.optional(Schema.NullOr(Schema.String)),
  prompt_logprobs: Schema.optionalWith(NullableFloatArray, { nullable: true }),
  topk_prompt_logprobs: Schema.optionalWith(TopkPairs, { nullable: true }),
  target_prompt_logprobs: Schema.optionalWith(TensorDataSchema, { nullable: true }),
  prompt_alt_tokens: Schema.optionalWith(
    Schema.Struct({ tokens: TensorDataSchema, logprobs: TensorDataSchema }),
    { nullable: true }
  ),
  prompt_cache_hit_tokens: Schema.optionalWith(Schema.Int, { nullable: true })
})

const fromNullable = (list: ReadonlyArray<number | null>): Float32Array => {
  const out = new Float32Array(list.length)
  for (let i = 0; i < list.length; i++) out[i] = list[i] ?? Number.NaN
  return out
}

/**
 * A sample result in JSON, for peers that do not ask for protobuf (docs/protocol/protobuf.md#json-for-older-peers).
 *
 * @since 0.1.0
 * @category schemas
 */
export const SampleResponseSchema: Schema.Schema<SampleResponse, typeof SampleResponseWire.Encoded> = Schema
  .transformOrFail(
    SampleResponseWire,
    Schema.declare((u): u is SampleResponse => Predicate.hasProperty(u, "sequences"), {
      identifier: "SampleResponse"
    }),
    {
      strict: true,
      decode: (wire) =>
        ParseResult.succeed(
          {
            sequences: wire.sequences.map((sequence) => ({
              stopReason: sequence.stop_reason,
              tokens: Int32Array.from(sequence.tokens),
              ...(sequence.logprobs === undefined ? {} : { logprobs: Float32Array.from(sequence.logprobs) }),
              ...(sequence.topk_logprobs === undefined ? {} : { topkLogprobs: topkFromPairs(sequence.topk_logprobs) }),
              ...(sequence.sequence_id === undefined ? {} : { sequenceId: sequence.sequence_id })
            })),
            ...(wire.prompt_logprobs === undefined ? {} : { promptLogprobs: fromNullable(wire.prompt_logprobs) }),
            ...(wire.topk_prompt_logprobs === undefined
              ? {}
              : { topkPromptLogprobs: topkFromPairs(wire.topk_prompt_logprobs) }),
            ...(wire.target_prompt_logprobs === undefined ? {} : { targetPromptLogprobs: wire.target_prompt_logprobs }),
            ...(wire.prompt_alt_tokens === undefined ? {} : { promptAltTokens: wire.prompt_alt_tokens }),
            promptCacheHitTokens: wire.prompt_cache_hit_tokens ?? 0
          } satisfies SampleResponse
        ),
      encode: (response) =>
        ParseResult.succeed({
          sequences: response.sequences.map((sequence) => ({
            stop_reason: sequence.stopReason,
            tokens: Array.from(sequence.tokens),
            ...(sequence.logprobs === undefined ? {} : { logprobs: Array.from(sequence.logprobs) }),
            ...(sequence.topkLogprobs === undefined ? {} : { topk_logprobs: topkToPairs(sequence.topkLogprobs) }),
            ...(sequence.sequenceId === undefined ? {} : { sequence_id: sequence.sequenceId })
          })),
          type: "sample",
          ...(response.promptLogprobs === undefined ? {} : { prompt_logprobs: toNullable(response.promptLogprobs) }),
          ...(response.topkPromptLogprobs === undefined
            ? {}
            : { topk_prompt_logprobs: topkToPairs(response.topkPromptLogprobs) }),
          ...(response.targetPromptLogprobs === undefined
            ? {}
            : { target_prompt_logprobs: response.targetPromptLogprobs }),
          ...(response.promptAltTokens === undefined ? {} : { prompt_alt_tokens: response.promptAltTokens }),
          prompt_cache_hit_tokens: response.promptCacheHitTokens
        })
    }
  )
