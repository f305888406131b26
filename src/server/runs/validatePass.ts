/**
 * Checks a batch against a model and puts it into the engine's form. Throws `InvalidInput`; changes nothing.
 *
 * @internal
 */
import type * as Engine from "../../engine/Engine.js"
import type { Datum } from "../../protocol/Datum.js"
import * as ModelInput from "../../protocol/ModelInput.js"
import { refuse } from "../../protocol/refuse.js"
import * as TensorData from "../../protocol/TensorData.js"
import type { LossFnConfig } from "../../protocol/Training.js"

interface Loss {
  readonly outputType: string
  readonly required: ReadonlyArray<string>
  readonly optional: ReadonlyArray<string>
  readonly config: ReadonlyArray<string>
  /** Whether several targets per position, `(N, K)`, are allowed. */
  readonly soft: boolean
}

/** A loss that is computed as another one. */
interface StandIn extends Loss {
  readonly lossFn: string
  readonly configOf: (config: Readonly<Record<string, number>>) => Readonly<Record<string, number>>
}

const policy = ["target_tokens", "logprobs", "advantages"]
const clips = ["clip_low_threshold", "clip_high_threshold"]

/** What each loss reads (docs/protocol/training.md#losses). */
const losses: Readonly<Record<string, Loss>> = {
  cross_entropy: {
    outputType: "CrossEntropyLossReturn",
    required: ["target_tokens", "weights"],
    optional: [],
    config: [],
    soft: true
  },
  importance_sampling: {
    outputType: "ImportanceSamplingLossReturn",
    required: policy,
    optional: [],
    config: [],
    soft: false
  },
  ppo: { outputType: "PPOLossReturn", required: policy, optional: clips, config: clips, soft: false },
  cispo: { outputType: "CISPOLossReturn", required: policy, optional: clips, config: clips, soft: false },
  dro: { outputType: "DROLossReturn", required: policy, optional: [], config: ["beta"], soft: false },
  gspo: {
    outputType: "GSPOLossReturn",
    required: [...policy, "sequence_ratio_mask"],
    optional: clips,
    config: clips,
    soft: false
  }
}

/**
 * What is computed, where that is asked for, in place of a loss whose formula is not public (docs/protocol/training.md#stand-ins):
 * the policy gradient, held to the policy that sampled by half of `kl_coeff` times the squared difference.
 */
const standIns: Readonly<Record<string, StandIn>> = {
  stable_reinforce: {
    outputType: "StableReinforceLossReturn",
    required: policy,
    optional: [],
    config: ["kl_coeff"],
    soft: false,
    lossFn: "dro",
    configOf: ({ kl_coeff = 0.01 }) => ({ beta: kl_coeff })
  }
}

/** Inputs that cookbooks send although no loss reads them. */
const ignored: ReadonlySet<string> = new Set(["mask"])

/** Cells that sparse tensors of one request may unfold to: 64 MiB of numbers. */
const maxCells = 16 * 1024 * 1024

/** @internal */
export interface Batch {
  readonly request: Engine.PassRequest
  readonly outputType: string
}

/** @internal */
export const validatePass = (input: {
  readonly data: ReadonlyArray<Datum>
  readonly lossFn: string
  readonly lossFnConfig?: LossFnConfig | undefined
  readonly backward: boolean
  readonly model: Engine.ModelInfo
  /** Whether stand-ins are taken. */
  readonly experimentalLosses: boolean
}): Batch => {
  const standIn = input.experimentalLosses && Object.hasOwn(standIns, input.lossFn)
    ? standIns[input.lossFn]
    : undefined
  const loss = standIn ?? (Object.hasOwn(losses, input.lossFn) ? losses[input.lossFn]! : missing(input.lossFn))
  if (input.data.length === 0) refuse("data", "at least 1 datum", "none")
  const budget = { cells: maxCells }
  const config = validateConfig(loss, input.lossFn, input.lossFnConfig ?? {})
  return {
    outputType: loss.outputType,
    request: {
      lossFn: standIn?.lossFn ?? input.lossFn,
      lossConfig: standIn?.configOf(config) ?? config,
      backward: input.backward,
      data: input.data.map((datum, index) => validateDatum(`data[${index}]`, datum, loss, input, budget))
    }
  }
}

const missing = (lossFn: string): never => {
  switch (lossFn) {
    case "stable_reinforce":
      return refuse(
        "loss_fn",
        "importance_sampling, ppo or cispo, which read the same inputs (a server started with --experimental-losses takes a stand-in for this one)",
        "stable_reinforce, whose formula is not public"
      )
    case "custom":
      return refuse(
        "loss_fn",
        "a loss of this server, or forward_backward_custom, which computes yours on the client",
        "custom"
      )
    default:
      return refuse("loss_fn", `one of ${Object.keys(losses).join(", ")}`, "another name")
  }
}

const validateConfig = (loss: Loss, lossFn: string, config: LossFnConfig): Readonly<Record<string, number>> => {
  const out: Record<string, number> = {}
  for (const [key, value] of Object.entries(config)) {
    if (!loss.config.includes(key)) {
      refuse(
        "loss_fn_config",
        loss.config.length === 0 ? `no settings for ${lossFn}` : `only ${loss.config.join(", ")} for ${lossFn}`,
        "another key"
      )
    }
    if (typeof value !== "number" || !Number.isFinite(value)) {
      refuse(`loss_fn_config.${key}`, "a finite number", typeof value === "number" ? `${value}` : "text")
    }
    out[key] = Number(value)
  }
  return out
}

