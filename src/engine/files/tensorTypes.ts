/**
 * The forms in which files hold numbers, and how they become float32 or 8-bit blocks.
 *
 * The quantised ones are those of ggml (ggml-quants.c): blocks of 32 numbers, or of 256 with 8 or 16 groups, each group
 * with a scale and perhaps a minimum. A number is always `scale * q + minimum` with a small whole `q`, rounded after the
 * product and after the sum, so a group of 32 passes into the engine's own 8-bit blocks without loss.
 */

/** A form of numbers in a file. */
export type TensorType = keyof typeof tensorTypes

/** Writes `count` numbers from the bytes at `at`. */
type Floats = (view: DataView, at: number, count: number, out: Float32Array) => void

/**
 * Takes `count` numbers apart: `q` of each, and scale and minimum of each group of `group`.
 */
type Groups = (view: DataView, at: number, count: number, q: Int8Array, scale: Float32Array, min: Float32Array) => void

export interface TypeDefinition {
  /** Its number in a GGUF file. */
  readonly ggml: number
  /** Numbers in a block, and the block's bytes. */
  readonly block: number
  readonly bytes: number
  readonly decode:
    | { readonly _tag: "Floats"; readonly floats: Floats }
    | { readonly _tag: "Groups"; readonly group: 16 | 32; readonly groups: Groups }
}

const words = new Float32Array(1)
const bits = new Uint32Array(words.buffer)

