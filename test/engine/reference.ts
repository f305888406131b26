/** The model once more in plain double precision, written apart from the engine: the yardstick of its tests. */
import type { ModelConfig } from "../../src/engine/model/modelConfig.js"
import { weightLayout } from "../../src/engine/model/weights.js"

/** Named weights in double precision. */
export type Weights = Record<string, Float64Array>

export const weightsFromFlat = (config: ModelConfig, flat: ArrayLike<number>): Weights => {
  const weights: Weights = {}
  for (const { length, name, offset } of weightLayout(config).tensors) {
    weights[name] = Float64Array.from({ length }, (_, i) => flat[offset + i]!)
  }
  return weights
}

/** y = W x for W [out][in]. */
const apply = (w: Float64Array, x: Float64Array): Float64Array => {
  const y = new Float64Array(w.length / x.length)
  for (let o = 0; o < y.length; o++) {
    let sum = 0
    for (let i = 0; i < x.length; i++) sum += w[o * x.length + i]! * x[i]!
    y[o] = sum
  }
  return y
}

const norm = (x: Float64Array, w: Float64Array, eps: number): Float64Array => {
  let squares = 0
  for (const e of x) squares += e * e
  const inverse = 1 / Math.sqrt(squares / x.length + eps)
  return x.map((e, i) => e * inverse * w[i]!)
}

const rotate = (
  x: Float64Array,
  position: number,
  { ropeFactors, ropeTheta }: Pick<ModelConfig, "ropeFactors" | "ropeTheta">
): Float64Array => {
  const half = x.length / 2
  return x.map((e, i) => {
    const angle = position * Math.pow(ropeTheta, -2 * (i % half) / x.length) / (ropeFactors?.[i % half] ?? 1)
    const other = i < half ? -x[i + half]! : x[i - half]!
    return e * Math.cos(angle) + other * Math.sin(angle)
  })
}

const heads = (x: Float64Array, size: number): Array<Float64Array> =>
  Array.from({ length: x.length / size }, (_, h) => x.slice(h * size, (h + 1) * size))

const plus = (a: Float64Array, b: Float64Array): Float64Array => a.map((e, i) => e + b[i]!)

/** Log-probabilities of every token of the vocabulary after each position of one sequence: [position][vocabSize]. */
export const logProbabilities = (
  config: ModelConfig,
  weights: Weights,
  tokens: ArrayLike<number>
): Array<Float64Array> => {
  const { dModel, headDim, normEps } = config
  const w = (name: string): Float64Array => weights[name]!
  const length = tokens.length
  let stream: Array<Float64Array> = Array.from(
    { length },
    (_, t) => w("model.embed_tokens.weight").slice(tokens[t]! * dModel, (tokens[t]! + 1) * dModel)
  )
  for (let layer = 0; layer < config.layers; layer++) {
    const at = (name: string) => w(`model.layers.${layer}.${name}.weight`)
    const inputs = stream.map((x) => norm(x, at("input_layernorm"), normEps))
    const project = (name: string) => {
      const bias = weights[`model.layers.${layer}.self_attn.${name}_proj.bias`]
      return inputs.map((x) => {
        const y = apply(at(`self_attn.${name}_proj`), x)
        return heads(bias === undefined ? y : plus(y, bias), headDim)
      })
    }
    const turn = (name: string) => {
      const gain = weights[`model.layers.${layer}.self_attn.${name}_norm.weight`]
      return project(name).map((hs, t) =>
        hs.map((h) => rotate(gain === undefined ? h : norm(h, gain, normEps), t, config))
      )
    }
    const q = turn("q")
    const k = turn("k")
    const v = project("v")
    const attended = q.map((queries, t) => {
      const out = new Float64Array(queries.length * headDim)
      queries.forEach((query, h) => {
        const kv = Math.floor(h / (config.heads / config.kvHeads))
        const scores: Array<number> = []
        for (let s = 0; s <= t; s++) {
          let dot = 0
          for (let i = 0; i < headDim; i++) dot += query[i]! * k[s]![kv]![i]!
          scores.push(dot / Math.sqrt(headDim))
        }
        const top = Math.max(...scores)
        const powers = scores.map((s) => Math.exp(s - top))
        const sum = powers.reduce((a, b) => a + b, 0)
        powers.forEach((p, s) => {
          for (let i = 0; i < headDim; i++) out[h * headDim + i]! += p / sum * v[s]![kv]![i]!
        })
      })
      return out
    })
    stream = stream.map((x, t) => plus(x, apply(at("self_attn.o_proj"), attended[t]!)))
    stream = stream.map((x) => {
      const input = norm(x, at("post_attention_layernorm"), normEps)
      const gate = apply(at("mlp.gate_proj"), input)
      const up = apply(at("mlp.up_proj"), input)
      return plus(x, apply(at("mlp.down_proj"), gate.map((g, i) => g / (1 + Math.exp(-g)) * up[i]!)))
    })
  }
  return stream.map((x) => {
    const logits = apply(
      weights["lm_head.weight"] ?? w("model.embed_tokens.weight"),
      norm(x, w("model.norm.weight"), normEps)
    )
    const top = Math.max(...logits)
    const z = top + Math.log(logits.reduce((sum, e) => sum + Math.exp(e - top), 0))
    return logits.map((e) => e - z)
  })
}
