/**
 * Threefry-2x32 with 20 rounds: a counter-based generator. The same key and counter give the same bits whatever was
 * drawn before, so a sample's randomness depends on nothing but its own name.
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011), section 3.3. Needs only
 * 32-bit additions, rotations and xor, all exact in JavaScript.
 */

const parity = 0x1bd11bda
const rotations = [13, 15, 26, 6, 17, 29, 16, 24]

/** Encrypts the counter `(c0, c1)` under the key `(k0, k1)` into `out[0]`, `out[1]`. */
export const threefry2x32 = (k0: number, k1: number, c0: number, c1: number, out: Uint32Array): void => {
  const k2 = parity ^ k0 ^ k1
  let x0 = (c0 + k0) | 0
  let x1 = (c1 + k1) | 0
  for (let round = 0; round < 20; round++) {
    const r = rotations[round & 7]!
    x0 = (x0 + x1) | 0
    x1 = ((x1 << r) | (x1 >>> (32 - r))) ^ x0
    if ((round & 3) === 3) {
      const injection = (round >> 2) + 1
      x0 = (x0 + (injection % 3 === 0 ? k0 : injection % 3 === 1 ? k1 : k2)) | 0
      x1 = (x1 + (injection % 3 === 0 ? k1 : injection % 3 === 1 ? k2 : k0) + injection) | 0
    }
  }
  out[0] = x0
  out[1] = x1
}

const words = new Uint32Array(2)

/**
 * Uniform in `[0, 1)` with 53 random bits: draw `step` of sample `index` under a 64-bit seed, whose low and high halves
 * are the key.
 */
export const uniform = (seedLow: number, seedHigh: number, index: number, step: number): number => {
  threefry2x32(seedLow, seedHigh, index, step, words)
  return ((words[0]! >>> 5) * 67108864 + (words[1]! >>> 6)) / 9007199254740992
}
