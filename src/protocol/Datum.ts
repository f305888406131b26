/**
 * One training example: what the model reads and what the loss needs.
 *
 * @since 0.1.0
 */
import { InvalidInput } from "./InvalidInput.js"
import * as ModelInput from "./ModelInput.js"
import * as TensorData from "./TensorData.js"

/**
 * One training example. `lossFnInputs` are aligned with the tokens of `modelInput`: input `t` is scored against target `t`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Datum {
  readonly modelInput: ModelInput.ModelInput
  readonly lossFnInputs: Readonly<Record<string, TensorData.TensorData>>
  /** Where the input tokens came from: runs that tile `modelInput`. Comes with `lossFnInputSpans` or not at all. */
  readonly modelInputSpans?: ReadonlyArray<ProvenanceSpan> | undefined
  /** Where the loss rows came from: runs that tile `target_tokens`. */
  readonly lossFnInputSpans?: ReadonlyArray<ProvenanceSpan> | undefined
}

/**
 * A run of tokens that were the prompt (`prompt_tokens`) or the output (`sampled_tokens`) of a sampled sequence: positions
 * `offset` to `offset + length` of it (drift 1.1).
 *
 * @since 0.1.0
 * @category models
 */
export interface ProvenanceSpan {
  readonly type: "prompt_tokens" | "sampled_tokens"
  readonly sequenceId: string
  readonly offset: number
  readonly length: number
}

/**
 * The dtype of a plain list, by the name of the loss input (wire-protocol 3.2 and SDK 0.38). Other names need a
 * `TensorData` or a typed array, which carry their own.
 *
 * @since 0.1.0
 * @category constants
 */
export const dtypeOf: Readonly<Record<string, TensorData.TensorDtype>> = {
  target_tokens: "int64",
  weights: "float32",
  advantages: "float32",
  logprobs: "float32",
  clip_low_threshold: "float32",
  clip_high_threshold: "float32",
  sequence_ratio_mask: "float32"
}

const tensorOf = (name: string, value: TensorData.TensorInput): TensorData.TensorData => {
  const field = `lossFnInputs.${name}`
  if (!Array.isArray(value)) return TensorData.make(value, { field })
  const dtype = Object.hasOwn(dtypeOf, name) ? dtypeOf[name] : undefined
  if (dtype === undefined) {
    throw new InvalidInput({
      field,
      expected: `a TensorData or a typed array, or one of the names ${Object.keys(dtypeOf).join(", ")}`,
      actual: "a list under a name whose dtype is not known"
    })
  }
  return TensorData.make(value, { dtype, field })
}

/**
 * A datum from an input (or its token ids) and loss inputs as tensors, typed arrays or lists; lists get the dtype that
 * belongs to their name. Throws `InvalidInput` (see `attempt`) when a loss input does not align with the tokens: its first
 * dimension must be the length of the input.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: {
  readonly modelInput: ModelInput.ModelInput | ModelInput.Tokens
  readonly lossFnInputs?: Readonly<Record<string, TensorData.TensorInput>> | undefined
}): Datum => {
  const lossFnInputs: Record<string, TensorData.TensorData> = {}
  for (const [name, value] of Object.entries(options.lossFnInputs ?? {})) lossFnInputs[name] = tensorOf(name, value)
  return validate({ modelInput: ModelInput.from(options.modelInput), lossFnInputs })
}

/**
 * The datum itself when its loss inputs align with its tokens, otherwise throws `InvalidInput`. Inputs with images of
 * unknown length are taken as they are.
 *
 * @since 0.1.0
 * @category guards
 */
export const validate = (self: Datum): Datum => {
  const n = knownLength(self.modelInput)
  for (const [name, tensor] of Object.entries(self.lossFnInputs)) {
    const field = `lossFnInputs.${name}`
    TensorData.validate(tensor, field)
    if (n !== undefined && tensor.shape[0] !== n) {
      throw new InvalidInput({
        field,
        expected: `a first dimension of ${n}, the length of modelInput`,
        actual: `shape [${tensor.shape.join(", ")}]`
      })
    }
  }
  return self
}

const knownLength = (input: ModelInput.ModelInput): number | undefined => {
  for (const chunk of input.chunks) {
    if (chunk.type !== "encoded_text" && chunk.type !== "dmel" && chunk.expectedTokens === undefined) return undefined
  }
  return ModelInput.length(input)
}

const join = (field: string, left: ModelInput.Tokens, right: ModelInput.Tokens): Int32Array => {
  const n = left.length + right.length
  if (n < 2) {
    throw new InvalidInput({ field, expected: "at least 2 tokens in prompt and completion together", actual: `${n}` })
  }
  const all = new Int32Array(n)
  all.set(left)
  all.set(right, left.length)
  return all
}

