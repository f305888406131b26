/**
 * What is trained on, as text: each token of a datum with its weight, for a look before a long run.
 *
 * @since 0.1.0
 */
import type { Datum, Segment } from "../protocol/Datum.js"
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

/** The token that the input begins with, which is no target. */
const first = ({ modelInput: { chunks: [chunk] } }: Datum): number | undefined =>
  chunk?.type === "encoded_text" ? chunk.tokens[0] : undefined

/** A stretch of equal weight as text: dim, green or red; or in brackets, with a sign where it is discouraged. */
const stretch = (given: string, weight: number, colored: boolean): string => {
  const text = given.replaceAll("\n", "⏎")
  const sign = Math.sign(weight)
  if (colored) return color(sign === 0 ? "2" : sign > 0 ? "32" : "31", text)
  return sign === 0 ? text : `[${sign < 0 ? "-" : ""}${text}]`
}

/** `×0.25` for weights that are not 0, 1 or -1. */
const factor = (weight: number): string =>
  weight === 0 || Math.abs(weight) === 1 ? "" : `×${Number(Math.abs(weight).toPrecision(3))}`

/**
 * - `color`: ANSI colours, for a terminal.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  readonly color?: boolean | undefined
}

/**
 * A datum as text, from its first token on. With `color` (for a terminal) what has weight 0 is dim, what is reinforced green,
 * what is discouraged red; without it, learnt stretches stand in brackets and carry a sign where they are discouraged:
 * `2 + 2 =[ 4]`. Line breaks show as `⏎`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const toText = (
  datum: Datum,
  decode: (tokens: ReadonlyArray<number>) => string,
  options: Options = {}
): string => {
  const given = datum.lossFnInputs["target_tokens"] === undefined ? undefined : first(datum)
  const all: ReadonlyArray<Pick<Target, "token" | "weight">> = [
    ...(given === undefined ? [] : [{ token: given, weight: 0 }]),
    ...targets(datum, decode)
  ]
  let out = ""
  for (let i = 0; i < all.length;) {
    const { weight } = all[i]!
    let end = i + 1
    while (end < all.length && Math.sign(all[end]!.weight) === Math.sign(weight)) end++
    out += stretch(decode(all.slice(i, end).map(({ token }) => token)), weight, options.color === true)
    i = end
  }
  return out
}

/**
 * An example of a conversation (`Renderer.example`) as text: a line for each message with its role, what is learnt in green or
 * in brackets, and its weight where that is not 1.
 *
 * ```text
 * user       <|im_start|>user⏎What is 2 + 2?<|im_end|>
 * assistant  ⏎<|im_start|>assistant⏎[4<|im_end|>]
 * ```
 *
 * @since 0.2.0
 * @category combinators
 */
export const fromSegments = (
  segments: ReadonlyArray<Segment>,
  decode: (tokens: ReadonlyArray<number>) => string,
  options: Options = {}
): string => {
  const width = Math.max(0, ...segments.map(({ label = "" }) => label.length))
  const lines: Array<string> = []
  segments.forEach((segment, index) => {
    const { label = "" } = segment
    if (index === 0 || label !== segments[index - 1]?.label) lines.push(`${label.padEnd(width)}  `)
    lines[lines.length - 1] += "chunk" in segment
      ? `<${segment.chunk.type}>`
      : textOf(segment.tokens, segment.weight, decode, options)
  })
  return lines.join("\n")
}

const textOf = (
  tokens: ArrayLike<number>,
  weight: number | ArrayLike<number>,
  decode: (tokens: ReadonlyArray<number>) => string,
  { color = false }: Options
): string => {
  const all = Array.from(tokens)
  const weightAt = (i: number) => typeof weight === "number" ? weight : weight[i]!
  let out = ""
  for (let i = 0; i < all.length;) {
    let end = i + 1
    while (end < all.length && weightAt(end) === weightAt(i)) end++
    out += stretch(decode(all.slice(i, end)), weightAt(i), color) + factor(weightAt(i))
    i = end
  }
  return out
}
