// The innermost loops of a product: a few rows of A against panels of 8 columns of B, summed in registers over k in
// ascending order. Tiles of 6 rows are for fused products, those of 4 for others and for what 6 leave over. Sums go to `tile`, a scratch of rows of 32 bytes, and `emit` carries them into the result: were they
// stored by the function that sums, the compiler would keep them on its stack.
//
// `a` and `b` are byte addresses, `rs` and `cs` A's strides in bytes; a panel of B is `[k][8]`, its rows `bs` bytes apart.

import { fma } from "./math"
import { tile } from "./scratch"

/** 6 rows by 8 columns over a packed panel of rows, `[k][6]`. */
export function tile6(kc: i32, a: usize, b: usize, bs: usize): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00
  let c30 = c00, c31 = c00, c40 = c00, c41 = c00, c50 = c00, c51 = c00
  const end = b + usize(kc) * bs
  while (b < end) {
    const b0 = v128.load(b)
    const b1 = v128.load(b, 16)
    let s = v128.load32_splat(a)
    c00 = fma(c00, s, b0)
    c01 = fma(c01, s, b1)
    s = v128.load32_splat(a, 4)
    c10 = fma(c10, s, b0)
    c11 = fma(c11, s, b1)
    s = v128.load32_splat(a, 8)
    c20 = fma(c20, s, b0)
    c21 = fma(c21, s, b1)
    s = v128.load32_splat(a, 12)
    c30 = fma(c30, s, b0)
    c31 = fma(c31, s, b1)
    s = v128.load32_splat(a, 16)
    c40 = fma(c40, s, b0)
    c41 = fma(c41, s, b1)
    s = v128.load32_splat(a, 20)
    c50 = fma(c50, s, b0)
    c51 = fma(c51, s, b1)
    a += 24
    b += bs
  }
  const t = tile
  v128.store(t, c00)
  v128.store(t, c01, 16)
  v128.store(t, c10, 32)
  v128.store(t, c11, 48)
  v128.store(t, c20, 64)
  v128.store(t, c21, 80)
  v128.store(t, c30, 96)
  v128.store(t, c31, 112)
  v128.store(t, c40, 128)
  v128.store(t, c41, 144)
  v128.store(t, c50, 160)
  v128.store(t, c51, 176)
}

/** The same over rows that are read where they lie. */
export function tile6Strided(kc: i32, a: usize, rs: usize, cs: usize, b: usize, bs: usize): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00
  let c30 = c00, c31 = c00, c40 = c00, c41 = c00, c50 = c00, c51 = c00
  let a1 = a + rs, a2 = a1 + rs, a3 = a2 + rs, a4 = a3 + rs, a5 = a4 + rs
  const end = b + usize(kc) * bs
  while (b < end) {
    const b0 = v128.load(b)
    const b1 = v128.load(b, 16)
    let s = v128.load32_splat(a)
    c00 = fma(c00, s, b0)
    c01 = fma(c01, s, b1)
    s = v128.load32_splat(a1)
    c10 = fma(c10, s, b0)
    c11 = fma(c11, s, b1)
    s = v128.load32_splat(a2)
    c20 = fma(c20, s, b0)
    c21 = fma(c21, s, b1)
    s = v128.load32_splat(a3)
    c30 = fma(c30, s, b0)
    c31 = fma(c31, s, b1)
    s = v128.load32_splat(a4)
    c40 = fma(c40, s, b0)
    c41 = fma(c41, s, b1)
    s = v128.load32_splat(a5)
    c50 = fma(c50, s, b0)
    c51 = fma(c51, s, b1)
    a += cs
    a1 += cs
    a2 += cs
    a3 += cs
    a4 += cs
    a5 += cs
    b += bs
  }
  const t = tile
  v128.store(t, c00)
  v128.store(t, c01, 16)
  v128.store(t, c10, 32)
  v128.store(t, c11, 48)
  v128.store(t, c20, 64)
  v128.store(t, c21, 80)
  v128.store(t, c30, 96)
  v128.store(t, c31, 112)
  v128.store(t, c40, 128)
  v128.store(t, c41, 144)
  v128.store(t, c50, 160)
  v128.store(t, c51, 176)
}

