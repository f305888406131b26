// Kernels of the decoder: row-wise transformer steps over a paged key-value cache.
//
// A row is one token of one sequence. Every output of a row is a sum over that row's own inputs in an order that depends
// on nothing else (no row count, no neighbour), so a sequence gets the same bits whatever is decoded beside it. The order
// is that of the training pass (ascending, in blocks of KC), so sampler and trainer give the same log-probabilities.
//
// All pointers are byte offsets into the module's memory; all matrices are float32, row-major unless said.

import { exp1, exp4, fma } from "./math"
import { KC } from "./scratch"
import { rowExp, rowMax, rowScale } from "./softmax"

/** Tokens in a page of the key-value cache. */
const PAGE: i32 = 16

function put(out: usize, value: v128, accumulate: bool): void {
  v128.store(out, accumulate ? f32x4.add(v128.load(out), value) : value)
}

/**
 * Puts the keys and values of `rows` tokens, `width` numbers each, into the cache. `tables` holds the address of each
 * row's page table, a list of page addresses; `positions` each row's place in its sequence. A page holds `PAGE` tokens of
 * all layers; the part of a layer begins `layer` bytes into it with the keys as `[width][PAGE]`, then the values as
 * `[PAGE][width]`.
 */
export function remember(
  rows: i32,
  keys: usize,
  keyStride: i32,
  values: usize,
  valueStride: i32,
  tables: usize,
  positions: usize,
  layer: usize,
  width: i32
): void {
  for (let r = 0; r < rows; r++) {
    const position = load<i32>(positions + (usize(r) << 2))
    const slot = position & (PAGE - 1)
    const table = usize(load<u32>(tables + (usize(r) << 2)))
    const page = usize(load<u32>(table + (usize(position / PAGE) << 2))) + layer
    const key = keys + (usize(r * keyStride) << 2)
    let to = page + (usize(slot) << 2)
    for (let i = 0; i < width; i++) {
      store<f32>(to, load<f32>(key + (usize(i) << 2)))
      to += PAGE << 2
    }
    memory.copy(page + (usize(width * (PAGE + slot)) << 2), values + (usize(r * valueStride) << 2), usize(width) << 2)
  }
}

/**
 * Causal grouped-query attention of `rows` tokens over their own sequences' pages, which hold the rows themselves.
 * `q` and `out` are `[rows][heads][headDim]`; `scores` is scratch for the longest sequence, in whole pages.
 */
export function attend(
  rows: i32,
  q: usize,
  tables: usize,
  positions: usize,
  layer: usize,
  out: usize,
  scores: usize,
  heads: i32,
  kvHeads: i32,
  headDim: i32
): void {
  const scale = f32(1.0 / Math.sqrt(f64(headDim)))
  const bytes = usize(heads * headDim) << 2
  for (let r = 0; r < rows; r++) {
    attendRow(
      q,
      usize(load<u32>(tables + (usize(r) << 2))),
      layer,
      out,
      scores,
      load<i32>(positions + (usize(r) << 2)) + 1,
      heads,
      kvHeads,
      headDim,
      scale
    )
    q += bytes
    out += bytes
  }
}

function attendRow(
  q: usize,
  table: usize,
  layer: usize,
  out: usize,
  scores: usize,
  count: i32,
  heads: i32,
  kvHeads: i32,
  d: i32,
  scale: f32
): void {
  const width = kvHeads * d
  const group = heads / kvHeads
  const scale4 = f32x4.splat(scale)
  const headBytes = usize(d) << 2
  for (let h = 0; h < heads; h++) {
    const head = usize(h / group) * headBytes
    for (let t = 0; t < count; t += PAGE) {
      let k = pageOf(table, t) + layer + head * PAGE
      let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0)
      for (let p: usize = 0; p < headBytes; p += 4) {
        const x = v128.load32_splat(q + p)
        s0 = fma(s0, x, v128.load(k))
        s1 = fma(s1, x, v128.load(k, 16))
        s2 = fma(s2, x, v128.load(k, 32))
        s3 = fma(s3, x, v128.load(k, 48))
        k += PAGE << 2
      }
      const at = scores + (usize(t) << 2)
      v128.store(at, f32x4.mul(s0, scale4))
      v128.store(at, f32x4.mul(s1, scale4), 16)
      v128.store(at, f32x4.mul(s2, scale4), 32)
      v128.store(at, f32x4.mul(s3, scale4), 48)
    }
    rowScale(scores, count, 1 / rowExp(scores, count, rowMax(scores, count)))
    const values = layer + (usize(width * PAGE) << 2) + head
    for (let first = 0; first < count; first += KC) {
      const end = min(first + KC, count)
      let c: usize = 0
      for (; c + 128 <= headBytes; c += 128) mix32(scores, table, values + c, out + c, first, end, usize(width) << 2)
      for (; c < headBytes; c += 16) mix4(scores, table, values + c, out + c, first, end, usize(width) << 2)
    }
    q += headBytes
    out += headBytes
  }
}

