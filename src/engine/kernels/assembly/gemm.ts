// Single-precision matrix multiplication with arbitrary strides, blocked for the caches: tiles of MR x 8 in registers over
// panels that are packed once per block.
//
// Every entry of the result is the sum over k in ascending order, in blocks of KC. So an entry depends on its own row and
// column only: the same bits come out for any batch size.

import { packColumns, packRows } from "./pack"
import { KC, MC, MR, NC, packedA, packedB } from "./scratch"
import { emit, tile1, tile1Wide, tile4, tile4Strided, tile6, tile6Strided } from "./tiles"

/**
 * A block of rows against packed panels: `panelBytes` from one panel to the next, `step` from one row of a panel to the
 * next, `ldc` in bytes.
 */
export function multiplyPanels(
  m: i32,
  n: i32,
  kc: i32,
  a: usize,
  rowStride: i32,
  columnStride: i32,
  panels: usize,
  panelBytes: usize,
  step: usize,
  c: usize,
  ldc: usize,
  alpha: f32,
  accumulate: bool
): void {
  const rs = usize(rowStride) << 2
  const cs = usize(columnStride) << 2
  // Packing rows pays when they are read for several panels.
  const pack = n >= 48
  const panelA = usize(kc * MR) << 2
  for (let i0 = 0; i0 < m; i0 += MC) {
    const mc = min(MC, m - i0)
    const full = mc / MR * MR
    const rows = a + usize(i0) * rs
    const out = c + usize(i0) * ldc
    if (pack) packRows(full, kc, rows, rowStride, columnStride, packedA)
    let panel = panels
    for (let j = 0; j < n; j += 8) {
      const columns = min(8, n - j)
      let to = out + (usize(j) << 2)
      let packed = packedA
      let strided = rows
      for (let i = 0; i < full; i += MR) {
        if (MR == 6) {
          if (pack) tile6(kc, packed, panel, step)
          else tile6Strided(kc, strided, rs, cs, panel, step)
        } else {
          if (pack) tile4(kc, packed, panel, step)
          else tile4Strided(kc, strided, rs, cs, panel, step)
        }
        emit(MR, columns, to, ldc, alpha, accumulate)
        packed += panelA
        strided += rs * MR
        to += ldc * MR
      }
      if (mc - full >= 4) {
        tile4Strided(kc, strided, rs, cs, panel, step)
        emit(4, columns, to, ldc, alpha, accumulate)
      }
      panel += panelBytes
    }
    for (let i = mc - ((mc - full) & 3); i < mc; i++) {
      multiplyRow(n, kc, rows + usize(i) * rs, cs, panels, panelBytes, step, out + usize(i) * ldc, alpha, accumulate)
    }
  }
}

/** One row against packed panels. */
function multiplyRow(
  n: i32,
  kc: i32,
  a: usize,
  cs: usize,
  panel: usize,
  panelBytes: usize,
  step: usize,
  c: usize,
  alpha: f32,
  accumulate: bool
): void {
  let j = 0
  for (; j + 32 <= n; j += 32) {
    tile1Wide(kc, a, cs, panel, step, panelBytes)
    emit(4, 8, c, 32, alpha, accumulate)
    panel += panelBytes << 2
    c += 128
  }
  for (; j < n; j += 8) {
    tile1(kc, a, cs, panel, step)
    emit(1, min(8, n - j), c, 32, alpha, accumulate)
    panel += panelBytes
    c += 32
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
        multiplyPanels(m, nc, kc, rows, aRowStride, aColumnStride, from, 0, 32, out, stride, alpha, add)
      } else {
        packColumns(kc, nc, from, bRowStride, bColumnStride, packedB, usize(kc) << 5, 32)
        multiplyPanels(m, nc, kc, rows, aRowStride, aColumnStride, packedB, usize(kc) << 5, 32, out, stride, alpha, add)
      }
    }
  }
}

/** Floats that `packWeight` writes for a matrix of n columns: whole stripes of 32. */
export function packedLength(n: i32, k: i32): i32 {
  return ((n + 31) & ~31) * k
}

/**
 * Packs B(k, n) once for many calls of `gemmPacked`, in stripes of 32 columns, `[stripe][k][32]`: what a product with few
 * rows reads is one stream.
 */
export function packWeight(n: i32, k: i32, b: usize, bRowStride: i32, bColumnStride: i32, to: usize): void {
  for (let j = 0; j < n; j += 32) {
    const from = b + ((usize(j) * usize(bColumnStride)) << 2)
    packColumns(k, min(32, n - j), from, bRowStride, bColumnStride, to, 32, 128)
    to += usize(k) << 7
  }
}

/**
 * `gemm` against a matrix packed by `packWeight`; the same bits as `gemm`. A is row-major, `lda` floats a row; added to C
 * when `accumulate`.
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
  for (let j = 0; j < n; j += 32) {
    const nc = min(32, n - j)
    const out = c + (usize(j) << 2)
    for (let k0 = 0; k0 < k; k0 += KC) {
      const kc = min(KC, k - k0)
      const rows = a + (usize(k0) << 2)
      const from = packed + (usize(k0) << 7)
      const add = accumulate || k0 > 0
      // With more rows a stripe is copied into panels first, unless the whole matrix lies in a near cache anyway.
      if (m < 4 || usize(n) * usize(k) <= 1 << 17) {
        multiplyPanels(m, nc, kc, rows, lda, 1, from, 32, 128, out, stride, 1, add)
      } else {
        packColumns(kc, nc, from, 32, 1, packedB, usize(kc) << 5, 32)
        multiplyPanels(m, nc, kc, rows, lda, 1, packedB, usize(kc) << 5, 32, out, stride, 1, add)
      }
    }
    packed += usize(k) << 7
  }
}
