/**
 * JSON as the services speak it: integers keep all their digits (`seq_id` and `seed` may be beyond 2^53), and numbers that are
 * not finite are `NaN`, `Infinity` and `-Infinity`, as Python writes them and as the official SDK reads them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { ExactParser } from "./internal/exactJson.js"
import { MalformedMessage } from "./MalformedMessage.js"

/** An integer of 16 digits or more where a value can start. Most bodies have none and need nothing but `JSON.parse`. */
const longInteger = /(?:^|[\s,:[])-?\d{16,}(?![\d.eE])/

/** A number that is not finite where a value can start. It may stand in a text too: the parser finds out. */
const nonFinite = /(?:^|[\s,:[])-?(?:NaN|Infinity)/

/**
 * Parses JSON. Integers beyond ±(2^53 - 1) become bigints, `NaN`, `Infinity` and `-Infinity` the numbers of that name,
 * everything else is what `JSON.parse` gives; bodies with neither go through `JSON.parse` alone. Fails with `MalformedMessage`, which does not quote the text.
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
export const unsafeParse = (text: string): unknown => {
  if (longInteger.test(text)) return new ExactParser(text).parse()
  try {
    return JSON.parse(text)
  } catch (cause) {
    if (!nonFinite.test(text)) throw cause
    return new ExactParser(text).parse()
  }
}

/**
 * Compact JSON. Bigints are written as integers with all their digits, numbers that are not finite as `NaN`, `Infinity` and
 * `-Infinity`; values without any go through `JSON.stringify` alone. The value must be one that `JSON.stringify` can write but
 * for its bigints.
 *
 * @since 0.1.0
 * @category encoding
 */
export const stringify = (value: unknown): string => isPlain(value) ? JSON.stringify(value) ?? "null" : exact(value)

/** Whether `JSON.stringify` loses nothing of a value. */
const isPlain = (value: unknown): boolean => {
  switch (typeof value) {
    case "bigint":
      return false
    case "number":
      return Number.isFinite(value)
    case "object": {
      if (value === null) return true
      if (Array.isArray(value)) {
        for (let i = 0; i < value.length; i++) if (!isPlain(value[i])) return false
        return true
      }
      // oxlint-disable-next-line guard-for-in -- only what JSON.stringify would write is plain or not
      for (const key in value) if (!isPlain((value as Readonly<Record<string, unknown>>)[key])) return false // a key of it
      return true
    }
    default:
      return true
  }
}

const exact = (value: unknown): string => {
  if (typeof value === "bigint" || typeof value === "number") return String(value)
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null"
  if (Array.isArray(value)) return `[${value.map(exact).join(",")}]`
  const json: unknown = "toJSON" in value && typeof value.toJSON === "function" ? value.toJSON() : value
  if (json !== value) return exact(json)
  const fields: Array<string> = []
  for (const [key, field] of Object.entries(value)) {
    if (field !== undefined && typeof field !== "function") fields.push(`${JSON.stringify(key)}:${exact(field)}`)
  }
  return `{${fields.join(",")}}`
}
