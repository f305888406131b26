/**
 * One step of the decoder: any number of rows, each one token of one sequence, through the whole model over a paged
 * key-value cache. A row's result depends on its own sequence only, bit for bit, so prompts can be read in pieces and
 * sequences can join and leave between steps.
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"
import type { Model } from "./model.js"
import { kvDim, type ModelConfig, qkvDim, queryDim } from "./modelConfig.js"

/** Tokens in a page of the cache, as the kernels have it. */
export const pageTokens = 16

/** Words of a page: the keys and values of `pageTokens` tokens in every layer. */
export const pageWords = (config: ModelConfig): number => config.layers * 2 * kvDim(config) * pageTokens

/** Pages that hold so many tokens. */
export const pagesFor = (tokens: number): number => Math.ceil(tokens / pageTokens)

/** Addresses of one layer of a `FrozenWeights`. */
interface FrozenLayer {
  readonly inputNorm: number
  readonly qkv: number
  readonly qNorm: number
  readonly kNorm: number
  readonly o: number
  readonly mlpNorm: number
  readonly gateUp: number
  readonly down: number
}

/** A private copy of a model's weights, its matrices packed for the decoder; one block, to be released as `address`. */
export interface FrozenWeights {
  readonly address: number
  readonly embedding: number
  readonly layers: ReadonlyArray<FrozenLayer>
  readonly finalNorm: number
  readonly head: number
}

