/**
 * Tensors of the wire: flat data with a dtype and a shape, dense or sparse.
 *
 * @since 0.1.0
 */
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { InvalidInput } from "./InvalidInput.js"
import { float32s, int32s, kindOf } from "./numbers.js"
import { IntArray, NumberList } from "./NumericArray.js"
import { refuse } from "./refuse.js"

/**
 * The two types of numbers that travel (docs/protocol/data.md#tensors).
 *
 * @since 0.1.0
 * @category models
 */
export type TensorDtype = "float32" | "int64"

interface Common {
  /** Dense dimensions, row-major. The product is the number of elements, also when the tensor is sparse. */
  readonly shape: ReadonlyArray<number>
  /** Row pointers of a sparse CSR matrix, `rows + 1` of them; `data` then holds only the listed values. Always with `col`. */
  readonly crow?: Int32Array | undefined
  /** Column of each listed value. Always with `crow`. */
  readonly col?: Int32Array | undefined
}

/**
 * A tensor of 32-bit floats.
 *
 * @since 0.1.0
 * @category models
 */
export interface Float32Tensor extends Common {
  readonly dtype: "float32"
  readonly data: Float32Array
}

/**
 * A tensor of 64-bit integers. The one rule: `data` is an `Int32Array` whenever every value fits 32 bits, as token ids
 * do, and a `BigInt64Array` otherwise. So no value is ever rounded and equal tensors have equal representations.
 *
 * @since 0.1.0
 * @category models
 */
export interface Int64Tensor extends Common {
  readonly dtype: "int64"
  readonly data: Int32Array | BigInt64Array
}

/**
 * A tensor of the wire. Never copied and not to be changed after it is made.
 *
 * @since 0.1.0
 * @category models
 */
export type TensorData = Float32Tensor | Int64Tensor

/**
 * Numbers, or lists of lists of them; rectangular.
 *
 * @since 0.1.0
 * @category models
 */
export type Nested = ReadonlyArray<number> | ReadonlyArray<Nested>

/**
 * Everything that a tensor can be made from.
 *
 * @since 0.1.0
 * @category models
 */
export type TensorInput =
  | TensorData
  | Nested
  | Float32Array
  | Float64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | BigInt64Array

const part = (field: string, name: string): string => field === "" ? name : `${field}.${name}`

const product = (shape: ReadonlyArray<number>): number => {
  let n = 1
  for (const d of shape) n *= d
  return n
}

const minInt64 = -(2n ** 63n)
const maxInt64 = 2n ** 63n - 1n

/** @internal */
export const narrow = (wide: BigInt64Array): Int32Array | BigInt64Array => {
  const words = new Int32Array(wide.buffer, wide.byteOffset, wide.length * 2)
  for (let i = 0; i < words.length; i += 2) if (words[i + 1] !== words[i]! >> 31) return wide
  const out = new Int32Array(wide.length)
  for (let i = 0; i < out.length; i++) out[i] = words[2 * i]!
  return out
}

const int64FromNumbers = (values: ReadonlyArray<number | bigint>, field: string): Int32Array | BigInt64Array => {
  const out = new Int32Array(values.length)
  for (let i = 0; i < values.length; i++) {
    const value = values[i]
    if (typeof value !== "number" || (value | 0) !== value) return wideFromNumbers(values, field)
    out[i] = value
  }
  return out
}

const wideFromNumbers = (values: ReadonlyArray<number | bigint>, field: string): Int32Array | BigInt64Array => {
  const out = new BigInt64Array(values.length)
  for (let i = 0; i < values.length; i++) {
    const value: unknown = values[i]
    if (typeof value !== "bigint" && !Number.isSafeInteger(value)) {
      refuse(field, "integers", Number.isInteger(value) ? "a number beyond 2^53" : kindOf(value), i)
    }
    const wide = BigInt(value as number | bigint) // checked in the line above
    if (wide < minInt64 || wide > maxInt64) refuse(field, "integers of 64 bits", "a larger one", i)
    out[i] = wide
  }
  return narrow(out)
}

/** Results hold numbers that are not finite, so that tensors may. */
const floatFromNumbers = (values: ArrayLike<number>, field: string): Float32Array =>
  float32s(values, field, { finite: false })

const isTyped = (u: unknown): u is Exclude<TensorInput, TensorData | Nested> =>
  ArrayBuffer.isView(u) && !(u instanceof DataView)

const isTensorData = (u: TensorInput): u is TensorData => !Array.isArray(u) && !isTyped(u)

