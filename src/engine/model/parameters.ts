/**
 * The weights that a pass works on, as views: a flat array of them, a shared stored base, or a packed copy; and adapters
 * that are kept apart from them.
 *
 * @since 0.2.0
 */
import { matrix } from "../kernels/views.js"
import type { Apart, Weight } from "./linear.js"
import type { LoraGroup, LoraLayout } from "./lora.js"
import { type ModelConfig, qkvDim, queryDim } from "./modelConfig.js"
import type { WeightLayout } from "./weights.js"

/** One layer. Vectors are addresses; 0: the model has none. */
export interface LayerWeights {
  readonly inputNorm: number
  /** To `[q | k | v]`. */
  readonly qkv: Weight
  readonly qkvBias: number
  readonly qNorm: number
  readonly kNorm: number
  readonly o: Weight
  readonly mlpNorm: number
  /** To `[gate | up]`. */
  readonly gateUp: Weight
  readonly down: Weight
}

/** Adapters of one layer that are added to its products. */
export interface LayerAdapters {
  readonly qkv: Apart | undefined
  readonly o: Apart | undefined
  readonly gateUp: Apart | undefined
  readonly down: Apart | undefined
}

export interface Adapters {
  readonly rank: number
  readonly layers: ReadonlyArray<LayerAdapters>
  readonly head: Apart | undefined
}

export interface Weights {
  /** [vocabSize][dModel] */
  readonly embedding: Weight
  readonly layers: ReadonlyArray<LayerWeights>
  readonly finalNorm: number
  /** [vocabSize][dModel] */
  readonly head: Weight
  /** Absent: there are none, or they are merged into the weights. */
  readonly adapters?: Adapters | undefined
}

/** Flat weights at an address, laid out as `weightLayout` says. */
export const flatWeights = (config: ModelConfig, layout: WeightLayout, address: number): Weights => {
  const { dModel, ffnDim, vocabSize } = config
  const at = (offset: number): number => address + offset * 4
  const maybe = (offset: number | undefined): number => offset === undefined ? 0 : at(offset)
  return {
    embedding: matrix(at(layout.embedding), vocabSize, dModel),
    layers: layout.layers.map((w): LayerWeights => ({
      inputNorm: at(w.inputNorm),
      qkv: matrix(at(w.qkv), qkvDim(config), dModel),
      qkvBias: maybe(w.qkvBias),
      qNorm: maybe(w.qNorm),
      kNorm: maybe(w.kNorm),
      o: matrix(at(w.o), dModel, queryDim(config)),
      mlpNorm: at(w.mlpNorm),
      gateUp: matrix(at(w.gateUp), 2 * ffnDim, dModel),
      down: matrix(at(w.down), dModel, ffnDim)
    })),
    finalNorm: at(layout.finalNorm),
    head: matrix(at(layout.head), vocabSize, dModel)
  }
}

/**
 * Weights with adapters beside them. `weigh` gives the two matrices of a group: the A's of all members, and the B of
 * each; `scratch` is the address of room for the widest group's inner products.
 */
export const withAdapters = (
  weights: Weights,
  layout: LoraLayout,
  scratch: number,
  weigh: (group: LoraGroup) => Pick<Apart, "down" | "ups">
): Weights => {
  const apart = (group: LoraGroup | undefined): Apart | undefined =>
    group === undefined
      ? undefined
      : { ...weigh(group), members: group.members, rank: layout.rank, scale: layout.scale, scratch }
  return {
    ...weights,
    adapters: {
      rank: layout.rank,
      layers: layout.layers.map(({ down, gateUp, o, qkv }) => ({
        qkv: apart(qkv),
        o: apart(o),
        gateUp: apart(gateUp),
        down: apart(down)
      })),
      head: apart(layout.head)
    }
  }
}

/** The adapters of a run where they lie, at an address, for its passes. */
export const flatAdapters =
  (address: number, rank: number) => ({ a, input, members }: LoraGroup): Pick<Apart, "down" | "ups"> => ({
    down: matrix(address + a * 4, members.length * rank, input),
    ups: members.map(({ b, rows }) => matrix(address + b * 4, rows, rank))
  })

/** Floats of scratch that the adapters of a layout need for so many rows: three share an input at most. */
export const adapterScratch = ({ rank }: LoraLayout, rows: number): number => rows * 3 * rank
