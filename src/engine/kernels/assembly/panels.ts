// Products with weights that are stored once and shared: matrices in panels of 8 output rows, as float32, as float16, or
// as 8-bit blocks, unpacked as they are multiplied.
//
// A panel holds its rows interleaved, `[input][8]`. Forms: 0 float32; 1 float16; 2 blocks of 32 inputs: 8 scales and 8
// minimums as float32, then `[32][8]` signed bytes q, each a weight `scale * q + minimum`. Every entry of a product has
// the bits that `gemm` gives for the unpacked weights.

import { multiplyPanels } from "./gemm"
import { fma } from "./math"
import { transpose } from "./pack"
import { KC, NC, packedA, packedB, tile } from "./scratch"
import { emit } from "./tiles"

/** Bytes of a panel over k inputs. */
// @ts-ignore: decorator
@inline
function panelBytes(form: i32, k: i32): usize {
  if (form == 0) return usize(k) << 5
  if (form == 1) return usize(k) << 4
  return usize((k + 31) >> 5) * 320
}

/** Four halves, each in the high bits of a lane over zeros, as floats. Neither infinities nor NaN are expected. */
// @ts-ignore: decorator
@inline
function fromHalf4(h: v128): v128 {
  // Sign, five bits of exponent and the mantissa where a float has them; the product mends the exponent's bias.
  const bits = v128.and(i32x4.shr_s(h, 3), i32x4.splat(0x8fffe000))
  return f32x4.mul(bits, f32x4.splat(5.192296858534828e33))
}

// @ts-ignore: decorator
@inline
function lowHalves(h: v128): v128 {
  return fromHalf4(v128.shuffle<i16>(i32x4.splat(0), h, 0, 8, 1, 9, 2, 10, 3, 11))
}

// @ts-ignore: decorator
@inline
function highHalves(h: v128): v128 {
  return fromHalf4(v128.shuffle<i16>(i32x4.splat(0), h, 4, 12, 5, 13, 6, 14, 7, 15))
}

/** Writes inputs `k0` to `k0 + kc` of a panel as float32 `[kc][8]`; k0 is a multiple of 32. */
function unpack(form: i32, panel: usize, k0: i32, kc: i32, to: usize): void {
  const end = to + (usize(kc) << 5)
  if (form == 0) {
    memory.copy(to, panel + (usize(k0) << 5), usize(kc) << 5)
    return
  }
  if (form == 1) {
    let from = panel + (usize(k0) << 4)
    while (to < end) {
      const h = v128.load(from)
      v128.store(to, lowHalves(h))
      v128.store(to, highHalves(h), 16)
      from += 16
      to += 32
    }
    return
  }
  let block = panel + usize(k0 >> 5) * 320
  while (to < end) {
    const s0 = v128.load(block)
    const s1 = v128.load(block, 16)
    const m0 = v128.load(block, 32)
    const m1 = v128.load(block, 48)
    let q = block + 64
    for (const stop = min(end, to + 1024); to < stop; to += 32) {
      const wide = v128.load_ext<i8>(q)
      const low = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(wide))
      const high = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(wide))
      v128.store(to, fma(m0, low, s0))
      v128.store(to, fma(m1, high, s1), 16)
      q += 8
    }
    block += 320
  }
}

/** One row against 4 panels of halves, `bytes` from one to the next: 32 sums into `tile`. */
export function rowHalves(kc: i32, a: usize, panel: usize, bytes: usize): void {
  let c0 = f32x4.splat(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0, c7 = c0
  let p1 = panel + bytes, p2 = p1 + bytes, p3 = p2 + bytes
  for (const end = a + (usize(kc) << 2); a < end; a += 4) {
    const x = v128.load32_splat(a)
    let h = v128.load(panel)
    c0 = fma(c0, x, lowHalves(h))
    c1 = fma(c1, x, highHalves(h))
    h = v128.load(p1)
    c2 = fma(c2, x, lowHalves(h))
    c3 = fma(c3, x, highHalves(h))
    h = v128.load(p2)
    c4 = fma(c4, x, lowHalves(h))
    c5 = fma(c5, x, highHalves(h))
    h = v128.load(p3)
    c6 = fma(c6, x, lowHalves(h))
    c7 = fma(c7, x, highHalves(h))
    panel += 16
    p1 += 16
    p2 += 16
    p3 += 16
  }
  const t = tile
  v128.store(t, c0)
  v128.store(t, c1, 16)
  v128.store(t, c2, 32)
  v128.store(t, c3, 48)
  v128.store(t, c4, 64)
  v128.store(t, c5, 80)
  v128.store(t, c6, 96)
  v128.store(t, c7, 112)
}

/** One row against 2 panels of 8-bit blocks: 16 sums into `tile`. */
export function rowBlocks(kc: i32, a: usize, panel: usize, bytes: usize): void {
  let c0 = f32x4.splat(0), c1 = c0, c2 = c0, c3 = c0
  let other = panel + bytes
  const end = a + (usize(kc) << 2)
  while (a < end) {
    const s0 = v128.load(panel), s1 = v128.load(panel, 16), m0 = v128.load(panel, 32), m1 = v128.load(panel, 48)
    const s2 = v128.load(other), s3 = v128.load(other, 16), m2 = v128.load(other, 32), m3 = v128.load(other, 48)
    let q = panel + 64
    let r = other + 64
    for (const stop = min(end, a + 128); a < stop; a += 4) {
      const x = v128.load32_splat(a)
      let wide = v128.load_ext<i8>(q)
      c0 = fma(c0, x, fma(m0, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(wide)), s0))
      c1 = fma(c1, x, fma(m1, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(wide)), s1))
      wide = v128.load_ext<i8>(r)
      c2 = fma(c2, x, fma(m2, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(wide)), s2))
      c3 = fma(c3, x, fma(m3, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(wide)), s3))
      q += 8
      r += 8
    }
    panel += 320
    other += 320
  }
  const t = tile
  v128.store(t, c0)
  v128.store(t, c1, 16)
  v128.store(t, c2, 32)
  v128.store(t, c3, 48)
}

