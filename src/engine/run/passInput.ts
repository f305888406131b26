/**
 * Checks a pass and brings its data into the dense form that the losses read. Nothing is changed before everything has
 * been checked; messages name the datum, the field and the element, never a value.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { type Datum, EngineError, type PassRequest, type Tensor } from "../Engine.js"
import type { ModelConfig } from "../model/modelConfig.js"
import { type Loss, type LossDefinition, losses } from "./losses.js"

/** A datum with everything dense, one number an entry; `perToken` entries a token. */
export interface PreparedDatum {
  readonly tokens: Int32Array
  readonly targets: Int32Array
  readonly perToken: number
  /** Of the targets, and so of the log-probabilities given back. */
  readonly shape: ReadonlyArray<number>
  /** The loss's own inputs by wire name; absent optional ones are filled in. */
  readonly inputs: Readonly<Record<string, Float32Array>>
}

/** A checked pass. */
export interface PreparedPass {
  readonly loss: Loss
  /** Whether the loss must be given whole data. */
  readonly whole: boolean
  readonly data: ReadonlyArray<PreparedDatum>
}

const quote = (name: string): string => JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}...` : name)

/** Checks a request against a model. */
export const preparePass = (
  config: ModelConfig,
  request: PassRequest
): Either.Either<PreparedPass, EngineError> => {
  const refuse = (detail: string) => Either.left(new EngineError({ reason: "InvalidInput", detail }))
  const definition = losses.get(request.lossFn)
  if (definition === undefined) {
    return refuse(`loss_fn ${quote(request.lossFn)} is unknown: use one of ${[...losses.keys()].join(", ")}`)
  }
  const problem = configProblem(request, definition)
  if (problem !== undefined) return refuse(problem)
  if (request.data.length === 0) return refuse("data is empty: give at least one datum")
  const settings = { ...definition.config, ...request.lossConfig }
  const data: Array<PreparedDatum> = []
  for (let i = 0; i < request.data.length; i++) {
    const prepared = prepareDatum(config, definition, request.lossFn, settings, request.data[i]!)
    if (typeof prepared === "string") return refuse(`data[${i}].${prepared}`)
    data.push(prepared)
  }
  return Either.right({ loss: definition.make(settings), whole: definition.whole, data })
}

const configProblem = ({ lossConfig, lossFn }: PassRequest, definition: LossDefinition): string | undefined => {
  const known = Object.keys(definition.config)
  for (const [key, value] of Object.entries(lossConfig)) {
    if (!known.includes(key)) {
      return `loss_fn_config.${quote(key)} is not a setting of ${lossFn}: it takes ${known.join(", ") || "none"}`
    }
    if (!Number.isFinite(value)) return `loss_fn_config.${key} must be a finite number`
    if (key === "beta" && value < 0) return "loss_fn_config.beta must not be negative"
  }
  const { clip_high_threshold: high, clip_low_threshold: low } = { ...definition.config, ...lossConfig }
  if (low !== undefined && high !== undefined && low > high) {
    return "loss_fn_config.clip_low_threshold must not exceed clip_high_threshold"
  }
  return undefined
}

/** The datum made dense, or what is wrong with it. */
const prepareDatum = (
  config: ModelConfig,
  definition: LossDefinition,
  lossFn: string,
  settings: Readonly<Record<string, number>>,
  datum: Datum
): PreparedDatum | string => {
  const { lossInputs, tokens } = datum
  const length = tokens.length
  if (length === 0) return "model_input is empty: give at least one token"
  if (length > config.maxContext) {
    return `model_input has ${length} tokens, more than the ${config.maxContext} of the context`
  }
  const badToken = outside(tokens, config.vocabSize)
  if (badToken >= 0) return `model_input token ${badToken} is not in the vocabulary (0 to ${config.vocabSize - 1})`

  const takes = ["target_tokens", ...definition.required, ...definition.optional]
  for (const key of Object.keys(lossInputs)) {
    if (key !== "mask" && !takes.includes(key)) {
      return `loss_fn_inputs.${quote(key)} is not an input of ${lossFn}: it takes ${takes.join(", ")}`
    }
  }
  for (const key of ["target_tokens", ...definition.required]) {
    if (!Object.hasOwn(lossInputs, key)) return `loss_fn_inputs.${key} is missing: ${lossFn} needs it`
  }
  const field = (key: string): Tensor | undefined => Object.hasOwn(lossInputs, key) ? lossInputs[key] : undefined

  const target = field("target_tokens")!
  const { shape } = target
  const many = definition.manyTargets && shape.length === 2
  if (shape[0] !== length || !(shape.length === 1 || many)) {
    return `loss_fn_inputs.target_tokens has shape [${shape.join(", ")}], not [${length}]${
      definition.manyTargets ? ` or [${length}, K]` : ""
    }`
  }
  const perToken = many ? shape[1]! : 1
  if (!Number.isInteger(perToken) || perToken < 1 || perToken > config.vocabSize) {
    return `loss_fn_inputs.target_tokens has ${perToken} targets a token: give 1 to ${config.vocabSize}`
  }
  if (!(target.data instanceof Int32Array)) return "loss_fn_inputs.target_tokens must hold integers (int64)"
  const dense = densify("target_tokens", target, Int32Array)
  if (typeof dense === "string") return dense
  const badTarget = outside(dense, config.vocabSize)
  if (badTarget >= 0) {
    return `loss_fn_inputs.target_tokens[${position(badTarget, shape)}] is not in the vocabulary (0 to ${
      config.vocabSize - 1
    })`
  }

  const inputs: Record<string, Float32Array> = {}
  for (const key of takes.slice(1)) {
    const tensor = field(key)
    if (tensor === undefined) {
      inputs[key] = new Float32Array(length * perToken).fill(settings[key] ?? 1)
      continue
    }
    if (tensor.shape.length !== shape.length || tensor.shape.some((n, i) => n !== shape[i])) {
      return `loss_fn_inputs.${key} has shape [${tensor.shape.join(", ")}], not the targets' [${shape.join(", ")}]`
    }
    const values = densify(key, tensor, Float32Array)
    if (typeof values === "string") return values
    const bad = values.findIndex((x) => !Number.isFinite(x))
    if (bad >= 0) return `loss_fn_inputs.${key}[${position(bad, shape)}] is not finite`
    inputs[key] = values
  }
  const { clip_high_threshold: high, clip_low_threshold: low, sequence_ratio_mask: mask } = inputs
  const negative = mask?.findIndex((x) => x < 0) ?? -1
  if (negative >= 0) return `loss_fn_inputs.sequence_ratio_mask[${negative}] is negative`
  if (low !== undefined && high !== undefined) {
    const crossed = low.findIndex((x, i) => x > high[i]!)
    if (crossed >= 0) return `loss_fn_inputs.clip_low_threshold[${crossed}] exceeds clip_high_threshold`
  }
  return { tokens, targets: dense, perToken, shape, inputs }
}

