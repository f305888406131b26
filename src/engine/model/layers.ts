/**
 * The layers of a pass as named views: which weights meet which activations, said once for the forward and the backward
 * pass. Built once a pass.
 *
 * @since 0.2.0
 */
import { type Attention, columnsOf, type Matrix, matrix, type Norm, type Rotation, rowsOf } from "../kernels/views.js"
import type { Linear } from "./linear.js"
import type { Model } from "./model.js"
import { kvDim, qkvDim, queryDim } from "./modelConfig.js"
import type { Weights } from "./parameters.js"
import type { Activations } from "./workspace.js"

/** Sequences that are run together, one after another without padding. Arrays hold 32-bit integers. */
export interface Sequences {
  /** Rows in all; a row is a token. */
  readonly rows: number
  readonly count: number
  /** Offset of the first row of each sequence, and `rows`: `count + 1` integers. */
  readonly starts: number
  /** The token of each row. */
  readonly tokens: number
  /** The position of each row in its sequence. */
  readonly positions: number
}

/** One layer of a pass, in the order of its work. */
export interface LayerPass {
  /** The residual stream that enters, [rows][dModel] */
  readonly input: Matrix
  readonly attentionNorm: Norm
  /** To `[q | k | v]`. */
  readonly qkv: Linear
  readonly queries: Rotation
  readonly keys: Rotation
  readonly attention: Attention
  /** Added to the residual stream in the middle. */
  readonly o: Linear
  readonly mlpNorm: Norm
  /** To `[gate | up]`. */
  readonly gateUp: Linear
  /** Added to the residual stream that leaves. */
  readonly down: Linear
}

/** A pass: its layers, and the norm before the head. */
export interface Pass {
  readonly model: Model
  readonly sequences: Sequences
  readonly activations: Activations
  readonly layers: ReadonlyArray<LayerPass>
  readonly finalNorm: Norm
  readonly weights: Weights
}

/**
 * Lays a pass over activations. `weights` are the base, a trainable copy, or a base with LoRA adapters merged in or
 * beside it.
 */
export const layPass = (model: Model, weights: Weights, a: Activations, sequences: Sequences): Pass => {
  const { config, cosine, sine } = model
  const { dModel, ffnDim, headDim, heads, kvHeads, normEps: eps } = config
  const { count, positions, rows, starts } = sequences
  const q = queryDim(config)
  const kv = kvDim(config)
  const turn = { headDim, positions, cosine, sine, eps }

  const layer = (l: number): LayerPass => {
    const w = weights.layers[l]!
    const apart = weights.adapters?.layers[l]
    const x = a.layers[l]!
    const input = matrix(x.input, rows, dModel)
    const attentionInput = matrix(x.attentionInput, rows, dModel)
    const qkv = matrix(x.qkv, rows, qkvDim(config))
    const queries = matrix(x.queries, rows, q)
    const keys = matrix(x.keys, rows, kv)
    const attended = matrix(x.attention, rows, q)
    const middle = matrix(x.middle, rows, dModel)
    const mlpInput = matrix(x.mlpInput, rows, dModel)
    const output = matrix(l + 1 < config.layers ? a.layers[l + 1]!.input : a.output, rows, dModel)
    return {
      input,
      attentionNorm: {
        x: input,
        gain: w.inputNorm,
        out: attentionInput,
        inverse: x.attentionInverse,
        eps
      },
      qkv: { x: attentionInput, weight: w.qkv, bias: w.qkvBias, apart: apart?.qkv, y: qkv },
      queries: {
        ...turn,
        heads,
        x: columnsOf(qkv, 0, q),
        gain: w.qNorm,
        out: queries,
        inverse: x.queryInverse
      },
      keys: {
        ...turn,
        heads: kvHeads,
        x: columnsOf(qkv, q, kv),
        gain: w.kNorm,
        out: keys,
        inverse: x.keyInverse
      },
      attention: {
        heads,
        kvHeads,
        headDim,
        count,
        starts,
        queries,
        keys,
        values: columnsOf(qkv, q + kv, kv),
        out: attended,
        lse: x.lse,
        scratch: a.attentionScratch
      },
      o: { x: attended, weight: w.o, bias: 0, apart: apart?.o, y: middle },
      mlpNorm: { x: middle, gain: w.mlpNorm, out: mlpInput, inverse: x.mlpInverse, eps },
      gateUp: {
        x: mlpInput,
        weight: w.gateUp,
        bias: 0,
        apart: apart?.gateUp,
        y: matrix(x.gateUp, rows, 2 * ffnDim)
      },
      down: { x: matrix(x.hidden, rows, ffnDim), weight: w.down, bias: 0, apart: apart?.down, y: output }
    }
  }

  return {
    model,
    sequences,
    activations: a,
    layers: weights.layers.map((_, l) => layer(l)),
    finalNorm: {
      x: matrix(a.output, rows, dModel),
      gain: weights.finalNorm,
      out: matrix(a.final, rows, dModel),
      inverse: a.finalInverse,
      eps
    },
    weights
  }
}

/** The head over rows `first` to `first + count` of a pass, at most `headRows`: from normalised states to logits. */
export const headOf = ({ activations, finalNorm, model, weights }: Pass, first: number, count: number): Linear => ({
  x: rowsOf(finalNorm.out, first, count),
  weight: weights.head,
  bias: 0,
  apart: weights.adapters?.head,
  y: matrix(activations.logits, count, model.config.vocabSize)
})
