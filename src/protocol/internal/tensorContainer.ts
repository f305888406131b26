/**
 * The header of a serialised DMel tensor (docs/protocol/data.md#what-a-model-reads).
 *
 * @internal
 */
import { InvalidInput } from "../InvalidInput.js"

const fail = (expected: string, actual: string): never => {
  throw new InvalidInput({ field: "dmel", expected, actual })
}

/**
 * One dimension of the tensor in `bytes`: an optional marker byte 254, one dtype byte 0..7, a varint number of
 * dimensions, the dimensions as varints.
 *
 * @internal
 */
export const containerDimension = (bytes: Uint8Array, axis: number): number => {
  let at = bytes[0] === 254 ? 1 : 0
  const dtype = bytes[at++]
  if (dtype === undefined || dtype > 7) return fail("a tensor header", "no dtype byte of 0 to 7")
  const varint = (): number => {
    let value = 0
    for (let shift = 0; shift <= 63; shift += 7) {
      const byte = bytes[at++]
      if (byte === undefined) return fail("a whole tensor header", `${bytes.length} bytes that end inside it`)
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    return fail("varints of at most 64 bits", "a longer one")
  }
  const rank = varint()
  if (axis >= rank) return fail(`a tensor of more than ${axis} dimensions`, `${rank} dimensions`)
  let size = 0
  for (let i = 0; i <= axis; i++) size = varint()
  return size
}
