// Packing: operands of a product copied into panels that its tiles read from front to back.

import { MR } from "./scratch"

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

/**
 * Copies B(k, j), k < kc, j < nc, into panels of 8 columns `[panel][k][8]`, zero-filled to the right: `panelBytes` from one
 * panel to the next, `step` bytes from one row of a panel to the next.
 */
export function packColumns(
  kc: i32,
  nc: i32,
  b: usize,
  rowStride: i32,
  columnStride: i32,
  to: usize,
  panelBytes: usize,
  step: usize
): void {
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
        out += step
      }
    } else if (columns == 8 && rowStride == 1) {
      let p = from
      let k = 0
      for (; k + 4 <= kc; k += 4) {
        transpose(p, cs, out, step)
        transpose(p + (cs << 2), cs, out + 16, step)
        p += 16
        out += step << 2
      }
      for (; k < kc; k++) {
        for (let i = 0; i < 8; i++) store<f32>(out + (usize(i) << 2), load<f32>(p + usize(i) * cs))
        p += 4
        out += step
      }
    } else {
      for (let k = 0; k < kc; k++) {
        const p = from + usize(k) * rs
        for (let i = 0; i < 8; i++) {
          store<f32>(out + (usize(i) << 2), i < columns ? load<f32>(p + usize(i) * cs) : <f32> 0)
        }
        out += step
      }
    }
  }
}

/** Copies A(i, k), i < mc (a multiple of MR), k < kc, into panels of MR rows `[panel][k][MR]`. */
export function packRows(mc: i32, kc: i32, a: usize, rowStride: i32, columnStride: i32, to: usize): void {
  const rs = usize(rowStride) << 2
  const cs = usize(columnStride) << 2
  const bytes = usize(MR) << 2
  for (let i = 0; i < mc; i += MR) {
    let p = a + usize(i) * rs
    let k = 0
    if (rowStride == 1) {
      for (; k < kc; k++) {
        v128.store(to, v128.load(p))
        if (MR == 6) store<u64>(to, load<u64>(p, 16), 16)
        p += cs
        to += bytes
      }
    } else if (columnStride == 1) {
      for (; k + 4 <= kc; k += 4) {
        transpose(p, rs, to, bytes)
        if (MR == 6) {
          const r4 = v128.load(p + (rs << 2))
          const r5 = v128.load(p + rs * 5)
          const low = v128.shuffle<f32>(r4, r5, 0, 4, 1, 5)
          const high = v128.shuffle<f32>(r4, r5, 2, 6, 3, 7)
          v128.store64_lane(to, low, 0, 16)
          v128.store64_lane(to, low, 1, 40)
          v128.store64_lane(to, high, 0, 64)
          v128.store64_lane(to, high, 1, 88)
        }
        p += 16
        to += bytes << 2
      }
    }
    for (; k < kc; k++) {
      for (let r = 0; r < MR; r++) store<f32>(to + (usize(r) << 2), load<f32>(p + usize(r) * rs))
      p += cs
      to += bytes
    }
  }
}
