/**
 * Lists of numbers from callers, checked before they become typed arrays: a conversion turns `undefined`, text and 2^32 into
 * numbers that nobody meant. What is refused is named by its place and its kind, never by its value.
 */
import { refuse } from "./refuse.js"

/** What something is, for a message. */
export const kindOf = (u: unknown): string => {
  switch (typeof u) {
    case "undefined":
      return "nothing"
    case "string":
      return "text"
    case "number":
      return Number.isNaN(u)
        ? "NaN"
        : !Number.isFinite(u)
        ? "infinity"
        : !Number.isInteger(u)
        ? "a number that is not an integer"
        : u < 0
        ? "a negative number"
        : "a number"
    case "object":
      return u === null ? "null" : Array.isArray(u) ? "a list" : "an object"
    default:
      return `a ${typeof u}`
  }
}

/** The value of a setting, for a message: never for prompts, tokens, tensors and keys. */
export const shown = (setting: unknown): string =>
  typeof setting === "number" || typeof setting === "bigint" || typeof setting === "boolean"
    ? String(setting)
    : typeof setting === "string"
    ? JSON.stringify(setting.length > 40 ? `${setting.slice(0, 39)}…` : setting)
    : kindOf(setting)

const maxInt32 = 0x7fffffff

const isList = (u: unknown): u is ArrayLike<unknown> =>
  Array.isArray(u) || (ArrayBuffer.isView(u) && !(u instanceof DataView))

/** Text stands where tokens belong so often that the message says what to do. */
const notAList = (field: string, what: string, u: unknown): never =>
  typeof u === "string"
    ? refuse(field, `${what}; encode the text first, with the tokenizer of the model`, "text")
    : refuse(field, what, kindOf(u))

/** Throws unless these are token ids: whole numbers from 0, of 32 bits, and below `vocabSize` where that is known. */
export const checkTokens: (tokens: unknown, field: string, vocabSize?: number) => asserts tokens is
  | Int32Array
  | ReadonlyArray<number> = (tokens, field, vocabSize) => {
    if (!isList(tokens)) return notAList(field, "a list of token ids", tokens)
    const end = vocabSize ?? maxInt32 + 1
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i]
      if (typeof token === "number" && (token | 0) === token && token >= 0 && token < end) continue
      const whole = typeof token === "number" && Number.isInteger(token) && token >= 0
      refuse(
        field,
        vocabSize !== undefined && whole
          ? `a token below ${vocabSize}, the size of the vocabulary`
          : typeof token === "string"
          ? "a token id; encode the text first, with the tokenizer of the model"
          : "a token id, a whole number from 0 to 2^31 - 1",
        whole ? "a larger one" : kindOf(token),
        i
      )
    }
  }

/** Whole numbers of 32 bits as a typed array. */
export const int32s = (values: unknown, field: string): Int32Array => {
  if (values instanceof Int32Array) return values
  if (!isList(values)) return notAList(field, "a list of integers", values)
  const out = new Int32Array(values.length)
  for (let i = 0; i < out.length; i++) {
    const value = values[i]
    if (typeof value !== "number" || (value | 0) !== value) {
      const large = Number.isInteger(value)
      return refuse(field, "32-bit integers", large ? "a larger one" : kindOf(value), i)
    }
    out[i] = value
  }
  return out
}

/** Whether numbers that are not finite are data (results have them) or a mistake (inputs do not). */
export interface FloatRules {
  readonly finite: boolean
}

/** Throws unless these are numbers that 32-bit floats can hold. */
export const checkFloats: (values: unknown, field: string, rules: FloatRules) => asserts values is ArrayLike<number> = (
  values,
  field,
  { finite }
) => {
  if (!isList(values)) return notAList(field, "a list of numbers", values)
  for (let i = 0; i < values.length; i++) {
    const value = values[i]
    if (typeof value !== "number") refuse(field, "numbers", kindOf(value), i)
    else if (!Number.isFinite(value)) {
      if (finite) refuse(field, "finite numbers", kindOf(value), i)
    } else if (!Number.isFinite(Math.fround(value))) {
      refuse(field, "numbers that 32-bit floats can hold", "a larger one", i)
    }
  }
}

/** Numbers as 32-bit floats, the same array if they are that already. */
export const float32s = (values: unknown, field: string, rules: FloatRules): Float32Array => {
  checkFloats(values, field, rules)
  return values instanceof Float32Array ? values : Float32Array.from(values)
}

/** One number that a 32-bit float can hold. */
export const float = (value: unknown, field: string): number =>
  typeof value === "number" && Number.isFinite(Math.fround(value))
    ? value
    : refuse(
      field,
      "a finite number",
      typeof value === "number" && Number.isFinite(value) ? "a larger one" : kindOf(value)
    )
