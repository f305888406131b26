/** Data that every vocabulary has room for: token ids from 1 to 40. */
import * as Datum from "../../protocol/Datum.js"
import type { TensorInput } from "../../protocol/TensorData.js"

/** Tokens and the target of each. */
export const inputs: ReadonlyArray<number> = [8, 5, 12, 12, 15, 3]
export const targets: ReadonlyArray<number> = [5, 12, 12, 15, 3, 9]
const others: ReadonlyArray<number> = [23, 15, 18, 12]
const otherTargets: ReadonlyArray<number> = [15, 18, 12, 4]

/** A datum of the first sequence, with the loss inputs of a check. */
export const datum = (lossFnInputs: Readonly<Record<string, TensorInput>>): Datum.Datum =>
  Datum.make({ modelInput: [...inputs], lossFnInputs: { target_tokens: [...targets], ...lossFnInputs } })

/** The first sequence with a weight for each token. */
export const weighted = (...weights: ReadonlyArray<number>): Datum.Datum => datum({ weights: [...weights] })

/** The first sequence, every token with weight 1 or the one given. */
export const first = (weight = 1): Datum.Datum => weighted(...inputs.map(() => weight))

/** A second, shorter sequence. */
export const second = (weight = 1): Datum.Datum =>
  Datum.make({
    modelInput: [...others],
    lossFnInputs: { target_tokens: [...otherTargets], weights: others.map(() => weight) }
  })

/** Tokens that a pass over the first sequence is charged. */
export const length = inputs.length

/** Sum of products. */
export const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]! // a and b are of one length
  return sum
}
