/** SHA-256 in hex (FIPS 180-4). */
const rounds = (() => {
  const constants = new Uint32Array(64)
  const isPrime = (n: number): boolean => {
    for (let d = 2; d * d <= n; d++) if (n % d === 0) return false
    return true
  }
  const fraction = (root: number): number => (root - Math.floor(root)) * 2 ** 32
  const initial = new Uint32Array(8)
  for (let n = 2, i = 0; i < 64; n++) {
    if (!isPrime(n)) continue
    if (i < 8) initial[i] = fraction(Math.sqrt(n))
    constants[i++] = fraction(Math.cbrt(n))
  }
  return { constants, initial }
})()

/** SHA-256 (FIPS 180-4) in hex. Synchronous and without a platform: `crypto.subtle` is neither on every origin. */
export const sha256 = (message: string): string => {
  const bytes = new TextEncoder().encode(message)
  const padded = new Uint8Array((bytes.length + 9 + 63) & ~63)
  padded.set(bytes)
  padded[bytes.length] = 0x80
  const view = new DataView(padded.buffer)
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 2 ** 29))
  view.setUint32(padded.length - 4, bytes.length * 8)
  const state = rounds.initial.slice()
  const w = new Uint32Array(64)
  const rotate = (x: number, n: number): number => (x >>> n) | (x << (32 - n))
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getUint32(block + 4 * i)
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15]!
      const y = w[i - 2]!
      w[i] = w[i - 16]! + (rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3)) + w[i - 7]! +
        (rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10))
    }
    let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number] // eight words
    for (let i = 0; i < 64; i++) {
      const t1 =
        (h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + rounds.constants[i]! + w[i]!) | 0
      const t2 = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0
      h = g
      g = f
      f = e
      e = (d + t1) | 0
      d = c
      c = b
      b = a
      a = (t1 + t2) | 0
    }
    const words = [a, b, c, d, e, f, g, h]
    for (let i = 0; i < 8; i++) state[i] = state[i]! + words[i]!
  }
  return Array.from(state, (word) => word.toString(16).padStart(8, "0")).join("")
}
