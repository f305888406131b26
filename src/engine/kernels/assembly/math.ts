// Elementary functions on four lanes. No host imports: the same bits on every machine.

/**
 * `acc + a b` on four lanes: fused where the module may use relaxed SIMD and the machine has it, else rounded twice. Every
 * sum that must have the same bits in two places is made of these.
 */
// @ts-ignore: decorator
@inline
export function fma(acc: v128, a: v128, b: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, acc)
  return f32x4.add(acc, f32x4.mul(a, b))
}

/**
 * e^x to about 2 ulp; 0 below -87.3, clamped above 88.3, NaN for NaN. Reduction by ln 2 in two parts and the degree-5 minimax
 * polynomial of Cephes `expf`.
 */
// @ts-ignore: decorator
@inline
export function exp4(x: v128): v128 {
  const below = f32x4.lt(x, f32x4.splat(-87.3))
  const clamped = f32x4.pmax(f32x4.pmin(x, f32x4.splat(88.3)), f32x4.splat(-87.3))
  // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
  const magic = f32x4.splat(12582912)
  const shifted = f32x4.add(f32x4.mul(clamped, f32x4.splat(1.44269504088896341)), magic)
  const n = f32x4.sub(shifted, magic)
  let r = f32x4.sub(clamped, f32x4.mul(n, f32x4.splat(0.693359375)))
  r = f32x4.sub(r, f32x4.mul(n, f32x4.splat(-2.12194440e-4)))
  let p = f32x4.splat(1.9875691500e-4)
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.3981999507e-3))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1))
  p = f32x4.add(f32x4.mul(f32x4.mul(r, r), p), f32x4.add(r, f32x4.splat(1)))
  const scale = i32x4.add(i32x4.shl(shifted, 23), i32x4.splat(0x3f800000))
  return v128.andnot(f32x4.mul(p, scale), below)
}

/** Sum of the four lanes. */
// @ts-ignore: decorator
@inline
export function sum4(x: v128): f32 {
  return (f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 2)) + (f32x4.extract_lane(x, 1) + f32x4.extract_lane(x, 3))
}

/** Largest of the four lanes. */
// @ts-ignore: decorator
@inline
export function max4(x: v128): f32 {
  return max(max(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 1)), max(f32x4.extract_lane(x, 2), f32x4.extract_lane(x, 3)))
}

/** e^x of one number, with the bits of `exp4`. */
// @ts-ignore: decorator
@inline
export function exp1(x: f32): f32 {
  return f32x4.extract_lane(exp4(f32x4.splat(x)), 0)
}
