/**
 * The shape of a decoder-only transformer: RMS norms before attention and MLP, rotary positions, grouped queries, SwiGLU.
 * Where Llama, Qwen2 and Qwen3 differ, the shape says which it is; by default it is Qwen3's, with a head of its own.
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
  /** What the frequency of each pair is divided by (`headDim / 2` numbers), where a context was stretched; absent: 1. */
  readonly ropeFactors?: ReadonlyArray<number> | undefined
  /** Added to the mean square in every norm. */
  readonly normEps: number
  /** Whether the heads of queries and keys are normalised, as in Qwen3; true by default. */
  readonly qkNorm?: boolean | undefined
  /** Whether the projections to queries, keys and values have a bias, as in Qwen2; false by default. */
  readonly qkvBias?: boolean | undefined
  /** Whether the head is the embedding table; false by default. */
  readonly tied?: boolean | undefined
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

/** More than any model has: what a damaged file asks for beyond it is refused before anything is made for it. */
const largest = {
  vocabSize: 2 ** 21, // the samplers order tokens by numbers that hold no more
  maxContext: 2 ** 24,
  dModel: 2 ** 17,
  layers: 2 ** 10,
  heads: 2 ** 10,
  kvHeads: 2 ** 10,
  headDim: 2 ** 12,
  ffnDim: 2 ** 20
}

/** What is wrong with a shape, or undefined. */
export const configProblem = (config: ModelConfig): string | undefined => {
  for (const [key, most] of Object.entries(largest)) {
    const value = config[key as keyof typeof largest] // the keys of `largest`
    if (!Number.isInteger(value) || value < 1) return `${key} must be a positive integer`
    if (value > most) return `${key} must be at most ${most}`
  }
  if (config.dModel % 4 !== 0 || config.ffnDim % 4 !== 0) return "dModel and ffnDim must be multiples of 4"
  if (config.headDim % 8 !== 0) return "headDim must be a multiple of 8"
  if (config.heads % config.kvHeads !== 0) return "heads must be a multiple of kvHeads"
  const factors = config.ropeFactors
  if (
    factors !== undefined && !(factors.length === config.headDim / 2 && factors.every((x) => x > 0 && x < Infinity))
  ) {
    return "ropeFactors must be headDim / 2 positive numbers"
  }
  if (!(config.ropeTheta > 0) || !(config.normEps >= 0)) return "ropeTheta must be positive and normEps not negative"
  return undefined
}