/** Index of the first number outside `[0, end)`, or -1. */
const outside = (values: Int32Array, end: number): number => {
  for (let i = 0; i < values.length; i++) if (values[i]! < 0 || values[i]! >= end) return i
  return -1
}

const position = (index: number, shape: ReadonlyArray<number>): string =>
  shape.length === 1 ? `${index}` : `${Math.floor(index / shape[1]!)}, ${index % shape[1]!}`

/** A tensor's numbers as a dense array of its checked shape; absent entries of a sparse one are 0. Or what is wrong. */
const densify = <A extends Float32Array | Int32Array>(
  key: string,
  tensor: Tensor,
  make: { new(length: number): A; from(values: Iterable<number>): A }
): A | string => {
  const { col, crow, data, shape } = tensor
  const [rows, columns = 1] = shape
  const size = rows! * columns
  if (crow === undefined && col === undefined) {
    if (data.length !== size) return `loss_fn_inputs.${key} has ${data.length} numbers, not ${size}`
    return data instanceof make ? data : make.from(data)
  }
  if (crow === undefined || col === undefined) return `loss_fn_inputs.${key} is sparse: it needs both crow and col`
  if (shape.length !== 2) return `loss_fn_inputs.${key} is sparse: its shape must be [N, K]`
  if (crow.length !== rows! + 1) {
    return `loss_fn_inputs.${key}.crow has ${crow.length} entries, not ${rows! + 1}`
  }
  if (col.length !== data.length) {
    return `loss_fn_inputs.${key}.col has ${col.length} entries for ${data.length} numbers`
  }
  if (crow[0] !== 0) return `loss_fn_inputs.${key}.crow[0] must be 0`
  if (crow[rows!] !== data.length) return `loss_fn_inputs.${key}.crow[${rows!}] must be ${data.length}`
  const dense = new make(size)
  for (let row = 0; row < rows!; row++) {
    const end = crow[row + 1]!
    if (end < crow[row]! || end > data.length) return `loss_fn_inputs.${key}.crow[${row + 1}] is out of order`
    for (let e = crow[row]!; e < end; e++) {
      const column = col[e]!
      if (column < 0 || column >= columns) return `loss_fn_inputs.${key}.col[${e}] is not in 0 to ${columns - 1}`
      if (e > crow[row]! && column <= col[e - 1]!) return `loss_fn_inputs.${key}.col[${e}] is out of order`
      dense[row * columns + column] = data[e]!
    }
  }
  return dense
}
