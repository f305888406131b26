// Where the kernels keep intermediate panels. The host reserves the regions once and tells their addresses.

/** Packed panels of the right operand of `gemm`: KC x NC floats. */
export let packedB: usize = 0
/** Packed panels of the left operand of `gemm`: MC x KC floats. */
export let packedA: usize = 0
/** One 4x8 tile for the ragged edge of a result. */
export let tile: usize = 0

/** The common dimension is summed in blocks of KC: a sum's value depends on its length only, never on the batch around it. */
export const KC: i32 = 256
export const NC: i32 = 384
export const MC: i32 = 64

export function scratchBytes(): i32 {
  return (KC * NC + MC * KC + 32) * 4
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
