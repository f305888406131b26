// Root-mean-square normalisation (Zhang & Sennrich 2019), plain and per head with rotary position embedding
// (Su et al. 2021, halves rotated together as in Qwen3). Lengths are multiples of 4, head lengths of 8.

import { sum4 } from "./math"

// @ts-ignore: decorator
@inline
function inverseRms(x: usize, bytes: usize, n: i32, eps: f32): f32 {
  let squares = f32x4.splat(0)
  for (let i: usize = 0; i < bytes; i += 16) {
    const e = v128.load(x + i)
    squares = f32x4.add(squares, f32x4.mul(e, e))
  }
  return <f32> 1 / sqrt<f32>(sum4(squares) / f32(n) + eps)
}

/** `out = x * inverse * weight` per row of n; keeps the inverse root mean square of each row. */
export function rmsNorm(rows: i32, n: i32, x: usize, weight: usize, out: usize, inverse: usize, eps: f32): void {
  const bytes = usize(n) << 2
  for (let r = 0; r < rows; r++) {
    const s = inverseRms(x, bytes, n, eps)
    store<f32>(inverse + (usize(r) << 2), s)
    const by = f32x4.splat(s)
    for (let i: usize = 0; i < bytes; i += 16) {
      v128.store(out + i, f32x4.mul(f32x4.mul(v128.load(x + i), by), v128.load(weight + i)))
    }
    x += bytes
    out += bytes
  }
}

/** `dx += gradient of rmsNorm`; `dweight += ...` unless it is 0. */
export function rmsNormBackward(
  rows: i32,
  n: i32,
  x: usize,
  weight: usize,
  inverse: usize,
  dout: usize,
  dx: usize,
  dweight: usize
): void {
  const bytes = usize(n) << 2
  for (let r = 0; r < rows; r++) {
    const s = load<f32>(inverse + (usize(r) << 2))
    let lanes = f32x4.splat(0)
    for (let i: usize = 0; i < bytes; i += 16) {
      lanes = f32x4.add(lanes, f32x4.mul(v128.load(x + i), f32x4.mul(v128.load(dout + i), v128.load(weight + i))))
    }
    const pull = f32x4.splat(sum4(lanes) * s * s / f32(n))
    const by = f32x4.splat(s)
    for (let i: usize = 0; i < bytes; i += 16) {
      const e = v128.load(x + i)
      const g = v128.load(dout + i)
      const d = f32x4.mul(by, f32x4.sub(f32x4.mul(g, v128.load(weight + i)), f32x4.mul(e, pull)))
      v128.store(dx + i, f32x4.add(v128.load(dx + i), d))
      if (dweight) v128.store(dweight + i, f32x4.add(v128.load(dweight + i), f32x4.mul(g, f32x4.mul(e, by))))
    }
    x += bytes
    dout += bytes
    dx += bytes
  }
}

/**
 * Normalises each head of each row and rotates it to its position. Rows of x are `xStride` floats apart, those of
 * out have no gaps. `cosine`, `sine`: [position][n / 2]. `inverse`: [row][heads].
 */
export function headNormRotate(
  rows: i32,
  heads: i32,
  n: i32,
  x: usize,
  xStride: i32,
  weight: usize,
  out: usize,
  positions: usize,
  cosine: usize,
  sine: usize,
  inverse: usize,
  eps: f32
): void {
  const bytes = usize(n) << 2
  const half = bytes >> 1
  for (let r = 0; r < rows; r++) {
    const angle = usize(load<i32>(positions + (usize(r) << 2))) * half
    let from = x + ((usize(r) * usize(xStride)) << 2)
    for (let h = 0; h < heads; h++) {
      const s = inverseRms(from, bytes, n, eps)
      store<f32>(inverse, s)
      inverse += 4
      const by = f32x4.splat(s)
      for (let i: usize = 0; i < half; i += 16) {
        const a = f32x4.mul(f32x4.mul(v128.load(from + i), by), v128.load(weight + i))
        const b = f32x4.mul(f32x4.mul(v128.load(from + half + i), by), v128.load(weight + half + i))
        const c = v128.load(cosine + angle + i)
        const z = v128.load(sine + angle + i)
        v128.store(out + i, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, z)))
        v128.store(out + half + i, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, z)))
      }
      from += bytes
      out += bytes
    }
  }
}

/**
 * Gradient of `headNormRotate`: dx, with rows as far apart as those of x, is written, `dout` is destroyed,
 * `dweight += ...` unless it is 0.
 */
