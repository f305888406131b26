// Single-precision matrix multiplication with arbitrary strides: a 4x8 register tile over packed panels.
//
// Every entry of the result is the sum over k in ascending order, in blocks of KC, each product rounded before it is
// added. So an entry depends on its own row and column only: the same bits come out for any batch size.

import { KC, MC, NC, packedA, packedB, tile } from "./scratch"

/** Copies B(k, n), k < kc, n < nc, into panels of 8 columns `[panel][k][8]`, zero-filled to the right. */
// @ts-ignore: decorator
@inline
function packPanels(kc: i32, nc: i32, b: usize, rowStride: i32, columnStride: i32, to: usize, panelBytes: usize): void {
  const rs = usize(rowStride) << 2
  const cs = usize(columnStride) << 2
  for (let j = 0; j < nc; j += 8) {
    let out = to
    to += panelBytes
    const from = b + usize(j) * cs
    const columns = min(8, nc - j)
    if (columns == 8 && columnStride == 1) {
      let p = from
      for (let k = 0; k < kc; k++) {
        v128.store(out, v128.load(p))
        v128.store(out, v128.load(p, 16), 16)
        p += rs
        out += 32
      }
    } else if (columns == 8 && rowStride == 1) {
      let p = from
      let k = 0
      for (; k + 4 <= kc; k += 4) {
        transpose(p, cs, out, 32)
        transpose(p + (cs << 2), cs, out + 16, 32)
        p += 16
        out += 128
      }
      for (; k < kc; k++) {
        for (let i = 0; i < 8; i++) store<f32>(out + (usize(i) << 2), load<f32>(p + usize(i) * cs))
        p += 4
        out += 32
      }
    } else {
      for (let k = 0; k < kc; k++) {
        const p = from + usize(k) * rs
        for (let i = 0; i < 8; i++) {
          store<f32>(out + (usize(i) << 2), i < columns ? load<f32>(p + usize(i) * cs) : <f32> 0)
        }
        out += 32
      }
    }
  }
}

/** Writes the transpose of a 4x4 block. */
// @ts-ignore: decorator
@inline
export function transpose(from: usize, fromStride: usize, to: usize, toStride: usize): void {
  const r0 = v128.load(from)
  const r1 = v128.load(from + fromStride)
  const r2 = v128.load(from + fromStride * 2)
  const r3 = v128.load(from + fromStride * 3)
  const a = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5)
  const b = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5)
  const c = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7)
  const d = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7)
  v128.store(to, v128.shuffle<f32>(a, b, 0, 1, 4, 5))
  v128.store(to + toStride, v128.shuffle<f32>(a, b, 2, 3, 6, 7))
  v128.store(to + toStride * 2, v128.shuffle<f32>(c, d, 0, 1, 4, 5))
  v128.store(to + toStride * 3, v128.shuffle<f32>(c, d, 2, 3, 6, 7))
}

/** Copies A(m, k), m < mc (a multiple of 4), k < kc, into panels of 4 rows `[panel][k][4]`. */
function packRows(mc: i32, kc: i32, a: usize, rowStride: i32, columnStride: i32, to: usize): void {
  const rs = usize(rowStride) << 2
  const cs = usize(columnStride) << 2
  for (let i = 0; i < mc; i += 4) {
    let p = a + usize(i) * rs
    if (rowStride == 1) {
      for (let k = 0; k < kc; k++) {
        v128.store(to, v128.load(p))
        p += cs
        to += 16
      }
    } else if (columnStride == 1) {
      let k = 0
      for (; k + 4 <= kc; k += 4) {
        transpose(p, rs, to, 16)
        p += 16
        to += 64
      }
      for (; k < kc; k++) {
        for (let r = 0; r < 4; r++) store<f32>(to + (usize(r) << 2), load<f32>(p + usize(r) * rs))
        p += 4
        to += 16
      }
    } else {
      for (let k = 0; k < kc; k++) {
        for (let r = 0; r < 4; r++) store<f32>(to + (usize(r) << 2), load<f32>(p + usize(r) * rs))
        p += cs
        to += 16
      }
    }
  }
}

/** Result rows of 8: `c = alpha * sum` or `c += alpha * sum`. */
// @ts-ignore: decorator
@inline
function emit(c: usize, low: v128, high: v128, alpha: v128, accumulate: bool): void {
  low = f32x4.mul(low, alpha)
  high = f32x4.mul(high, alpha)
  if (accumulate) {
    low = f32x4.add(v128.load(c), low)
    high = f32x4.add(v128.load(c, 16), high)
  }
  v128.store(c, low)
  v128.store(c, high, 16)
}

