/**
 * Low-rank adapters (Hu et al. 2021): an adapted matrix acts as `W + (32 / rank) B A` with A `[rank][in]` and B
 * `[out][rank]`. Passes run on merged weights, so a fresh adapter, whose B is 0, gives the bits of
 * the base model, and a sampler that merges once gives the bits of the trainer.
 *
 * The adapters of a run lie in one flat array. Matrices that share an input (q, k, v; gate, up) have their A's side by
 * side, so that one product serves all of them.
 *
 * @since 0.1.0
 */
import type { LoraConfig } from "../Engine.js"
import { matrix, multiply } from "../kernels/views.js"
import type { Model } from "./model.js"
import { kvDim, type ModelConfig, queryDim } from "./modelConfig.js"
import { type TensorRange, uniform, weightLayout } from "./weights.js"

/** Alpha of every adapter; the scale is alpha / rank. */
const alpha = 32

/** First random stream of the adapters; the base weights use the streams from 0. */
const firstStream = 0x10000

/** One adapted matrix: `rows` rows of the fused matrix from `row` on; `b` is where its B lies, in floats. */
export interface LoraMember {
  readonly row: number
  readonly rows: number
  readonly b: number
}

/** Adapters of one fused matrix. Its A's, `[members * rank][input]`, lie at `a`. */
export interface LoraGroup {
  /** Offset of the fused matrix among the base weights, in floats. */
  readonly weight: number
  readonly input: number
  readonly a: number
  readonly members: ReadonlyArray<LoraMember>
}

/** Adapters of one layer; undefined where nothing is trained. */
export interface LoraLayer {
  readonly qkv: LoraGroup | undefined
  readonly o: LoraGroup | undefined
  readonly gateUp: LoraGroup | undefined
  readonly down: LoraGroup | undefined
}

/** Where all adapters of a run lie. */
export interface LoraLayout {
  readonly rank: number
  readonly scale: number
  /** Floats in all. */
  readonly total: number
  readonly layers: ReadonlyArray<LoraLayer>
  readonly head: LoraGroup | undefined
  /** PEFT names, in the order of the array. */
  readonly tensors: ReadonlyArray<TensorRange>
}

/** What is wrong with LoRA settings, or undefined. */
export const loraProblem = (lora: LoraConfig): string | undefined => {
  if (!Number.isInteger(lora.rank) || lora.rank < 1) return "lora_config.rank must be a positive integer"
  if (!Number.isSafeInteger(lora.seed)) return "lora_config.seed must be an integer"
  if (!lora.trainAttn && !lora.trainMlp && !lora.trainUnembed) {
    return "at least one of train_unembed, train_mlp, or train_attn must be true"
  }
  return undefined
}

/** Lays out the adapters of a run. */
export const loraLayout = (config: ModelConfig, lora: LoraConfig): LoraLayout => {
  const { rank } = lora
  const { dModel, ffnDim, vocabSize } = config
  const base = weightLayout(config)
  const tensors: Array<TensorRange> = []
  let total = 0
  const take = (name: string, ...shape: readonly [number, number]): number => {
    const offset = total
    const length = shape[0] * shape[1]
    tensors.push({ name: `base_model.model.${name}.weight`, shape, offset, length })
    total += length
    return offset
  }
  const group = (
    train: boolean,
    weight: number,
    input: number,
    matrices: ReadonlyArray<readonly [name: string, rows: number]>
  ): LoraGroup | undefined => {
    if (!train) return undefined
    const a = total
    for (const [name] of matrices) take(`${name}.lora_A`, rank, input)
    let row = 0
    const members = matrices.map(([name, rows]) => {
      const member = { row, rows, b: take(`${name}.lora_B`, rows, rank) }
      row += rows
      return member
    })
    return { weight, input, a, members }
  }
  const layers = base.layers.map((weights, layer): LoraLayer => {
    const attention = `model.layers.${layer}.self_attn`
    const mlp = `model.layers.${layer}.mlp`
    return {
      qkv: group(lora.trainAttn, weights.qkv, dModel, [
        [`${attention}.q_proj`, queryDim(config)],
        [`${attention}.k_proj`, kvDim(config)],
        [`${attention}.v_proj`, kvDim(config)]
      ]),
      o: group(lora.trainAttn, weights.o, queryDim(config), [[`${attention}.o_proj`, dModel]]),
      gateUp: group(lora.trainMlp, weights.gateUp, dModel, [
        [`${mlp}.gate_proj`, ffnDim],
        [`${mlp}.up_proj`, ffnDim]
      ]),
      down: group(lora.trainMlp, weights.down, ffnDim, [[`${mlp}.down_proj`, dModel]])
    }
  })
  const head = group(lora.trainUnembed, base.head, dModel, [["lm_head", vocabSize]])
  return { rank, scale: alpha / rank, total, layers, head, tensors }
}

/**
 * Writes fresh adapters at `address`, which holds zeros: A uniform in [-1 / sqrt(in), 1 / sqrt(in)), B zero. Tensor
 * number t of the layout takes stream 65536 + t of the kernel `uniform`, with the seed's low and high 32 bits as key.
 */
export const initialiseLora = ({ kernels }: Model, layout: LoraLayout, address: number, seed: number): void => {
  layout.tensors.forEach(({ length, name, offset, shape }, t) => {
    if (!name.endsWith("lora_A.weight")) return
    uniform(kernels, address + offset * 4, length, BigInt(seed), firstStream + t, 1 / Math.sqrt(shape[1]!))
  })
}

/** Whether runs merge their adapters into a copy of the base; a shared base, and a tied head, have them beside it. */
export const mergesAdapters = ({ config, flat }: Model): boolean => flat !== 0 && config.tied !== true

/** Writes the base weights with the adapters merged in to `to`. */
export const mergeLora = (model: Model, layout: LoraLayout, adapters: number, to: number): void => {
  const { kernels } = model
  const { rank, scale } = layout
  new Uint8Array(kernels.memory.buffer).copyWithin(to, model.flat, model.flat + model.layout.total * 4)
  const merge = (group: LoraGroup | undefined): void =>
    group?.members.forEach(({ b, row, rows }, i) => {
      const adapted = matrix(to + (group.weight + row * group.input) * 4, rows, group.input)
      const up = matrix(adapters + b * 4, rows, rank) // B
      const down = matrix(adapters + (group.a + i * rank * group.input) * 4, rank, group.input) // A
      multiply(kernels, adapted, up, down, scale, true)
    })
  for (const { down, gateUp, o, qkv } of layout.layers) {
    merge(qkv)
    merge(o)
    merge(gateUp)
    merge(down)
  }
  merge(layout.head)
}
