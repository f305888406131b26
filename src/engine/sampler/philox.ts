/**
 * Philox4x32-10: a counter-based generator. The same key and counter give the same bits whatever was drawn before, so a
 * sample's randomness depends on nothing but its own name.
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011), section 3.3. The kernels
 * draw initial weights from the same generator.
 */

/** Upper 32 bits of the product of two unsigned 32-bit numbers. */
const high = (a: number, b: number): number => {
  const a0 = a & 0xffff
  const a1 = a >>> 16
  const b0 = b & 0xffff
  const b1 = b >>> 16
  const middle = Math.imul(a1, b0) + ((Math.imul(a0, b0) >>> 0) >>> 16)
  const low = (middle >>> 0) % 65536 + (Math.imul(a0, b1) >>> 0)
  return (Math.imul(a1, b1) + ((middle >>> 0) >>> 16) + Math.floor(low / 65536)) >>> 0
}

/** Encrypts the counter `(c0, c1, c2, c3)` under the key `(k0, k1)`: four words into `out`. */
export const philox = (
  k0: number,
  k1: number,
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  out: Uint32Array
): void => {
  for (let round = 0; round < 10; round++) {
    const x0 = high(0xcd9e8d57, c2 >>> 0) ^ c1 ^ k0
    const x2 = high(0xd2511f53, c0 >>> 0) ^ c3 ^ k1
    c1 = Math.imul(0xcd9e8d57, c2)
    c3 = Math.imul(0xd2511f53, c0)
    c0 = x0
    c2 = x2
    k0 = (k0 + 0x9e3779b9) | 0
    k1 = (k1 + 0xbb67ae85) | 0
  }
  out[0] = c0
  out[1] = c1
  out[2] = c2
  out[3] = c3
}

/**
 * Uniform in `[0, 1)` with 53 random bits: draw `step` of sample `index` under a 64-bit seed, whose low and high halves
 * are the key. The counter is `(step, index, 0, 1)`.
 */
export const uniform = (seedLow: number, seedHigh: number, index: number, step: number): number => {
  const words = new Uint32Array(4)
  philox(seedLow, seedHigh, step, index, 0, 1, words)
  return ((words[0]! >>> 5) * 67108864 + (words[1]! >>> 6)) / 9007199254740992
}
