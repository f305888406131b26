// Causal grouped-query attention over sequences packed one after another, in blocks of query rows, without ever holding
// a whole score matrix (after FlashAttention, Dao et al. 2022: the backward pass recomputes probabilities from the saved
// log-sum-exp of each row).

import { gemm } from "./gemm"
import { exp4, exp1, sum4 } from "./math"
import { rowExp, rowMax, rowScale } from "./softmax"

/** Query rows handled at once. */
const BLOCK: i32 = 64

/** Floats of scratch that both passes need for sequences up to `longest`. */
export function attentionScratch(longest: i32): i32 {
  return 2 * BLOCK * ((longest + BLOCK) & ~(BLOCK - 1))
}

/**
 * `starts` holds sequences + 1 row offsets. Rows of q, k and out have no gaps, those of v are `vStride` floats apart;
 * query head h reads key head h / (heads / kvHeads). `lse` is [row][heads].
 */
export function attentionForward(
  sequences: i32,
  starts: usize,
  heads: i32,
  kvHeads: i32,
  headDim: i32,
  q: usize,
  k: usize,
  v: usize,
  vStride: i32,
  out: usize,
  lse: usize,
  scratch: usize
): void {
  const scale = f32(1.0 / Math.sqrt(f64(headDim)))
  const group = heads / kvHeads
  const qStride = heads * headDim
  const kStride = kvHeads * headDim
  for (let s = 0; s < sequences; s++) {
    const first = load<i32>(starts + (usize(s) << 2))
    const length = load<i32>(starts + (usize(s + 1) << 2)) - first
    for (let h = 0; h < heads; h++) {
      const keys = k + ((usize(first) * kStride + usize(h / group * headDim)) << 2)
      const values = v + ((usize(first) * vStride + usize(h / group * headDim)) << 2)
      for (let i0 = 0; i0 < length; i0 += BLOCK) {
        const rows = min(BLOCK, length - i0)
        const width = i0 + rows
        const row0 = first + i0
        gemm(
          rows, width, headDim,
          q + ((usize(row0) * qStride + usize(h * headDim)) << 2), qStride, 1,
          keys, 1, kStride,
          scratch, width, scale, false
        )
        for (let i = 0; i < rows; i++) {
          const x = scratch + ((usize(i) * usize(width)) << 2)
          const n = i0 + i + 1
          const top = rowMax(x, n)
          const sum = rowExp(x, n, top)
          rowScale(x, n, 1 / sum)
          memory.fill(x + (usize(n) << 2), 0, usize(width - n) << 2)
          store<f32>(lse + ((usize(row0 + i) * heads + h) << 2), top + f32(NativeMath.log(f64(sum))))
        }
        gemm(
          rows, headDim, width,
          scratch, width, 1,
          values, vStride, 1,
          out + ((usize(row0) * qStride + usize(h * headDim)) << 2), qStride, 1, false
        )
      }
    }
  }
}

/** Gradients of `attentionForward`: dq, dk, dv are written (laid out as q, k, v). */
export function attentionBackward(
  sequences: i32,
  starts: usize,
  heads: i32,
  kvHeads: i32,
  headDim: i32,
  q: usize,
  k: usize,
  v: usize,
  vStride: i32,
  out: usize,
  lse: usize,
  dout: usize,
  dq: usize,
  dk: usize,
  dv: usize,
  scratch: usize
): void {
  const scale = f32(1.0 / Math.sqrt(f64(headDim)))
  const group = heads / kvHeads
  const qStride = heads * headDim
  const kStride = kvHeads * headDim
  for (let s = 0; s < sequences; s++) {
    const first = load<i32>(starts + (usize(s) << 2))
    const length = load<i32>(starts + (usize(s + 1) << 2)) - first
    for (let h = 0; h < heads; h++) {
      const kv = usize(h / group * headDim)
      const keys = k + ((usize(first) * kStride + kv) << 2)
      const values = v + ((usize(first) * vStride + kv) << 2)
      const dkeys = dk + ((usize(first) * kStride + kv) << 2)
      const dvalues = dv + ((usize(first) * vStride + kv) << 2)
      // The last block first: it covers every key, so it writes and the others add.
      const last = (length - 1) / BLOCK * BLOCK
      for (let i0 = last; i0 >= 0; i0 -= BLOCK) {
        const rows = min(BLOCK, length - i0)
        const width = i0 + rows
        const row0 = first + i0
        const add = !(i0 == last && h % group == 0)
        const queries = q + ((usize(row0) * qStride + usize(h * headDim)) << 2)
        const upstream = dout + ((usize(row0) * qStride + usize(h * headDim)) << 2)
        const p = scratch
        const ds = scratch + ((usize(BLOCK) * usize(width)) << 2)
        gemm(rows, width, headDim, queries, qStride, 1, keys, 1, kStride, p, width, scale, false)
        gemm(rows, width, headDim, upstream, qStride, 1, values, 1, vStride, ds, width, 1, false)
        for (let i = 0; i < rows; i++) {
          const at = (usize(i) * usize(width)) << 2
          const n = i0 + i + 1
          const head = (usize(row0 + i) * qStride + usize(h * headDim)) << 2
          probabilitiesAndScores(
            p + at, ds + at, n,
            load<f32>(lse + ((usize(row0 + i) * heads + h) << 2)),
            dot(out + head, dout + head, headDim),
            scale
          )
          memory.fill(p + at + (usize(n) << 2), 0, usize(width - n) << 2)
          memory.fill(ds + at + (usize(n) << 2), 0, usize(width - n) << 2)
        }
        gemm(
          rows, headDim, width, ds, width, 1, keys, kStride, 1,
          dq + ((usize(row0) * qStride + usize(h * headDim)) << 2), qStride, 1, false
        )
        gemm(width, headDim, rows, ds, 1, width, queries, qStride, 1, dkeys, kStride, 1, add)
        gemm(width, headDim, rows, p, 1, width, upstream, qStride, 1, dvalues, vStride, 1, add)
      }
    }
  }
}

/** p = exp(p - lse); ds = p (ds - delta) scale, over n entries. */
// @ts-ignore: decorator
@inline
function probabilitiesAndScores(p: usize, ds: usize, n: i32, lse: f32, delta: f32, scale: f32): void {
  const z = f32x4.splat(lse)
  const d = f32x4.splat(delta)
  const by = f32x4.splat(scale)
  let i = 0
  for (; i + 4 <= n; i += 4) {
    const at = usize(i) << 2
    const e = exp4(f32x4.sub(v128.load(p + at), z))
    v128.store(p + at, e)
    v128.store(ds + at, f32x4.mul(f32x4.mul(e, f32x4.sub(v128.load(ds + at), d)), by))
  }
  for (; i < n; i++) {
    const at = usize(i) << 2
    const e = exp1(load<f32>(p + at) - lse)
    store<f32>(p + at, e)
    store<f32>(ds + at, e * (load<f32>(ds + at) - delta) * scale)
  }
}

/** Inner product of n floats, n a multiple of 4. */
// @ts-ignore: decorator
@inline
function dot(a: usize, b: usize, n: i32): f32 {
  let lanes = f32x4.splat(0)
  for (let i: usize = 0; i < usize(n) << 2; i += 16) {
    lanes = f32x4.add(lanes, f32x4.mul(v128.load(a + i), v128.load(b + i)))
  }
  return sum4(lanes)
}
