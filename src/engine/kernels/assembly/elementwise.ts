// Embedding, the gated unit, sums, random numbers and the optimiser's step.

import { exp4 } from "./math"

/** Copies row `tokens[r]` of the table to row r. n is a multiple of 4. */
export function embed(rows: i32, n: i32, tokens: usize, table: usize, out: usize): void {
  const bytes = usize(n) << 2
  for (let r = 0; r < rows; r++) {
    memory.copy(out, table + usize(load<i32>(tokens + (usize(r) << 2))) * bytes, bytes)
    out += bytes
  }
}

/** `dtable[tokens[r]] += dout[r]`, rows in order. */
export function embedBackward(rows: i32, n: i32, tokens: usize, dout: usize, dtable: usize): void {
  const bytes = usize(n) << 2
  for (let r = 0; r < rows; r++) {
    const to = dtable + usize(load<i32>(tokens + (usize(r) << 2))) * bytes
    for (let i: usize = 0; i < bytes; i += 16) v128.store(to + i, f32x4.add(v128.load(to + i), v128.load(dout + i)))
    dout += bytes
  }
}

/** SwiGLU (Shazeer 2020): rows of `gateUp` hold n gates, then n ups; `out = gate * sigmoid(gate) * up`. */
export function swiglu(rows: i32, n: i32, gateUp: usize, out: usize): void {
  const bytes = usize(n) << 2
  const one = f32x4.splat(1)
  for (let r = 0; r < rows; r++) {
    for (let i: usize = 0; i < bytes; i += 16) {
      const g = v128.load(gateUp + i)
      const s = f32x4.div(g, f32x4.add(one, exp4(f32x4.neg(g))))
      v128.store(out + i, f32x4.mul(s, v128.load(gateUp + bytes + i)))
    }
    gateUp += bytes << 1
    out += bytes
  }
}

/** Gradient of `swiglu`, written over `gateUp`. */
export function swigluBackward(rows: i32, n: i32, gateUp: usize, dout: usize): void {
  const bytes = usize(n) << 2
  const one = f32x4.splat(1)
  for (let r = 0; r < rows; r++) {
    for (let i: usize = 0; i < bytes; i += 16) {
      const g = v128.load(gateUp + i)
      const u = v128.load(gateUp + bytes + i)
      const d = v128.load(dout + i)
      const sigmoid = f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(g))))
      const silu = f32x4.mul(g, sigmoid)
      const slope = f32x4.mul(sigmoid, f32x4.add(one, f32x4.sub(g, silu)))
      v128.store(gateUp + i, f32x4.mul(f32x4.mul(d, u), slope))
      v128.store(gateUp + bytes + i, f32x4.mul(d, silu))
    }
    gateUp += bytes << 1
    dout += bytes
  }
}

/** `to += from` for n floats. */
export function add(n: i32, from: usize, to: usize): void {
  let i = 0
  for (; i + 4 <= n; i += 4) {
    const at = usize(i) << 2
    v128.store(to + at, f32x4.add(v128.load(to + at), v128.load(from + at)))
  }
  for (; i < n; i++) {
    const at = usize(i) << 2
    store<f32>(to + at, load<f32>(to + at) + load<f32>(from + at))
  }
}

/** Sum of squares of n floats in double precision. */
export function sumOfSquares(n: i32, x: usize): f64 {
  let low = f64x2.splat(0)
  let high = low
  let i = 0
  for (; i + 4 <= n; i += 4) {
    const e = v128.load(x + (usize(i) << 2))
    const a = f64x2.promote_low_f32x4(e)
    const b = f64x2.promote_low_f32x4(v128.shuffle<f32>(e, e, 2, 3, 2, 3))
    low = f64x2.add(low, f64x2.mul(a, a))
    high = f64x2.add(high, f64x2.mul(b, b))
  }
  low = f64x2.add(low, high)
  let sum = f64x2.extract_lane(low, 0) + f64x2.extract_lane(low, 1)
  for (; i < n; i++) {
    const e = f64(load<f32>(x + (usize(i) << 2)))
    sum += e * e
  }
  return sum
}

/** Numbers below the least normal float become 0: sums of ever smaller terms would crawl through denormals. */
// @ts-ignore: decorator
@inline
function flush(x: v128): v128 {
  return v128.andnot(x, f32x4.lt(f32x4.abs(x), f32x4.splat(1.17549435e-38)))
}