function pageOf(table: usize, t: i32): usize {
  return usize(load<u32>(table + (usize(t / PAGE) << 2)))
}

/** 32 columns of the weighted sum of the values of tokens `first` to `end`, added to `out` unless it begins with them. */
function mix32(weights: usize, table: usize, values: usize, out: usize, first: i32, end: i32, row: usize): void {
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0), a2 = f32x4.splat(0), a3 = f32x4.splat(0)
  let a4 = f32x4.splat(0), a5 = f32x4.splat(0), a6 = f32x4.splat(0), a7 = f32x4.splat(0)
  let w = weights + (usize(first) << 2)
  for (let t = first; t < end; t += PAGE) {
    let v = pageOf(table, t) + values
    for (const stop = w + (usize(min(PAGE, end - t)) << 2); w < stop; w += 4) {
      const x = v128.load32_splat(w)
      a0 = fma(a0, x, v128.load(v))
      a1 = fma(a1, x, v128.load(v, 16))
      a2 = fma(a2, x, v128.load(v, 32))
      a3 = fma(a3, x, v128.load(v, 48))
      a4 = fma(a4, x, v128.load(v, 64))
      a5 = fma(a5, x, v128.load(v, 80))
      a6 = fma(a6, x, v128.load(v, 96))
      a7 = fma(a7, x, v128.load(v, 112))
      v += row
    }
  }
  const add = first > 0
  put(out, a0, add)
  put(out + 16, a1, add)
  put(out + 32, a2, add)
  put(out + 48, a3, add)
  put(out + 64, a4, add)
  put(out + 80, a5, add)
  put(out + 96, a6, add)
  put(out + 112, a7, add)
}

/** The same for four columns. */
function mix4(weights: usize, table: usize, values: usize, out: usize, first: i32, end: i32, row: usize): void {
  let a = f32x4.splat(0)
  let w = weights + (usize(first) << 2)
  for (let t = first; t < end; t += PAGE) {
    let v = pageOf(table, t) + values
    for (const stop = w + (usize(min(PAGE, end - t)) << 2); w < stop; w += 4) {
      a = fma(a, v128.load32_splat(w), v128.load(v))
      v += row
    }
  }
  put(out, a, first > 0)
}

/**
 * Writes the weights `exp((logit - max) / temperature)` and gives the logarithm of their sum, which at temperature 1 has
 * the bits of the training pass's `logSumExp` less its maximum.
 */
export function temper(n: i32, logits: usize, temperature: f32, weights: usize): f64 {
  const top = rowMax(logits, n)
  const top4 = f32x4.splat(top)
  const temperature4 = f32x4.splat(temperature)
  let low = f64x2.splat(0)
  let high = low
  let i = 0
  for (; i + 4 <= n; i += 4) {
    const at = usize(i) << 2
    const e = exp4(f32x4.div(f32x4.sub(v128.load(logits + at), top4), temperature4))
    v128.store(weights + at, e)
    low = f64x2.add(low, f64x2.promote_low_f32x4(e))
    high = f64x2.add(high, f64x2.promote_low_f32x4(v128.shuffle<f32>(e, e, 2, 3, 2, 3)))
  }
  low = f64x2.add(low, high)
  let sum = f64x2.extract_lane(low, 0) + f64x2.extract_lane(low, 1)
  for (; i < n; i++) {
    const at = usize(i) << 2
    const e = exp1((load<f32>(logits + at) - top) / temperature)
    store<f32>(weights + at, e)
    sum += f64(e)
  }
  return NativeMath.log(sum)
}
