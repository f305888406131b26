/**
 * The architecture out of the metadata of a GGUF file.
 */
import { type Architecture, checked, families, isFamily, unknownFamily } from "./architecture.js"
import type { GgufFile } from "./gguf.js"
import { fail, show } from "./problem.js"

/** Reads the metadata. `ropeFactors` are those of the tensor `rope_freqs.weight`, if the file has one. */
export const architectureOfGguf = (
  { metadata, tensors }: GgufFile,
  ropeFactors: ReadonlyArray<number> | undefined
): Architecture => {
  const family = metadata.get("general.architecture")
  if (typeof family !== "string" || !isFamily(family)) return unknownFamily(String(family))
  const number = (key: string, otherwise?: number): number => {
    const value = metadata.get(`${family}.${key}`) ?? otherwise
    return typeof value === "number" && Number.isFinite(value)
      ? value
      : fail("Malformed", `the metadata ${family}.${key} is ${value === undefined ? "missing" : "no number"}`)
  }
  const dModel = number("embedding_length")
  const heads = number("attention.head_count")
  const headDim = number("attention.key_length", dModel / heads)
  const turned = number("rope.dimension_count", headDim)
  if (turned !== headDim) fail("Unsupported", `only ${turned} of the ${headDim} numbers of a head are rotated`)
  if (number("attention.value_length", headDim) !== headDim) {
    fail("Unsupported", "its values have another length than its keys")
  }
  if (number("expert_count", 0) > 0) fail("Unsupported", "it is a mixture of experts")
  const scaling = metadata.get(`${family}.rope.scaling.type`) ?? "none"
  if (scaling !== "none" && scaling !== "linear") {
    fail("Unsupported", `the rotary scaling is ${show(String(scaling))}; computed are none, linear and Llama 3's`)
  }
  const linear = scaling === "linear" ? number("rope.scaling.factor") : 1
  const half = Math.floor(headDim / 2)
  if (ropeFactors !== undefined && ropeFactors.length !== half) {
    fail("Malformed", `rope_freqs.weight has ${ropeFactors.length} numbers, not ${half}`)
  }
  const embedding = tensors.get("token_embd.weight") ?? fail("Malformed", "the tensor token_embd.weight is missing")
  const { qkNorm, qkvBias } = families[family]
  return checked(family, {
    vocabSize: embedding.shape[0]!,
    maxContext: number("context_length"),
    dModel,
    layers: number("block_count"),
    heads,
    kvHeads: number("attention.head_count_kv", heads),
    headDim,
    ffnDim: number("feed_forward_length"),
    ropeTheta: number("rope.freq_base", 10_000),
    ropeFactors: ropeFactors ?? (linear === 1 ? undefined : Array.from({ length: half }, () => linear)),
    normEps: number("attention.layer_norm_rms_epsilon"),
    qkNorm,
    qkvBias,
    tied: !tensors.has("output.weight")
  })
}
