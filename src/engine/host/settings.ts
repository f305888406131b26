/**
 * The settings of an engine, complete.
 */
import type { EngineOptions } from "../EngineOptions.js"
import { type ModelDefinition, nano, nanoRandom } from "../model/Models.js"
import type { Limits } from "./core.js"

/** The settings with their defaults. */
export interface Settings {
  readonly models: ReadonlyArray<ModelDefinition>
  readonly sampledLogprobs: "scaled" | "raw"
  readonly limits: Limits
}

/** Fills in the defaults. */
export const settings = (options: EngineOptions): Settings => ({
  models: options.models ?? [nano, nanoRandom],
  sampledLogprobs: options.sampledLogprobs ?? "scaled",
  limits: {
    runs: options.maxRuns ?? 64,
    samplers: options.maxSamplers ?? 256,
    memory: options.maxMemory ?? 2 ** 31
  }
})
