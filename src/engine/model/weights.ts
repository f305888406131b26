/**
 * How the parameters of a model lie in one flat array, their names, and their seeded initial values.
 *
 * The flat array holds, row-major and without gaps: the embedding table; per layer the input norm, the fused projection
 * `[q; k; v]`, its bias, the head norms of q and k, the output projection, the MLP norm, the fused `[gate; up]`, the down
 * projection; then the final norm and the head, as far as the model has them. Matrices are `[out][in]` as in Hugging Face checkpoints, so that every
 * named tensor is one contiguous range. Gradients and the optimiser's moments have the same layout.
 *
 * @since 0.1.0
 */
import type { NamedTensor } from "../Engine.js"
import type { Kernels } from "../kernels/kernels.js"
import { kvDim, type ModelConfig, queryDim } from "./modelConfig.js"

/** A named range of the flat array; `offset` in floats. */
export interface TensorRange {
  readonly name: string
  readonly shape: ReadonlyArray<number>
  readonly offset: number
  readonly length: number
}

/** Offsets of one layer, in floats. */
export interface LayerLayout {
  /** [dModel] */
  readonly inputNorm: number
  /** [heads * headDim + 2 * kvHeads * headDim][dModel] */
  readonly qkv: number
  /** [heads * headDim + 2 * kvHeads * headDim]; absent without biases */
  readonly qkvBias: number | undefined
  /** [headDim]; absent without norms of the heads */
  readonly qNorm: number | undefined
  /** [headDim]; absent without norms of the heads */
  readonly kNorm: number | undefined
  /** [dModel][heads * headDim] */
  readonly o: number
  /** [dModel] */
  readonly mlpNorm: number
  /** [2 * ffnDim][dModel] */
  readonly gateUp: number
  /** [dModel][ffnDim] */
  readonly down: number
}

/** Where everything is, and its names in the order of the array. */
export interface WeightLayout {
  /** Floats in all. */
  readonly total: number
  /** [vocabSize][dModel] */
  readonly embedding: number
  readonly layers: ReadonlyArray<LayerLayout>
  /** [dModel] */
  readonly finalNorm: number
  /** [vocabSize][dModel]; the embedding where the head is tied to it */
  readonly head: number
  readonly tensors: ReadonlyArray<TensorRange>
}

/** Lays out the parameters of a model. */
export const weightLayout = (config: ModelConfig): WeightLayout => {
  const { dModel, ffnDim, headDim, vocabSize } = config
  const tensors: Array<TensorRange> = []
  let total = 0
  const take = (name: string, ...shape: ReadonlyArray<number>): number => {
    const offset = total
    const length = shape.reduce((a, b) => a * b, 1)
    tensors.push({ name, shape, offset, length })
    total += length
    return offset
  }
  const embedding = take("model.embed_tokens.weight", vocabSize, dModel)
  const layers: Array<LayerLayout> = []
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `model.layers.${layer}`
    const inputNorm = take(`${at}.input_layernorm.weight`, dModel)
    const qkv = take(`${at}.self_attn.q_proj.weight`, queryDim(config), dModel)
    take(`${at}.self_attn.k_proj.weight`, kvDim(config), dModel)
    take(`${at}.self_attn.v_proj.weight`, kvDim(config), dModel)
    let qkvBias: number | undefined
    if (config.qkvBias === true) {
      qkvBias = take(`${at}.self_attn.q_proj.bias`, queryDim(config))
      take(`${at}.self_attn.k_proj.bias`, kvDim(config))
      take(`${at}.self_attn.v_proj.bias`, kvDim(config))
    }
    const normed = config.qkNorm !== false
    const qNorm = normed ? take(`${at}.self_attn.q_norm.weight`, headDim) : undefined
    const kNorm = normed ? take(`${at}.self_attn.k_norm.weight`, headDim) : undefined
    const o = take(`${at}.self_attn.o_proj.weight`, dModel, queryDim(config))
    const mlpNorm = take(`${at}.post_attention_layernorm.weight`, dModel)
    const gateUp = take(`${at}.mlp.gate_proj.weight`, ffnDim, dModel)
    take(`${at}.mlp.up_proj.weight`, ffnDim, dModel)
    const down = take(`${at}.mlp.down_proj.weight`, dModel, ffnDim)
    layers.push({ inputNorm, qkv, qkvBias, qNorm, kNorm, o, mlpNorm, gateUp, down })
  }
  const finalNorm = take("model.norm.weight", dModel)
  const head = config.tied === true ? embedding : take("lm_head.weight", vocabSize, dModel)
  return { total, embedding, layers, finalNorm, head, tensors }
}

