/**
 * The header of a GGUF file, version 2 or 3 (as ggml describes it): metadata, and where each tensor lies.
 *
 * Nothing in the file is trusted: a count is held against the bytes that are left before anything is made for it, and
 * every tensor must lie inside the file.
 */
import { type ByteReader, type ByteSource, makeByteReader } from "./byteReader.js"
import { fail, show } from "./problem.js"
import type { TensorFile } from "./tensorFile.js"
import { rowBytes, tensorTypes, typeOfGgml } from "./tensorTypes.js"

/** Metadata values; 64-bit integers that double precision does not hold exactly are kept as `bigint`. */
export type GgufValue =
  | number
  | bigint
  | boolean
  | string
  | ReadonlyArray<number | bigint>
  | ReadonlyArray<boolean>
  | ReadonlyArray<string>

export interface GgufFile extends TensorFile {
  readonly metadata: ReadonlyMap<string, GgufValue>
}

/** More than any model has; what a file asks for beyond it is refused. */
const limits = { tensors: 1 << 16, pairs: 1 << 16, elements: 1 << 22, string: 1 << 24, name: 1 << 10 }

const scalars: Readonly<
  Record<number, { readonly bytes: number; readonly get: (view: DataView, offset: number) => number | bigint }>
> = {
  0: { bytes: 1, get: (view, at) => view.getUint8(at) },
  1: { bytes: 1, get: (view, at) => view.getInt8(at) },
  2: { bytes: 2, get: (view, at) => view.getUint16(at, true) },
  3: { bytes: 2, get: (view, at) => view.getInt16(at, true) },
  4: { bytes: 4, get: (view, at) => view.getUint32(at, true) },
  5: { bytes: 4, get: (view, at) => view.getInt32(at, true) },
  6: { bytes: 4, get: (view, at) => view.getFloat32(at, true) },
  10: { bytes: 8, get: (view, at) => narrow(view.getBigUint64(at, true)) },
  11: { bytes: 8, get: (view, at) => narrow(view.getBigInt64(at, true)) },
  12: { bytes: 8, get: (view, at) => view.getFloat64(at, true) }
}
const boolType = 7
const stringType = 8
const arrayType = 9

const narrow = (value: bigint): number | bigint =>
  value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value

const utf8 = new TextDecoder()

const count = (reader: ByteReader, what: string, most: number, leastBytes: number): number => {
  const n = reader.u64(what)
  if (n > most) fail("Malformed", `${what} is ${n}, more than the ${most} that any model has`)
  if (n * leastBytes > reader.left()) {
    fail("Malformed", `${what} is ${n}, which the ${reader.left()} bytes that are left cannot hold`)
  }
  return n
}

const readString = (reader: ByteReader, what: string, most = limits.string): string =>
  utf8.decode(reader.bytes(count(reader, `the length of ${what}`, most, 1), what))

const readValue = (reader: ByteReader, type: number, what: string): GgufValue => {
  if (type === arrayType) {
    const inner = reader.u32(`the type of ${what}`)
    const scalar = scalars[inner]
    if (inner !== stringType && inner !== boolType && scalar === undefined) {
      return fail("Malformed", `${what} is a list of values of type ${inner}, which GGUF does not know or allow here`)
    }
    const bytes = inner === stringType ? 8 : scalar?.bytes ?? 1
    const length = count(reader, `the length of ${what}`, limits.elements, bytes)
    if (inner === stringType) return Array.from({ length }, () => readString(reader, `an entry of ${what}`))
    if (scalar === undefined) return Array.from({ length }, () => readBool(reader, what))
    return Array.from({ length }, () => reader.number(scalar.bytes, what, scalar.get))
  }
  if (type === stringType) return readString(reader, what)
  if (type === boolType) return readBool(reader, what)
  const scalar = scalars[type]
  return scalar === undefined
    ? fail("Malformed", `${what} has type ${type}, which GGUF does not know`)
    : reader.number(scalar.bytes, what, scalar.get)
}