/** 4 rows by 8 columns over a packed panel of rows, `[k][4]`. */
export function tile4(kc: i32, a: usize, b: usize, bs: usize): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00
  const end = b + usize(kc) * bs
  while (b < end) {
    const b0 = v128.load(b)
    const b1 = v128.load(b, 16)
    let s = v128.load32_splat(a)
    c00 = fma(c00, s, b0)
    c01 = fma(c01, s, b1)
    s = v128.load32_splat(a, 4)
    c10 = fma(c10, s, b0)
    c11 = fma(c11, s, b1)
    s = v128.load32_splat(a, 8)
    c20 = fma(c20, s, b0)
    c21 = fma(c21, s, b1)
    s = v128.load32_splat(a, 12)
    c30 = fma(c30, s, b0)
    c31 = fma(c31, s, b1)
    a += 16
    b += bs
  }
  const t = tile
  v128.store(t, c00)
  v128.store(t, c01, 16)
  v128.store(t, c10, 32)
  v128.store(t, c11, 48)
  v128.store(t, c20, 64)
  v128.store(t, c21, 80)
  v128.store(t, c30, 96)
  v128.store(t, c31, 112)
}

/** The same over rows that are read where they lie. */
export function tile4Strided(kc: i32, a: usize, rs: usize, cs: usize, b: usize, bs: usize): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00
  let a1 = a + rs, a2 = a1 + rs, a3 = a2 + rs
  const end = b + usize(kc) * bs
  while (b < end) {
    const b0 = v128.load(b)
    const b1 = v128.load(b, 16)
    let s = v128.load32_splat(a)
    c00 = fma(c00, s, b0)
    c01 = fma(c01, s, b1)
    s = v128.load32_splat(a1)
    c10 = fma(c10, s, b0)
    c11 = fma(c11, s, b1)
    s = v128.load32_splat(a2)
    c20 = fma(c20, s, b0)
    c21 = fma(c21, s, b1)
    s = v128.load32_splat(a3)
    c30 = fma(c30, s, b0)
    c31 = fma(c31, s, b1)
    a += cs
    a1 += cs
    a2 += cs
    a3 += cs
    b += bs
  }
  const t = tile
  v128.store(t, c00)
  v128.store(t, c01, 16)
  v128.store(t, c10, 32)
  v128.store(t, c11, 48)
  v128.store(t, c20, 64)
  v128.store(t, c21, 80)
  v128.store(t, c30, 96)
  v128.store(t, c31, 112)
}

/** One row by 8 columns. */
export function tile1(kc: i32, a: usize, cs: usize, b: usize, bs: usize): void {
  let c0 = f32x4.splat(0), c1 = c0
  const end = b + usize(kc) * bs
  while (b < end) {
    const s = v128.load32_splat(a)
    c0 = fma(c0, s, v128.load(b))
    c1 = fma(c1, s, v128.load(b, 16))
    a += cs
    b += bs
  }
  const t = tile
  v128.store(t, c0)
  v128.store(t, c1, 16)
}

/** One row by 32 columns, those of 4 panels, `panelBytes` from one to the next. */
export function tile1Wide(kc: i32, a: usize, cs: usize, b: usize, bs: usize, panelBytes: usize): void {
  let c0 = f32x4.splat(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0, c7 = c0
  let d = b + panelBytes, e = d + panelBytes, f = e + panelBytes
  const end = b + usize(kc) * bs
  while (b < end) {
    const s = v128.load32_splat(a)
    c0 = fma(c0, s, v128.load(b))
    c1 = fma(c1, s, v128.load(b, 16))
    c2 = fma(c2, s, v128.load(d))
    c3 = fma(c3, s, v128.load(d, 16))
    c4 = fma(c4, s, v128.load(e))
    c5 = fma(c5, s, v128.load(e, 16))
    c6 = fma(c6, s, v128.load(f))
    c7 = fma(c7, s, v128.load(f, 16))
    a += cs
    b += bs
    d += bs
    e += bs
    f += bs
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

/** The first `rows` rows of the tile into the result, `c = alpha * sum` or `c += alpha * sum`; `ldc` in bytes. */
export function emit(rows: i32, columns: i32, c: usize, ldc: usize, alpha: f32, accumulate: bool): void {
  let t = tile
  if (columns < 8) return emitEdge(rows, columns, c, ldc, alpha, accumulate)
  const by = f32x4.splat(alpha)
  for (const end = t + (usize(rows) << 5); t < end; t += 32) {
    let low = f32x4.mul(v128.load(t), by)
    let high = f32x4.mul(v128.load(t, 16), by)
    if (accumulate) {
      low = f32x4.add(v128.load(c), low)
      high = f32x4.add(v128.load(c, 16), high)
    }
    v128.store(c, low)
    v128.store(c, high, 16)
    c += ldc
  }
}

/** The same for fewer than 8 columns. */
function emitEdge(rows: i32, columns: i32, c: usize, ldc: usize, alpha: f32, accumulate: bool): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const to = c + usize(i) * ldc + (usize(j) << 2)
      const value = load<f32>(tile + (usize(i) << 5) + (usize(j) << 2)) * alpha
      store<f32>(to, accumulate ? load<f32>(to) + value : value)
    }
  }
}
