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
import type { KernelFunctions } from "./kernelFunctions.js"
import { plainFlags, plainWasm, relaxedFlags, relaxedWasm } from "./kernelsWasm.generated.js"
import { blockBytes, maxPages, pageBytes as page, type SharedMemory, takePages } from "./sharedMemory.js"

/** A kernel instance. Instances share nothing, unless they are made on one shared memory: then what each allocates is its own. */
export interface Kernels extends KernelFunctions {
  readonly memory: WebAssembly.Memory
  /** Reserves zeroed words and gives their address, a multiple of 64. */
  readonly allocate: (words: number) => Either.Either<number, EngineError>
  /** Gives back what `allocate` gave; 0 is ignored. */
  readonly release: (address: number) => void
  /** Words reserved now, with the blocks of a shared memory; for tests and limits. */
  readonly allocated: () => number
  /** A view of memory, good until the next `allocate`. */
  readonly floats: (address: number, length: number) => Float32Array
  /** A view of memory, good until the next `allocate`. */
  readonly ints: (address: number, length: number) => Int32Array
}

const align = 64
/** Taken from a shared memory at once, at least. */
const extentPages = 16

/**
 * A module of one function `() -> v128` that uses `f32x4.relaxed_madd`, in hexadecimal: only runtimes with relaxed SIMD
 * find it valid.
 */
const relaxedProbe = "0061736d01000000" + "0105016000017b" + "03020100" + "0a13011100" + "4100fd0f".repeat(3) +
  "fd85020b"

/** The variants of the kernels: `relaxed` multiplies and adds in one rounding where the machine can. */
export type Variant = "plain" | "relaxed"

/** The best variant that this runtime can load: `relaxed` from Node 22 on. */
export const bestVariant = (): Variant =>
  WebAssembly.validate(Uint8Array.from(relaxedProbe.match(/../g) ?? [], (byte) => parseInt(byte, 16)))
    ? "relaxed"
    : "plain"

/** Compiles the kernels; the module can be sent to workers and instantiated there. `shared`: for a shared memory. */
export const compileKernels = (variant: Variant = bestVariant(), shared = false): WebAssembly.Module => {
  const [text, flags] = variant === "relaxed" ? [relaxedWasm, relaxedFlags] : [plainWasm, plainFlags]
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
  if (shared) bytes[flags] = 3
  return new WebAssembly.Module(bytes)
}

/** Makes an instance with a memory of its own, or on a shared one. */
export const makeKernels = (module?: WebAssembly.Module, shared?: SharedMemory): Kernels => {
  const memory = shared?.memory ?? new WebAssembly.Memory({ initial: 16, maximum: maxPages })
  const abort = (): void => undefined
  const compiled = module ?? compileKernels(bestVariant(), shared !== undefined)
  const instance = new WebAssembly.Instance(compiled, { env: { memory, abort } })
  // The interface lists what src/engine/kernels/assembly/index.ts exports; the type of exports knows no signatures.
  const exports = instance.exports as unknown as KernelFunctions & {
    readonly heapBase: () => number
    readonly scratchBytes: () => number
    readonly setScratch: (address: number) => void
  }

  /** Free stretches in ascending order, never touching one another: [address, bytes]. */
  const free: Array<{ address: number; bytes: number }> = []
  const taken = new Map<number, number>()
  let used = shared === undefined ? 0 : blockBytes(shared)
  let end = Math.ceil(exports.heapBase() / align) * align

  const addHole = (address: number, bytes: number): void => {
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

  const release = (address: number): void => {
    const bytes = taken.get(address)
    if (bytes === undefined) return
    taken.delete(address)
    used -= bytes
    addHole(address, bytes)
  }

  /** Fresh memory as a hole of at least so many bytes. */
  const extend = (bytes: number): boolean => {
    if (shared !== undefined) {
      // The last of the memory may be less than is taken at once.
      const least = Math.ceil(bytes / page)
      for (const pages of [Math.max(extentPages, least), least]) {
        const address = takePages(shared, pages)
        if (address === undefined) continue
        addHole(address, pages * page)
        return true
      }
      return false
    }
    const missing = Math.ceil((end + bytes - memory.buffer.byteLength) / page)
    if (missing > 0 && !grow(memory, missing)) return false
    addHole(end, bytes)
    end += bytes
    return true
  }

  const holeFor = (bytes: number): number => {
    let best = -1
    for (let i = 0; i < free.length; i++) {
      const size = free[i]!.bytes
      if (size >= bytes && (best < 0 || size < free[best]!.bytes)) best = i
    }
    return best
  }

  /** The smallest hole that is large enough, or fresh memory at the end. */
  const allocate = (words: number): Either.Either<number, EngineError> => {
    const bytes = Math.max(align, Math.ceil(words * 4 / align) * align)
    let best = holeFor(bytes)
    if (best < 0 && extend(bytes)) best = holeFor(bytes)
    const hole = free[best]
    if (hole === undefined) {
      return Either.left(
        new EngineError({
          reason: "LimitReached",
          detail: `the engine needs ${bytes} more bytes of memory than it can get: release a run or a sampler`
        })
      )
    }
    const { address } = hole
    hole.address += bytes
    hole.bytes -= bytes
    if (hole.bytes === 0) free.splice(best, 1)
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