/** 4x8 tile over a packed panel of 4 rows and a packed panel of 8 columns. */
function tilePacked(kc: i32, a: usize, b: usize, c: usize, ldc: usize, alpha: f32, accumulate: bool): void {
  let c00 = f32x4.splat(0)
  let c01 = c00
  let c10 = c00
  let c11 = c00
  let c20 = c00
  let c21 = c00
  let c30 = c00
  let c31 = c00
  const end = b + (usize(kc) << 5)
  while (b < end) {
    const b0 = v128.load(b)
    const b1 = v128.load(b, 16)
    let s = v128.load32_splat(a)
    c00 = f32x4.add(c00, f32x4.mul(s, b0))
    c01 = f32x4.add(c01, f32x4.mul(s, b1))
    s = v128.load32_splat(a, 4)
    c10 = f32x4.add(c10, f32x4.mul(s, b0))
    c11 = f32x4.add(c11, f32x4.mul(s, b1))
    s = v128.load32_splat(a, 8)
    c20 = f32x4.add(c20, f32x4.mul(s, b0))
    c21 = f32x4.add(c21, f32x4.mul(s, b1))
    s = v128.load32_splat(a, 12)
    c30 = f32x4.add(c30, f32x4.mul(s, b0))
    c31 = f32x4.add(c31, f32x4.mul(s, b1))
    a += 16
    b += 32
  }
  const scale = f32x4.splat(alpha)
  emit(c, c00, c01, scale, accumulate)
  emit(c + ldc, c10, c11, scale, accumulate)
  emit(c + ldc * 2, c20, c21, scale, accumulate)
  emit(c + ldc * 3, c30, c31, scale, accumulate)
}

/** The same over rows that are read where they lie: `rs` and `cs` are A's strides in bytes. */
function tileStrided(
  kc: i32,
  a: usize,
  rs: usize,
  cs: usize,
  b: usize,
  c: usize,
  ldc: usize,
  alpha: f32,
  accumulate: bool
): void {
  let c00 = f32x4.splat(0)
  let c01 = c00
  let c10 = c00
  let c11 = c00
  let c20 = c00
  let c21 = c00
  let c30 = c00
  let c31 = c00
  let a1 = a + rs
  let a2 = a1 + rs
  let a3 = a2 + rs
  const end = b + (usize(kc) << 5)
  while (b < end) {
    const b0 = v128.load(b)
    const b1 = v128.load(b, 16)
    let s = v128.load32_splat(a)
    c00 = f32x4.add(c00, f32x4.mul(s, b0))
    c01 = f32x4.add(c01, f32x4.mul(s, b1))
    s = v128.load32_splat(a1)
    c10 = f32x4.add(c10, f32x4.mul(s, b0))
    c11 = f32x4.add(c11, f32x4.mul(s, b1))
    s = v128.load32_splat(a2)
    c20 = f32x4.add(c20, f32x4.mul(s, b0))
    c21 = f32x4.add(c21, f32x4.mul(s, b1))
    s = v128.load32_splat(a3)
    c30 = f32x4.add(c30, f32x4.mul(s, b0))
    c31 = f32x4.add(c31, f32x4.mul(s, b1))
    a += cs
    a1 += cs
    a2 += cs
    a3 += cs
    b += 32
  }
  const scale = f32x4.splat(alpha)
  emit(c, c00, c01, scale, accumulate)
  emit(c + ldc, c10, c11, scale, accumulate)
  emit(c + ldc * 2, c20, c21, scale, accumulate)
  emit(c + ldc * 3, c30, c31, scale, accumulate)
}

/** One row by 8 columns. */
function tileRow(kc: i32, a: usize, cs: usize, b: usize, c: usize, alpha: f32, accumulate: bool): void {
  let c0 = f32x4.splat(0)
  let c1 = c0
  const end = b + (usize(kc) << 5)
  while (b < end) {
    const s = v128.load32_splat(a)
    c0 = f32x4.add(c0, f32x4.mul(s, v128.load(b)))
    c1 = f32x4.add(c1, f32x4.mul(s, v128.load(b, 16)))
    a += cs
    b += 32
  }
  emit(c, c0, c1, f32x4.splat(alpha), accumulate)
}

/** Adds or writes the first `columns` entries of each row of the edge tile to the result. */
function emitEdge(rows: i32, columns: i32, c: usize, ldc: usize, accumulate: bool): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const to = c + usize(i) * ldc + (usize(j) << 2)
      const value = load<f32>(tile + (usize(i) << 5) + (usize(j) << 2))
      store<f32>(to, accumulate ? load<f32>(to) + value : value)
    }
  }
}

