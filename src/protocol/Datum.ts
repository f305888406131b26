/**
 * One training example: what the model reads and what the loss needs.
 *
 * @since 0.1.0
 */
import { InvalidInput } from "./InvalidInput.js"
import * as ModelInput from "./ModelInput.js"
import { checkFloats, checkTokens, float, kindOf } from "./numbers.js"
import { known } from "./options.js"
import { concat, layOut } from "./segments.js"
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
 * `offset` to `offset + length` of it (docs/protocol-notes.md#what-newer-sdks-changed-and-what-tinkex-does).
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
 * The dtype of a plain list, by the name of the loss input (docs/protocol/data.md#tensors). Other names need a
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

interface MakeOptions {
  readonly modelInput: ModelInput.ModelInput | ModelInput.Tokens
  readonly lossFnInputs?: Readonly<Record<string, TensorData.TensorInput>> | undefined
}

const makeNames = known<MakeOptions>("Datum.make", { lossFnInputs: true, modelInput: true })

/**
 * A datum from an input (or its token ids) and loss inputs as tensors, typed arrays or lists; lists get the dtype that
 * belongs to their name. Throws `InvalidInput` (see `attempt`) when a loss input does not align with the tokens: its first
 * dimension must be the length of the input.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: MakeOptions): Datum => {
  makeNames(options)
  const lossFnInputs: Record<string, TensorData.TensorData> = {}
  for (const [name, value] of Object.entries(options.lossFnInputs ?? {})) lossFnInputs[name] = tensorOf(name, value)
  return validate({ modelInput: ModelInput.from(options.modelInput, "modelInput"), lossFnInputs })
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

/**
 * A run of tokens with a weight for all or for each of them; or an image (or any other chunk), which is never learnt. `label`
 * says where it is from (a role), for the eye.
 *
 * @since 0.2.0
 * @category models
 */
export type Segment =
  | {
    readonly tokens: ModelInput.Tokens
    readonly weight: number | ArrayLike<number>
    readonly label?: string | undefined
  }
  | { readonly chunk: ModelInput.Chunk; readonly label?: string | undefined }

/**
 * - `maxLength`: of the whole in tokens; what is beyond is cut off at the end, an image that does not fit goes whole.
 * - `reduction`: `mean` divides the weights by their sum, so that every example weighs 1; `none`, the default, leaves them.
 *
 * @since 0.2.0
 * @category models
 */
export interface SegmentsOptions {
  readonly maxLength?: number | undefined
  readonly reduction?: "none" | "mean" | undefined
}

const segmentNames = known<SegmentsOptions>("Datum.fromSegments", { maxLength: true, reduction: true })

/**
 * A datum for `cross_entropy` from a text in runs, each with its weight: the input is all of it but the last token, the target
 * all but the first, and a target weighs what its token weighs. Targets at an image are 0 and weigh nothing.
 *
 * ```ts
 * import { Datum, Tokenizer } from "tinkex"
 *
 * const { encode } = Tokenizer.nano
 * Datum.fromSegments([{ tokens: encode("2 + 2 ="), weight: 0 }, { tokens: encode(" 4"), weight: 1 }])
 * ```
 *
 * Throws `InvalidInput` when fewer than two tokens are given, when weights and tokens differ in number, and for an image
 * without `expectedTokens`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fromSegments = (segments: ReadonlyArray<Segment>, options: SegmentsOptions = {}): Datum => {
  segmentNames(options)
  segments.forEach((segment, index) => checkSegment(segment, `segments[${index}]`))
  const { maxLength } = options
  if (maxLength !== undefined && !(maxLength >= 2)) {
    throw new InvalidInput({ field: "maxLength", expected: "a number from 2", actual: kindOf(maxLength) })
  }
  const { chunks, targets, weights } = layOut(segments, options)
  const shape = [targets.length]
  return {
    modelInput: { chunks },
    lossFnInputs: {
      target_tokens: { dtype: "int64", data: targets, shape },
      weights: { dtype: "float32", data: weights, shape }
    }
  }
}

const checkSegment = (segment: Segment, field: string): void => {
  if ("chunk" in segment) return void ModelInput.fromChunks(segment.chunk)
  const { tokens, weight } = segment
  checkTokens(tokens, `${field}.tokens`)
  if (typeof weight === "number") return void float(weight, `${field}.weight`)
  checkFloats(weight, `${field}.weight`, { finite: true })
  if (weight.length !== tokens.length) {
    throw new InvalidInput({
      field: `${field}.weight`,
      expected: `${tokens.length} weights, one per token`,
      actual: `${weight.length}`
    })
  }
}

/** Prompt and completion are tokens, the completion has some, and both together two. */
const checkPair = (left: ModelInput.Tokens, right: ModelInput.Tokens): void => {
  checkTokens(left, "prompt")
  checkTokens(right, "completion")
  const field = "completion"
  if (right.length === 0) throw new InvalidInput({ field, expected: "at least 1 token", actual: "none" })
  const n = left.length + right.length
  if (n < 2) {
    throw new InvalidInput({ field, expected: "at least 2 tokens in prompt and completion together", actual: `${n}` })
  }
}

/**
 * A datum for `cross_entropy` that teaches the completion: input is all tokens but the last, target all but the first,
 * weights are 0 where the target belongs to the prompt and 1 where it belongs to the completion (docs/protocol/data.md#examples).
 * Throws `InvalidInput` when the completion is empty, fewer than two tokens are given, or one is no token id.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromCompletion = (prompt: ModelInput.Tokens, completion: ModelInput.Tokens): Datum => {
  checkPair(prompt, completion)
  return fromSegments([{ tokens: prompt, weight: 0 }, { tokens: completion, weight: 1 }])
}

interface Rollout {
  readonly prompt: ModelInput.Tokens
  readonly completion: ModelInput.Tokens
  readonly logprobs: ArrayLike<number>
  readonly advantages: number | ArrayLike<number>
  readonly sequenceRatioMask?: boolean | undefined
}

const rolloutNames = known<Rollout>("Datum.fromRollout", {
  advantages: true,
  completion: true,
  logprobs: true,
  prompt: true,
  sequenceRatioMask: true
})

/**
 * A datum for the policy losses (`importance_sampling`, `ppo`, `cispo`, `dro`, `gspo`) from a sampled completion:
 * `logprobs` are those it was sampled with, `advantages` one number for the whole completion or one per token. Both are 0 on
 * the prompt part. With `sequenceRatioMask` it carries the input that `gspo` alone reads, 1 on the completion. Throws
 * `InvalidInput` when lengths differ from the completion's, a token is none or a number is not finite.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromRollout = (rollout: Rollout): Datum => {
  rolloutNames(rollout)
  const { advantages, completion, logprobs, prompt, sequenceRatioMask = false } = rollout
  checkPair(prompt, completion)
  const all = Int32Array.from(concat([prompt, completion]))
  const n = all.length - 1
  // a completion without prompt has no input that predicts its first token
  const skipped = prompt.length === 0 ? 1 : 0
  const start = Math.max(prompt.length - 1, 0)
  const aligned = (field: string, values: number | ArrayLike<number>): TensorData.TensorData => {
    const data = new Float32Array(n)
    if (field !== "logprobs" && !Array.isArray(values) && !ArrayBuffer.isView(values)) {
      data.fill(float(values, field), start)
    } else {
      checkFloats(values, field, { finite: true })
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
      advantages: aligned("advantages", advantages),
      ...(sequenceRatioMask ? { sequence_ratio_mask: aligned("sequenceRatioMask", 1) } : {})
    }
  }
}

/**
 * Bytes of the datum as the chunker counts them: 4 per text token, raw bytes of images and audio, the tensors' payload
 * (docs/protocol/data.md#counting-bytes).
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
 * Numbers of the datum: tokens plus tensor elements, the count that the seeds' chunk limit is written in.
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