const validateDatum = (
  field: string,
  datum: Datum,
  loss: Loss,
  input: { readonly lossFn: string; readonly model: Engine.ModelInfo },
  budget: { cells: number }
): Engine.Datum => {
  const { model } = input
  const tokens = validateTokens(`${field}.model_input`, datum.modelInput, model)
  for (const name of Object.keys(datum.lossFnInputs)) {
    if (!loss.required.includes(name) && !loss.optional.includes(name) && !ignored.has(name)) {
      refuse(
        `${field}.loss_fn_inputs`,
        `only ${[...loss.required, ...loss.optional].join(", ")} for ${input.lossFn}`,
        "another key"
      )
    }
  }
  const lossInputs: Record<string, Engine.Tensor> = {}
  let target: ReadonlyArray<number> | undefined
  for (const name of [...loss.required, ...loss.optional]) {
    const tensor = Object.hasOwn(datum.lossFnInputs, name) ? datum.lossFnInputs[name] : undefined
    const at = `${field}.loss_fn_inputs.${name}`
    if (tensor === undefined) {
      if (loss.required.includes(name)) refuse(at, `a tensor, ${input.lossFn} needs it`, "nothing")
      continue
    }
    checkShape(at, tensor.shape, target, tokens.length, loss, model)
    if (TensorData.isSparse(tensor)) {
      budget.cells -= TensorData.size(tensor)
      if (budget.cells < 0) refuse(at, `sparse tensors of at most ${maxCells} cells in one request`, "more")
    }
    const dense = TensorData.toDense(tensor)
    if (name === "target_tokens") {
      target = dense.shape
      lossInputs[name] = { data: targetsOf(at, dense, model), shape: dense.shape }
    } else {
      lossInputs[name] = { data: floatsOf(at, dense), shape: dense.shape }
    }
  }
  return { tokens, lossInputs }
}

const checkShape = (
  field: string,
  shape: ReadonlyArray<number>,
  target: ReadonlyArray<number> | undefined,
  n: number,
  loss: Loss,
  model: Engine.ModelInfo
): void => {
  const shown = `shape [${shape.join(", ")}]`
  if (target !== undefined) {
    if (shape.length !== target.length || shape.some((d, i) => d !== target[i])) {
      refuse(field, `shape [${target.join(", ")}], that of target_tokens`, shown)
    }
    return
  }
  if (shape[0] !== n || shape.length > (loss.soft ? 2 : 1)) {
    refuse(field, loss.soft ? `shape [${n}] or [${n}, K]` : `shape [${n}]`, shown)
  }
  if (shape.length === 2 && (shape[1]! < 1 || shape[1]! > model.vocabSize)) {
    refuse(field, `shape [${n}, K] with K from 1 to ${model.vocabSize}`, shown)
  }
}

const targetsOf = (field: string, tensor: TensorData.TensorData, model: Engine.ModelInfo): Int32Array => {
  if (tensor.dtype !== "int64") return refuse(field, "dtype int64", "dtype float32")
  if (!(tensor.data instanceof Int32Array)) {
    return refuse(field, `token ids from 0 to ${model.vocabSize - 1}`, "a larger number")
  }
  checkTokens(field, tensor.data, model)
  return tensor.data
}

const floatsOf = (field: string, tensor: TensorData.TensorData): Float32Array => {
  const data = tensor.data instanceof Float32Array
    ? tensor.data
    : tensor.data instanceof Int32Array
    ? Float32Array.from(tensor.data)
    : refuse(field, "dtype float32", "integers beyond 32 bits")
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i]!)) refuse(field, "finite numbers", "NaN or infinity", i)
  }
  return data
}

const checkTokens = (field: string, tokens: Int32Array, model: Engine.ModelInfo): void => {
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i]! < 0 || tokens[i]! >= model.vocabSize) {
      refuse(field, `a token id from 0 to ${model.vocabSize - 1}, the vocabulary of ${model.name}`, "another number", i)
    }
  }
}

/**
 * Refuses an input that is not text.
 *
 * @internal
 */
export const checkText = (field: string, input: ModelInput.ModelInput, model: Engine.ModelInfo): void =>
  input.chunks.forEach((chunk, index) => {
    if (chunk.type !== "encoded_text") {
      refuse(`${field}.chunks[${index}]`, `text, ${model.name} reads nothing else`, `a chunk of type ${chunk.type}`)
    }
  })

/**
 * The token ids of an input: text only, at least one, no more than fit, all in the vocabulary. Lengths are looked at first.
 *
 * @internal
 */
export const validateTokens = (field: string, input: ModelInput.ModelInput, model: Engine.ModelInfo): Int32Array => {
  checkText(field, input, model)
  const length = ModelInput.length(input)
  if (length === 0) refuse(field, "at least 1 token", "none")
  if (length > model.maxContext) {
    refuse(field, `at most ${model.maxContext} tokens, the context window of ${model.name}`, `${length}`)
  }
  const tokens = ModelInput.tokens(input)
  checkTokens(field, tokens, model)
  return tokens
}
