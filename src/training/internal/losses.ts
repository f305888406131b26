/**
 * The value of each loss by its closed form, from the log-probabilities that the service gives back (docs/protocol/training.md#losses).
 * Sums over the targets of the data; nothing is averaged.
 */
import type { Datum } from "../../protocol/Datum.js"
import * as TensorData from "../../protocol/TensorData.js"
import type { LossFn, LossFnConfig, LossFnOutput } from "../../protocol/Training.js"

const clipDefaults: Readonly<Record<string, readonly [low: number, high: number]>> = {
  ppo: [0.8, 1.2],
  cispo: [0, 4],
  gspo: [0.9997, 1.0004]
}

const numbers = (datum: Datum, key: string): ArrayLike<number | bigint> | undefined => {
  const tensor = datum.lossFnInputs[key]
  return tensor === undefined ? undefined : (TensorData.isSparse(tensor) ? TensorData.toDense(tensor) : tensor).data
}

const config = (options: LossFnConfig | undefined, key: string, otherwise: number): number =>
  Number(options?.[key] ?? otherwise)

/** The loss of one target, and how often it counts. */
const term = (
  lossFn: LossFn,
  options: LossFnConfig | undefined,
  lp: number,
  sequence: number | undefined,
  at: (key: string) => number | undefined
): number => {
  if (lossFn === "cross_entropy") return -(at("weights") ?? 1) * lp
  const q = at("logprobs") ?? 0
  const advantage = at("advantages") ?? 0
  if (lossFn === "dro") {
    return -(lp * advantage - config(options, "beta", 0.05) / 2 * (lp - q) ** 2)
  }
  const ratio = sequence ?? Math.exp(lp - q)
  if (lossFn === "importance_sampling") return -ratio * advantage
  const [low, high] = clipDefaults[lossFn] ?? [0, Infinity]
  const clipped = Math.min(
    at("clip_high_threshold") ?? config(options, "clip_high_threshold", high),
    Math.max(at("clip_low_threshold") ?? config(options, "clip_low_threshold", low), ratio)
  )
  return lossFn === "ppo" || lossFn === "gspo"
    ? -Math.min(ratio * advantage, clipped * advantage)
    : -clipped * lp * advantage
}

/** The mean drift `lp - q` of a datum over its mask, exponentiated: gspo's ratio. */
const sequenceRatio = (
  logprobs: ArrayLike<number | bigint>,
  sampled: ArrayLike<number | bigint> | undefined,
  mask: ArrayLike<number | bigint> | undefined
): number => {
  let drift = 0
  let weight = 0
  for (let i = 0; i < logprobs.length; i++) {
    const m = Number(mask?.[i] ?? 0)
    drift += m * (Number(logprobs[i]) - Number(sampled?.[i] ?? 0))
    weight += m
  }
  return weight === 0 ? 1 : Math.exp(drift / weight)
}

/** `undefined` for a loss whose form is not known here, one that the service keeps for instance. */
export const lossSum = (
  data: ReadonlyArray<Datum>,
  outputs: ReadonlyArray<LossFnOutput>,
  lossFn: LossFn,
  options: LossFnConfig | undefined
): number | undefined => {
  if (!["cross_entropy", "importance_sampling", "ppo", "cispo", "dro", "gspo"].includes(lossFn)) return undefined
  let sum = 0
  for (let d = 0; d < data.length; d++) {
    const logprobs = outputs[d]?.["logprobs"]?.data
    if (logprobs === undefined) return undefined
    const inputs: Record<string, ArrayLike<number | bigint> | undefined> = {}
    for (const key of Object.keys(data[d].lossFnInputs)) {
      if (key !== "target_tokens") inputs[key] = numbers(data[d], key)
    }
    const sequence = lossFn === "gspo"
      ? sequenceRatio(logprobs, inputs["logprobs"], inputs["sequence_ratio_mask"])
      : undefined
    for (let i = 0; i < logprobs.length; i++) {
      const at = (key: string) => inputs[key] === undefined ? undefined : Number(inputs[key][i])
      sum += term(lossFn, options, Number(logprobs[i]), sequence, at)
    }
  }
  return sum
}
