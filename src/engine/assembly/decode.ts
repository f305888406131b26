// Kernels of the decoder: row-wise transformer steps over a paged key-value cache.
//
// A row is one token of one sequence. Every output of a row is a sum over that row's own inputs in an order that depends
// on nothing else (no row count, no neighbour), so a sequence gets the same bits whatever is decoded beside it.
//
// All pointers are byte offsets into the module's memory; all matrices are float32, row-major unless said.

import { exp4, max4, sum4 } from "./math"
import { tile } from "./scratch"

/** Tokens in a page of the key-value cache. */
const PAGE: i32 = 16

// @ts-ignore: decorator
@inline
function mulAdd(acc: v128, a: v128, b: v128): v128 {
  return f32x4.add(acc, f32x4.mul(a, b))
}

/**
 * `y[m][n] (+)= x[m][k] B(k, n)` for B packed by `packWeight`; rows of y are `ldy` floats apart. A lone row goes through
 * four panels at a time, so that a single sequence is not held up by the latency of the additions.
 */
export function linear(m: i32, n: i32, k: i32, x: usize, panels: usize, y: usize, ldy: i32, accumulate: bool): void {
  const rowX = usize(k) << 2
  const rowY = usize(ldy) << 2
  const panelSize = usize(k) << 5
  let j = 0
  while (j + 8 <= n) {
    const group = j + 32 <= n ? 4 : 1
    const to = y + (usize(j) << 2)
    let i = 0
    for (; i + 4 <= m; i += 4) {
      for (let g = 0; g < group; g++) {
        rows4(
          x + usize(i) * rowX,
          panels + usize(g) * panelSize,
          to + usize(i) * rowY + usize(g << 5),
          k,
          rowX,
          rowY,
          accumulate
        )
      }
    }
    for (; i < m; i++) {
      if (group == 4) row1x32(x + usize(i) * rowX, panels, to + usize(i) * rowY, k, panelSize, accumulate)
      else row1x8(x + usize(i) * rowX, panels, to + usize(i) * rowY, k, accumulate)
    }
    panels += usize(group) * panelSize
    j += group << 3
  }
  if (j < n) {
    for (let i = 0; i < m; i++) {
      row1x8(x + usize(i) * rowX, panels, tile, k, false)
      const to = y + usize(i) * rowY
      for (let c = j; c < n; c++) {
        const at = to + (usize(c) << 2)
        const value = load<f32>(tile + (usize(c - j) << 2))
        store<f32>(at, accumulate ? load<f32>(at) + value : value)
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function put(out: usize, value: v128, accumulate: bool): void {
  v128.store(out, accumulate ? f32x4.add(v128.load(out), value) : value)
}

function rows4(x: usize, w: usize, y: usize, k: i32, rowX: usize, rowY: usize, accumulate: bool): void {
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0), b0 = f32x4.splat(0), b1 = f32x4.splat(0)
  let c0 = f32x4.splat(0), c1 = f32x4.splat(0), d0 = f32x4.splat(0), d1 = f32x4.splat(0)
  const x1 = x + rowX, x2 = x1 + rowX, x3 = x2 + rowX
  for (let p: usize = 0, end = usize(k) << 2; p < end; p += 4) {
    const w0 = v128.load(w), w1 = v128.load(w, 16)
    const s0 = v128.load32_splat(x + p)
    a0 = mulAdd(a0, s0, w0)
    a1 = mulAdd(a1, s0, w1)
    const s1 = v128.load32_splat(x1 + p)
    b0 = mulAdd(b0, s1, w0)
    b1 = mulAdd(b1, s1, w1)
    const s2 = v128.load32_splat(x2 + p)
    c0 = mulAdd(c0, s2, w0)
    c1 = mulAdd(c1, s2, w1)
    const s3 = v128.load32_splat(x3 + p)
    d0 = mulAdd(d0, s3, w0)
    d1 = mulAdd(d1, s3, w1)
    w += 32
  }
  put(y, a0, accumulate)
  put(y + 16, a1, accumulate)
  y += rowY
  put(y, b0, accumulate)
  put(y + 16, b1, accumulate)
  y += rowY
  put(y, c0, accumulate)
  put(y + 16, c1, accumulate)
  y += rowY
  put(y, d0, accumulate)
  put(y + 16, d1, accumulate)
}

function row1x32(x: usize, w0: usize, y: usize, k: i32, panelSize: usize, accumulate: bool): void {
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0), b0 = f32x4.splat(0), b1 = f32x4.splat(0)
  let c0 = f32x4.splat(0), c1 = f32x4.splat(0), d0 = f32x4.splat(0), d1 = f32x4.splat(0)
  let w1 = w0 + panelSize, w2 = w1 + panelSize, w3 = w2 + panelSize
  for (const end = x + (usize(k) << 2); x < end; x += 4) {
    const s = v128.load32_splat(x)
    a0 = mulAdd(a0, s, v128.load(w0))
    a1 = mulAdd(a1, s, v128.load(w0, 16))
    b0 = mulAdd(b0, s, v128.load(w1))
    b1 = mulAdd(b1, s, v128.load(w1, 16))
    c0 = mulAdd(c0, s, v128.load(w2))
    c1 = mulAdd(c1, s, v128.load(w2, 16))
    d0 = mulAdd(d0, s, v128.load(w3))
    d1 = mulAdd(d1, s, v128.load(w3, 16))
    w0 += 32
    w1 += 32
    w2 += 32
    w3 += 32
  }
  put(y, a0, accumulate)
  put(y + 16, a1, accumulate)
  put(y + 32, b0, accumulate)
  put(y + 48, b1, accumulate)
  put(y + 64, c0, accumulate)
  put(y + 80, c1, accumulate)
  put(y + 96, d0, accumulate)
  put(y + 112, d1, accumulate)
}

function row1x8(x: usize, w: usize, y: usize, k: i32, accumulate: bool): void {
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0)
  for (const end = x + (usize(k) << 2); x < end; x += 4) {
    const s = v128.load32_splat(x)
    a0 = mulAdd(a0, s, v128.load(w))
    a1 = mulAdd(a1, s, v128.load(w, 16))
    w += 32
  }
  put(y, a0, accumulate)
  put(y + 16, a1, accumulate)
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
  const pages = (count + PAGE - 1) / PAGE
  const width = kvHeads * d
  const group = heads / kvHeads
  const scale4 = f32x4.splat(scale)
  for (let h = 0; h < heads; h++) {
    const head = usize(h / group * d) << 2
    const qh = q + (usize(h * d) << 2)
    const oh = out + (usize(h * d) << 2)
    let top = f32x4.splat(-Infinity)
    for (let g = 0; g < pages; g++) {
      let k = usize(load<u32>(table + (usize(g) << 2))) + layer + head * PAGE
      let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0)
      for (let p: usize = 0, end = usize(d) << 2; p < end; p += 4) {
        const x = v128.load32_splat(qh + p)
        s0 = mulAdd(s0, x, v128.load(k))
        s1 = mulAdd(s1, x, v128.load(k, 16))
        s2 = mulAdd(s2, x, v128.load(k, 32))
        s3 = mulAdd(s3, x, v128.load(k, 48))
        k += PAGE << 2
      }
      s0 = f32x4.mul(s0, scale4)
      s1 = f32x4.mul(s1, scale4)
      s2 = f32x4.mul(s2, scale4)
      s3 = f32x4.mul(s3, scale4)
      const at = scores + (usize(g * PAGE) << 2)
      v128.store(at, s0)
      v128.store(at, s1, 16)
      v128.store(at, s2, 32)
      v128.store(at, s3, 48)
      if (g == pages - 1) {
        for (let t = count; t < pages * PAGE; t++) store<f32>(scores + (usize(t) << 2), -Infinity)
        s0 = v128.load(at)
        s1 = v128.load(at, 16)
        s2 = v128.load(at, 32)
        s3 = v128.load(at, 48)
      }
      top = f32x4.max(top, f32x4.max(f32x4.max(s0, s1), f32x4.max(s2, s3)))
    }
    const shift = f32x4.splat(max4(top))
    let total = f32x4.splat(0)
    for (let p: usize = 0, end = usize(pages * PAGE) << 2; p < end; p += 16) {
      const e = exp4(f32x4.sub(v128.load(scores + p), shift))
      v128.store(scores + p, e)
      total = f32x4.add(total, e)
    }
    const norm = f32x4.splat(<f32> 1 / sum4(total))
    const values = layer + (usize(width * PAGE) << 2) + head
    const row = usize(width) << 2
    let c = 0
    for (; c + 32 <= d; c += 32) {
      let a0 = f32x4.splat(0), a1 = f32x4.splat(0), a2 = f32x4.splat(0), a3 = f32x4.splat(0)
      let a4 = f32x4.splat(0), a5 = f32x4.splat(0), a6 = f32x4.splat(0), a7 = f32x4.splat(0)
      let v: usize = 0
      for (let t = 0; t < count; t++) {
        if ((t & (PAGE - 1)) == 0) {
          v = usize(load<u32>(table + (usize(t / PAGE) << 2))) + values + (usize(c) << 2)
        }
        const e = v128.load32_splat(scores + (usize(t) << 2))
        a0 = mulAdd(a0, e, v128.load(v))
        a1 = mulAdd(a1, e, v128.load(v, 16))
        a2 = mulAdd(a2, e, v128.load(v, 32))
        a3 = mulAdd(a3, e, v128.load(v, 48))
        a4 = mulAdd(a4, e, v128.load(v, 64))
        a5 = mulAdd(a5, e, v128.load(v, 80))
        a6 = mulAdd(a6, e, v128.load(v, 96))
        a7 = mulAdd(a7, e, v128.load(v, 112))
        v += row
      }
      const o = oh + (usize(c) << 2)
      v128.store(o, f32x4.mul(a0, norm))
      v128.store(o, f32x4.mul(a1, norm), 16)
      v128.store(o, f32x4.mul(a2, norm), 32)
      v128.store(o, f32x4.mul(a3, norm), 48)
      v128.store(o, f32x4.mul(a4, norm), 64)
      v128.store(o, f32x4.mul(a5, norm), 80)
      v128.store(o, f32x4.mul(a6, norm), 96)
      v128.store(o, f32x4.mul(a7, norm), 112)
    }
    for (; c < d; c += 4) {
      let a = f32x4.splat(0)
      let v: usize = 0
      for (let t = 0; t < count; t++) {
        if ((t & (PAGE - 1)) == 0) {
          v = usize(load<u32>(table + (usize(t / PAGE) << 2))) + values + (usize(c) << 2)
        }
        a = mulAdd(a, v128.load32_splat(scores + (usize(t) << 2)), v128.load(v))
        v += row
      }
      v128.store(oh + (usize(c) << 2), f32x4.mul(a, norm))
    }
  }
}
