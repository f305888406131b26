/**
 * One step of the decoder: any number of rows, each one token of one sequence, through the whole model over a paged
 * key-value cache. A row's result depends on its own sequence only, bit for bit, so prompts can be read in pieces and
 * sequences can join and leave between steps.
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"
import { type Panels, panelsBytes, storeFloats } from "../kernels/panels.js"
import {
  attend,
  columnsOf,
  copy,
  layOut,
  type Matrix,
  matrix,
  type Packed,
  remember,
  rmsNorm,
  rotate,
  rowsOf,
  type Take
} from "../kernels/views.js"
import { type Apart, embed, linear, type Weight } from "./linear.js"
import type { LoraLayout } from "./lora.js"
import type { Model } from "./model.js"
import { kvDim, type ModelConfig, qkvDim, queryDim } from "./modelConfig.js"
import { flatAdapters, type Weights, withAdapters } from "./parameters.js"

/** Tokens in a page of the cache, as the kernels have it. */
export const pageTokens = 16

/** Words of a page: the keys and values of `pageTokens` tokens in every layer. */
export const pageWords = (config: ModelConfig): number => config.layers * 2 * kvDim(config) * pageTokens

/** Pages that hold so many tokens. */
export const pagesFor = (tokens: number): number => Math.ceil(tokens / pageTokens)

/** Weights that nothing changes any more, as the decoder wants them. */
export interface FrozenWeights {
  readonly weights: Weights
  /** Memory that is theirs alone, to be released with them. */
  readonly blocks: ReadonlyArray<number>
}

const layFrozen = ({ config, kernels, weights }: Model, take: Take): FrozenWeights => {
  const { dModel, ffnDim, headDim, vocabSize } = config
  const packed = (output: number, input: number): Packed => ({
    at: take(kernels.packedLength(output, input)),
    output,
    input
  })
  const embedding = matrix(take(vocabSize * dModel), vocabSize, dModel)
  return {
    blocks: [embedding.at],
    weights: {
      embedding,
      layers: weights.layers.map(({ kNorm, qNorm, qkvBias }) => ({
        inputNorm: take(dModel),
        qkv: packed(qkvDim(config), dModel),
        qkvBias: qkvBias === 0 ? 0 : take(qkvDim(config)),
        qNorm: qNorm === 0 ? 0 : take(headDim),
        kNorm: kNorm === 0 ? 0 : take(headDim),
        o: packed(dModel, queryDim(config)),
        mlpNorm: take(dModel),
        gateUp: packed(2 * ffnDim, dModel),
        down: packed(dModel, ffnDim)
      })),
      finalNorm: take(dModel),
      head: packed(vocabSize, dModel)
    }
  }
}

/** A private copy of flat weights, its matrices packed for the decoder. */
export const freezeWeights = (model: Model, flat: Weights): Either.Either<FrozenWeights, EngineError> => {
  const { config, kernels } = model
  const { dModel, headDim } = config
  return Either.map(layOut(kernels.allocate, (take) => layFrozen(model, take)), (frozen) => {
    const vector = (to: number, from: number, length: number): void => {
      if (to !== 0) kernels.floats(to, length).set(kernels.floats(from, length))
    }
    const pack = (to: Weight, from: Weight): void => {
      if (!("input" in to)) vector(to.at, from.at, to.rows * to.columns)
      else kernels.packWeight(to.output, to.input, from.at, 1, to.input, to.at)
    }
    const { weights } = frozen
    pack(weights.embedding, flat.embedding)
    weights.layers.forEach((to, l) => {
      const from = flat.layers[l]!
      vector(to.inputNorm, from.inputNorm, dModel)
      pack(to.qkv, from.qkv)
      vector(to.qkvBias, from.qkvBias, qkvDim(config))
      vector(to.qNorm, from.qNorm, headDim)
      vector(to.kNorm, from.kNorm, headDim)
      pack(to.o, from.o)
      vector(to.mlpNorm, from.mlpNorm, dModel)
      pack(to.gateUp, from.gateUp)
      pack(to.down, from.down)
    })
    vector(weights.finalNorm, flat.finalNorm, dModel)
    pack(weights.head, flat.head)
    return frozen
  })
}

/** The base for a sampler: a packed copy, or, where it is stored for all, the base itself. */
export const freezeBase = (model: Model): Either.Either<FrozenWeights, EngineError> =>
  model.flat === 0 ? Either.right({ weights: model.weights, blocks: [] }) : freezeWeights(model, model.weights)

/** The base with a copy of the adapters at an address, packed for the decoder. */
export const freezeAdapters = (
  model: Model,
  layout: LoraLayout,
  adapters: number
): Either.Either<FrozenWeights, EngineError> =>
  Either.gen(function*() {
    const { kernels } = model
    const base = yield* freezeBase(model)
    const flat = flatAdapters(adapters, layout.rank)
    const copies: Array<readonly [from: Weight, to: Panels]> = []
    const copied = layOut(kernels.allocate, (take) => {
      copies.length = 0
      const own = (from: Weight): Panels => {
        const shape = "rows" in from ? { output: from.rows, input: from.columns } : from
        const size = { output: shape.output, input: shape.input, form: "f32" } as const
        const to = { ...size, at: take(panelsBytes(size) / 4) }
        copies.push([from, to])
        return to
      }
      return withAdapters(base.weights, layout, 0, (group) => {
        const { down, ups } = flat(group)
        return { down: own(down), ups: ups.map(own) }
      })
    })
    if (Either.isLeft(copied)) base.blocks.forEach(kernels.release)
    const weights = yield* copied
    for (const [from, to] of copies) {
      for (let row = 0; row < to.output; row++) {
        storeFloats(kernels, to, row, kernels.floats(from.at + row * to.input * 4, to.input))
      }
    }
    return { weights, blocks: [...base.blocks, ...copies.slice(0, 1).map(([, { at }]) => at)] }
  })