/** Half precision to single, exactly. */
export const fromHalf = (half: number): number => {
  const exponent = (half >> 10) & 31
  const fraction = half & 1023
  const sign = half & 0x8000 ? -1 : 1
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

const half = (view: DataView, at: number): number => fromHalf(view.getUint16(at, true))

const plain = (ggml: number, bytes: number, read: (view: DataView, at: number) => number): TypeDefinition => ({
  ggml,
  block: 1,
  bytes,
  decode: {
    _tag: "Floats",
    floats: (view, at, count, out) => {
      for (let i = 0; i < count; i++) out[i] = read(view, at + i * bytes)
    }
  }
})

/** Blocks of 32 with one scale: `body` unpacks the block at `at` into `q` from `to` on; scale and minimum are its own. */
const blocks = (
  ggml: number,
  bytes: number,
  body: (view: DataView, at: number, q: Int8Array, to: number) => void,
  minimumAt = -1
): TypeDefinition => ({
  ggml,
  block: 32,
  bytes,
  decode: {
    _tag: "Groups",
    group: 32,
    groups: (view, at, count, q, scale, min) => {
      for (let b = 0; b * 32 < count; b++, at += bytes) {
        scale[b] = half(view, at)
        min[b] = minimumAt < 0 ? 0 : half(view, at + minimumAt)
        body(view, at, q, b * 32)
      }
    }
  }
})

/** 16 bytes of low and high halves: number i is the low half of byte i, number 16 + i the high half. */
const nibbles = (start: number, fifthBits: number, offset: number) =>
(
  view: DataView,
  at: number,
  q: Int8Array,
  to: number
): void => {
  const high = fifthBits < 0 ? 0 : view.getUint32(at + fifthBits, true)
  for (let i = 0; i < 16; i++) {
    const byte = view.getUint8(at + start + i)
    q[to + i] = ((byte & 15) | ((high >>> i) & 1) << 4) - offset
    q[to + 16 + i] = ((byte >> 4) | ((high >>> (i + 16)) & 1) << 4) - offset
  }
}

/** Scale `i` and minimum `i` of the 8 groups of a k-quant, six bits each, packed into 12 bytes at `at`. */
const sixBits = (view: DataView, at: number, i: number): readonly [scale: number, minimum: number] => {
  const low = view.getUint8(at + i % 4)
  const middle = view.getUint8(at + 4 + i % 4)
  if (i < 4) return [low & 63, middle & 63]
  const last = view.getUint8(at + 4 + i)
  return [(last & 15) | (low >> 6) << 4, (last >> 4) | (middle >> 6) << 4]
}

/** Q4_K and Q5_K: 256 numbers in 8 groups; `fifth` is where Q5_K keeps the fifth bits. */
const kQuant = (ggml: number, bytes: number, start: number, fifth: number): TypeDefinition => ({
  ggml,
  block: 256,
  bytes,
  decode: {
    _tag: "Groups",
    group: 32,
    groups: (view, at, count, q, scale, min) => {
      for (let b = 0; b * 256 < count; b++, at += bytes) {
        const d = half(view, at)
        const dMin = half(view, at + 2)
        for (let g = 0; g < 8; g++) {
          const [s, m] = sixBits(view, at + 4, g)
          scale[b * 8 + g] = d * s
          min[b * 8 + g] = -(dMin * m)
          const from = at + start + (g >> 1) * 32
          const to = b * 256 + g * 32
          const shift = (g & 1) * 4
          for (let i = 0; i < 32; i++) {
            const low = view.getUint8(from + i) >> shift & 15
            q[to + i] = fifth < 0 ? low : low | (view.getUint8(at + fifth + i) >> g & 1) << 4
          }
        }
      }
    }
  }
})

/** Q6_K: 256 numbers in 16 groups: 128 bytes of low halves, 64 of high pairs, 16 signed scales, one scale for all. */
const q6k: TypeDefinition = {
  ggml: 14,
  block: 256,
  bytes: 210,
  decode: {
    _tag: "Groups",
    group: 16,
    groups: (view, at, count, q, scale, min) => {
      for (let b = 0; b * 256 < count; b++, at += 210) {
        const d = half(view, at + 208)
        for (let g = 0; g < 16; g++) {
          scale[b * 16 + g] = d * view.getInt8(at + 192 + g)
          min[b * 16 + g] = 0
        }
        for (let i = 0; i < 256; i++) {
          // Each half of 128 has four runs of 32: the low halves of 64 bytes, then their high halves.
          const part = i >> 7
          const run = (i >> 5) & 3
          const low = view.getUint8(at + part * 64 + (run & 1) * 32 + (i & 31)) >> (run >> 1) * 4 & 15
          const high = view.getUint8(at + 128 + part * 32 + (i & 31)) >> run * 2 & 3
          q[b * 256 + i] = (low | high << 4) - 32
        }
      }
    }
  }
}

/** All forms that the engine reads. */
export const tensorTypes = {
  F32: plain(0, 4, (view, at) => view.getFloat32(at, true)),
  F16: plain(1, 2, half),
  BF16: plain(30, 2, (view, at) => {
    bits[0] = view.getUint16(at, true) << 16
    return words[0]!
  }),
  Q8_0: blocks(8, 34, (view, at, q, to) => {
    for (let i = 0; i < 32; i++) q[to + i] = view.getInt8(at + 2 + i)
  }),
  Q4_0: blocks(2, 18, nibbles(2, -1, 8)),
  Q4_1: blocks(3, 20, nibbles(4, -1, 0), 2),
  Q5_0: blocks(6, 22, nibbles(6, 2, 16)),
  Q5_1: blocks(7, 24, nibbles(8, 4, 0), 2),
  Q4_K: kQuant(12, 144, 16, -1),
  Q5_K: kQuant(13, 176, 48, 16),
  Q6_K: q6k
} satisfies Record<string, TypeDefinition>

const isType = (name: string): name is TensorType => Object.hasOwn(tensorTypes, name)

/** The type of that name, if the engine reads it. */
export const typeNamed = (name: string): TensorType | undefined => isType(name) ? name : undefined

const byGgml = new Map(Object.keys(tensorTypes).filter(isType).map((name) => [tensorTypes[name].ggml, name]))

/** The type of that number in a GGUF file, if the engine reads it. */
export const typeOfGgml = (ggml: number): TensorType | undefined => byGgml.get(ggml)

/** Bytes of a row of `count` numbers, or undefined when they are no whole blocks. */
export const rowBytes = (type: TensorType, count: number): number | undefined => {
  const { block, bytes } = tensorTypes[type]
  return count % block === 0 ? count / block * bytes : undefined
}

/** Writes the `count` numbers of a row at `at` as float32. */
export const decodeFloats = (
  type: TensorType,
  view: DataView,
  at: number,
  count: number,
  out: Float32Array
): void => {
  const { decode }: TypeDefinition = tensorTypes[type]
  if (decode._tag === "Floats") return decode.floats(view, at, count, out)
  const { group, groups } = decode
  const q = new Int8Array(count)
  const scale = new Float32Array(count / group)
  const min = new Float32Array(count / group)
  groups(view, at, count, q, scale, min)
  for (let i = 0; i < count; i++) {
    const g = Math.floor(i / group)
    out[i] = Math.fround(scale[g]! * q[i]!) + min[g]!
  }
}
