/**
 * Reads a file from front to back in windows, with every length held against what is left of the file.
 */
import { fail } from "./problem.js"

/** Bytes that can be read anywhere. `read` gives exactly `length` bytes; the range is inside the file. */
export interface ByteSource {
  readonly size: number
  readonly read: (offset: number, length: number) => Uint8Array
}

/** Values are little-endian; `what` names one in the message of a failure. */
export interface ByteReader {
  readonly position: () => number
  /** Bytes behind the position. */
  readonly left: () => number
  readonly bytes: (length: number, what: string) => Uint8Array
  /** A number of `length` bytes, as `get` takes it out of the view. */
  readonly number: <A extends number | bigint>(
    length: number,
    what: string,
    get: (view: DataView, offset: number) => A
  ) => A
  readonly u32: (what: string) => number
  /** A 64-bit count; one that double precision does not hold exactly fails. */
  readonly u64: (what: string) => number
}

const windowBytes = 1 << 20

export const makeByteReader = (source: ByteSource): ByteReader => {
  let window: Uint8Array = new Uint8Array(0)
  let view = new DataView(window.buffer)
  let start = 0
  let at = 0
  const left = (): number => source.size - start - at

  /** The offset in the window of the next `length` bytes, which are then before the position. */
  const advance = (length: number, what: string): number => {
    if (length > left()) fail("Malformed", `${what} at byte ${start + at} ends beyond the file of ${source.size} bytes`)
    if (at + length > window.length) {
      start += at
      at = 0
      window = source.read(start, Math.min(source.size - start, Math.max(windowBytes, length)))
      view = new DataView(window.buffer, window.byteOffset, window.byteLength)
    }
    const offset = at
    at += length
    return offset
  }

  const number: ByteReader["number"] = (length, what, get) => {
    const offset = advance(length, what)
    return get(view, offset)
  }

  return {
    position: () => start + at,
    left,
    bytes: (length, what) => {
      const offset = advance(length, what)
      return window.subarray(offset, offset + length)
    },
    number,
    u32: (what) => number(4, what, (view, offset) => view.getUint32(offset, true)),
    u64: (what) => {
      const value = number(8, what, (view, offset) => view.getBigUint64(offset, true))
      return value <= BigInt(Number.MAX_SAFE_INTEGER)
        ? Number(value)
        : fail("Malformed", `${what} is ${value}, more than any file can hold`)
    }
  }
}
