/**
 * One step of the decoder: any number of rows, each one token of one sequence, through the whole model over a paged
 * key-value cache. A row's result depends on its own sequence only, bit for bit, so prompts can be read in pieces and
 * sequences can join and leave between steps.
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"
import {
  attend,
  columnsOf,
  copy,
  layOut,
  type Matrix,
  matrix,
  multiplyPacked,
  type Packed,
  remember,
  rmsNorm,
  rotate,
  rowsOf,
  type Take
} from "../kernels/views.js"
import type { Model } from "./model.js"
import { kvDim, type ModelConfig, qkvDim, queryDim } from "./modelConfig.js"

/** Tokens in a page of the cache, as the kernels have it. */
export const pageTokens = 16

/** Words of a page: the keys and values of `pageTokens` tokens in every layer. */
export const pageWords = (config: ModelConfig): number => config.layers * 2 * kvDim(config) * pageTokens

/** Pages that hold so many tokens. */
export const pagesFor = (tokens: number): number => Math.ceil(tokens / pageTokens)

/** One layer of a `FrozenWeights`. */
interface FrozenLayer {
  readonly inputNorm: number
  readonly qkv: Packed
  readonly qNorm: number
  readonly kNorm: number
  readonly o: Packed
  readonly mlpNorm: number
  readonly gateUp: Packed
  readonly down: Packed
}

/** A private copy of a model's weights, its matrices packed for the decoder; one block, to be released as `address`. */
export interface FrozenWeights {
  readonly address: number
  /** [vocabSize][dModel] */
  readonly embedding: number
  readonly layers: ReadonlyArray<FrozenLayer>
  readonly finalNorm: number
  readonly head: Packed
}

const layFrozen = ({ config, kernels }: Model, take: Take): FrozenWeights => {
  const { dModel, ffnDim, headDim, vocabSize } = config
  const packed = (output: number, input: number): Packed => ({
    at: take(kernels.packedLength(output, input)),
    output,
    input
  })
  const embedding = take(vocabSize * dModel)
  return {
    address: embedding,
    embedding,
    layers: Array.from({ length: config.layers }, (): FrozenLayer => ({
      inputNorm: take(dModel),
      qkv: packed(qkvDim(config), dModel),
      qNorm: take(headDim),
      kNorm: take(headDim),
      o: packed(dModel, queryDim(config)),
      mlpNorm: take(dModel),
      gateUp: packed(2 * ffnDim, dModel),
      down: packed(dModel, ffnDim)
    })),
    finalNorm: take(dModel),
    head: packed(vocabSize, dModel)
  }
}

/** Copies the flat weights at an address, laid out as `weightLayout` says. */
export const freezeWeights = (model: Model, flat: number): Either.Either<FrozenWeights, EngineError> => {
  const { config: { dModel, headDim, vocabSize }, kernels, layout } = model
  return Either.map(layOut(kernels.allocate, (take) => layFrozen(model, take)), (frozen) => {
    const vector = (to: number, offset: number, length: number): void =>
      kernels.floats(to, length).set(kernels.floats(flat + offset * 4, length))
    const pack = ({ at, input, output }: Packed, offset: number): void =>
      kernels.packWeight(output, input, flat + offset * 4, 1, input, at)
    vector(frozen.embedding, layout.embedding, vocabSize * dModel)
    frozen.layers.forEach((to, l) => {
      const from = layout.layers[l]!
      vector(to.inputNorm, from.inputNorm, dModel)
      pack(to.qkv, from.qkv)
      vector(to.qNorm, from.qNorm, headDim)
      vector(to.kNorm, from.kNorm, headDim)
      pack(to.o, from.o)
      vector(to.mlpNorm, from.mlpNorm, dModel)
      pack(to.gateUp, from.gateUp)
      pack(to.down, from.down)
    })
    vector(frozen.finalNorm, layout.finalNorm, dModel)
    pack(frozen.head, layout.head)
    return frozen
  })
}

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
const layStep = ({ config }: Model, count: number, wanted: number, take: Take) => {
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
  weights: FrozenWeights,
  { count, positions, tables, tokens, wanted }: Rows
): Either.Either<Float32Array, EngineError> => {
  const { config, cosine, kernels, sine } = model
  const { dModel, ffnDim, headDim, heads, kvHeads, normEps: eps, vocabSize } = config
  const q = queryDim(config)
  const kv = kvDim(config)
  const layerBytes = 2 * kv * pageTokens * 4
  const memory = layOut(
    (words) => model.workspace.block("decoder", words),
    (take) => layStep(model, count, wanted.length, take)
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

    kernels.embed(count, dModel, at.tokens, weights.embedding, stream.at) // -> [count][dModel]
    weights.layers.forEach((w, l) => {
      const cached = { ...cache, layer: l * layerBytes }
      rmsNorm(kernels, { ...norm, gain: w.inputNorm })
      multiplyPacked(kernels, qkv, normed, w.qkv) // [count][dModel] -> [count][q + k + v]
      rotate(kernels, { ...turnQueries, gain: w.qNorm })
      rotate(kernels, { ...turnKeys, gain: w.kNorm })
      remember(kernels, cached, keys, values)
      attend(kernels, cached, queries, attended) // -> [count][heads * headDim]
      multiplyPacked(kernels, stream, attended, w.o, true) // -> added to [count][dModel]
      rmsNorm(kernels, { ...norm, gain: w.mlpNorm })
      multiplyPacked(kernels, gateUp, normed, w.gateUp) // [count][dModel] -> [count][2 * ffnDim]
      kernels.swiglu(count, ffnDim, gateUp.at, hidden.at) // -> [count][ffnDim]
      multiplyPacked(kernels, stream, hidden, w.down, true) // -> added to [count][dModel]
    })

    const last = rowsOf(stream, 0, wanted.length)
    wanted.forEach((row, i) => copy(kernels, rowsOf(stream, i, 1), rowsOf(stream, row, 1)))
    const final = rowsOf(normed, 0, wanted.length)
    rmsNorm(kernels, { ...norm, x: last, gain: weights.finalNorm, out: final })
    multiplyPacked(kernels, logits, final, weights.head) // [wanted][dModel] -> [wanted][vocabSize]
    return kernels.floats(logits.at, wanted.length * vocabSize)
  })
}