/** Flattens nested lists, checking that they are rectangular. */
const flatten = (
  nested: Nested,
  field: string
): { readonly flat: ReadonlyArray<number>; readonly shape: Array<number> } => {
  const shape: Array<number> = []
  for (let level: Nested | number = nested; Array.isArray(level); level = level[0] as Nested | number) {
    shape.push(level.length)
    if (level.length === 0) break
  }
  if (shape.length === 1) return { flat: nested as ReadonlyArray<number>, shape } // one level only: a list of numbers
  const flat: Array<number> = []
  const visit = (level: Nested | number, depth: number): void => {
    if (depth === shape.length) {
      if (Array.isArray(level)) refuse(field, "a rectangular list", "a row that is nested deeper than the others")
      flat.push(level as number) // the last level of a rectangular list
      return
    }
    if (!Array.isArray(level) || level.length !== shape[depth]) {
      return refuse(
        field,
        `a rectangular list with ${shape[depth]} elements at depth ${depth}`,
        Array.isArray(level) ? `a row of ${level.length}` : "a number"
      )
    }
    for (const item of level as ReadonlyArray<Nested | number>) visit(item, depth + 1)
  }
  visit(nested, 0)
  return { flat, shape }
}

/**
 * A tensor from a list, nested lists, a typed array or a tensor (returned as it is). Without `dtype`, typed arrays decide
 * by their kind and lists are float32. A `Float32Array`, and an `Int32Array` as int64, are kept without copying.
 * Throws `InvalidInput` (see `attempt`) for ragged lists, values that are no numbers, fractions in an int64 tensor, and a
 * `shape` whose product is not the number of elements. `field` is the name that the error shows.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (input: TensorInput, options: {
  readonly dtype?: TensorDtype | undefined
  readonly shape?: ReadonlyArray<number> | undefined
  readonly field?: string | undefined
} = {}): TensorData => {
  const field = options.field ?? "tensor"
  if (typeof input === "string") {
    return refuse(field, "numbers; encode text first, with the tokenizer of the model", "text")
  }
  if (isTensorData(input)) return validate(input, field)
  if (!isTyped(input)) {
    const { flat, shape } = flatten(input, field)
    return options.dtype === "int64"
      ? dense("int64", int64FromNumbers(flat, field), options.shape ?? shape, field)
      : dense("float32", floatFromNumbers(flat, field), options.shape ?? shape, field)
  }
  const shape = options.shape ?? [input.length]
  if (input instanceof BigInt64Array) {
    return options.dtype === "float32"
      ? dense("float32", float32s(Array.from(input, Number), field, { finite: false }), shape, field)
      : dense("int64", narrow(input), shape, field)
  }
  const floating = input instanceof Float32Array || input instanceof Float64Array
  if (!floating && !(input instanceof Int32Array || input instanceof Int16Array || input instanceof Int8Array)) {
    return refuse(field, "signed integers or floats", "an unsigned typed array")
  }
  if ((options.dtype ?? (floating ? "float32" : "int64")) === "float32") {
    return dense("float32", float32s(input, field, { finite: false }), shape, field)
  }
  if (floating) return dense("int64", int64FromNumbers(Array.from(input), field), shape, field)
  return dense("int64", input instanceof Int32Array ? input : Int32Array.from(input), shape, field)
}

const dense = (
  dtype: TensorDtype,
  data: Float32Array | Int32Array | BigInt64Array,
  shape: ReadonlyArray<number>,
  field: string
): TensorData => validate({ dtype, data, shape } as TensorData, field) // callers pass the array that belongs to dtype

/**
 * A sparse CSR matrix of `shape` `[rows, columns]`: `data` are the listed values row by row, `crow` the row pointers
 * (`rows + 1`, from 0 to the number of values, never falling), `col` the column of each value. Throws `InvalidInput`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const sparse = (input: {
  readonly dtype: TensorDtype
  readonly data: ReadonlyArray<number> | Float32Array | Int32Array | BigInt64Array
  readonly shape: ReadonlyArray<number>
  readonly crow: ArrayLike<number>
  readonly col: ArrayLike<number>
}, field = "tensor"): TensorData => {
  const values = make(input.data, { dtype: input.dtype, field })
  return validate({
    ...values,
    shape: input.shape,
    crow: int32s(input.crow, part(field, "crow")),
    col: int32s(input.col, part(field, "col"))
  }, field)
}

/**
 * The tensor itself when its parts fit together, otherwise throws `InvalidInput` naming what does not.
 *
 * @since 0.1.0
 * @category guards
 */
