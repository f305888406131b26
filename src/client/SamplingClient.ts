/**
 * Sampling from a model: a base model, saved weights, or those of a training run.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Pipeable } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as ModelInput from "../protocol/ModelInput.js"
import type { SampleResponse, Stop } from "../protocol/Sampling.js"
import type { GetSamplerResponse } from "../protocol/Session.js"
import type { TensorData } from "../protocol/TensorData.js"
import { ClientClosed, type TinkexError } from "../TinkexError.js"
import type { Tokenizer } from "../tokenizer/Tokenizer.js"
import type { TokenizerError } from "../tokenizer/TokenizerError.js"
import * as internal from "./sampling/samplingClient.js"
import { SamplingRegistry } from "./SamplingRegistry.js"
import { ServiceClient } from "./ServiceClient.js"

/**
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = internal.TypeId

/**
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * What to sample. Everything but the prompt has a default: one sequence, temperature 1, no top-k or top-p limit, the model's own
 * end tokens stop it, as long as the context allows.
 *
 * @since 0.1.0
 * @category models
 */
export interface SampleOptions {
  /** Tokens, or a model input with images or audio. */
  readonly prompt: ModelInput.ModelInput | ModelInput.Tokens
  /** Sequences to draw, from 1. */
  readonly numSamples?: number | undefined
  /** Tokens of each sequence at most, from 1. */
  readonly maxTokens?: number | undefined
  /** From 0, which takes the likeliest token every time. */
  readonly temperature?: number | undefined
  /** Draw from so many of the likeliest tokens; -1 for all. */
  readonly topK?: number | undefined
  /** Draw from the likeliest tokens that together have this probability; above 0, at most 1. */
  readonly topP?: number | undefined
  /** The same seed gives the same draws. */
  readonly seed?: number | bigint | undefined
  /** A text, texts or tokens that end a sequence. Left out: the model's end tokens. An empty list: nothing does. */
  readonly stop?: Stop | undefined
  /** Whether to report the log-probabilities of the prompt's tokens. */
  readonly promptLogprobs?: boolean | undefined
  /** How many of the likeliest tokens to report at each position of the prompt. */
  readonly topkPromptLogprobs?: number | undefined
  /** How many of the likeliest tokens to report at each sampled position. */
  readonly topkSampleLogprobs?: number | undefined
  /** Token ids whose log-probabilities to report: int64 `[prompt length - 1, K]`, -1 for none. */
  readonly targetPromptLogprobs?: TensorData | undefined
  /** Alternatives to draw at every position of the prompt after the first. */
  readonly promptAltTokensK?: number | undefined
  /** Score only the last so many tokens of the prompt; needs `promptLogprobs`. */
  readonly promptLogprobsLastN?: number | undefined
  /** Have the service keep what `stable_reinforce` needs to know of these samples (docs/protocol/training.md#stand-ins). */
  readonly recordStabilityInfo?: boolean | undefined
}

/**
 * An open sampler.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client extends Pipeable, Inspectable.Inspectable {
  readonly [TypeId]: TypeId
  /** Of its entry in the registry. */
  readonly id: string
  readonly samplingSessionId: string
  /** What it was made from, as far as that is known here. */
  readonly model: { readonly baseModel?: string | undefined; readonly modelPath?: string | undefined }
  /**
   * Draws sequences. A failure is the caller's at once unless a policy says otherwise (`TinkexConfig.samplingRetry`); a 429
   * makes every call of the tenant wait. A result that the service has lost is sampled again under the same number.
   */
  readonly sample: (options: SampleOptions) => Effect.Effect<SampleResponse, TinkexError>
  /** The log-probability of every token of the prompt; `null` for the first and for those left out by `lastN`. */
  readonly computeLogprobs: (
    prompt: ModelInput.ModelInput | ModelInput.Tokens,
    options?: { readonly lastN?: number | undefined }
  ) => Effect.Effect<ReadonlyArray<number | null>, TinkexError>
  /** What the service says it samples from. */
  readonly getInfo: Effect.Effect<GetSamplerResponse, TinkexError>
  readonly tokenizer: Effect.Effect<Tokenizer, TinkexError | TokenizerError>
}

/**
 * A sampler as a service, for stages of a program that need one.
 *
 * @since 0.1.0
 * @category services
 */
export class SamplingClient extends Context.Tag("tinkex/SamplingClient")<SamplingClient, Client>() {}

/**
 * @since 0.1.0
 * @category guards
 */
export const isSamplingClient = (u: unknown): u is Client => Predicate.hasProperty(u, TypeId)

/**
 * What to make a sampler from: a base model, or weights saved for sampling (`tinker://<run>/sampler_weights/<name>`).
 *
 * @since 0.1.0
 * @category models
 */
export type ModelOptions =
  | { readonly baseModel: string; readonly modelPath?: undefined }
  | { readonly modelPath: string; readonly baseModel?: string | undefined }

/**
 * A sampler of a model, for as long as the layer is in use.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerModel = (options: ModelOptions): Layer.Layer<SamplingClient, TinkexError, ServiceClient> =>
  Layer.scoped(SamplingClient, Effect.flatMap(ServiceClient, (service) => service.createSamplingClient(options)))

/**
 * Samples from the sampler that was opened last, by this fiber or the one that forked it, and is still open.
 *
 * @since 0.1.0
 * @category combinators
 */
export const sampleCurrent = (
  options: SampleOptions
): Effect.Effect<SampleResponse, TinkexError, SamplingRegistry> =>
  Effect.flatMap(SamplingRegistry, (registry) =>
    Effect.flatMap(registry.current, (entry) =>
      Option.isSome(entry)
        ? entry.value.client.sample(options)
        : Effect.fail(
          new ClientClosed({
            operation: "sample",
            client: "every sampling client of this fiber",
            certainlyNotSent: true
          })
        )))