/** Copies the flat weights at an address, laid out as `weightLayout` says. */
export const freezeWeights = (model: Model, flat: number): Either.Either<FrozenWeights, EngineError> => {
  const { config, kernels, layout } = model
  const { dModel, ffnDim, headDim, vocabSize } = config
  let words = 0
  const copies: Array<(base: number) => void> = []
  const place = (length: number): number => {
    const at = words * 4
    words += Math.ceil(length / 16) * 16
    return at
  }
  const vector = (offset: number, length: number): number => {
    const at = place(length)
    copies.push((base) => kernels.floats(base + at, length).set(kernels.floats(flat + offset * 4, length)))
    return at
  }
  const matrix = (offset: number, output: number, input: number): number => {
    const at = place(kernels.packedLength(output, input))
    copies.push((base) => kernels.packWeight(output, input, flat + offset * 4, 1, input, base + at))
    return at
  }
  const embedding = vector(layout.embedding, vocabSize * dModel)
  const layers = layout.layers.map((layer): FrozenLayer => ({
    inputNorm: vector(layer.inputNorm, dModel),
    qkv: matrix(layer.qkv, qkvDim(config), dModel),
    qNorm: vector(layer.qNorm, headDim),
    kNorm: vector(layer.kNorm, headDim),
    o: matrix(layer.o, dModel, queryDim(config)),
    mlpNorm: vector(layer.mlpNorm, dModel),
    gateUp: matrix(layer.gateUp, 2 * ffnDim, dModel),
    down: matrix(layer.down, dModel, ffnDim)
  }))
  const finalNorm = vector(layout.finalNorm, dModel)
  const head = matrix(layout.head, vocabSize, dModel)
  return Either.map(kernels.allocate(words), (base) => {
    for (const copy of copies) copy(base)
    const moved = ({ down, gateUp, inputNorm, kNorm, mlpNorm, o, qNorm, qkv }: FrozenLayer): FrozenLayer => ({
      inputNorm: base + inputNorm,
      qkv: base + qkv,
      qNorm: base + qNorm,
      kNorm: base + kNorm,
      o: base + o,
      mlpNorm: base + mlpNorm,
      gateUp: base + gateUp,
      down: base + down
    })
    return {
      address: base,
      embedding: base + embedding,
      layers: layers.map(moved),
      finalNorm: base + finalNorm,
      head: base + head
    }
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

/**
 * Computes the rows and gives the logits of the wanted ones: a view of the kernels' memory, good until something is
 * allocated there.
 */
export const decodeStep = (
  model: Model,
  weights: FrozenWeights,
  rows: Rows
): Either.Either<Float32Array, EngineError> => {
  const { config, cosine, kernels, sine } = model
  const { dModel, ffnDim, headDim, heads, kvHeads, normEps, vocabSize } = config
  const { count, wanted } = rows
  const projected = qkvDim(config)
  const queries = queryDim(config)
  const keys = kvDim(config)
  let words = 0
  const take = (length: number): number => {
    const at = words * 4
    words += Math.ceil(length / 16) * 16
    return at
  }
  const place = {
    tokens: take(count),
    positions: take(count),
    tables: take(count),
    stream: take(count * dModel),
    normed: take(count * dModel),
    inverse: take(count * heads),
    qkv: take(count * projected),
    q: take(count * queries),
    k: take(count * keys),
    attention: take(count * queries),
    gateUp: take(count * 2 * ffnDim),
    hidden: take(count * ffnDim),
    scores: take(pagesFor(config.maxContext) * pageTokens),
    logits: take(wanted.length * vocabSize)
  }
  return Either.map(model.workspace.block("decoder", words), (base) => {
    const stream = base + place.stream
    const normed = base + place.normed
    const inverse = base + place.inverse
    const qkv = base + place.qkv
    const q = base + place.q
    const k = base + place.k
    const attention = base + place.attention
    const gateUp = base + place.gateUp
    const hidden = base + place.hidden
    const positions = base + place.positions
    const tables = base + place.tables
    kernels.ints(base + place.tokens, count).set(rows.tokens)
    kernels.ints(positions, count).set(rows.positions)
    kernels.ints(tables, count).set(rows.tables)
    kernels.embed(count, dModel, base + place.tokens, weights.embedding, stream)
    const layerBytes = 2 * keys * pageTokens * 4
    weights.layers.forEach((w, l) => {
      kernels.rmsNorm(count, dModel, stream, w.inputNorm, normed, inverse, normEps)
      kernels.gemmPacked(count, projected, dModel, normed, dModel, w.qkv, qkv, projected, 0)
      const rotate = (heads: number, x: number, gain: number, out: number) =>
        kernels.headNormRotate(
          count,
          heads,
          headDim,
          x,
          projected,
          gain,
          out,
          heads * headDim,
          positions,
          cosine,
          sine,
          inverse,
          normEps
        )
      rotate(heads, qkv, w.qNorm, q)
      rotate(kvHeads, qkv + queries * 4, w.kNorm, k)
      kernels.remember(
        count,
        k,
        keys,
        qkv + (queries + keys) * 4,
        projected,
        tables,
        positions,
        l * layerBytes,
        keys
      )
      kernels.attend(
        count,
        q,
        tables,
        positions,
        l * layerBytes,
        attention,
        base + place.scores,
        heads,
        kvHeads,
        headDim
      )
      kernels.gemmPacked(count, dModel, queries, attention, queries, w.o, stream, dModel, 1)
      kernels.rmsNorm(count, dModel, stream, w.mlpNorm, normed, inverse, normEps)
      kernels.gemmPacked(count, 2 * ffnDim, dModel, normed, dModel, w.gateUp, gateUp, 2 * ffnDim, 0)
      kernels.swiglu(count, ffnDim, gateUp, hidden)
      kernels.gemmPacked(count, dModel, ffnDim, hidden, ffnDim, w.down, stream, dModel, 1)
    })
    const floats = kernels.floats(base, words)
    wanted.forEach((row, i) => {
      const from = place.stream / 4 + row * dModel
      floats.copyWithin(place.stream / 4 + i * dModel, from, from + dModel)
    })
    kernels.rmsNorm(wanted.length, dModel, stream, weights.finalNorm, normed, inverse, normEps)
    kernels.gemmPacked(
      wanted.length,
      vocabSize,
      dModel,
      normed,
      dModel,
      weights.head,
      base + place.logits,
      vocabSize,
      0
    )
    return kernels.floats(base + place.logits, wanted.length * vocabSize)
  })
}