/**
 * One step of AdamW (Loshchilov & Hutter 2019) over n floats padded to a multiple of 4:
 * `p *= keep; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; p -= rate m / (sqrt(v) root + eps)` with
 * `g = gradient * clip`, `rate = lr / (1 - beta1^t)`, `root = 1 / sqrt(1 - beta2^t)`, `keep = 1 - lr * decay`.
 */
export function adamw(
  n: i32,
  parameters: usize,
  gradients: usize,
  m: usize,
  v: usize,
  clip: f32,
  keep: f32,
  beta1: f32,
  rest1: f32,
  beta2: f32,
  rest2: f32,
  rate: f32,
  root: f32,
  eps: f32
): void {
  for (let i: usize = 0; i < usize(n) << 2; i += 16) {
    const g = f32x4.mul(v128.load(gradients + i), f32x4.splat(clip))
    const first = flush(
      f32x4.add(f32x4.mul(v128.load(m + i), f32x4.splat(beta1)), f32x4.mul(g, f32x4.splat(rest1)))
    )
    const second = flush(
      f32x4.add(f32x4.mul(v128.load(v + i), f32x4.splat(beta2)), f32x4.mul(f32x4.mul(g, g), f32x4.splat(rest2)))
    )
    v128.store(m + i, first)
    v128.store(v + i, second)
    const denominator = f32x4.add(f32x4.mul(f32x4.sqrt(second), f32x4.splat(root)), f32x4.splat(eps))
    const moved = v128.andnot(
      f32x4.div(f32x4.mul(first, f32x4.splat(rate)), denominator),
      f32x4.eq(denominator, f32x4.splat(0))
    )
    v128.store(
      parameters + i,
      f32x4.sub(f32x4.mul(v128.load(parameters + i), f32x4.splat(keep)), moved)
    )
  }
}

/**
 * Uniform numbers in [-bound, bound): element i is word i % 4 of Philox4x32-10 (Salmon et al. 2011) with key
 * (seedLow, seedHigh) and counter (i / 4, 0, stream, 0), its upper 24 bits scaled.
 */
export function uniform(n: i32, out: usize, seedLow: i32, seedHigh: i32, stream: i32, bound: f32): void {
  for (let i = 0; i < n; i += 4) {
    let c0: u32 = u32(i) >> 2
    let c1: u32 = 0
    let c2: u32 = stream
    let c3: u32 = 0
    let k0: u32 = seedLow
    let k1: u32 = seedHigh
    for (let round = 0; round < 10; round++) {
      const p0 = u64(0xD2511F53) * u64(c0)
      const p1 = u64(0xCD9E8D57) * u64(c2)
      c0 = u32(p1 >> 32) ^ c1 ^ k0
      c2 = u32(p0 >> 32) ^ c3 ^ k1
      c1 = u32(p1)
      c3 = u32(p0)
      k0 += 0x9E3779B9
      k1 += 0xBB67AE85
    }
    put(out, i, n, c0, bound)
    put(out, i + 1, n, c1, bound)
    put(out, i + 2, n, c2, bound)
    put(out, i + 3, n, c3, bound)
  }
}

// @ts-ignore: decorator
@inline
function put(out: usize, i: i32, n: i32, word: u32, bound: f32): void {
  if (i < n) store<f32>(out + (usize(i) << 2), (f32(word >> 8) * <f32> 1.1920928955078125e-7 - 1) * bound)
}

/** Adds a vector of n to each row. n is a multiple of 4. */
export function addToRows(rows: i32, n: i32, x: usize, vector: usize): void {
  const bytes = usize(n) << 2
  for (let r = 0; r < rows; r++) {
    for (let i: usize = 0; i < bytes; i += 16) {
      v128.store(x + i, f32x4.add(v128.load(x + i), v128.load(vector + i)))
    }
    x += bytes
  }
}

/** Adds the sum of the rows, taken in order, to a vector of n. n is a multiple of 4. */
export function sumRows(rows: i32, n: i32, x: usize, vector: usize): void {
  const bytes = usize(n) << 2
  for (let r = 0; r < rows; r++) {
    for (let i: usize = 0; i < bytes; i += 16) {
      v128.store(vector + i, f32x4.add(v128.load(vector + i), v128.load(x + i)))
    }
    x += bytes
  }
}
