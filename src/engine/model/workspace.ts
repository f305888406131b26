/**
 * Working memory of a pass: activations of one micro-batch, laid out for a capacity of tokens and grown on demand.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"
import type { Kernels } from "../kernels/kernels.js"
import { layOut, type Take } from "../kernels/views.js"
import { kvDim, type ModelConfig, qkvDim, queryDim } from "./modelConfig.js"
import { weightLayout } from "./weights.js"

/** Activations that a layer keeps for its backward pass; addresses in bytes, rows are tokens. */
export interface LayerActivations {
  /** [dModel] the residual stream that enters */
  readonly input: number
  /** [dModel] normalised for attention */
  readonly attentionInput: number
  readonly attentionInverse: number
  /** [q | k | v] as projected */
  readonly qkv: number
  /** [heads * headDim] normalised and rotated */
  readonly queries: number
  /** [kvHeads * headDim] normalised and rotated */
  readonly keys: number
  readonly queryInverse: number
  readonly keyInverse: number
  /** [heads] log-sum-exp of the scores */
  readonly lse: number
  /** [heads * headDim] */
  readonly attention: number
  /** [dModel] the residual stream between attention and MLP */
  readonly middle: number
  /** [dModel] normalised for the MLP */
  readonly mlpInput: number
  readonly mlpInverse: number
  /** [2 * ffnDim] */
  readonly gateUp: number
  /** [ffnDim] */
  readonly hidden: number
}

/** All addresses for one capacity. */
export interface Activations {
  /** Whether only what enters each layer is kept: the backward pass then computes the rest of a layer once more. */
  readonly recomputes: boolean
  readonly layers: ReadonlyArray<LayerActivations>
  /** [dModel] the residual stream that leaves the last layer */
  readonly output: number
  /** [dModel] normalised for the head */
  readonly final: number
  readonly finalInverse: number
  /** Gradients of a backward pass. [dModel] of the residual stream */
  readonly dStream: number
  /** [max(dModel, heads * headDim)] */
  readonly dWide: number
  /** [qkv] */
  readonly dQkv: number
  readonly dQueries: number
  readonly dKeys: number
  /** [ffnDim] */
  readonly dHidden: number
  readonly attentionScratch: number
  /** [headRows][vocabSize] */
  readonly logits: number
  /** Rows of logits that are held at once. */
  readonly headRows: number
  /** double precision, one a row of logits */
  readonly logitsLse: number
}

/** Grows to the largest request and stays. */
export interface Workspace {
  /** Memory for a micro-batch. Without `keep` all layers share one set of buffers and nothing is there for gradients. */
  readonly activations: (tokens: number, keep: boolean) => Either.Either<Activations, EngineError>
  /** A named block of at least that many words, contents undefined. */
  readonly block: (name: string, words: number) => Either.Either<number, EngineError>
  /** Room for one set of weights with adapters merged in; `version` tells whose they are. */
  readonly merged: () => Either.Either<MergedWeights, EngineError>
}

/** Weights with adapters merged in, kept from one pass to the next. */
export interface MergedWeights {
  readonly address: number
  /** Identity of the adapters' state; set by whoever fills the weights. */
  version: object | undefined
}

/** Logits held at once: 1 Mi floats, at least 16 rows. */
const headRowsFor = (config: ModelConfig, tokens: number): number =>
  Math.min(tokens, Math.max(16, Math.floor(1_048_576 / config.vocabSize)))

/** Floats that all layers together keep for a token. */
const keptPerToken = (config: ModelConfig): number => {
  const { dModel, ffnDim, heads, kvHeads, layers } = config
  return layers *
    (4 * dModel + qkvDim(config) + 2 * queryDim(config) + kvDim(config) + 3 * ffnDim + 2 * heads + kvHeads + 2)
}

/** Floats of activations that are kept; a longer sequence has them computed twice instead. */
const defaultKept = 40_000_000

/**
 * Tokens of a micro-batch: 256, or a part of them where the activations of so many would take more than is kept. A pass of
 * any size needs the activations of so many tokens, or of its longest datum; it is also the slice after which other work gets
 * its turn. Of a small model four times as many would be 3 % faster.
 */
export const microBatchTokens = (config: ModelConfig): number =>
  [256, 128, 64].find((tokens) => tokens * keptPerToken(config) <= defaultKept) ?? 32

/** Activations for a capacity of tokens. */
const layActivations = (
  kernels: Kernels,
  config: ModelConfig,
  tokens: number,
  keep: boolean,
  mostKept: number,
  take: Take
): Activations => {
  const { dModel, ffnDim, heads, kvHeads } = config
  const layer = (): LayerActivations => ({
    input: take(tokens * dModel),
    attentionInput: take(tokens * dModel),
    attentionInverse: take(tokens),
    qkv: take(tokens * qkvDim(config)),
    queries: take(tokens * queryDim(config)),
    keys: take(tokens * kvDim(config)),
    queryInverse: take(tokens * heads),
    keyInverse: take(tokens * kvHeads),
    lse: take(tokens * heads),
    attention: take(tokens * queryDim(config)),
    middle: take(tokens * dModel),
    mlpInput: take(tokens * dModel),
    mlpInverse: take(tokens),
    gateUp: take(tokens * 2 * ffnDim),
    hidden: take(tokens * ffnDim)
  })
  const recomputes = keep && tokens * keptPerToken(config) > mostKept
  const shared = layer()
  const own = (): LayerActivations => recomputes ? { ...shared, input: take(tokens * dModel) } : layer()
  const headRows = headRowsFor(config, tokens)
  const gradient = (count: number) => keep ? take(tokens * count) : 0
  return {
    recomputes,
    layers: Array.from({ length: config.layers }, (_, i) => i === 0 || !keep ? shared : own()),
    output: take(tokens * dModel),
    final: take(tokens * dModel),
    finalInverse: take(tokens),
    dStream: gradient(dModel),
    dWide: gradient(Math.max(dModel, queryDim(config))),
    dQkv: gradient(qkvDim(config)),
    dQueries: gradient(queryDim(config)),
    dKeys: gradient(kvDim(config)),
    dHidden: gradient(ffnDim),
    attentionScratch: take(kernels.attentionScratch(Math.min(tokens, config.maxContext))),
    logits: take(headRows * config.vocabSize),
    headRows,
    logitsLse: take(headRows * 2)
  }
}

/** Working memory for the models of one kernel instance. At most `mostKept` floats of activations are kept for gradients. */
export const makeWorkspace = (
  kernels: Kernels,
  config: ModelConfig,
  mostKept = defaultKept
): Workspace => {
  const blocks = new Map<string, { readonly address: number; readonly words: number }>()
  const block: Workspace["block"] = (name, words) => {
    const present = blocks.get(name)
    if (present !== undefined && present.words >= words) return Either.right(present.address)
    if (present !== undefined) {
      blocks.delete(name)
      kernels.release(present.address)
    }
    return Either.map(kernels.allocate(words), (address) => {
      blocks.set(name, { address, words })
      return address
    })
  }
  const activations: Workspace["activations"] = (tokens, keep) => {
    // Capacities are powers of two, so that few sizes of memory are ever needed.
    const capacity = Math.max(64, 2 ** Math.ceil(Math.log2(tokens)))
    return layOut(
      (words) => block("activations", words),
      (take) => layActivations(kernels, config, capacity, keep, mostKept, take)
    )
  }
  let kept: MergedWeights | undefined
  const merged: Workspace["merged"] = () =>
    Either.map(block("merged", weightLayout(config).total), (address) => {
      if (kept === undefined) kept = { address, version: undefined }
      return kept
    })
  return { activations, block, merged }
}