export const validate = (self: TensorData, field = "tensor"): TensorData => {
  const given: { readonly [K in keyof TensorData]?: unknown } | null | undefined = self
  if (!Predicate.isRecord(given)) return refuse(field, "a tensor", kindOf(given))
  if (given["dtype"] !== "float32" && given["dtype"] !== "int64") {
    return refuse(part(field, "dtype"), "float32 or int64", given["dtype"] === undefined ? "nothing" : "another type")
  }
  const { data, shape } = given
  const fits = given["dtype"] === "float32"
    ? data instanceof Float32Array
    : data instanceof Int32Array || data instanceof BigInt64Array
  if (!fits) {
    return refuse(
      part(field, "data"),
      given["dtype"] === "float32" ? "a Float32Array" : "an Int32Array or a BigInt64Array",
      ArrayBuffer.isView(data) ? "another typed array" : `${kindOf(data)}; TensorData.make takes those`
    )
  }
  if (!Array.isArray(shape)) return refuse(part(field, "shape"), "a list of dimensions", kindOf(shape))
  for (let i = 0; i < self.shape.length; i++) {
    const d = self.shape[i]!
    if (!Number.isSafeInteger(d) || d < 0) refuse(part(field, "shape"), "whole numbers from 0", "another number", i)
  }
  if (self.crow === undefined && self.col === undefined) {
    if (product(self.shape) !== self.data.length) {
      refuse(field, `${product(self.shape)} values for shape [${self.shape.join(", ")}]`, `${self.data.length}`)
    }
    return self
  }
  const { col, crow } = self
  if (crow === undefined || col === undefined) {
    return refuse(field, "both row pointers and column indices", "only one of them")
  }
  if (self.shape.length !== 2) {
    refuse(part(field, "shape"), "two dimensions for a sparse tensor", `${self.shape.length}`)
  }
  const rows = self.shape[0]!
  const columns = self.shape[1]!
  if (crow.length !== rows + 1) refuse(part(field, "crow"), `${rows + 1} row pointers`, `${crow.length}`)
  if (col.length !== self.data.length) refuse(part(field, "col"), `${self.data.length} column indices`, `${col.length}`)
  if (crow[0] !== 0) refuse(part(field, "crow"), "a first row pointer of 0", "another", 0)
  if (crow[rows] !== col.length) {
    refuse(part(field, "crow"), "a last row pointer equal to the number of values", "another", rows)
  }
  for (let r = 0; r < rows; r++) {
    if (crow[r]! > crow[r + 1]!) refuse(part(field, "crow"), "row pointers that never fall", "a smaller one", r + 1)
    for (let i = crow[r]!; i < crow[r + 1]!; i++) {
      if (col[i]! < 0 || col[i]! >= columns) {
        refuse(part(field, "col"), `a column from 0 to ${columns - 1}`, "another", i)
      }
      if (i > crow[r]! && col[i]! <= col[i - 1]!) {
        refuse(part(field, "col"), "rising columns within a row", "another order", i)
      }
    }
  }
  return self
}

/**
 * Whether only some cells are listed.
 *
 * @since 0.1.0
 * @category guards
 */
export const isSparse = (self: TensorData): boolean => self.crow !== undefined

/**
 * Number of elements of the dense tensor, the product of its shape.
 *
 * @since 0.1.0
 * @category getters
 */
export const size = (self: TensorData): number => product(self.shape)

/**
 * Bytes of the payload as the chunker counts them: 4 per float, 8 per integer, 8 per sparse index (docs/protocol/data.md#counting-bytes).
 *
 * @since 0.1.0
 * @category getters
 */
export const byteSize = (self: TensorData): number =>
  self.data.length * (self.dtype === "float32" ? 4 : 8) +
  8 * ((self.crow?.length ?? 0) + (self.col?.length ?? 0))

/**
 * The dense tensor; unlisted cells become `pad`. A dense tensor is returned as it is.
 *
 * @since 0.1.0
 * @category combinators
 */
export const toDense = (self: TensorData, pad = 0): TensorData => {
  const { col, crow } = self
  if (crow === undefined || col === undefined) return self
  const columns = self.shape[1]!
  const n = product(self.shape)
  if (self.data instanceof BigInt64Array) {
    const out = new BigInt64Array(n).fill(BigInt(pad))
    scatter(crow, columns, (i, at) => out[at + col[i]!] = (self.data as BigInt64Array)[i]!) // narrowed in the line above
    return { dtype: "int64", data: narrow(out), shape: self.shape }
  }
  const values = self.data
  const out = (self.dtype === "float32" ? new Float32Array(n) : new Int32Array(n)).fill(pad)
  scatter(crow, columns, (i, at) => out[at + col[i]!] = values[i]!)
  return { dtype: self.dtype, data: out, shape: self.shape } as TensorData // out was made for dtype
}

