/**
 * What is trained on, as text: each token of a datum with its weight, for a look before a long run.
 *
 * @since 0.1.0
 */
import type { Datum } from "../protocol/Datum.js"
import * as TensorData from "../protocol/TensorData.js"

/**
 * One target of a datum.
 *
 * @since 0.1.0
 * @category models
 */
export interface Target {
  readonly token: number
  readonly text: string
  /** The weight of cross-entropy, or the advantage of a rollout; 0 where nothing is learnt. */
  readonly weight: number
}

/**
 * The targets of a datum with their texts and weights, in order. Of several alternatives at a position, the first.
 *
 * @since 0.1.0
 * @category getters
 */
export const targets = (datum: Datum, decode: (tokens: ReadonlyArray<number>) => string): ReadonlyArray<Target> => {
  const given = datum.lossFnInputs["target_tokens"]
  if (given === undefined) return []
  const dense = (tensor: TensorData.TensorData) => TensorData.isSparse(tensor) ? TensorData.toDense(tensor) : tensor
  const tokens = dense(given)
  const weights = datum.lossFnInputs["weights"] ?? datum.lossFnInputs["advantages"]
  const values = weights === undefined ? undefined : dense(weights).data
  const alternatives = tokens.shape.length > 1 ? tokens.shape[1] : 1
  const rows = alternatives === 0 ? 0 : tokens.data.length / alternatives
  return Array.from({ length: rows }, (_, row) => {
    const token = Number(tokens.data[row * alternatives])
    return { token, text: decode([token]), weight: values === undefined ? 1 : Number(values[row * alternatives]) }
  })
}

const color = (code: string, text: string) => `\u001b[${code}m${text}\u001b[0m`

/**
 * A datum as text. With `color` (for a terminal) what has weight 0 is dim, what is reinforced green, what is discouraged red;
 * without it, learnt stretches stand in brackets and carry a sign where they are discouraged: `2 + 2 =[ 4]`.
 * Line breaks show as `⏎`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const toText = (
  datum: Datum,
  decode: (tokens: ReadonlyArray<number>) => string,
  options: { readonly color?: boolean | undefined } = {}
): string => {
  const kind = (weight: number) => Math.sign(weight)
  let out = ""
  const all = targets(datum, decode)
  for (let i = 0; i < all.length;) {
    let end = i + 1
    while (end < all.length && kind(all[end].weight) === kind(all[i].weight)) end++
    const tokens = all.slice(i, end).map(({ token }) => token)
    const text = decode(tokens).replaceAll("\n", "⏎")
    const sign = kind(all[i].weight)
    if (options.color === true) out += sign === 0 ? color("2", text) : sign > 0 ? color("32", text) : color("31", text)
    else out += sign === 0 ? text : sign > 0 ? `[${text}]` : `[-${text}]`
    i = end
  }
  return out
}
