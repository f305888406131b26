/**
 * The order of an epoch without a table: a permutation of 0 … n-1 that is computed for each place, by a Feistel network over
 * the next even power of two that is walked until it lands inside (Black and Rogaway, Ciphers with Arbitrary Finite Domains,
 * 2002, method 2).
 */

const rounds = 6

const round = (x: number, key: number): number => {
  let h = Math.imul(x ^ key, 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 15), 0x85ebca77)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae3d)
  return h ^ (h >>> 16)
}

/** What stands at a place, from 0 below `n`. Needs no memory and about as many steps for every place. */
export const permuted = (n: number, seed: number, epoch: number): (place: number) => number => {
  if (n < 2) return (place) => place
  // sides of unequal width, so that at most half of the domain is walked over
  const width = Math.ceil(Math.log2(n))
  const low = width >> 1
  const high = width - low
  const lowSize = 2 ** low
  const highSize = 2 ** high
  const keys: Array<number> = []
  let key = round(seed | 0, Math.trunc(seed / 2 ** 32) | 0) ^ round(epoch | 0, 0x2545f491)
  for (let i = 0; i < rounds; i++) keys.push(key = round(key + 0x6d2b79f5, i + 1))
  return (place) => {
    let x = place
    do {
      let l = x % lowSize
      let h = (x - l) / lowSize
      for (let i = 0; i < rounds; i += 2) {
        h = (h + (round(l, keys[i]!) >>> 0)) % highSize
        l = (l + (round(h, keys[i + 1]!) >>> 0)) % lowSize
      }
      x = h * lowSize + l
    } while (x >= n)
    return x
  }
}
