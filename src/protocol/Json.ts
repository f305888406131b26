/**
 * JSON whose integers keep all their digits: `seq_id` and `seed` may be beyond 2^53 (wire-protocol 3.7, 3.8).
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { ExactParser } from "./internal/exactJson.js"
import { MalformedMessage } from "./MalformedMessage.js"

/** An integer of 16 digits or more where a value can start. Most bodies have none and need nothing but `JSON.parse`. */
const longInteger = /(?:^|[\s,:[])-?\d{16,}(?![\d.eE])/

/**
 * Parses JSON. Integers beyond ±(2^53 - 1) become bigints, everything else is what `JSON.parse` gives; bodies without
 * such an integer go through `JSON.parse` alone. Fails with `MalformedMessage`, which does not quote the text.
 *
 * @since 0.1.0
 * @category decoding
 */
export const parse = (text: string, messageType = "the body"): Effect.Effect<unknown, MalformedMessage> =>
  Effect.try({
    try: () => unsafeParse(text),
    catch: () => new MalformedMessage({ messageType, detail: "it is not JSON" })
  })

/**
 * `parse`, throwing what `JSON.parse` would.
 *
 * @since 0.1.0
 * @category decoding
 */
export const unsafeParse = (text: string): unknown =>
  longInteger.test(text) ? new ExactParser(text).parse() : JSON.parse(text)

/**
 * Compact JSON. Bigints are written as integers with all their digits; values without any go through `JSON.stringify`
 * alone. The value must be one that `JSON.stringify` can write but for its bigints.
 *
 * @since 0.1.0
 * @category encoding
 */
export const stringify = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? "null"
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause
    return exact(value)
  }
}

const exact = (value: unknown): string => {
  if (typeof value === "bigint") return value.toString()
  if (Array.isArray(value)) return `[${value.map(stringify).join(",")}]`
  const fields: Array<string> = []
  // only objects and arrays can hold the bigint that JSON.stringify refused
  for (const [key, field] of Object.entries(value as object)) {
    if (field !== undefined) fields.push(`${JSON.stringify(key)}:${stringify(field)}`)
  }
  return `{${fields.join(",")}}`
}