const readBool = (reader: ByteReader, what: string): boolean =>
  reader.number(1, what, (view, at) => view.getUint8(at)) !== 0

/** Parses the header. */
export const readGguf = (path: string, source: ByteSource): GgufFile => {
  const reader = makeByteReader(source)
  if (utf8.decode(reader.bytes(4, "the magic number")) !== "GGUF") fail("Malformed", "it is no GGUF file")
  const version = reader.u32("the version")
  if (version !== 2 && version !== 3) {
    fail(
      "Unsupported",
      version % 65_536 === 0
        ? "it is a big-endian GGUF file: convert it to a little-endian one"
        : `it is a GGUF file of version ${version}; versions 2 and 3 are read`
    )
  }
  // A tensor takes at least its name's length, its rank, one dimension, type and offset; a pair a key's length and a byte.
  const tensorCount = count(reader, "the number of tensors", limits.tensors, 32)
  const pairCount = count(reader, "the number of metadata pairs", limits.pairs, 13)
  const metadata = new Map<string, GgufValue>()
  for (let i = 0; i < pairCount; i++) {
    const key = readString(reader, "a metadata key", limits.name)
    if (metadata.has(key)) fail("Malformed", `the metadata key ${show(key)} comes twice`)
    metadata.set(key, readValue(reader, reader.u32(`the type of ${show(key)}`), show(key)))
  }
  const infos = Array.from({ length: tensorCount }, () => readTensorInfo(reader))
  const alignment = metadata.get("general.alignment") ?? 32
  if (typeof alignment !== "number" || alignment < 1 || alignment > 1 << 20 || (alignment & (alignment - 1)) !== 0) {
    return fail("Malformed", "general.alignment is not a power of two")
  }
  const start = Math.ceil(reader.position() / alignment) * alignment
  const tensors = new Map<string, TensorFile["tensors"] extends ReadonlyMap<string, infer A> ? A : never>()
  for (const { ggml, name, offset, shape } of infos) {
    if (tensors.has(name)) fail("Malformed", `the tensor ${show(name)} comes twice`)
    const type = typeOfGgml(ggml)
    if (type === undefined) {
      return fail(
        "Unsupported",
        `the tensor ${show(name)} has ggml type ${ggml}; read are ${Object.keys(tensorTypes).join(", ")}`
      )
    }
    const row = rowBytes(type, shape.at(-1)!)
    if (row === undefined) return fail("Malformed", `the rows of ${show(name)} are no whole blocks of ${type}`)
    const bytes = shape.slice(0, -1).reduce((a, b) => a * b, row)
    if (offset % alignment !== 0) {
      fail("Malformed", `the tensor ${show(name)} does not begin at a multiple of ${alignment}`)
    }
    if (!(bytes <= source.size) || start + offset + bytes > source.size) {
      fail("Malformed", `the tensor ${show(name)} of ${bytes} bytes ends beyond the file of ${source.size} bytes`)
    }
    tensors.set(name, { path, type, shape, offset: start + offset, bytes })
  }
  return { metadata, tensors }
}

const readTensorInfo = (reader: ByteReader) => {
  const name = readString(reader, "a tensor's name", limits.name)
  const rank = reader.u32(`the rank of ${show(name)}`)
  if (rank < 1 || rank > 4) fail("Malformed", `the tensor ${show(name)} has ${rank} dimensions, not 1 to 4`)
  // The file has the fastest dimension first.
  const shape = Array.from({ length: rank }, () => reader.u64(`a dimension of ${show(name)}`)).reverse()
  const numbers = shape.reduce((a, b) => a * b, 1)
  if (shape.some((n) => n < 1) || numbers > Number.MAX_SAFE_INTEGER) {
    fail("Malformed", `the tensor ${show(name)} has shape [${shape.join(", ")}]`)
  }
  const ggml = reader.u32(`the type of ${show(name)}`)
  return { name, shape, ggml, offset: reader.u64(`the offset of ${show(name)}`) }
}
