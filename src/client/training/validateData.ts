/** Everything that is wrong with training data, found before a request is made of it. */
import * as Predicate from "effect/Predicate"
import * as Datum from "../../protocol/Datum.js"
import { InvalidInput } from "../../protocol/InvalidInput.js"
import * as ModelInput from "../../protocol/ModelInput.js"
import { checkFloats, checkTokens, kindOf } from "../../protocol/numbers.js"
import { refuse } from "../../protocol/refuse.js"
import type { LossFn, LossFnConfig } from "../../protocol/Training.js"

/** The inputs that a loss cannot do without (docs/protocol/training.md#losses). */
const inputsOf: Readonly<Record<string, ReadonlyArray<string>>> = {
  cross_entropy: ["target_tokens"],
  importance_sampling: ["target_tokens", "logprobs", "advantages"],
  ppo: ["target_tokens", "logprobs", "advantages"],
  cispo: ["target_tokens", "logprobs", "advantages"],
  dro: ["target_tokens", "logprobs", "advantages"],
  gspo: ["target_tokens", "logprobs", "advantages"],
  stable_reinforce: ["target_tokens", "logprobs", "advantages"]
}

export interface Rules {
  /** One more than the largest token, where the tokenizer is at hand. */
  readonly vocabSize: number | undefined
  /** Whether the server stores losses of its users, so that a name may be the id of one. */
  readonly storedLosses: boolean
}

const checkDatum = (datum: Datum.Datum, required: ReadonlyArray<string>, rules: Rules): void => {
  let empty = true
  if (!Predicate.isRecord(datum)) refuse("", "a datum", kindOf(datum))
  ModelInput.validate(datum.modelInput, "modelInput")
  if (!Predicate.isRecord(datum.lossFnInputs)) refuse("lossFnInputs", "tensors by name", kindOf(datum.lossFnInputs))
  datum.modelInput.chunks.forEach((chunk, c) => {
    if (chunk.type === "image_asset_pointer") {
      refuse(`modelInput.chunks[${c}]`, "text, image or dmel", "an image_asset_pointer, which only samples can carry")
    }
    if (chunk.type !== "encoded_text") {
      empty = false
      return
    }
    if (chunk.tokens.length > 0) empty = false
    checkTokens(chunk.tokens, `modelInput.chunks[${c}].tokens`, rules.vocabSize)
  })
  if (empty) refuse("modelInput", "at least 1 token", "none")
  for (const name of required) {
    if (!Object.hasOwn(datum.lossFnInputs, name)) refuse(`lossFnInputs.${name}`, "a tensor, this loss needs it", "none")
  }
  Datum.validate(datum)
  for (const [name, tensor] of Object.entries(datum.lossFnInputs)) {
    const field = `lossFnInputs.${name}`
    if (tensor.dtype === "float32") checkFloats(tensor.data, field, { finite: true })
    else if (name === "target_tokens") checkTokens(tensor.data, field, rules.vocabSize)
  }
}

/** Throws `InvalidInput` for the first thing that is wrong. */
export const validateData = (
  data: ReadonlyArray<Datum.Datum>,
  lossFn: LossFn,
  config: LossFnConfig | undefined,
  rules: Rules
): void => {
  if (!Array.isArray(data)) refuse("data", "a list of data", kindOf(data))
  if (data.length === 0) refuse("data", "at least 1 datum", "none")
  const required = Object.hasOwn(inputsOf, lossFn) ? inputsOf[lossFn]! : undefined
  if (required === undefined && !rules.storedLosses) {
    refuse("lossFn", `one of ${Object.keys(inputsOf).join(", ")}`, "a loss that this server does not have")
  }
  for (const [name, value] of Object.entries(config ?? {})) {
    if (typeof value === "number" && !Number.isFinite(value)) {
      refuse(`lossFnConfig.${name}`, "a finite number or text", "a number that is not finite")
    }
  }
  for (let i = 0; i < data.length; i++) {
    try {
      checkDatum(data[i]!, required ?? [], rules)
    } catch (cause) {
      throw cause instanceof InvalidInput ? cause.within(`data[${i}]`) : cause
    }
  }
}
