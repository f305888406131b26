// Softmax over rows: of attention scores, and of logits for log-probabilities and their gradient.

import { exp1, exp4, max4, sum4 } from "./math"

/** Largest of n floats. */
// @ts-ignore: decorator
@inline
export function rowMax(x: usize, n: i32): f32 {
  let top: f32 = -Infinity
  let i = 0
  if (n >= 4) {
    let lanes = v128.load(x)
    for (i = 4; i + 4 <= n; i += 4) lanes = f32x4.pmax(lanes, v128.load(x + (usize(i) << 2)))
    top = max4(lanes)
  }
  for (; i < n; i++) top = max(top, load<f32>(x + (usize(i) << 2)))
  return top
}

/** `x = exp(x - shift)` in place for n floats; gives the sum. */
// @ts-ignore: decorator
@inline
export function rowExp(x: usize, n: i32, shift: f32): f32 {
  const minus = f32x4.splat(shift)
  let lanes = f32x4.splat(0)
  let i = 0
  for (; i + 4 <= n; i += 4) {
    const at = x + (usize(i) << 2)
    const e = exp4(f32x4.sub(v128.load(at), minus))
    v128.store(at, e)
    lanes = f32x4.add(lanes, e)
  }
  let sum = sum4(lanes)
  for (; i < n; i++) {
    const at = x + (usize(i) << 2)
    const e = exp1(load<f32>(at) - shift)
    store<f32>(at, e)
    sum += e
  }
  return sum
}

/** `x *= factor` for n floats. */
// @ts-ignore: decorator
@inline
export function rowScale(x: usize, n: i32, factor: f32): void {
  const by = f32x4.splat(factor)
  let i = 0
  for (; i + 4 <= n; i += 4) {
    const at = x + (usize(i) << 2)
    v128.store(at, f32x4.mul(v128.load(at), by))
  }
  for (; i < n; i++) {
    const at = x + (usize(i) << 2)
    store<f32>(at, load<f32>(at) * factor)
  }
}

/** Per row of logits: log of the sum of exponentials, in double precision. */
export function logSumExp(rows: i32, n: i32, logits: usize, out: usize): void {
  for (let r = 0; r < rows; r++) {
    const x = logits + ((usize(r) * usize(n)) << 2)
    const top = rowMax(x, n)
    const minus = f32x4.splat(top)
    let low = f64x2.splat(0)
    let high = low
    let i = 0
    for (; i + 4 <= n; i += 4) {
      const e = exp4(f32x4.sub(v128.load(x + (usize(i) << 2)), minus))
      low = f64x2.add(low, f64x2.promote_low_f32x4(e))
      high = f64x2.add(high, f64x2.promote_low_f32x4(v128.shuffle<f32>(e, e, 2, 3, 2, 3)))
    }
    low = f64x2.add(low, high)
    let sum = f64x2.extract_lane(low, 0) + f64x2.extract_lane(low, 1)
    for (; i < n; i++) sum += f64(exp1(load<f32>(x + (usize(i) << 2)) - top))
    store<f64>(out + (usize(r) << 3), f64(top) + NativeMath.log(sum))
  }
}

/**
 * Log-probabilities of chosen tokens: row r has the targets `bounds[r] <= e < bounds[r + 1]`, and
 * `out[e] = logits[r][target[e]] - lse[r]`.
 */
export function gatherLogprobs(
  rows: i32,
  n: i32,
  logits: usize,
  lse: usize,
  bounds: usize,
  targets: usize,
  out: usize
): void {
  for (let r = 0; r < rows; r++) {
    const x = logits + ((usize(r) * usize(n)) << 2)
    const z = load<f64>(lse + (usize(r) << 3))
    const end = load<i32>(bounds + (usize(r + 1) << 2))
    for (let e = load<i32>(bounds + (usize(r) << 2)); e < end; e++) {
      const at = usize(e) << 2
      store<f32>(out + at, f32(f64(load<f32>(x + (usize(load<i32>(targets + at)) << 2))) - z))
    }
  }
}

/**
 * Turns logits into the gradient of a function of those log-probabilities, in place: with g = d loss / d logprob,
 * `d loss / d logit[j] = sum_e g[e] (1[target[e] = j] - p[j])`.
 */
export function logitGradient(
  rows: i32,
  n: i32,
  logits: usize,
  lse: usize,
  bounds: usize,
  targets: usize,
  gradient: usize
): void {
  for (let r = 0; r < rows; r++) {
    const x = logits + ((usize(r) * usize(n)) << 2)
    const start = load<i32>(bounds + (usize(r) << 2))
    const end = load<i32>(bounds + (usize(r + 1) << 2))
    let total: f64 = 0
    for (let e = start; e < end; e++) total += f64(load<f32>(gradient + (usize(e) << 2)))
    rowExp(x, n, f32(load<f64>(lse + (usize(r) << 3))))
    rowScale(x, n, f32(-total))
    for (let e = start; e < end; e++) {
      const at = x + (usize(load<i32>(targets + (usize(e) << 2))) << 2)
      store<f32>(at, load<f32>(at) + load<f32>(gradient + (usize(e) << 2)))
    }
  }
}
