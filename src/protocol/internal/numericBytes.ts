/**
 * Typed arrays to and from the little-endian bytes of the wire. Every platform that JavaScript runs on is little-endian.
 *
 * @internal
 */

/** The memory of a typed array, not a copy. */
export const bytesOf = (view: ArrayBufferView): Uint8Array =>
  view instanceof Uint8Array ? view : new Uint8Array(view.buffer, view.byteOffset, view.byteLength)

/** The same memory without the subclass, as which Node hands out its buffers. */
export const plainView = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** The bytes where elements of `size` bytes can be read: the same memory when it is aligned, otherwise a copy. */
const aligned = (bytes: Uint8Array, size: number): Uint8Array =>
  bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes) // not slice: a Buffer's does not copy

/** 32-bit integers; undefined when the bytes are not whole numbers of them. */
export const int32Of = (bytes: Uint8Array): Int32Array | undefined => {
  if (bytes.length % 4 !== 0) return undefined
  const at = aligned(bytes, 4)
  return new Int32Array(at.buffer, at.byteOffset, at.length / 4)
}

/** 32-bit floats; undefined when the bytes are not whole numbers of them. */
export const float32Of = (bytes: Uint8Array): Float32Array | undefined => {
  if (bytes.length % 4 !== 0) return undefined
  const at = aligned(bytes, 4)
  return new Float32Array(at.buffer, at.byteOffset, at.length / 4)
}

/** 64-bit integers, as an `Int32Array` when all of them fit; undefined when the bytes are not whole numbers of them. */
export const int64Of = (bytes: Uint8Array): Int32Array | BigInt64Array | undefined => {
  if (bytes.length % 8 !== 0) return undefined
  const at = aligned(bytes, 4)
  const words = new Int32Array(at.buffer, at.byteOffset, at.length / 4)
  const out = new Int32Array(words.length / 2)
  for (let i = 0; i < out.length; i++) {
    const low = words[2 * i]!
    if (words[2 * i + 1] !== low >> 31) {
      const wide = aligned(bytes, 8)
      return new BigInt64Array(wide.buffer, wide.byteOffset, wide.length / 8)
    }
    out[i] = low
  }
  return out
}

/** bfloat16 words as 32-bit floats; undefined when the bytes are not whole numbers of them. */
export const bfloat16Of = (bytes: Uint8Array): Float32Array | undefined => {
  if (bytes.length % 2 !== 0) return undefined
  const at = aligned(bytes, 2)
  const words = new Uint16Array(at.buffer, at.byteOffset, at.length / 2)
  const out = new Uint32Array(words.length)
  for (let i = 0; i < words.length; i++) out[i] = words[i]! << 16
  return new Float32Array(out.buffer)
}

/** Scratch memory that one encoding reuses for numbers that have to be widened or copied out of a list. */
export class Scratch {
  private words = new Int32Array(0)

  private take(n: number): Int32Array {
    if (this.words.length < n) this.words = new Int32Array(Math.max(n, this.words.length * 2))
    return this.words
  }

  /** The integers as 64-bit bytes. Valid until the next call. */
  int64(values: Int32Array | BigInt64Array): Uint8Array {
    if (values instanceof BigInt64Array) return bytesOf(values)
    const words = this.take(values.length * 2)
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!
      words[2 * i] = value
      words[2 * i + 1] = value >> 31
    }
    return new Uint8Array(words.buffer, 0, values.length * 8)
  }

  /** The integers as 32-bit bytes, or the index of the first that does not fit. Valid until the next call. */
  int32(values: Int32Array | ReadonlyArray<number>): Uint8Array | number {
    if (values instanceof Int32Array) return bytesOf(values)
    const words = this.take(values.length)
    for (let i = 0; i < values.length; i++) {
      words[i] = values[i]!
      if (words[i] !== values[i]) return i
    }
    return new Uint8Array(words.buffer, 0, values.length * 4)
  }
}
