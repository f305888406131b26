/**
 * The headers of a zstd frame (RFC 8878, section 3.1.1), read without inflating anything.
 *
 * @internal
 */

/** @internal */
export interface Frame {
  /** What the header says the content is, in bytes, if it says. */
  readonly contentSize: number | undefined
  /** More than this the blocks cannot hold. */
  readonly mostBytes: number
}

const largestBlock = 128 * 1024

/**
 * The frame that `bytes` are, exactly; or what is wrong with them.
 *
 * @internal
 */
export const inspectFrame = (bytes: Uint8Array): Frame | string => {
  if (bytes.length < 6) return "the body is too short for a frame"
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== 0xfd2fb528) return "the body does not start a frame"
  const descriptor = bytes[4]!
  const single = (descriptor & 0x20) !== 0
  if ((descriptor & 0x08) !== 0) return "the frame's header is of a newer kind"
  if ((descriptor & 0x03) !== 0) return "the frame needs a dictionary"
  const sizeFlag = descriptor >> 6
  const sizeBytes = sizeFlag === 0 ? (single ? 1 : 0) : 1 << sizeFlag
  let at = 5 + (single ? 0 : 1) + sizeBytes
  if (at > bytes.length) return "the body ends inside the frame's header"
  const contentSize = sizeBytes === 0 ? undefined : sizeAt(view, at - sizeBytes, sizeBytes)
  const window = single ? contentSize! : windowOf(bytes[5]!) // a single segment always has its size
  const mostInBlock = Math.min(window, largestBlock)
  let mostBytes = 0
  for (let last = false; !last;) {
    if (at + 3 > bytes.length) return "the body ends inside the frame"
    const header = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16)
    const type = (header >> 1) & 3
    const size = header >> 3
    last = (header & 1) !== 0
    if (type === 3) return "the frame has a block of an unknown kind"
    // a run of one byte is as long as it says, whatever its block takes here
    mostBytes += type === 2 ? mostInBlock : size
    at += 3 + (type === 1 ? 1 : size)
  }
  if ((descriptor & 0x04) !== 0) at += 4
  if (at !== bytes.length) {
    return at > bytes.length
      ? "the body ends inside the frame"
      : "there is more behind the frame"
  }
  return contentSize !== undefined && contentSize > mostBytes
    ? "the frame says that it is larger than its blocks can be"
    : { contentSize, mostBytes }
}

const sizeAt = (view: DataView, at: number, bytes: number): number =>
  bytes === 1
    ? view.getUint8(at)
    : bytes === 2
    ? view.getUint16(at, true) + 256
    : bytes === 4
    ? view.getUint32(at, true)
    : view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32

const windowOf = (descriptor: number): number => {
  const base = 2 ** (10 + (descriptor >> 3))
  return base + (base / 8) * (descriptor & 7)
}
