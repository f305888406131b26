/**
 * The architecture out of a Hugging Face `config.json`.
 */
import { type Architecture, checked, families, isFamily, llama3Factors, unknownFamily } from "./architecture.js"
import { isObject, type JsonObject } from "./json.js"
import { fail, show } from "./problem.js"

const number = (config: JsonObject, key: string, otherwise?: number): number => {
  const value = config[key] ?? otherwise
  return typeof value === "number" && Number.isFinite(value)
    ? value
    : fail("Malformed", `config.json: ${key} is ${value === undefined ? "missing" : "no number"}`)
}

/** Settings under which the decoder would compute something else than the model that was trained. */
const refuseOthers = (config: JsonObject): void => {
  const only = (key: string, ...values: ReadonlyArray<unknown>): void => {
    const value = config[key]
    if (value !== undefined && value !== null && !values.includes(value)) {
      fail(
        "Unsupported",
        `config.json: ${key} is ${show(String(value))}; the engine computes only ${show(String(values[0]))}`
      )
    }
  }
  only("hidden_act", "silu")
  only("mlp_bias", false)
  only("use_sliding_window", false)
  const layerTypes = config["layer_types"]
  if (Array.isArray(layerTypes) && layerTypes.some((type) => type !== "full_attention")) {
    fail("Unsupported", "config.json: layer_types has others than full_attention")
  }
  if (isObject(config["quantization_config"])) {
    fail("Unsupported", "config.json: quantization_config; give the model in F32, F16 or BF16, or as a GGUF file")
  }
}

/** What the rotary frequencies are divided by; undefined: nothing. */
const ropeFactors = (headDim: number, theta: number, scaling: unknown): ReadonlyArray<number> | undefined => {
  if (!isObject(scaling)) return undefined
  const type = scaling["rope_type"] ?? scaling["type"] ?? "default"
  switch (type) {
    case "default":
      return undefined
    case "linear":
      return Array.from({ length: headDim / 2 }, () => number(scaling, "factor"))
    case "llama3":
      return llama3Factors(headDim, theta, {
        factor: number(scaling, "factor"),
        lowFrequency: number(scaling, "low_freq_factor"),
        highFrequency: number(scaling, "high_freq_factor"),
        originalContext: number(scaling, "original_max_position_embeddings")
      })
    default:
      return fail(
        "Unsupported",
        `config.json: the rotary scaling is ${show(String(type))}; computed are default, linear and llama3`
      )
  }
}

/** Reads a config; a `model_type` or architecture that is not known is refused. */
export const architectureOfConfig = (config: JsonObject): Architecture => {
  const family = config["model_type"]
  if (typeof family !== "string" || !isFamily(family)) return unknownFamily(String(family))
  const architectures = config["architectures"]
  if (Array.isArray(architectures) && !architectures.includes(families[family].huggingFace)) {
    return unknownFamily(String(architectures[0]))
  }
  refuseOthers(config)
  const { qkNorm, qkvBias } = families[family]
  if (config["attention_bias"] === true) {
    fail("Unsupported", "config.json: attention_bias is true; the engine has no bias after attention")
  }
  const dModel = number(config, "hidden_size")
  const heads = number(config, "num_attention_heads")
  const headDim = number(config, "head_dim", dModel / heads)
  // transformers 5 keeps theta and scaling in rope_parameters, earlier ones apart.
  const parameters = config["rope_parameters"]
  const theta = isObject(parameters) ? number(parameters, "rope_theta", 10_000) : number(config, "rope_theta", 10_000)
  return checked(family, {
    vocabSize: number(config, "vocab_size"),
    maxContext: number(config, "max_position_embeddings"),
    dModel,
    layers: number(config, "num_hidden_layers"),
    heads,
    kvHeads: number(config, "num_key_value_heads", heads),
    headDim,
    ffnDim: number(config, "intermediate_size"),
    ropeTheta: theta,
    ropeFactors: ropeFactors(headDim, theta, config["rope_scaling"] ?? parameters),
    normEps: number(config, "rms_norm_eps", 1e-6),
    qkNorm,
    qkvBias,
    tied: config["tie_word_embeddings"] === true
  })
}
