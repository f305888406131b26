/**
 * The shape of a decoder-only transformer in the Qwen3 style: RMS norms before attention and MLP, rotary positions,
 * grouped queries with normalised heads, SwiGLU, separate input and output embeddings.
 *
 * @since 0.1.0
 */

/** Dimensions of a model. `headDim` is a multiple of 8, `dModel` and `ffnDim` multiples of 4. */
export interface ModelConfig {
  readonly vocabSize: number
  /** Longest sequence in tokens. */
  readonly maxContext: number
  readonly dModel: number
  readonly layers: number
  /** Query heads; a multiple of `kvHeads`. */
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly ffnDim: number
  /** Base of the rotary frequencies: pair i of a head turns by `ropeTheta^(-2 i / headDim)` a position. */
  readonly ropeTheta: number
  /** Added to the mean square in every norm. */
  readonly normEps: number
}

/** The embedded model `tinkex/nano`: 918,912 parameters. */
export const nano: ModelConfig = {
  vocabSize: 512,
  maxContext: 2048,
  dModel: 128,
  layers: 4,
  heads: 4,
  kvHeads: 2,
  headDim: 32,
  ffnDim: 384,
  ropeTheta: 10_000,
  normEps: 1e-6
}

/** Width of the query rows, `heads * headDim`. */
export const queryDim = (config: ModelConfig): number => config.heads * config.headDim

/** Width of the key rows and of the value rows, `kvHeads * headDim`. */
export const kvDim = (config: ModelConfig): number => config.kvHeads * config.headDim

/** Width of the fused projection: queries, then keys, then values. */
export const qkvDim = (config: ModelConfig): number => queryDim(config) + 2 * kvDim(config)

/** What is wrong with a shape, or undefined. */
export const configProblem = (config: ModelConfig): string | undefined => {
  const dimensions: ReadonlyArray<keyof ModelConfig> = [
    "vocabSize",
    "maxContext",
    "dModel",
    "layers",
    "heads",
    "kvHeads",
    "headDim",
    "ffnDim"
  ]
  for (const key of dimensions) {
    if (!Number.isInteger(config[key]) || config[key] < 1) return `${key} must be a positive integer`
  }
  if (config.dModel % 4 !== 0 || config.ffnDim % 4 !== 0) return "dModel and ffnDim must be multiples of 4"
  if (config.headDim % 8 !== 0) return "headDim must be a multiple of 8"
  if (config.heads % config.kvHeads !== 0) return "heads must be a multiple of kvHeads"
  if (!(config.ropeTheta > 0) || !(config.normEps >= 0)) return "ropeTheta must be positive and normEps not negative"
  return undefined
}
