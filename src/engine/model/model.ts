/**
 * A base model in memory: its weights, the rotary table and the working memory that all its runs share.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { EngineError } from "../Engine.js"
import type { Kernels } from "../kernels/kernels.js"
import { configProblem, type ModelConfig } from "./modelConfig.js"
import { flatWeights, type Weights } from "./parameters.js"
import { initialiseWeights, type WeightLayout, weightLayout } from "./weights.js"
import { makeWorkspace, type Workspace } from "./workspace.js"

/** Addresses are bytes into the kernels' memory. */
export interface Model {
  readonly kernels: Kernels
  readonly config: ModelConfig
  readonly layout: WeightLayout
  /** Address of the frozen weights, `layout.total` floats; 0: they are stored in panels. */
  readonly flat: number
  /** The frozen weights. */
  readonly weights: Weights
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
    const flat = yield* kernels.allocate(layout.total)
    if ("flat" in source) kernels.floats(flat, layout.total).set(source.flat)
    else initialiseWeights(kernels, config, flat, source.seed)
    const cosine = yield* kernels.allocate(rotaryWords(config))
    const turns = { cosine, sine: cosine + rotaryWords(config) * 2 }
    fillRotaryTable(kernels, config, turns)
    const weights = flatWeights(config, layout, flat)
    return { kernels, config, layout, flat, weights, ...turns, workspace: makeWorkspace(kernels, config) }
  })

/** Words of the rotary table. */
export const rotaryWords = ({ headDim, maxContext }: ModelConfig): number => maxContext * headDim

/** The angles of every position: `cos` and `sin` of position times frequency, for each pair of a head. */
export const fillRotaryTable = (
  kernels: Kernels,
  { headDim, maxContext, ropeFactors, ropeTheta }: ModelConfig,
  { cosine, sine }: Pick<Model, "cosine" | "sine">
): void => {
  const half = headDim / 2
  const size = maxContext * half
  const cosines = kernels.floats(cosine, size)
  const sines = kernels.floats(sine, size)
  for (let i = 0; i < half; i++) {
    const frequency = Math.pow(ropeTheta, -2 * i / headDim) / (ropeFactors?.[i] ?? 1)
    for (let position = 0; position < maxContext; position++) {
      cosines[position * half + i] = Math.cos(position * frequency)
      sines[position * half + i] = Math.sin(position * frequency)
    }
  }
}
