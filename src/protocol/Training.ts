/**
 * Requests and results of training: losses, optimiser steps, LoRA settings.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type { Datum } from "./Datum.js"
import { defaulted, Float, optional, required, ResultFloat, typed } from "./internal/wire.js"
import type { TensorData } from "./TensorData.js"

/**
 * A loss that the service computes. Open: a custom loss stored on the server is named by its id.
 *
 * @since 0.1.0
 * @category models
 */
export type LossFn =
  | "cross_entropy"
  | "importance_sampling"
  | "ppo"
  | "cispo"
  | "dro"
  | "gspo"
  | "stable_reinforce"
  | "custom"
  | (string & {})

/**
 * Settings of a loss, for example `clip_low_threshold` of `ppo`. Text only reaches servers that know
 * `loss_fn_config_v2` (SDK 0.26.2).
 *
 * @since 0.1.0
 * @category models
 */
export type LossFnConfig = Readonly<Record<string, number | string>>

/**
 * A pass over data, backward too unless `forwardOnly`. Losses are sums and gradients add up until an optimiser step.
 * `seqId` is the request's place in the order of its model, from 1.
 *
 * @since 0.1.0
 * @category models
 */
export interface ForwardBackwardRequest {
  readonly modelId: string
  readonly seqId: number
  readonly data: ReadonlyArray<Datum>
  readonly lossFn: LossFn
  readonly lossFnConfig?: LossFnConfig | undefined
  readonly forwardOnly: boolean
}

/**
 * What a pass gives: per datum, in order, the named tensors of the loss (`logprobs` for the built-in ones), and metrics
 * named `<name>:<reduction>` (see `MetricReduction`).
 *
 * @since 0.1.0
 * @category models
 */
export interface ForwardBackwardOutput {
  readonly lossFnOutputType: string
  readonly lossFnOutputs: ReadonlyArray<LossFnOutput>
  readonly metrics: Metrics
}

/**
 * The tensors of one datum, by name.
 *
 * @since 0.1.0
 * @category models
 */
export type LossFnOutput = Readonly<Record<string, TensorData>>

/**
 * Numbers by name.
 *
 * @since 0.1.0
 * @category models
 */
export type Metrics = Readonly<Record<string, number>>

/**
 * AdamW settings of one step, in JSON. Missing fields take the defaults of `adamDefaults`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const AdamParams = Schema.Struct({
  learningRate: defaulted(Float, "learning_rate", () => 0.0001),
  beta1: defaulted(Float, "beta1", () => 0.9),
  beta2: defaulted(Float, "beta2", () => 0.95),
  eps: defaulted(Float, "eps", () => 1e-12),
  weightDecay: defaulted(Float, "weight_decay", () => 0),
  gradClipNorm: defaulted(Float, "grad_clip_norm", () => 0)
})

/**
 * AdamW settings of one step. `weightDecay` is decoupled; `gradClipNorm` bounds the global norm, 0 means no clipping.
 *
 * @since 0.1.0
 * @category models
 */
export interface AdamParams extends Schema.Schema.Type<typeof AdamParams> {}

/**
 * The service's defaults (docs/protocol/training.md#updates): learning rate 1e-4, betas 0.9 and 0.95, eps 1e-12, no decay, no clipping.
 *
 * @since 0.1.0
 * @category constants
 */
export const adamDefaults: AdamParams = {
  learningRate: 0.0001,
  beta1: 0.9,
  beta2: 0.95,
  eps: 1e-12,
  weightDecay: 0,
  gradClipNorm: 0
}

/**
 * AdamW settings with the defaults for what is not given.
 *
 * @since 0.1.0
 * @category constructors
 */
export const adamParams = (params: Partial<AdamParams> = {}): AdamParams => ({ ...adamDefaults, ...defined(params) })

/**
 * Which optimiser a model has, fixed when it is created. `adamw` unless said otherwise.
 *
 * @since 0.1.0
 * @category schemas
 */
export const OptimizerConfig = Schema.Struct({ type: Schema.String }, { key: Schema.String, value: Schema.Unknown })

/**
 * @since 0.1.0
 * @category models
 */
export interface OptimizerConfig extends Schema.Schema.Type<typeof OptimizerConfig> {}

/**
 * Settings of one step of an optimiser that is not Adam: `type` names the family, the other keys are its own.
 *
 * @since 0.1.0
 * @category schemas
 */
export const OptimizerParams = Schema.Struct({ type: Schema.String }, { key: Schema.String, value: Schema.Unknown })

/**
 * @since 0.1.0
 * @category models
 */
export interface OptimizerParams extends Schema.Schema.Type<typeof OptimizerParams> {}

/**
 * Body of `POST /optim_step`: applies the summed gradients and clears them. Exactly one of `adamParams` and
 * `optimizerParams` is sent.
 *
 * @since 0.1.0
 * @category schemas
 */
export const OptimStepRequest = typed("optim_step", {
  adamParams: optional(AdamParams, "adam_params"),
  optimizerParams: optional(OptimizerParams, "optimizer_params"),
  modelId: required(Schema.String, "model_id"),
  seqId: optional(Schema.Int, "seq_id")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface OptimStepRequest extends Schema.Schema.Type<typeof OptimStepRequest> {}

/**
 * Result of an optimiser step.
 *
 * @since 0.1.0
 * @category schemas
 */
export const OptimStepResponse = Schema.Struct({
  metrics: defaulted(Schema.Record({ key: Schema.String, value: ResultFloat }), "metrics", (): Metrics => ({}))
})

/**
 * @since 0.1.0
 * @category models
 */
export interface OptimStepResponse extends Schema.Schema.Type<typeof OptimStepResponse> {}

/**
 * LoRA settings in JSON (docs/protocol/training.md#lora).
 *
 * @since 0.1.0
 * @category schemas
 */
export const LoraConfig = Schema.Struct({
  rank: Schema.Int,
  seed: optional(Schema.Int, "seed"),
  trainUnembed: defaulted(Schema.Boolean, "train_unembed", () => true),
  trainMlp: defaulted(Schema.Boolean, "train_mlp", () => true),
  trainAttn: defaulted(Schema.Boolean, "train_attn", () => true)
})

/**
 * LoRA settings: the rank, and which layers get adapters.
 *
 * @since 0.1.0
 * @category models
 */
export interface LoraConfig extends Schema.Schema.Type<typeof LoraConfig> {}

/**
 * LoRA settings with the defaults for what is not given: rank 32, adapters everywhere.
 *
 * @since 0.1.0
 * @category constructors
 */
export const loraConfig = (config: Partial<LoraConfig> = {}): LoraConfig => ({
  rank: 32,
  trainUnembed: true,
  trainMlp: true,
  trainAttn: true,
  ...defined(config)
})

/** Drops keys that are present with the value undefined, so that they do not cover a default. */
const defined = <A extends object>(record: A): { [K in keyof A]: Exclude<A[K], undefined> } => {
  const out: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(record)) if (value !== undefined) out[key] = value
  return out as { [K in keyof A]: Exclude<A[K], undefined> } // the same keys without the undefined ones
}
