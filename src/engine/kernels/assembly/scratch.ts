// Where the kernels keep intermediate panels. The host reserves the regions once and tells their addresses.

/** Packed panels of the right operand of `gemm`: KC x NC floats. */
export let packedB: usize = 0
/** Packed panels of the left operand of `gemm`: MC x KC floats. */
export let packedA: usize = 0
/** Where a tile's sums go: 6 rows of 8 columns. */
export let tile: usize = 0

/** Rows of a tile: 12 sums, or 8 where a product takes a register of its own before it is added. */
export const MR: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 4

/** The common dimension is summed in blocks of KC: a sum's value depends on its length only, never on the batch around it. */
export const KC: i32 = 256
export const NC: i32 = 384
/** A multiple of 6. */
export const MC: i32 = 96

export function scratchBytes(): i32 {
  return (KC * NC + MC * KC + 48) * 4
}

export function setScratch(base: usize): void {
  packedB = base
  packedA = packedB + usize(KC * NC * 4)
  tile = packedA + usize(MC * KC * 4)
}

/** The first address that the module itself does not use. */
export function heapBase(): usize {
  return __heap_base
}
