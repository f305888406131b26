/**
 * The WebAssembly kernels with their memory: one growable block, handed out by address.
 *
 * Addresses are bytes from the start of the memory and lengths are 32-bit words (floats or integers). Growing the memory
 * detaches every view taken before, so a view is taken where it is used and never kept across `allocate`.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { EngineError } from "../Engine.js"
import { kernelsWasm } from "./kernelsWasm.generated.js"

/**
 * The exported kernels; `src/engine/assembly` says what each does. Strides are in floats, addresses in bytes, flags 0 or 1.
 * Matrices are row-major. Every entry of a product is summed over k in ascending order in blocks of 256, so that it does
 * not depend on how many rows are computed together.
 */
export interface KernelFunctions {
  /** `C[m][n] (+)= alpha A[m][k] B[k][n]`; both operands through row and column strides. */
  readonly gemm: (
    m: number,
    n: number,
    k: number,
    a: number,
    aRowStride: number,
    aColumnStride: number,
    b: number,
    bRowStride: number,
    bColumnStride: number,
    c: number,
    ldc: number,
    alpha: number,
    accumulate: number
  ) => void
  /** Floats of `packWeight`'s result. */
  readonly packedLength: (n: number, k: number) => number
  /** Packs `B[k][n]` for `gemmPacked`. A weight `W[n][k]` is B with strides (1, k). */
  readonly packWeight: (n: number, k: number, b: number, bRowStride: number, bColumnStride: number, to: number) => void
  /** `C[m][n] (+)= A[m][k] B`, with the bits of `gemm`; made for a few rows at a time. */
  readonly gemmPacked: (
    m: number,
    n: number,
    k: number,
    a: number,
    lda: number,
    packed: number,
    c: number,
    ldc: number,
    accumulate: number
  ) => void
  readonly rmsNorm: (
    rows: number,
    n: number,
    x: number,
    weight: number,
    out: number,
    inverse: number,
    eps: number
  ) => void
  readonly rmsNormBackward: (
    rows: number,
    n: number,
    x: number,
    weight: number,
    inverse: number,
    dout: number,
    dx: number,
    dweight: number
  ) => void
  readonly headNormRotate: (
    rows: number,
    heads: number,
    n: number,
    x: number,
    xStride: number,
    weight: number,
    out: number,
    outStride: number,
    positions: number,
    cosine: number,
    sine: number,
    inverse: number,
    eps: number
  ) => void
  readonly headNormRotateBackward: (
    rows: number,
    heads: number,
    n: number,
    x: number,
    xStride: number,
    weight: number,
    dout: number,
    doutStride: number,
    dx: number,
    dxStride: number,
    positions: number,
    cosine: number,
    sine: number,
    inverse: number,
    dweight: number
  ) => void
  /** Floats of scratch for sequences up to `longest`. */
  readonly attentionScratch: (longest: number) => number
  readonly attentionForward: (
    sequences: number,
    starts: number,
    heads: number,
    kvHeads: number,
    headDim: number,
    q: number,
    qStride: number,
    k: number,
    kStride: number,
    v: number,
    vStride: number,
    out: number,
    outStride: number,
    lse: number,
    scratch: number
  ) => void
  readonly attentionBackward: (
    sequences: number,
    starts: number,
    heads: number,
    kvHeads: number,
    headDim: number,
    q: number,
    qStride: number,
    k: number,
    kStride: number,
    v: number,
    vStride: number,
    out: number,
    outStride: number,
    lse: number,
    dout: number,
    dq: number,
    dqStride: number,
    dk: number,
    dkStride: number,
    dv: number,
    dvStride: number,
    scratch: number
  ) => void
  /** `lse` is double precision: 8 bytes a row. */
  readonly logSumExp: (rows: number, n: number, logits: number, lse: number) => void
  readonly gatherLogprobs: (
    rows: number,
    n: number,
    logits: number,
    lse: number,
    bounds: number,
    targets: number,
    out: number
  ) => void
  readonly logitGradient: (
    rows: number,
    n: number,
    logits: number,
    lse: number,
    bounds: number,
    targets: number,
    gradient: number
  ) => void
  readonly embed: (rows: number, n: number, tokens: number, table: number, out: number) => void
  readonly embedBackward: (rows: number, n: number, tokens: number, dout: number, dtable: number) => void
  readonly swiglu: (rows: number, n: number, gateUp: number, out: number) => void
  readonly swigluBackward: (rows: number, n: number, gateUp: number, dout: number) => void
  readonly add: (n: number, from: number, to: number) => void
  readonly sumOfSquares: (n: number, x: number) => number
  readonly adamw: (
    n: number,
    parameters: number,
    gradients: number,
    m: number,
    v: number,
    clip: number,
    keep: number,
    beta1: number,
    rest1: number,
    beta2: number,
    rest2: number,
    rate: number,
    root: number,
    eps: number
  ) => void
  readonly uniform: (
    n: number,
    out: number,
    seedLow: number,
    seedHigh: number,
    stream: number,
    bound: number
  ) => void
  /** Puts keys and values of rows into the pages of their sequences. */
  readonly remember: (
    rows: number,
    keys: number,
    keyStride: number,
    values: number,
    valueStride: number,
    tables: number,
    positions: number,
    layer: number,
    width: number
  ) => void
  /** Causal attention of rows over the pages of their sequences. */
  readonly attend: (
    rows: number,
    q: number,
    tables: number,
    positions: number,
    layer: number,
    out: number,
    scores: number,
    heads: number,
    kvHeads: number,
    headDim: number
  ) => void
  /** Writes `exp((logit - max) / temperature)` of a row and gives the logarithm of their sum. */
  readonly temper: (n: number, logits: number, temperature: number, weights: number) => number
}

