/**
 * The safetensors file format: named tensors of 32-bit floats, as PEFT and the Hugging Face libraries read them.
 *
 * A file is the length of its header as a 64-bit little-endian integer, the header as JSON (name, dtype, shape and byte
 * range of each tensor), and the bytes of the tensors without gaps.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import type { NamedTensor } from "../../engine/Engine.js"

/**
 * Bytes that are not a safetensors file of 32-bit floats.
 *
 * @since 0.1.0
 * @category errors
 */
export class MalformedFile extends Data.TaggedError("MalformedFile")<{ readonly detail: string }> {
  override get message() {
    return `not a readable safetensors file: ${this.detail}`
  }
}

/**
 * What a file holds: tensors in file order, and text that was kept with them.
 *
 * @since 0.1.0
 * @category models
 */
export interface Contents {
  readonly tensors: ReadonlyArray<NamedTensor>
  readonly metadata: Readonly<Record<string, string>>
}

const product = (shape: ReadonlyArray<number>): number => shape.reduce((n, d) => n * d, 1)

/**
 * The bytes of a file. Names must be different from one another and from `__metadata__`.
 *
 * @since 0.1.0
 * @category encoding
 */
export const encode = (
  tensors: ReadonlyArray<NamedTensor>,
  metadata: Readonly<Record<string, string>> = {}
): Uint8Array => {
  const header: Record<string, unknown> = { __metadata__: { format: "pt", ...metadata } }
  let offset = 0
  for (const { data, name, shape } of tensors) {
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + data.byteLength] }
    offset += data.byteLength
  }
  const json = new TextEncoder().encode(JSON.stringify(header))
  // readers that map the file want the numbers aligned; the format allows trailing spaces in the header for that
  const headerLength = Math.ceil((8 + json.length) / 8) * 8 - 8
  const out = new Uint8Array(8 + headerLength + offset)
  new DataView(out.buffer).setBigUint64(0, BigInt(headerLength), true)
  out.set(json, 8)
  out.fill(0x20, 8 + json.length, 8 + headerLength)
  let at = 8 + headerLength
  for (const { data } of tensors) {
    out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at)
    at += data.byteLength
  }
  return out
}

interface HeaderEntry {
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly data_offsets: readonly [number, number]
}

const isHeaderEntry = (u: unknown): u is HeaderEntry => {
  if (typeof u !== "object" || u === null) return false
  const { data_offsets: offsets, shape } = u as Partial<HeaderEntry> // every field is checked in the next line
  return Array.isArray(shape) && shape.every((d) => Number.isSafeInteger(d) && d >= 0) &&
    Array.isArray(offsets) && offsets.length === 2 && offsets.every(Number.isSafeInteger)
}

/**
 * The contents of a file. The tensors are copies: the bytes can be dropped.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decode = (bytes: Uint8Array): Either.Either<Contents, MalformedFile> => {
  const fail = (detail: string) => Either.left(new MalformedFile({ detail }))
  if (bytes.length < 8) return fail(`${bytes.length} bytes, shorter than a header`)
  const headerLength = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true))
  const start = 8 + headerLength
  if (start > bytes.length) return fail("the header ends after the file")
  let header: unknown
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, start)))
  } catch {
    return fail("the header is not JSON")
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) return fail("the header is not an object")
  const tensors: Array<NamedTensor> = []
  let metadata: Record<string, string> = {}
  let total = 0
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") {
      metadata = Object.fromEntries(Object.entries(entry ?? {}).map(([key, value]) => [key, String(value)]))
      continue
    }
    if (!isHeaderEntry(entry)) return fail(`the entry of tensor ${tensors.length} is malformed`)
    if (entry.dtype !== "F32") return fail(`${name} has dtype ${entry.dtype}; only F32 is read`)
    const [from, to] = entry.data_offsets
    if (from < 0 || to < from || start + to > bytes.length) return fail(`${name} lies outside the file`)
    if (to - from !== 4 * product(entry.shape)) return fail(`${name} has another size than its shape says`)
    const data = new Float32Array(product(entry.shape))
    new Uint8Array(data.buffer).set(bytes.subarray(start + from, start + to))
    tensors.push({ name, shape: entry.shape, data })
    total += to - from
  }
  if (start + total !== bytes.length) return fail("the tensors do not fill the file")
  return Either.right({ tensors, metadata })
}
