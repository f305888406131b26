/**
 * JSON as Python's `json` reads and writes it, which chat templates were made with: `, ` and `: ` between, the order of keys
 * kept, `1.0` apart from `1`, integers of any length.
 *
 * @internal
 */

/** A number by its text; integers apart from floats, as in Python. @internal */
export class JsonNumber {
  constructor(readonly text: string) {}
  get isInteger(): boolean {
    return /^-?\d+$/.test(this.text)
  }
}

/** @internal */
export type Json = null | boolean | string | JsonNumber | ReadonlyArray<Json> | ReadonlyMap<string, Json>

/** What is wrong with a text that is no JSON, by position; never the text. @internal */
class JsonProblem {
  constructor(readonly problem: string) {}
}

/** @internal */
export const isProblem = (u: unknown): u is JsonProblem => u instanceof JsonProblem

const blank = /[ \t\n\r]*/y
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
// oxlint-disable-next-line no-control-regex
const string = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y
const literals: ReadonlyArray<readonly [string, Json]> = [
  ["null", null],
  ["true", true],
  ["false", false],
  ["NaN", new JsonNumber("NaN")],
  ["Infinity", new JsonNumber("Infinity")],
  ["-Infinity", new JsonNumber("-Infinity")]
]

/** Deeper than this is nobody's tool call. */
const maxDepth = 200

class Reader {
  at = 0
  constructor(readonly text: string) {}

  skip(): void {
    blank.lastIndex = this.at
    blank.test(this.text)
    this.at = blank.lastIndex
  }

  match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.text)
    if (found === null) return undefined
    this.at = pattern.lastIndex
    return found[0]
  }

  take(char: string): boolean {
    if (this.text[this.at] !== char) return false
    this.at++
    return true
  }

  expected(what: string): JsonProblem {
    return new JsonProblem(`expected ${what} at character ${this.at}`)
  }

  string(): string | undefined {
    const found = this.match(string)
    // the pattern admits only what JSON.parse takes for a string
    return found === undefined ? undefined : JSON.parse(found) as string
  }

  value(depth: number): Json | JsonProblem {
    if (depth > maxDepth) return new JsonProblem(`it is nested deeper than ${maxDepth}`)
    this.skip()
    const text = this.string()
    if (text !== undefined) return text
    if (this.take("{")) return this.object(depth)
    if (this.take("[")) return this.list(depth)
    for (const [name, value] of literals) {
      if (!this.text.startsWith(name, this.at)) continue
      this.at += name.length
      return value
    }
    const digits = this.match(number)
    return digits === undefined ? this.expected("a value") : new JsonNumber(digits)
  }

  object(depth: number): Json | JsonProblem {
    const fields = new Map<string, Json>()
    this.skip()
    if (this.take("}")) return fields
    for (;;) {
      this.skip()
      const key = this.string()
      if (key === undefined) return this.expected("a name in double quotes")
      this.skip()
      if (!this.take(":")) return this.expected("a colon")
      const value = this.value(depth + 1)
      if (isProblem(value)) return value
      fields.set(key, value)
      this.skip()
      if (this.take("}")) return fields
      if (!this.take(",")) return this.expected("a comma or a closing brace")
    }
  }

  list(depth: number): Json | JsonProblem {
    const values: Array<Json> = []
    this.skip()
    if (this.take("]")) return values
    for (;;) {
      const value = this.value(depth + 1)
      if (isProblem(value)) return value
      values.push(value)
      this.skip()
      if (this.take("]")) return values
      if (!this.take(",")) return this.expected("a comma or a closing bracket")
    }
  }
}

/** The value of a JSON text, or what is wrong with it. @internal */
export const parse = (text: string): Json | JsonProblem => {
  const reader = new Reader(text)
  const value = reader.value(0)
  if (isProblem(value)) return value
  reader.skip()
  return reader.at === text.length ? value : reader.expected("the end")
}

/** The value of what is a JavaScript value already; what JSON has no form for is left out of objects and null in lists. @internal */
export const of = (value: unknown): Json => {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value
  if (typeof value === "number" || typeof value === "bigint") return new JsonNumber(String(value))
  if (Array.isArray(value)) return value.map(of)
  if (typeof value !== "object") return null
  const fields = new Map<string, Json>()
  for (const [key, field] of Object.entries(value)) {
    if (field !== undefined && typeof field !== "function") fields.set(key, of(field))
  }
  return fields
}

/** @internal */
export const isObject = (json: Json): json is ReadonlyMap<string, Json> => json instanceof Map

/** @internal */
export interface WriteOptions {
  /** Between elements, and between a name and its value. `, ` and `: ` unless given. */
  readonly separators?: readonly [string, string] | undefined
  readonly sortKeys?: boolean | undefined
}

/** A float as Python writes it: the shortest digits, an exponent from 1e16 up and from 1e-5 down. */
const float = (text: string): string => {
  const value = Number(text)
  if (!Number.isFinite(value)) {
    return /^-?(?:NaN|Infinity)$/.test(text)
      ? text
      : text.startsWith("-")
      ? "-Infinity"
      : "Infinity"
  }
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0"
  const [mantissa = "", exponent = ""] = value.toExponential().split("e")
  const power = Number(exponent)
  if (power >= 16 || power < -4) {
    return `${mantissa}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`
  }
  const digits = mantissa.replace(/[-.]/g, "")
  const sign = value < 0 ? "-" : ""
  if (power < 0) return `${sign}0.${"0".repeat(-power - 1)}${digits}`
  const whole = digits.slice(0, power + 1).padEnd(power + 1, "0")
  return `${sign}${whole}.${digits.slice(power + 1) || "0"}`
}

/** @internal */
const numberText = (number: JsonNumber): string =>
  number.isInteger ? number.text.replace(/^-0+$/, "0") : float(number.text)

/** JSON as `json.dumps(value, ensure_ascii=False)` writes it. @internal */
export const write = (json: Json, options: WriteOptions = {}): string => {
  const [comma, colon] = options.separators ?? [", ", ": "]
  if (json === null || typeof json === "boolean") return String(json)
  if (typeof json === "string") return quote(json)
  if (json instanceof JsonNumber) return numberText(json)
  if (!isObject(json)) return `[${json.map((value) => write(value, options)).join(comma)}]`
  const fields = Array.from(json)
  if (options.sortKeys === true) fields.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0)
  return `{${fields.map(([key, value]) => `${quote(key)}${colon}${write(value, options)}`).join(comma)}}`
}

/** JavaScript writes lone surrogates and U+007F as Python does, but for nothing else of note. */
const quote = (text: string): string => JSON.stringify(text)

/** A scalar as `str()` of Python gives it. @internal */
export const pythonText = (json: Json): string =>
  json === null
    ? "None"
    : json === true
    ? "True"
    : json === false
    ? "False"
    : typeof json === "string"
    ? json
    : write(json)

/** The fields of the arguments of a call; none when they are no JSON object. @internal */
export const argumentsOf = (text: string): ReadonlyMap<string, Json> | undefined => {
  const value = text.trim() === "" ? new Map<string, Json>() : parse(text)
  return isProblem(value) || !isObject(value) ? undefined : value
}
