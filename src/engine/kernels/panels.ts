/**
 * Weights that are stored once and shared: matrices in panels of 8 rows, in one of three forms, unpacked while they are
 * multiplied. `assembly/panels.ts` says how the bytes lie.
 *
 * @since 0.2.0
 */
import type { Kernels } from "./kernels.js"
import type { Matrix } from "./views.js"

/**
 * `f32` as they are; `f16` in half precision; `q8` in blocks of 32 numbers `scale * q + minimum` with an 8-bit `q`, into
 * which the blocks of quantised files pass without loss.
 */
export type Form = "f32" | "f16" | "q8"

const codes: Readonly<Record<Form, number>> = { f32: 0, f16: 1, q8: 2 }

/** Numbers of a row that share a scale in the form `q8`. */
export const blockLength = 32

const blockBytes = 320

/** A stored matrix `[output][input]`. */
export interface Panels {
  readonly at: number
  readonly output: number
  readonly input: number
  readonly form: Form
}

const panelBytes = (form: Form, input: number): number =>
  form === "f32" ? input * 32 : form === "f16" ? input * 16 : Math.ceil(input / blockLength) * blockBytes

/** Bytes of a stored matrix: whole panels. */
export const panelsBytes = ({ form, input, output }: Omit<Panels, "at">): number =>
  Math.ceil(output / 8) * panelBytes(form, input)

/** `y = alpha x W^T`, added to `y` with `accumulate`. */
export const multiplyPanels = (
  kernels: Kernels,
  y: Matrix, // [rows][output]
  x: Matrix, // [rows][input]
  { at, form, input, output }: Panels,
  alpha = 1,
  accumulate = false
): void =>
  kernels.gemmPanels(
    x.rows,
    output,
    input,
    x.at,
    x.rowStride,
    at,
    codes[form],
    y.at,
    y.rowStride,
    alpha,
    accumulate ? 1 : 0
  )

/** `dx = dy W`. */
export const multiplyPanelsTransposed = (
  kernels: Kernels,
  dx: Matrix, // [rows][input]
  dy: Matrix, // [rows][output]
  { at, form, input, output }: Panels
): void =>
  kernels.gemmPanelsTransposed(
    dy.rows,
    output,
    input,
    dy.at,
    dy.rowStride,
    at,
    codes[form],
    dx.at,
    dx.rowStride,
    0
  )

/** Rows of a stored table, one for each token. */
export const embedPanels = (
  kernels: Kernels,
  out: Matrix, // [rows][input]
  tokens: number, // [rows] integers
  { at, form, input }: Panels
): void => kernels.embedPanels(out.rows, input, tokens, at, codes[form], out.at)

const words = new Float32Array(1)
const bits = new Uint32Array(words.buffer)

/** Single precision to half, to the nearest, ties to even. Beyond half precision's range it becomes infinite. */
export const toHalf = (x: number): number => {
  words[0] = x
  const sign = bits[0]! >>> 16 & 0x8000
  const magnitude = bits[0]! & 0x7fffffff
  if (magnitude >= 0x47800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00)
  if (magnitude < 0x38800000) {
    // Subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
    words[0] = Math.abs(x) + 0.5
    return sign | bits[0]! - 0x3f000000
  }
  return sign | magnitude + 0xfff + (magnitude >>> 13 & 1) - 0x38000000 >>> 13
}

/** A row as 8-bit blocks: `q` of each number, scale and minimum of each block. */
export interface Blocks {
  readonly q: Int8Array
  readonly scale: Float32Array
  readonly min: Float32Array
}

/** The nearest blocks to a row of floats: the range of each block in 255 steps. */
export const toBlocks = (row: Float32Array): Blocks => {
  const blocks = Math.ceil(row.length / blockLength)
  const q = new Int8Array(blocks * blockLength)
  const scale = new Float32Array(blocks)
  const min = new Float32Array(blocks)
  for (let b = 0; b < blocks; b++) {
    const end = Math.min(row.length, (b + 1) * blockLength)
    let low = Infinity
    let high = -Infinity
    for (let i = b * blockLength; i < end; i++) {
      low = Math.min(low, row[i]!)
      high = Math.max(high, row[i]!)
    }
    scale[b] = (high - low) / 255
    min[b] = low + 128 * scale[b]!
    if (scale[b] === 0) continue
    for (let i = b * blockLength; i < end; i++) {
      q[i] = Math.max(-128, Math.min(127, Math.round((row[i]! - min[b]!) / scale[b]!)))
    }
  }
  return { q, scale, min }
}

/** Writes row number `row` of a stored matrix of form `f32` or `f16`. */
export const storeFloats = (kernels: Kernels, to: Panels, row: number, values: Float32Array): void => {
  const { form, input } = to
  const panel = to.at + Math.floor(row / 8) * panelBytes(form, input)
  if (form === "f32") {
    const out = kernels.floats(panel, input * 8)
    for (let i = 0, at = row % 8; i < input; i++, at += 8) out[at] = values[i]!
  } else {
    const out = new Uint16Array(kernels.memory.buffer, panel, input * 8)
    for (let i = 0, at = row % 8; i < input; i++, at += 8) out[at] = toHalf(values[i]!)
  }
}

/** Writes row number `row` of a stored matrix of form `q8`. */
export const storeBlocks = (kernels: Kernels, to: Panels, row: number, { min, q, scale }: Blocks): void => {
  const { input } = to
  const panel = to.at + Math.floor(row / 8) * panelBytes("q8", input)
  const lane = row % 8
  const blocks = Math.ceil(input / blockLength)
  const floats = kernels.floats(panel, blocks * blockBytes / 4)
  const bytes = new Int8Array(kernels.memory.buffer, panel, blocks * blockBytes)
  for (let b = 0; b < blocks; b++) {
    floats[b * 80 + lane] = scale[b]!
    floats[b * 80 + 8 + lane] = min[b]!
    const end = Math.min(input, (b + 1) * blockLength)
    for (let i = b * blockLength, at = b * blockBytes + 64 + lane; i < end; i++, at += 8) bytes[at] = q[i]!
  }
}