/**
 * A datum for `cross_entropy` that teaches the completion: input is all tokens but the last, target all but the first,
 * weights are 0 where the target belongs to the prompt and 1 where it belongs to the completion (server-semantics 2.1).
 * Throws `InvalidInput` when the completion is empty or fewer than two tokens are given.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromCompletion = (prompt: ModelInput.Tokens, completion: ModelInput.Tokens): Datum => {
  if (completion.length === 0) {
    throw new InvalidInput({ field: "completion", expected: "at least 1 token", actual: "none" })
  }
  const all = join("completion", prompt, completion)
  const n = all.length - 1
  const weights = new Float32Array(n).fill(1, Math.max(prompt.length - 1, 0))
  return {
    modelInput: ModelInput.fromTokens(all.subarray(0, n)),
    lossFnInputs: {
      target_tokens: { dtype: "int64", data: all.subarray(1), shape: [n] },
      weights: { dtype: "float32", data: weights, shape: [n] }
    }
  }
}

/**
 * A datum for the policy losses (`importance_sampling`, `ppo`, `cispo`, `dro`) from a sampled completion: `logprobs` are
 * those it was sampled with, `advantages` one number for the whole completion or one per token. Both are 0 on the prompt
 * part. Throws `InvalidInput` when lengths differ from the completion's.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromRollout = (rollout: {
  readonly prompt: ModelInput.Tokens
  readonly completion: ModelInput.Tokens
  readonly logprobs: ArrayLike<number>
  readonly advantages: number | ArrayLike<number>
}): Datum => {
  const { advantages, completion, logprobs, prompt } = rollout
  if (completion.length === 0) {
    throw new InvalidInput({ field: "completion", expected: "at least 1 token", actual: "none" })
  }
  const all = join("completion", prompt, completion)
  const n = all.length - 1
  // a completion without prompt has no input that predicts its first token
  const skipped = prompt.length === 0 ? 1 : 0
  const start = Math.max(prompt.length - 1, 0)
  const aligned = (field: string, values: number | ArrayLike<number>): TensorData.TensorData => {
    const data = new Float32Array(n)
    if (typeof values === "number") {
      data.fill(values, start)
    } else {
      if (values.length !== completion.length) {
        throw new InvalidInput({
          field,
          expected: `${completion.length} values, one per token of completion`,
          actual: `${values.length}`
        })
      }
      for (let i = skipped; i < values.length; i++) data[start + i - skipped] = values[i]!
    }
    return { dtype: "float32", data, shape: [n] }
  }
  return {
    modelInput: ModelInput.fromTokens(all.subarray(0, n)),
    lossFnInputs: {
      target_tokens: { dtype: "int64", data: all.subarray(1), shape: [n] },
      logprobs: aligned("logprobs", logprobs),
      advantages: aligned("advantages", advantages)
    }
  }
}

/**
 * Bytes of the datum as the chunker counts them: 4 per text token, raw bytes of images and audio, the tensors' payload
 * (wire-protocol 5.7).
 *
 * @since 0.1.0
 * @category getters
 */
export const byteSize = (self: Datum): number => {
  let total = 0
  for (const chunk of self.modelInput.chunks) {
    switch (chunk.type) {
      case "encoded_text":
        total += 4 * chunk.tokens.length
        break
      case "image":
        total += chunk.data.length
        break
      case "dmel":
        total += chunk.dmel.length
        break
      default:
        total += chunk.location.length
    }
  }
  for (const name of Object.keys(self.lossFnInputs)) total += TensorData.byteSize(self.lossFnInputs[name]!)
  return total
}

/**
 * Numbers of the datum: tokens plus tensor elements, the count that the seeds' chunk limit is written in (design.md 4).
 *
 * @since 0.1.0
 * @category getters
 */
export const numberCount = (self: Datum): number => {
  let total = 0
  for (const chunk of self.modelInput.chunks) if (chunk.type === "encoded_text") total += chunk.tokens.length
  for (const name of Object.keys(self.lossFnInputs)) total += self.lossFnInputs[name]!.data.length
  return total
}

/**
 * The datum with provenance for both fields. Throws `InvalidInput` unless the runs tile them exactly.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withProvenance = (self: Datum, spans: {
  readonly modelInput: ReadonlyArray<ProvenanceSpan>
  readonly lossFnInputs: ReadonlyArray<ProvenanceSpan>
}): Datum => {
  checkTiling("modelInputSpans", spans.modelInput, knownLength(self.modelInput))
  const targets = self.lossFnInputs["target_tokens"]
  checkTiling("lossFnInputSpans", spans.lossFnInputs, targets?.shape.length === 1 ? targets.shape[0] : undefined)
  return { ...self, modelInputSpans: spans.modelInput, lossFnInputSpans: spans.lossFnInputs }
}

const checkTiling = (field: string, spans: ReadonlyArray<ProvenanceSpan>, expected: number | undefined): void => {
  let total = 0
  spans.forEach((span, index) => {
    if (span.sequenceId === "" || !(span.offset >= 0) || !(span.length >= 0)) {
      throw new InvalidInput({
        field,
        index,
        expected: "a sequence id, an offset from 0 and a length from 0",
        actual: "another span"
      })
    }
    total += span.length
  })
  if (expected !== undefined && total !== expected) {
    throw new InvalidInput({ field, expected: `runs that cover ${expected} positions`, actual: `${total}` })
  }
}