/** A kernel instance. Instances share nothing. */
export interface Kernels extends KernelFunctions {
  readonly memory: WebAssembly.Memory
  /** Reserves zeroed words and gives their address, a multiple of 64. */
  readonly allocate: (words: number) => Either.Either<number, EngineError>
  /** Gives back what `allocate` gave; 0 is ignored. */
  readonly release: (address: number) => void
  /** Words reserved now, for tests and limits. */
  readonly allocated: () => number
  /** A view of memory, good until the next `allocate`. */
  readonly floats: (address: number, length: number) => Float32Array
  /** A view of memory, good until the next `allocate`. */
  readonly ints: (address: number, length: number) => Int32Array
}

const page = 65_536
const align = 64
const maxPages = 65_536

/** Compiles the kernels; the module can be sent to workers and instantiated there. */
export const compileKernels = (): WebAssembly.Module =>
  new WebAssembly.Module(Uint8Array.from(atob(kernelsWasm), (character) => character.charCodeAt(0)))

/** Makes an instance with a memory of its own. */
export const makeKernels = (module: WebAssembly.Module = compileKernels()): Kernels => {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: maxPages })
  const abort = (): void => undefined
  const instance = new WebAssembly.Instance(module, { env: { memory, abort } })
  // The interface lists what src/engine/assembly/index.ts exports; the type of exports knows no signatures.
  const exports = instance.exports as unknown as KernelFunctions & {
    readonly heapBase: () => number
    readonly scratchBytes: () => number
    readonly setScratch: (address: number) => void
  }

  /** Free stretches in ascending order, never touching one another: [address, bytes]. */
  const free: Array<{ address: number; bytes: number }> = []
  const taken = new Map<number, number>()
  let used = 0
  let end = Math.ceil(exports.heapBase() / align) * align

  const release = (address: number): void => {
    const bytes = taken.get(address)
    if (bytes === undefined) return
    taken.delete(address)
    used -= bytes
    let at = free.findIndex((hole) => hole.address > address)
    if (at < 0) at = free.length
    const before = free[at - 1]
    const after = free[at]
    const joinsBefore = before !== undefined && before.address + before.bytes === address
    const joinsAfter = after !== undefined && address + bytes === after.address
    if (joinsBefore && joinsAfter) {
      before.bytes += bytes + after.bytes
      free.splice(at, 1)
    } else if (joinsBefore) before.bytes += bytes
    else if (joinsAfter) {
      after.address = address
      after.bytes += bytes
    } else free.splice(at, 0, { address, bytes })
  }

  /** The smallest hole that is large enough, or fresh memory at the end. */
  const allocate = (words: number): Either.Either<number, EngineError> => {
    const bytes = Math.max(align, Math.ceil(words * 4 / align) * align)
    let best = -1
    for (let i = 0; i < free.length; i++) {
      const size = free[i]!.bytes
      if (size >= bytes && (best < 0 || size < free[best]!.bytes)) best = i
    }
    let address: number
    if (best >= 0) {
      const hole = free[best]!
      address = hole.address
      hole.address += bytes
      hole.bytes -= bytes
      if (hole.bytes === 0) free.splice(best, 1)
    } else {
      const missing = Math.ceil((end + bytes - memory.buffer.byteLength) / page)
      if (missing > 0 && !grow(memory, missing)) {
        return Either.left(
          new EngineError({
            reason: "LimitReached",
            detail: `the engine needs ${bytes} more bytes of memory than it can get: release a run or a sampler`
          })
        )
      }
      address = end
      end += bytes
    }
    taken.set(address, bytes)
    used += bytes
    new Uint8Array(memory.buffer, address, bytes).fill(0)
    return Either.right(address)
  }

  const kernels: Kernels = {
    ...exports,
    memory,
    allocate,
    release,
    allocated: () => used / 4,
    floats: (address, length) => new Float32Array(memory.buffer, address, length),
    ints: (address, length) => new Int32Array(memory.buffer, address, length)
  }
  // The first allocation: it cannot fail, the initial memory holds it.
  exports.setScratch(Either.getOrThrow(allocate(exports.scratchBytes() / 4)))
  return kernels
}

/** `Memory.grow` reports failure by throwing. */
const grow = (memory: WebAssembly.Memory, pages: number): boolean => {
  if (memory.buffer.byteLength / page + pages > maxPages) return false
  try {
    memory.grow(pages)
    return true
  } catch {
    return false
  }
}
