/**
 * The pre-trained weights of `tinkex/nano`, which ship with the package as text.
 *
 * Each row of a matrix (and each norm as one row) is held as signed bytes and one float32 scale, the row's largest
 * absolute value divided by 127. The text is base64 of: all scales, little-endian, then all bytes, in the order of
 * `weightLayout`. A CRC-32 of these bytes guards it.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { EngineError } from "../Engine.js"
import { nano } from "./modelConfig.js"
import * as Shipped from "./nanoWeights.generated.js"
import { type WeightLayout, weightLayout } from "./weights.js"

/** CRC-32 as in zlib and PNG. */
export const crc32 = (bytes: Uint8Array): number => {
  let crc = -1
  for (let i = 0; i < bytes.length; i++) {
    crc ^= bytes[i]!
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1))
  }
  return ~crc >>> 0
}

/** Start and length, in floats, of each row in the order of the flat array. */
const rowsOf = (layout: WeightLayout): ReadonlyArray<readonly [offset: number, length: number]> =>
  layout.tensors.flatMap(({ length, offset, shape }) => {
    const rows = shape.length === 1 ? 1 : shape[0]!
    const width = length / rows
    return Array.from({ length: rows }, (_, row) => [offset + row * width, width] as const)
  })

/** Weights as they ship, from flat float32 ones. */
export const encodeNanoWeights = (flat: Float32Array): { readonly base64: string; readonly crc32: number } => {
  const layout = weightLayout(nano)
  const rows = rowsOf(layout)
  const bytes = new Uint8Array(4 * rows.length + layout.total)
  const view = new DataView(bytes.buffer)
  let at = 4 * rows.length
  rows.forEach(([offset, length], row) => {
    let largest = 0
    for (let i = 0; i < length; i++) largest = Math.max(largest, Math.abs(flat[offset + i]!))
    const scale = Math.fround(largest / 127)
    view.setFloat32(4 * row, scale, true)
    for (let i = 0; i < length; i++) view.setInt8(at++, scale === 0 ? 0 : Math.round(flat[offset + i]! / scale))
  })
  let binary = ""
  for (let i = 0; i < bytes.length; i += 0x8000) binary += String.fromCharCode(...bytes.subarray(i, i + 0x8000))
  return { base64: btoa(binary), crc32: crc32(bytes) }
}

/** The inverse, up to the rounding of the bytes. Fails when the text is not what its checksum says. */
export const decodeNanoWeights = (shipped: {
  readonly base64: string
  readonly crc32: number
}): Either.Either<Float32Array, EngineError> => {
  const corrupt = (what: string) =>
    Either.left(
      new EngineError({
        reason: "Crashed",
        detail: `the weights of tinkex/nano that ship with the package are damaged (${what}): install tinkex again`
      })
    )
  const layout = weightLayout(nano)
  const rows = rowsOf(layout)
  let binary: string
  try {
    binary = atob(shipped.base64)
  } catch {
    return corrupt("they are not base64")
  }
  if (binary.length !== 4 * rows.length + layout.total) {
    return corrupt(`${binary.length} bytes instead of ${4 * rows.length + layout.total}`)
  }
  const bytes = new Uint8Array(binary.length)
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i)
  const sum = crc32(bytes)
  if (sum !== shipped.crc32) return corrupt(`their checksum is ${sum}, not ${shipped.crc32}`)
  const view = new DataView(bytes.buffer)
  const flat = new Float32Array(layout.total)
  let at = 4 * rows.length
  rows.forEach(([offset, length], row) => {
    const scale = view.getFloat32(4 * row, true)
    for (let i = 0; i < length; i++) flat[offset + i] = view.getInt8(at++) * scale
  })
  return Either.right(flat)
}

/** The weights in one flat array, in the order of `weightLayout(nano)`. */
export const loadNanoWeights = (): Either.Either<Float32Array, EngineError> => decodeNanoWeights(Shipped)
