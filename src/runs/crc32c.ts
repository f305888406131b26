/** CRC-32C (Castagnoli, RFC 3720 appendix B.4), as TFRecord files and the journal use it. */

const table = /* @__PURE__ */ (() => {
  const table = new Uint32Array(256)
  for (let n = 0; n < 256; n++) {
    let c = n
    for (let k = 0; k < 8; k++) c = (c & 1) !== 0 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1
    table[n] = c
  }
  return table
})()

/** The checksum of bytes, as an unsigned 32-bit number. */
export const crc32c = (bytes: Uint8Array, from = 0, to = bytes.length): number => {
  let c = 0xffffffff
  for (let i = from; i < to; i++) c = table[(c ^ bytes[i]!) & 0xff]! ^ (c >>> 8)
  return (c ^ 0xffffffff) >>> 0
}

/** Eight hexadecimal digits. */
export const hex = (crc: number): string => crc.toString(16).padStart(8, "0")
