/** The model in `@jax-js/jax`, whose automatic differentiation is the second opinion on our gradients, and the bench's rival. */
import { init, jit, nn, numpy as np, valueAndGrad } from "@jax-js/jax"
import type { LoraConfig } from "../../src/engine/Engine.js"
import { loraLayout } from "../../src/engine/model/lora.js"
import { type ModelConfig } from "../../src/engine/model/modelConfig.js"
import { type TensorRange, weightLayout } from "../../src/engine/model/weights.js"

type Tensors = Record<string, np.Array>

/** Arrays of named ranges of a flat array. */
export const tensorsOf = (ranges: ReadonlyArray<TensorRange>, flat: Float32Array): Tensors =>
  Object.fromEntries(
    ranges.map(({ length, name, offset, shape }) => [
      name,
      np.array(flat.slice(offset, offset + length), { shape: [...shape] })
    ])
  )

/** A batch of sequences of one length. */
export interface JaxBatch {
  readonly tokens: ReadonlyArray<Int32Array>
  readonly targets: ReadonlyArray<Int32Array>
  /** Weight of each target. */
  readonly weights: ReadonlyArray<Float32Array>
}

/**
 * A compiled function from trained and frozen tensors to the weighted cross-entropy and its gradient by the trained
 * ones. Both are consumed.
 */
export const makeJax = async (config: ModelConfig, lora: LoraConfig | null, batch: JaxBatch) => {
  await init("wasm")
  const { dModel, headDim, heads, kvHeads, normEps, ropeTheta, vocabSize } = config
  const count = batch.tokens.length
  const length = batch.tokens[0]!.length
  const rows = count * length
  const group = heads / kvHeads
  const adapted = new Set(lora === null ? [] : loraLayout(config, lora).tensors.map(({ name }) => name))

  const constant = (size: number, shape: Array<number>, value: (i: number) => number): np.Array =>
    np.array(Float32Array.from({ length: size }, (_, i) => value(i)), { shape })
  const half = headDim / 2
  const angle = (i: number) => Math.floor(i / half) * Math.pow(ropeTheta, -2 * (i % half) / headDim)
  const constants: Tensors = {
    cosine: constant(length * half, [1, length, 1, half], (i) => Math.cos(angle(i))),
    sine: constant(length * half, [1, length, 1, half], (i) => Math.sin(angle(i))),
    mask: constant(length * length, [1, 1, length, length], (i) => i % length > Math.floor(i / length) ? -1e9 : 0),
    ids: np.array(Int32Array.from(batch.tokens.flatMap((tokens) => [...tokens])), { shape: [rows], dtype: np.int32 }),
    picks: constant(rows * vocabSize, [rows, vocabSize], (i) => {
      const row = Math.floor(i / vocabSize)
      const [s, t] = [Math.floor(row / length), row % length]
      return batch.targets[s]![t] === i % vocabSize ? -batch.weights[s]![t]! : 0
    })
  }

  const norm = (x: np.Array, weight: np.Array): np.Array => {
    const inverse = np.reciprocal(np.sqrt(np.square(x.ref).mean(-1, { keepdims: true }).add(normEps)))
    return x.mul(inverse).mul(weight)
  }

  const loss = (trained: Tensors, frozen: Tensors): np.Array => {
    const w = (name: string): np.Array => (trained[name] ?? frozen[name]!).ref
    const linear = (x: np.Array, name: string): np.Array => {
      const a = `base_model.model.${name}.lora_A.weight`
      const plain = np.matmul(x.ref, w(`${name}.weight`).transpose())
      if (!adapted.has(a)) {
        x.dispose()
        return plain
      }
      const b = `base_model.model.${name}.lora_B.weight`
      return plain.add(
        np.matmul(np.matmul(x, w(a).transpose()), w(b).transpose()).mul(32 / lora!.rank)
      )
    }
    const rotate = (x: np.Array): np.Array => {
      const a = x.ref.slice([], [], [], [0, half])
      const b = x.slice([], [], [], [half, headDim])
      const cosine = w("cosine")
      const sine = w("sine")
      const first = a.ref.mul(cosine.ref).sub(b.ref.mul(sine.ref))
      return np.concatenate([first, b.mul(cosine).add(a.mul(sine))], 3)
    }
    const repeat = (x: np.Array): np.Array =>
      np.broadcastTo(x.reshape([count, kvHeads, 1, length, headDim]), [count, kvHeads, group, length, headDim])
        .reshape([count, heads, length, headDim])

    let x = np.take(w("model.embed_tokens.weight"), w("ids"), 0)
    for (let layer = 0; layer < config.layers; layer++) {
      const at = `model.layers.${layer}`
      const input = norm(x.ref, w(`${at}.input_layernorm.weight`))
      const project = (name: string, n: number): np.Array =>
        linear(input.ref, `${at}.self_attn.${name}_proj`).reshape([count, length, n, headDim])
      const q = rotate(norm(project("q", heads), w(`${at}.self_attn.q_norm.weight`))).transpose([0, 2, 1, 3])
      const k = rotate(norm(project("k", kvHeads), w(`${at}.self_attn.k_norm.weight`))).transpose([0, 2, 1, 3])
      const v = project("v", kvHeads).transpose([0, 2, 1, 3])
      input.dispose()
      const scores = np.matmul(q, repeat(k).transpose([0, 1, 3, 2])).mul(1 / Math.sqrt(headDim)).add(w("mask"))
      const attended = np.matmul(nn.softmax(scores, -1), repeat(v)).transpose([0, 2, 1, 3]).reshape([rows, -1])
      x = x.add(linear(attended, `${at}.self_attn.o_proj`))
      const middle = norm(x.ref, w(`${at}.post_attention_layernorm.weight`))
      const gate = linear(middle.ref, `${at}.mlp.gate_proj`)
      const up = linear(middle, `${at}.mlp.up_proj`)
      x = x.add(linear(nn.silu(gate).mul(up), `${at}.mlp.down_proj`))
    }
    const logits = linear(norm(x, w("model.norm.weight")), "lm_head")
    const total = nn.logSoftmax(logits, -1).mul(w("picks")).sum()
    for (const tensor of [...Object.values(trained), ...Object.values(frozen)]) tensor.dispose()
    return total
  }

  const compiled = jit(valueAndGrad(loss))
  /** Loss and flat gradient at flat weights: of the adapters, or (`adapters` absent) of every parameter. */
  const evaluate = async (base: Float32Array, adapters?: Float32Array) => {
    const layout = weightLayout(config).tensors
    const trainedRanges = lora === null ? layout : loraLayout(config, lora).tensors
    const frozen = { ...hold(constants), ...(lora === null ? {} : tensorsOf(layout, base)) }
    const [value, gradient] = compiled(tensorsOf(trainedRanges, adapters ?? base), frozen)
    const flat = new Float32Array(trainedRanges.reduce((sum, range) => sum + range.length, 0))
    for (const { name, offset } of trainedRanges) {
      // The gradient has the keys of the trained tensors.
      flat.set(await gradient[name]!.data() as Float32Array, offset)
    }
    return { loss: (await value.data())[0]!, gradient: flat }
  }
  return { constants, compiled, evaluate, dModel }
}

/** One more reference to each tensor. */
export const hold = (tensors: Tensors): Tensors =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, tensor.ref]))