/** A block of rows against packed panels: `panelBytes` from one panel to the next. */
export function multiplyPanels(
  m: i32,
  n: i32,
  kc: i32,
  a: usize,
  rowStride: i32,
  columnStride: i32,
  panels: usize,
  panelBytes: usize,
  c: usize,
  ldc: usize,
  alpha: f32,
  accumulate: bool
): void {
  const rs = usize(rowStride) << 2
  const cs = usize(columnStride) << 2
  // Packing rows pays when they are read for several panels.
  const pack = n >= 48 && m >= 4
  for (let i0 = 0; i0 < m; i0 += MC) {
    const mc = min(MC, m - i0)
    const full = mc & ~3
    const rows = a + usize(i0) * rs
    const out = c + usize(i0) * ldc
    if (pack) packRows(full, kc, rows, rowStride, columnStride, packedA)
    let panel = panels
    for (let j = 0; j < n; j += 8) {
      const columns = min(8, n - j)
      const at = out + (usize(j) << 2)
      for (let i = 0; i < full; i += 4) {
        const to = at + usize(i) * ldc
        if (columns == 8) {
          if (pack) tilePacked(kc, packedA + usize(i * kc) * 4, panel, to, ldc, alpha, accumulate)
          else tileStrided(kc, rows + usize(i) * rs, rs, cs, panel, to, ldc, alpha, accumulate)
        } else {
          tileStrided(kc, rows + usize(i) * rs, rs, cs, panel, tile, 32, alpha, false)
          emitEdge(4, columns, to, ldc, accumulate)
        }
      }
      for (let i = full; i < mc; i++) {
        const to = at + usize(i) * ldc
        if (columns == 8) {
          tileRow(kc, rows + usize(i) * rs, cs, panel, to, alpha, accumulate)
        } else {
          tileRow(kc, rows + usize(i) * rs, cs, panel, tile, alpha, false)
          emitEdge(1, columns, to, ldc, accumulate)
        }
      }
      panel += panelBytes
    }
  }
}

/**
 * `C(i, j) = alpha * sum_k A(i, k) B(k, j)`, added to C when `accumulate`. Pointers in bytes, strides in floats; C is
 * row-major with `ldc` floats a row. k = 0 writes zeros (or adds nothing).
 */
export function gemm(
  m: i32,
  n: i32,
  k: i32,
  a: usize,
  aRowStride: i32,
  aColumnStride: i32,
  b: usize,
  bRowStride: i32,
  bColumnStride: i32,
  c: usize,
  ldc: i32,
  alpha: f32,
  accumulate: bool
): void {
  const stride = usize(ldc) << 2
  for (let j0 = 0; j0 < n; j0 += NC) {
    const nc = min(NC, n - j0)
    const out = c + (usize(j0) << 2)
    for (let k0 = 0; k0 < k; k0 += KC) {
      const kc = min(KC, k - k0)
      const from = b + ((usize(k0) * usize(bRowStride) + usize(j0) * usize(bColumnStride)) << 2)
      const rows = a + ((usize(k0) * usize(aColumnStride)) << 2)
      const add = accumulate || k0 > 0
      if (nc == 8 && bColumnStride == 1 && bRowStride == 8) {
        multiplyPanels(m, nc, kc, rows, aRowStride, aColumnStride, from, 0, out, stride, alpha, add)
      } else {
        packPanels(kc, nc, from, bRowStride, bColumnStride, packedB, usize(kc) << 5)
        multiplyPanels(m, nc, kc, rows, aRowStride, aColumnStride, packedB, usize(kc) << 5, out, stride, alpha, add)
      }
    }
  }
}

/** Floats that `packWeight` writes for a matrix of n columns: whole panels of 8. */
export function packedLength(n: i32, k: i32): i32 {
  return ((n + 7) & ~7) * k
}

/** Packs B(k, n) once for many calls of `gemmPacked`. */
export function packWeight(n: i32, k: i32, b: usize, bRowStride: i32, bColumnStride: i32, to: usize): void {
  packPanels(k, n, b, bRowStride, bColumnStride, to, usize(k) << 5)
}

/**
 * `gemm` against a matrix packed by `packWeight`, for few rows; the same bits as `gemm`. A is row-major, `lda` floats a
 * row; added to C when `accumulate`.
 */
export function gemmPacked(
  m: i32,
  n: i32,
  k: i32,
  a: usize,
  lda: i32,
  packed: usize,
  c: usize,
  ldc: i32,
  accumulate: bool
): void {
  const stride = usize(ldc) << 2
  for (let k0 = 0; k0 < k; k0 += KC) {
    const kc = min(KC, k - k0)
    multiplyPanels(
      m, n, kc, a + (usize(k0) << 2), lda, 1,
      packed + (usize(k0) << 5), usize(k) << 5, c, stride, 1, accumulate || k0 > 0
    )
  }
}