/** Splits a flat array into named copies. */
export const namedTensors = (tensors: ReadonlyArray<TensorRange>, flat: Float32Array): ReadonlyArray<NamedTensor> =>
  tensors.map(({ length, name, offset, shape }) => ({ name, shape, data: flat.slice(offset, offset + length) }))

/** What keeps named tensors from filling a layout, or undefined. */
export const tensorsProblem = (
  ranges: ReadonlyArray<TensorRange>,
  tensors: ReadonlyArray<NamedTensor>
): string | undefined => {
  const wanted = new Map(ranges.map((range) => [range.name, range]))
  for (const { data, name, shape } of tensors) {
    const range = wanted.get(name)
    if (range === undefined) return `${name} is not a tensor of this run, or is there twice`
    wanted.delete(name)
    if (shape.length !== range.shape.length || shape.some((n, i) => n !== range.shape[i])) {
      return `${name} has shape [${shape.join(", ")}], not [${range.shape.join(", ")}]`
    }
    if (data.length !== range.length) return `${name} has ${data.length} numbers, not ${range.length}`
    const bad = data.findIndex((x) => !Number.isFinite(x))
    if (bad >= 0) return `${name}[${bad}] is not finite`
  }
  for (const name of wanted.keys()) return `${name} is missing`
  return undefined
}

/** Fills a flat array from named tensors that `tensorsProblem` found nothing wrong with. */
export const fillTensors = (
  ranges: ReadonlyArray<TensorRange>,
  tensors: ReadonlyArray<NamedTensor>,
  flat: Float32Array
): void => {
  const wanted = new Map(ranges.map((range) => [range.name, range.offset]))
  for (const { data, name } of tensors) flat.set(data, wanted.get(name)!)
}

/**
 * Writes seeded initial weights at `address`. Norms are 1, biases 0. Every other tensor is uniform with mean 0 and standard
 * deviation 1 / sqrt(in) for the projections into attention and MLP, that divided by sqrt(2 layers) for the projections
 * back (o, down; as GPT-2), and 0.02 for the embedding and the head. Tensor number t in the order of the layout takes
 * stream t of the kernel `uniform`, with the seed's low and high 32 bits as key.
 */
export const initialiseWeights = (kernels: Kernels, config: ModelConfig, address: number, seed: bigint): void => {
  const { tensors } = weightLayout(config)
  tensors.forEach(({ length, name, offset, shape }, stream) => {
    const at = address + offset * 4
    const input = shape[1]
    if (input === undefined) {
      kernels.floats(at, length).fill(name.endsWith(".bias") ? 0 : 1)
      return
    }
    let deviation = 1 / Math.sqrt(input)
    if (name === "model.embed_tokens.weight" || name === "lm_head.weight") deviation = 0.02
    else if (name.endsWith("o_proj.weight") || name.endsWith("down_proj.weight")) {
      deviation /= Math.sqrt(2 * config.layers)
    }
    uniform(kernels, at, length, seed, stream, Math.sqrt(3) * deviation)
  })
}

/** Uniform numbers in [-bound, bound) of one stream of a 64-bit seed. */
export const uniform = (
  kernels: Kernels,
  address: number,
  length: number,
  seed: bigint,
  stream: number,
  bound: number
): void =>
  kernels.uniform(
    length,
    address,
    Number(BigInt.asIntN(32, seed)),
    Number(BigInt.asIntN(32, seed >> 32n)),
    stream,
    bound
  )