/** One row against whole fours of panels that need unpacking, unpacked in registers; each is read from front to back. */
function multiplyRow(
  n: i32,
  k: i32,
  a: usize,
  panels: usize,
  bytes: usize,
  form: i32,
  c: usize,
  alpha: f32,
  accumulate: bool
): void {
  const together = form == 1 ? 4 : 2
  for (let j = 0; j < n; j += together << 3) {
    for (let k0 = 0; k0 < k; k0 += KC) {
      const kc = min(KC, k - k0)
      const x = a + (usize(k0) << 2)
      if (form == 1) rowHalves(kc, x, panels + (usize(k0) << 4), bytes)
      else rowBlocks(kc, x, panels + usize(k0 >> 5) * 320, bytes)
      emit(together, 8, c, 32, alpha, accumulate || k0 > 0)
    }
    panels += bytes * together
    c += usize(together) << 5
  }
}

/**
 * `C[m][n] (+)= alpha A[m][k] W^T` for a stored W `[n][k]`. A and C are row-major, `lda` and `ldc` floats a row.
 */
export function gemmPanels(
  m: i32,
  n: i32,
  k: i32,
  a: usize,
  lda: i32,
  panels: usize,
  form: i32,
  c: usize,
  ldc: i32,
  alpha: f32,
  accumulate: bool
): void {
  const stride = usize(ldc) << 2
  const bytes = panelBytes(form, k)
  // Without fused products the sums of a row of blocks do not fit into the registers.
  const inRegisters = form == 1 || (form == 2 && ASC_FEATURE_RELAXED_SIMD)
  if (inRegisters && m == 1 && n >= 32) {
    const whole = n & ~31
    multiplyRow(whole, k, a, panels, bytes, form, c, alpha, accumulate)
    if (whole == n) return
    n -= whole
    panels += usize(whole >> 3) * bytes
    c += usize(whole) << 2
  }
  // With few rows it is the reading of the weights that takes the time: each stretch is read once, from front to back.
  const width = m <= 16 ? 32 : NC
  for (let j0 = 0; j0 < n; j0 += width) {
    const nc = min(width, n - j0)
    const first = panels + usize(j0 >> 3) * bytes
    const out = c + (usize(j0) << 2)
    for (let k0 = 0; k0 < k; k0 += KC) {
      const kc = min(KC, k - k0)
      const rows = a + (usize(k0) << 2)
      const add = accumulate || k0 > 0
      if (form == 0) {
        multiplyPanels(m, nc, kc, rows, lda, 1, first + (usize(k0) << 5), bytes, 32, out, stride, alpha, add)
        continue
      }
      let panel = first
      let to = packedB
      for (let j = 0; j < nc; j += 8) {
        unpack(form, panel, k0, kc, to)
        panel += bytes
        to += usize(kc) << 5
      }
      multiplyPanels(m, nc, kc, rows, lda, 1, packedB, usize(kc) << 5, 32, out, stride, alpha, add)
    }
  }
}

/**
 * `C[m][k] (+)= A[m][n] W` for a stored W `[n][k]`: the gradient by the input of a product. A and C are row-major, `lda`
 * and `ldc` floats a row.
 */
export function gemmPanelsTransposed(
  m: i32,
  n: i32,
  k: i32,
  a: usize,
  lda: i32,
  panels: usize,
  form: i32,
  c: usize,
  ldc: i32,
  accumulate: bool
): void {
  const stride = usize(ldc) << 2
  const bytes = panelBytes(form, k)
  for (let j0 = 0; j0 < k; j0 += NC) {
    const nc = min(NC, k - j0)
    for (let o0 = 0; o0 < n; o0 += KC) {
      const kc = min(KC, n - o0)
      const height = usize((kc + 7) & ~7) << 5
      for (let o = 0; o < kc; o += 8) {
        // [nc][8] of this panel, then each 8 x 8 of it turned over into a panel of 8 inputs.
        unpack(form, panels + usize((o0 + o) >> 3) * bytes, j0, nc, packedA)
        let from = packedA
        let to = packedB + (usize(o) << 5)
        for (let j = 0; j < nc; j += 8) {
          transpose(from, 32, to, 32)
          transpose(from + 16, 32, to + 128, 32)
          transpose(from + 128, 32, to + 16, 32)
          transpose(from + 144, 32, to + 144, 32)
          from += 256
          to += height
        }
      }
      multiplyPanels(
        m, nc, kc, a + (usize(o0) << 2), lda, 1, packedB, height, 32, c + (usize(j0) << 2), stride, 1, accumulate || o0 > 0
      )
    }
  }
}

/** Copies row `tokens[r]` of a stored table `[..][n]` to row r. */
export function embedPanels(rows: i32, n: i32, tokens: usize, panels: usize, form: i32, out: usize): void {
  const bytes = panelBytes(form, n)
  for (let r = 0; r < rows; r++) {
    const token = load<i32>(tokens + (usize(r) << 2))
    const panel = panels + usize(token >> 3) * bytes
    const lane = usize(token & 7) << 2
    for (let k0 = 0; k0 < n; k0 += KC) {
      const kc = min(KC, n - k0)
      unpack(form, panel, k0, kc, packedB)
      for (let i: usize = 0; i < usize(kc); i++) store<f32>(out + (i << 2), load<f32>(packedB + (i << 5) + lane))
      out += usize(kc) << 2
    }
  }
}
