/**
 * What the engine's layers can be told.
 *
 * @since 0.1.0
 */
import type { ModelDefinition } from "./model/Models.js"

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
   * logits themselves (`raw`). Neither is renormalised after top-k and top-p; at temperature 0 both are raw.
   */
  readonly sampledLogprobs?: "scaled" | "raw" | undefined
  /** Most runs at a time; 64 by default. */
  readonly maxRuns?: number | undefined
  /** Most samplers at a time; 256 by default. */
  readonly maxSamplers?: number | undefined
  /**
   * Most memory for weights, optimiser states, activations and caches, in bytes and per worker; 2 GiB by default, with
   * models out of files the 4 GiB that WebAssembly has. Several workers share those 4 GiB, and hold the weights of files once.
   */
  readonly maxMemory?: number | undefined
}