const scatter = (crow: Int32Array, columns: number, put: (i: number, rowStart: number) => void): void => {
  for (let r = 0; r + 1 < crow.length; r++) for (let i = crow[r]!; i < crow[r + 1]!; i++) put(i, r * columns)
}

/**
 * The sparse CSR form of a dense matrix when it is smaller, `(rows + 1) + 2 * listed < rows * columns`; cells equal to
 * `pad` are not listed. Anything else is returned as it is (docs/protocol/data.md#tensors).
 *
 * @since 0.1.0
 * @category combinators
 */
export const toSparse = (self: TensorData, pad = 0): TensorData => {
  if (self.crow !== undefined || self.shape.length !== 2 || self.data instanceof BigInt64Array) return self
  const rows = self.shape[0]!
  const columns = self.shape[1]!
  const values = self.data
  let listed = 0
  for (let i = 0; i < values.length; i++) if (values[i] !== pad) listed++
  if (rows + 1 + 2 * listed >= rows * columns) return self
  const crow = new Int32Array(rows + 1)
  const col = new Int32Array(listed)
  const data = self.dtype === "float32" ? new Float32Array(listed) : new Int32Array(listed)
  let at = 0
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const value = values[r * columns + c]!
      if (value !== pad) {
        data[at] = value
        col[at++] = c
      }
    }
    crow[r + 1] = at
  }
  return { dtype: self.dtype, data, shape: self.shape, crow, col } as TensorData // data was made for dtype
}

/**
 * All elements, dense and in order, as plain numbers. Integers beyond 2^53 lose digits here; read `data` for those.
 *
 * @since 0.1.0
 * @category getters
 */
export const toArray = (self: TensorData, pad = 0): Array<number> => {
  const { data } = toDense(self, pad)
  return data instanceof BigInt64Array ? Array.from(data, Number) : Array.from(data)
}

const numberList = (self: Float32Array | Int32Array | BigInt64Array): ReadonlyArray<number | bigint> =>
  self instanceof BigInt64Array ? Array.from(self, lossless) : Array.from(self)

const lossless = (value: bigint): number | bigint => {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

const Wire = Schema.Struct({
  data: NumberList,
  dtype: Schema.Literal("int64", "float32"),
  shape: Schema.optionalWith(IntArray, { nullable: true }),
  sparse_crow_indices: Schema.optionalWith(IntArray, { nullable: true }),
  sparse_col_indices: Schema.optionalWith(IntArray, { nullable: true })
})

/**
 * A tensor in JSON: `{data, dtype, shape?, sparse_crow_indices?, sparse_col_indices?}` (docs/protocol/data.md#tensors). Integers
 * beyond 2^53 arrive and leave as bigints, see `Json`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const TensorDataSchema: Schema.Schema<TensorData, typeof Wire.Encoded> = Schema.transformOrFail(
  Wire,
  Schema.declare((u): u is TensorData => Predicate.hasProperty(u, "dtype") && Predicate.hasProperty(u, "data"), {
    identifier: "TensorData",
    arbitrary: () => (fc) =>
      fc.oneof(
        fc.array(fc.float({ noNaN: true, noDefaultInfinity: true })).map((list) => make(list)),
        fc.array(fc.integer()).map((list) => make(list, { dtype: "int64" }))
      )
  }),
  {
    strict: true,
    decode: (wire, _, ast) => {
      try {
        const data = wire.dtype === "int64"
          ? int64FromNumbers(wire.data, "data")
          : floatFromNumbers(wire.data.map(Number), "data")
        return ParseResult.succeed(validate(
          {
            dtype: wire.dtype,
            data,
            shape: wire.shape ?? [data.length],
            ...(wire.sparse_crow_indices === undefined ? {} : { crow: int32s(wire.sparse_crow_indices, "crow") }),
            ...(wire.sparse_col_indices === undefined ? {} : { col: int32s(wire.sparse_col_indices, "col") })
          } as TensorData, // data was made for dtype
          ""
        ))
      } catch (cause) {
        if (cause instanceof InvalidInput) return ParseResult.fail(new ParseResult.Type(ast, undefined, cause.message))
        throw cause
      }
    },
    encode: (tensor) =>
      ParseResult.succeed({
        data: numberList(tensor.data),
        dtype: tensor.dtype,
        shape: tensor.shape,
        ...(tensor.crow === undefined ? {} : { sparse_crow_indices: Array.from(tensor.crow) }),
        ...(tensor.col === undefined ? {} : { sparse_col_indices: Array.from(tensor.col) })
      })
  }
)
