/**
 * The settings of an engine, complete.
 */
import type { EngineOptions } from "../EngineOptions.js"
import { builtIn, isStored, type ModelDefinition } from "../model/Models.js"
import type { Limits } from "./core.js"

/** The settings with their defaults. */
export interface Settings {
  readonly models: ReadonlyArray<ModelDefinition>
  readonly sampledLogprobs: "scaled" | "raw"
  readonly limits: Limits
}

/** Fills in the defaults. */
export const settings = (options: EngineOptions): Settings => {
  const models = options.models ?? builtIn
  const stored = models.some(isStored)
  return {
    models,
    sampledLogprobs: options.sampledLogprobs ?? "scaled",
    limits: {
      runs: options.maxRuns ?? 64,
      samplers: options.maxSamplers ?? 256,
      memory: options.maxMemory ?? (stored ? 2 ** 32 - 2 ** 16 : 2 ** 31)
    }
  }
}
