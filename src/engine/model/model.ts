/**
 * A base model in memory: its weights, the rotary table and the working memory that all its runs share.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { EngineError } from "../Engine.js"
import type { Kernels } from "../kernels/kernels.js"
import { configProblem, type ModelConfig } from "./modelConfig.js"
import { initialiseWeights, type WeightLayout, weightLayout } from "./weights.js"
import { makeWorkspace, type Workspace } from "./workspace.js"

/** Addresses are bytes into the kernels' memory. */
export interface Model {
  readonly kernels: Kernels
  readonly config: ModelConfig
  readonly layout: WeightLayout
  /** The frozen weights, `layout.total` floats. */
  readonly weights: number
  /** [maxContext][headDim / 2] */
  readonly cosine: number
  /** [maxContext][headDim / 2] */
  readonly sine: number
  readonly workspace: Workspace
}

/** Loads flat weights, or makes seeded ones. */
export const makeModel = (
  kernels: Kernels,
  config: ModelConfig,
  source: { readonly flat: Float32Array } | { readonly seed: bigint }
): Either.Either<Model, EngineError> =>
  Either.gen(function*() {
    const layout = weightLayout(config)
    const problem = configProblem(config) ??
      ("flat" in source && source.flat.length !== layout.total
        ? `there are ${source.flat.length} weights, not ${layout.total}`
        : undefined)
    if (problem !== undefined) {
      return yield* Either.left(
        new EngineError({ reason: "InvalidInput", detail: `the model cannot be loaded: ${problem}` })
      )
    }
    const half = config.headDim / 2
    const padded = Math.ceil(layout.total / 16) * 16
    const weights = yield* kernels.allocate(padded + 2 * config.maxContext * half)
    const cosine = weights + padded * 4
    const sine = cosine + config.maxContext * half * 4
    if ("flat" in source) kernels.floats(weights, layout.total).set(source.flat)
    else initialiseWeights(kernels, config, weights, source.seed)
    const cosines = kernels.floats(cosine, config.maxContext * half)
    const sines = kernels.floats(sine, config.maxContext * half)
    for (let i = 0; i < half; i++) {
      const frequency = Math.pow(config.ropeTheta, -2 * i / config.headDim)
      for (let position = 0; position < config.maxContext; position++) {
        cosines[position * half + i] = Math.cos(position * frequency)
        sines[position * half + i] = Math.sin(position * frequency)
      }
    }
    return { kernels, config, layout, weights, cosine, sine, workspace: makeWorkspace(kernels, config) }
  })
