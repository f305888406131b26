/**
 * What the engine's layers can be told.
 *
 * @since 0.1.0
 */
import type { Limits } from "./internal/core.js"
import { type ModelDefinition, nano, nanoRandom } from "./Models.js"

/**
 * Settings of an engine. All have defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface EngineOptions {
  /** The base models; by default `tinkex/nano` and `tinkex/nano-random`. They are loaded when first used. */
  readonly models?: ReadonlyArray<ModelDefinition> | undefined
  /**
   * Log-probabilities of sampled tokens: of the logits divided by the temperature (`scaled`, the default), or of the
   * logits themselves (`raw`). Neither is renormalised after top-k and top-p; at temperature 0 both are raw
   * (server-semantics 2.6).
   */
  readonly sampledLogprobs?: "scaled" | "raw" | undefined
  /** Most runs at a time; 64 by default. */
  readonly maxRuns?: number | undefined
  /** Most samplers at a time; 256 by default. */
  readonly maxSamplers?: number | undefined
  /** Most memory for weights, optimiser states, activations and caches, in bytes and per worker; 2 GiB by default. */
  readonly maxMemory?: number | undefined
}

/**
 * The settings with their defaults.
 *
 * @internal
 */
export interface Settings {
  readonly models: ReadonlyArray<ModelDefinition>
  readonly sampledLogprobs: "scaled" | "raw"
  readonly limits: Limits
}

/**
 * Fills in the defaults.
 *
 * @internal
 */
export const settings = (options: EngineOptions): Settings => ({
  models: options.models ?? [nano, nanoRandom],
  sampledLogprobs: options.sampledLogprobs ?? "scaled",
  limits: {
    runs: options.maxRuns ?? 64,
    samplers: options.maxSamplers ?? 256,
    memory: options.maxMemory ?? 2 ** 31
  }
})
