/**
 * The losses: each a sum over tokens of a function of the target's log-probability, with its
 * derivative. Nothing is averaged or normalised.
 *
 * @since 0.1.0
 */

/** What the losses read, one number an entry; an entry is one target of one token. */
export interface LossTerms {
  /** cross_entropy */
  readonly weights: Float32Array
  /** The log-probability under the policy that sampled: `logprobs` on the wire. */
  readonly sampled: Float32Array
  readonly advantages: Float32Array
  /** Bounds of the ratio for ppo, cispo and gspo. */
  readonly low: Float32Array
  readonly high: Float32Array
  /** gspo: how much an entry counts in the mean ratio of its datum. */
  readonly mask: Float32Array
}

/**
 * Entries `from` to `to`: writes d loss / d logprob to `gradient` and gives the loss of these entries added to `sum`,
 * in order, in double precision. A loss of whole data is given one datum at a time.
 */
export type Loss = (
  terms: LossTerms,
  logprobs: Float32Array,
  gradient: Float32Array,
  from: number,
  to: number,
  sum: number
) => number

/** `-w lp`: exactly linear in the weights. */
const crossEntropy: Loss = ({ weights }, logprobs, gradient, from, to, sum) => {
  for (let e = from; e < to; e++) {
    sum -= weights[e]! * logprobs[e]!
    gradient[e] = -weights[e]!
  }
  return sum
}

/** `-r A` with the ratio r = exp(lp - q). A token without advantage counts 0 whatever its ratio. */
const importanceSampling: Loss = ({ advantages, sampled }, logprobs, gradient, from, to, sum) => {
  for (let e = from; e < to; e++) {
    const advantage = advantages[e]!
    const term = advantage === 0 ? 0 : Math.exp(logprobs[e]! - sampled[e]!) * advantage
    sum -= term
    gradient[e] = -term
  }
  return sum
}

/** `-min(r A, clip(r, low, high) A)` (Schulman et al. 2017). */
const ppo: Loss = ({ advantages, high, low, sampled }, logprobs, gradient, from, to, sum) => {
  for (let e = from; e < to; e++) {
    const advantage = advantages[e]!
    if (advantage === 0) {
      gradient[e] = 0
      continue
    }
    const ratio = Math.exp(logprobs[e]! - sampled[e]!)
    const plain = ratio * advantage
    const clipped = Math.min(Math.max(ratio, low[e]!), high[e]!) * advantage
    sum -= Math.min(plain, clipped)
    gradient[e] = plain <= clipped ? -plain : 0
  }
  return sum
}

/** `-clip(r, low, high) lp A`, the clipped ratio held constant (MiniMax-M1 2025). */
const cispo: Loss = ({ advantages, high, low, sampled }, logprobs, gradient, from, to, sum) => {
  for (let e = from; e < to; e++) {
    const ratio = Math.exp(logprobs[e]! - sampled[e]!)
    const pull = Math.min(Math.max(ratio, low[e]!), high[e]!) * advantages[e]!
    sum -= pull * logprobs[e]!
    gradient[e] = -pull
  }
  return sum
}

/**
 * `-min(s A, clip(s, low, high) A)` at each token of a datum, with the ratio of the whole of it,
 * `s = exp(mean of lp - q over the mask)`: GSPO-token (Zheng et al. 2025), in which a token's gradient takes `s` for
 * constant but for the token's own log-probability, `s exp(lp - sg[lp])`.
 */
const gspo: Loss = ({ advantages, high, low, mask, sampled }, logprobs, gradient, from, to, sum) => {
  let drift = 0
  let weight = 0
  for (let e = from; e < to; e++) {
    drift += mask[e]! * (logprobs[e]! - sampled[e]!)
    weight += mask[e]!
  }
  const ratio = weight === 0 ? 1 : Math.exp(drift / weight)
  for (let e = from; e < to; e++) {
    const advantage = advantages[e]!
    const plain = advantage === 0 ? 0 : ratio * advantage
    const clipped = Math.min(Math.max(ratio, low[e]!), high[e]!) * advantage
    sum -= Math.min(plain, clipped)
    gradient[e] = plain <= clipped ? -plain : 0
  }
  return sum
}

/** `-(lp A - beta / 2 (lp - q)^2)` (Richemond et al. 2024). */
const dro = (beta: number): Loss => ({ advantages, sampled }, logprobs, gradient, from, to, sum) => {
  for (let e = from; e < to; e++) {
    const drift = logprobs[e]! - sampled[e]!
    sum -= logprobs[e]! * advantages[e]! - beta / 2 * drift * drift
    gradient[e] = beta * drift - advantages[e]!
  }
  return sum
}

/** A loss: its inputs beside `target_tokens`, its settings with their defaults, and its function. */
export interface LossDefinition {
  readonly required: ReadonlyArray<string>
  readonly optional: ReadonlyArray<string>
  readonly config: Readonly<Record<string, number>>
  /** Whether targets may be `(N, K)`. */
  readonly manyTargets: boolean
  /** Whether an entry's gradient depends on all entries of its datum. */
  readonly whole: boolean
  readonly make: (config: Readonly<Record<string, number>>) => Loss
}

const clip = ["clip_low_threshold", "clip_high_threshold"] as const
const policy = ["logprobs", "advantages"]

/** All losses by their wire names. `weights` of cross_entropy are 1 when absent. */
export const losses: ReadonlyMap<string, LossDefinition> = new Map<string, LossDefinition>([
  ["cross_entropy", {
    required: [],
    optional: ["weights"],
    config: {},
    manyTargets: true,
    whole: false,
    make: () => crossEntropy
  }],
  ["importance_sampling", {
    required: policy,
    optional: [],
    config: {},
    manyTargets: false,
    whole: false,
    make: () => importanceSampling
  }],
  ["ppo", {
    required: policy,
    optional: clip,
    config: { [clip[0]]: 0.8, [clip[1]]: 1.2 },
    manyTargets: false,
    whole: false,
    make: () => ppo
  }],
  ["cispo", {
    required: policy,
    optional: clip,
    config: { [clip[0]]: 0, [clip[1]]: 4 },
    manyTargets: false,
    whole: false,
    make: () => cispo
  }],
  ["dro", {
    required: policy,
    optional: [],
    config: { beta: 0.05 },
    manyTargets: false,
    whole: false,
    make: ({ beta }) => dro(beta ?? 0.05)
  }],
  ["gspo", {
    required: [...policy, "sequence_ratio_mask"],
    optional: clip,
    // The bounds of the paper, 1 - 3e-4 and 1 + 4e-4: a mean over a sequence moves far less than the ratio of a token.
    config: { [clip[0]]: 0.9997, [clip[1]]: 1.0004 },
    manyTargets: false,
    whole: true,
    make: () => gspo
  }]
])
