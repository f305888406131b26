/**
 * The header of a safetensors file: eight bytes of length, then JSON that says where each tensor lies.
 */
import * as Predicate from "effect/Predicate"
import type { ByteSource } from "./byteReader.js"
import { makeByteReader } from "./byteReader.js"
import { parseObject } from "./json.js"
import { fail, show } from "./problem.js"
import type { StoredTensor, TensorFile } from "./tensorFile.js"
import { tensorTypes, typeNamed } from "./tensorTypes.js"

/** As the format's own library allows. */
const maxHeader = 100_000_000

const isCount = (u: unknown): u is number => Number.isSafeInteger(u) && (u as number) >= 0

const readTensor = (path: string, name: string, entry: unknown, data: number, size: number): StoredTensor => {
  const broken = (): never => fail("Malformed", `the header's entry of ${show(name)} is broken`)
  if (!Predicate.isReadonlyRecord(entry)) return broken()
  const { data_offsets: offsets, dtype, shape } = entry
  if (!Predicate.isString(dtype) || !Array.isArray(shape) || !shape.every(isCount)) return broken()
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) return broken()
  const [begin, end] = offsets as [number, number]
  const type = typeNamed(dtype)
  if (type === undefined || tensorTypes[type].block !== 1) {
    return fail("Unsupported", `the tensor ${show(name)} has type ${show(dtype)}; F32, F16 and BF16 are read`)
  }
  const bytes = shape.reduce((a: number, b: number) => a * b, tensorTypes[type].bytes)
  if (!Number.isSafeInteger(bytes) || bytes === 0 || shape.length === 0 || end - begin !== bytes) {
    fail("Malformed", `the tensor ${show(name)} of shape [${shape.join(", ")}] has ${end - begin} bytes`)
  }
  if (data + end > size) {
    fail("Malformed", `the tensor ${show(name)} ends at byte ${data + end}, beyond the file of ${size} bytes`)
  }
  return { path, type, shape: shape as ReadonlyArray<number>, offset: data + begin, bytes }
}

/** Parses the header. Tensors of types that the engine does not read are refused when `wanted` says that they are. */
export const readSafetensors = (
  path: string,
  source: ByteSource,
  wanted: (name: string) => boolean
): TensorFile => {
  const reader = makeByteReader(source)
  const length = reader.u64("the length of the header")
  if (length > maxHeader || length > reader.left()) {
    fail("Malformed", `its header is said to be ${length} bytes long, of a file of ${source.size}`)
  }
  const header = parseObject(new TextDecoder().decode(reader.bytes(length, "the header")), "its header")
  const tensors = new Map<string, StoredTensor>()
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__" || !wanted(name)) continue
    tensors.set(name, readTensor(path, name, entry, 8 + length, source.size))
  }
  return { tensors }
}