export function headNormRotateBackward(
  rows: i32,
  heads: i32,
  n: i32,
  x: usize,
  xStride: i32,
  weight: usize,
  dout: usize,
  dx: usize,
  positions: usize,
  cosine: usize,
  sine: usize,
  inverse: usize,
  dweight: usize
): void {
  const bytes = usize(n) << 2
  const half = bytes >> 1
  for (let r = 0; r < rows; r++) {
    const angle = usize(load<i32>(positions + (usize(r) << 2))) * half
    let from = x + ((usize(r) * usize(xStride)) << 2)
    let to = dx + ((usize(r) * usize(xStride)) << 2)
    for (let h = 0; h < heads; h++) {
      const s = load<f32>(inverse)
      inverse += 4
      let lanes = f32x4.splat(0)
      for (let i: usize = 0; i < half; i += 16) {
        const c = v128.load(cosine + angle + i)
        const z = v128.load(sine + angle + i)
        const ga = v128.load(dout + i)
        const gb = v128.load(dout + half + i)
        const a = f32x4.add(f32x4.mul(ga, c), f32x4.mul(gb, z))
        const b = f32x4.sub(f32x4.mul(gb, c), f32x4.mul(ga, z))
        v128.store(dout + i, a)
        v128.store(dout + half + i, b)
        lanes = f32x4.add(lanes, f32x4.mul(v128.load(from + i), f32x4.mul(a, v128.load(weight + i))))
        lanes = f32x4.add(lanes, f32x4.mul(v128.load(from + half + i), f32x4.mul(b, v128.load(weight + half + i))))
      }
      const pull = f32x4.splat(sum4(lanes) * s * s / f32(n))
      const by = f32x4.splat(s)
      for (let i: usize = 0; i < bytes; i += 16) {
        const e = v128.load(from + i)
        const g = v128.load(dout + i)
        v128.store(to + i, f32x4.mul(by, f32x4.sub(f32x4.mul(g, v128.load(weight + i)), f32x4.mul(e, pull))))
        if (dweight) v128.store(dweight + i, f32x4.add(v128.load(dweight + i), f32x4.mul(g, f32x4.mul(e, by))))
      }
      from += bytes
      dout += bytes
      to += bytes
    }
  }
}

/** Rotates each head of each row to its position, for models that do not normalise their heads. As `headNormRotate`. */
export function headRotate(
  rows: i32,
  heads: i32,
  n: i32,
  x: usize,
  xStride: i32,
  out: usize,
  positions: usize,
  cosine: usize,
  sine: usize
): void {
  const bytes = usize(n) << 2
  const half = bytes >> 1
  for (let r = 0; r < rows; r++) {
    const angle = usize(load<i32>(positions + (usize(r) << 2))) * half
    let from = x + ((usize(r) * usize(xStride)) << 2)
    for (let h = 0; h < heads; h++) {
      for (let i: usize = 0; i < half; i += 16) {
        const a = v128.load(from + i)
        const b = v128.load(from + half + i)
        const c = v128.load(cosine + angle + i)
        const z = v128.load(sine + angle + i)
        v128.store(out + i, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, z)))
        v128.store(out + half + i, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, z)))
      }
      from += bytes
      out += bytes
    }
  }
}

/** Gradient of `headRotate`: dx is written. Rows of dx are `xStride` floats apart. */
export function headRotateBackward(
  rows: i32,
  heads: i32,
  n: i32,
  xStride: i32,
  dout: usize,
  dx: usize,
  positions: usize,
  cosine: usize,
  sine: usize
): void {
  const bytes = usize(n) << 2
  const half = bytes >> 1
  for (let r = 0; r < rows; r++) {
    const angle = usize(load<i32>(positions + (usize(r) << 2))) * half
    let to = dx + ((usize(r) * usize(xStride)) << 2)
    for (let h = 0; h < heads; h++) {
      for (let i: usize = 0; i < half; i += 16) {
        const c = v128.load(cosine + angle + i)
        const z = v128.load(sine + angle + i)
        const ga = v128.load(dout + i)
        const gb = v128.load(dout + half + i)
        v128.store(to + i, f32x4.add(f32x4.mul(ga, c), f32x4.mul(gb, z)))
        v128.store(to + half + i, f32x4.sub(f32x4.mul(gb, c), f32x4.mul(ga, z)))
      }
      dout += bytes
      to += bytes
    }
  }
}
