/**
 * What kind of model a file holds: the decoder's shape, and under which names its tensors are stored.
 *
 * The decoder is one; what differs between Llama, Qwen2 and Qwen3 is in its shape (`ModelConfig`): biases of the
 * projections, norms of the heads, a tied head, the scaling of the rotary frequencies.
 */
import { configProblem, type ModelConfig } from "../model/modelConfig.js"
import { fail, show } from "./problem.js"

/** The architectures that are read, by the names that Hugging Face gives them, and by those of llama.cpp. */
export const families = {
  llama: { huggingFace: "LlamaForCausalLM", qkvBias: false, qkNorm: false },
  qwen2: { huggingFace: "Qwen2ForCausalLM", qkvBias: true, qkNorm: false },
  qwen3: { huggingFace: "Qwen3ForCausalLM", qkvBias: false, qkNorm: true }
} as const

export type Family = keyof typeof families

export const isFamily = (name: string): name is Family => Object.hasOwn(families, name)

/** A family with its shape. */
export interface Architecture {
  readonly family: Family
  readonly shape: ModelConfig
}

/** Refuses a model of a family that is not read. */
export const unknownFamily = (name: string): never =>
  fail(
    "Unsupported",
    `it is a model of architecture ${show(name)}; read are ${
      Object.entries(families).map(([name, { huggingFace }]) => `${name} (${huggingFace})`).join(", ")
    }`
  )

/** The architecture, if the engine can compute it. */
export const checked = (family: Family, shape: ModelConfig): Architecture => {
  const problem = configProblem(shape)
  return problem === undefined ? { family, shape } : fail("Unsupported", `its shape cannot be computed: ${problem}`)
}

/** How Llama 3 stretches its rotary frequencies to a longer context than it was first trained for. */
export interface Llama3Scaling {
  readonly factor: number
  readonly lowFrequency: number
  readonly highFrequency: number
  readonly originalContext: number
}

/**
 * What each rotary frequency is divided by, `headDim / 2` numbers (as transformers' `_compute_llama3_parameters`):
 * nothing for waves much shorter than the original context, the whole factor for longer ones, and in between a smooth
 * passage.
 */
export const llama3Factors = (
  headDim: number,
  theta: number,
  { factor, highFrequency, lowFrequency, originalContext }: Llama3Scaling
): ReadonlyArray<number> =>
  Array.from({ length: headDim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * Math.pow(theta, 2 * i / headDim)
    if (wavelength < originalContext / highFrequency) return 1
    if (wavelength > originalContext / lowFrequency) return factor
    const smooth = (originalContext / wavelength - lowFrequency) / (highFrequency - lowFrequency)
    return 1 / ((1 - smooth) / factor + smooth)
  })

/** A tensor that a model must have: its Hugging Face name, its shape, and the name in a GGUF file. */
export interface ExpectedTensor {
  readonly name: string
  readonly gguf: string
  readonly shape: ReadonlyArray<number>
  /** Heads whose rows llama.cpp's converter has put in pairs; 0: rows lie as Hugging Face has them. */
  readonly pairedHeads: number
}

/** All tensors of an architecture, in the order of the engine's layout; a tied head is none of its own. */
export const expectedTensors = ({ family, shape }: Architecture): ReadonlyArray<ExpectedTensor> => {
  const { dModel, ffnDim, headDim, heads, kvHeads, layers, vocabSize } = shape
  const q = heads * headDim
  const kv = kvHeads * headDim
  const paired = (count: number): number => family === "llama" ? count : 0
  const plain = (name: string, gguf: string, ...shape: ReadonlyArray<number>): ExpectedTensor => ({
    name,
    gguf,
    shape,
    pairedHeads: 0
  })
  const layer = (l: number): ReadonlyArray<ExpectedTensor> => {
    const at = (name: string) => `model.layers.${l}.${name}`
    const blk = (name: string) => `blk.${l}.${name}`
    return [
      plain(at("input_layernorm.weight"), blk("attn_norm.weight"), dModel),
      { ...plain(at("self_attn.q_proj.weight"), blk("attn_q.weight"), q, dModel), pairedHeads: paired(heads) },
      { ...plain(at("self_attn.k_proj.weight"), blk("attn_k.weight"), kv, dModel), pairedHeads: paired(kvHeads) },
      plain(at("self_attn.v_proj.weight"), blk("attn_v.weight"), kv, dModel),
      ...(shape.qkvBias === true
        ? [
          plain(at("self_attn.q_proj.bias"), blk("attn_q.bias"), q),
          plain(at("self_attn.k_proj.bias"), blk("attn_k.bias"), kv),
          plain(at("self_attn.v_proj.bias"), blk("attn_v.bias"), kv)
        ]
        : []),
      ...(shape.qkNorm === false
        ? []
        : [
          plain(at("self_attn.q_norm.weight"), blk("attn_q_norm.weight"), headDim),
          plain(at("self_attn.k_norm.weight"), blk("attn_k_norm.weight"), headDim)
        ]),
      plain(at("self_attn.o_proj.weight"), blk("attn_output.weight"), dModel, q),
      plain(at("post_attention_layernorm.weight"), blk("ffn_norm.weight"), dModel),
      plain(at("mlp.gate_proj.weight"), blk("ffn_gate.weight"), ffnDim, dModel),
      plain(at("mlp.up_proj.weight"), blk("ffn_up.weight"), ffnDim, dModel),
      plain(at("mlp.down_proj.weight"), blk("ffn_down.weight"), dModel, ffnDim)
    ]
  }
  return [
    plain("model.embed_tokens.weight", "token_embd.weight", vocabSize, dModel),
    ...Array.from({ length: layers }, (_, l) => layer(l)).flat(),
    plain("model.norm.weight", "output_norm.weight", dModel),
    ...(shape.tied === true ? [] : [plain("lm_head.weight", "output.weight", vocabSize, dModel)])
  ]
}