/** Rows of one step. */
export interface Rows {
  readonly count: number
  readonly tokens: ArrayLike<number>
  /** Place of each row in its sequence; the cache already holds what is before it, or an earlier row of this step does. */
  readonly positions: ArrayLike<number>
  /** Address of the page table of each row's sequence. */
  readonly tables: ArrayLike<number>
  /** The rows whose logits are wanted, ascending. */
  readonly wanted: ReadonlyArray<number>
}

/** The memory of a step, shared by all layers. */
const layStep = ({ config }: Model, count: number, wanted: number, rank: number, take: Take) => {
  const { dModel, ffnDim, heads, maxContext, vocabSize } = config
  const rows = (columns: number): Matrix => matrix(take(count * columns), count, columns)
  return {
    tokens: take(count),
    positions: take(count),
    tables: take(count),
    stream: rows(dModel),
    normed: rows(dModel),
    inverse: take(count * heads),
    qkv: rows(qkvDim(config)),
    queries: rows(queryDim(config)),
    keys: rows(kvDim(config)),
    attended: rows(queryDim(config)),
    gateUp: rows(2 * ffnDim),
    hidden: rows(ffnDim),
    adapters: take(count * 3 * rank),
    scores: take(pagesFor(maxContext) * pageTokens),
    logits: matrix(take(wanted * vocabSize), wanted, vocabSize)
  }
}

/**
 * Computes the rows and gives the logits of the wanted ones: a view of the kernels' memory, good until something is
 * allocated there.
 */
export const decodeStep = (
  model: Model,
  { weights }: FrozenWeights,
  { count, positions, tables, tokens, wanted }: Rows
): Either.Either<Float32Array, EngineError> => {
  const { config, cosine, kernels, sine } = model
  const { ffnDim, headDim, heads, kvHeads, normEps: eps, vocabSize } = config
  const q = queryDim(config)
  const kv = kvDim(config)
  const layerBytes = 2 * kv * pageTokens * 4
  const memory = layOut(
    (words) => model.workspace.block("decoder", words),
    (take) => layStep(model, count, wanted.length, weights.adapters?.rank ?? 0, take)
  )
  return Either.map(memory, (at) => {
    const { attended, gateUp, hidden, inverse, keys, logits, normed, qkv, queries, scores, stream } = at
    kernels.ints(at.tokens, count).set(tokens)
    kernels.ints(at.positions, count).set(positions)
    kernels.ints(at.tables, count).set(tables)
    const values = columnsOf(qkv, q + kv, kv)
    const turn = { headDim, positions: at.positions, cosine, sine, inverse, eps }
    const turnQueries = { ...turn, heads, x: columnsOf(qkv, 0, q), out: queries }
    const turnKeys = { ...turn, heads: kvHeads, x: columnsOf(qkv, q, kv), out: keys }
    const cache = { tables: at.tables, positions: at.positions, heads, kvHeads, headDim, scores }
    const norm = { x: stream, out: normed, inverse, eps }
    const adapters = weights.adapters
    const apart = (of: Apart | undefined): Apart | undefined =>
      of === undefined ? undefined : { ...of, scratch: at.adapters }

    embed(kernels, weights.embedding, at.tokens, stream) // -> [count][dModel]
    weights.layers.forEach((w, l) => {
      const cached = { ...cache, layer: l * layerBytes }
      const a = adapters?.layers[l]
      rmsNorm(kernels, { ...norm, gain: w.inputNorm })
      // [count][dModel] -> [count][q + k + v]
      linear(kernels, { x: normed, weight: w.qkv, bias: w.qkvBias, apart: apart(a?.qkv), y: qkv })
      rotate(kernels, { ...turnQueries, gain: w.qNorm })
      rotate(kernels, { ...turnKeys, gain: w.kNorm })
      remember(kernels, cached, keys, values)
      attend(kernels, cached, queries, attended) // -> [count][heads * headDim]
      linear(kernels, { x: attended, weight: w.o, bias: 0, apart: apart(a?.o), y: stream }, true) // -> added to [count][dModel]
      rmsNorm(kernels, { ...norm, gain: w.mlpNorm })
      // [count][dModel] -> [count][2 * ffnDim]
      linear(kernels, { x: normed, weight: w.gateUp, bias: 0, apart: apart(a?.gateUp), y: gateUp })
      kernels.swiglu(count, ffnDim, gateUp.at, hidden.at) // -> [count][ffnDim]
      linear(kernels, { x: hidden, weight: w.down, bias: 0, apart: apart(a?.down), y: stream }, true) // -> added to [count][dModel]
    })

    const last = rowsOf(stream, 0, wanted.length)
    wanted.forEach((row, i) => copy(kernels, rowsOf(stream, i, 1), rowsOf(stream, row, 1)))
    const final = rowsOf(normed, 0, wanted.length)
    rmsNorm(kernels, { ...norm, x: last, gain: weights.finalNorm, out: final })
    // [wanted][dModel] -> [wanted][vocabSize]
    linear(kernels, { x: final, weight: weights.head, bias: 0, apart: apart(adapters?.head), y: logits })
    return kernels.floats(logits.at, wanted.length * vocabSize)
  })
}
