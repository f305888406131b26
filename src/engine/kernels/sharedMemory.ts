/**
 * One memory for the kernels of several threads: blocks that all of them read, filled by whoever needs them first, and
 * after those what each thread takes for itself.
 *
 * @since 0.2.0
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"

export const pageBytes = 65_536
/** All that a 32-bit address reaches. */
export const maxPages = 65_536

/** Plain data that is sent to the threads. */
export interface SharedMemory {
  readonly memory: WebAssembly.Memory
  /** A lock, the first page that nobody has, then a state for each block. */
  readonly control: Int32Array
  /** Address and bytes of each block. */
  readonly blocks: ReadonlyArray<{ readonly at: number; readonly bytes: number }>
  readonly threads: number
}

const lock = 0
const next = 1
const states = 2

const empty = 0
const filling = 1
const full = 2

/** The module's own data lies before this, the same in every thread. */
const firstPage = 16

/** Bytes that the blocks take from every thread. */
export const blockBytes = ({ blocks }: SharedMemory): number => blocks.reduce((sum, { bytes }) => sum + bytes, 0)

/** Bytes that a thread may hold, blocks included, so that all may hold as much. */
export const fairShare = (shared: SharedMemory): number => {
  const blocks = blockBytes(shared)
  return blocks + Math.floor((maxPages * pageBytes - firstPage * pageBytes - blocks) / shared.threads)
}

/** Makes a memory with blocks of so many bytes; undefined where threads cannot share one. */
export const makeSharedMemory = (blocks: ReadonlyArray<number>, threads: number): SharedMemory | undefined => {
  if (typeof SharedArrayBuffer !== "function") return undefined
  let page = firstPage
  const laid = blocks.map((bytes) => {
    const block = { at: page * pageBytes, bytes }
    page += Math.ceil(bytes / pageBytes)
    return block
  })
  try {
    const memory = new WebAssembly.Memory({ initial: page, maximum: maxPages, shared: true })
    const control = new Int32Array(new SharedArrayBuffer((states + blocks.length) * 4))
    control[next] = page
    // Some runtimes have shared memories but cannot send them.
    return structuredClone({ memory, control, blocks: laid, threads })
  } catch {
    return undefined
  }
}

const locked = <A>({ control }: SharedMemory, body: () => A): A => {
  while (Atomics.compareExchange(control, lock, 0, 1) !== 0) Atomics.wait(control, lock, 1)
  try {
    return body()
  } finally {
    Atomics.store(control, lock, 0)
    Atomics.notify(control, lock, 1)
  }
}

/** Takes so many whole pages for this thread, or gives undefined; answers with their address. */
export const takePages = (shared: SharedMemory, pages: number): number | undefined =>
  locked(shared, () => {
    const { control, memory } = shared
    const first = Atomics.load(control, next)
    const end = first + pages
    try {
      // What others have grown is seen here only now.
      if (memory.buffer.byteLength < end * pageBytes) memory.grow(0)
      const missing = end - memory.buffer.byteLength / pageBytes
      if (missing > 0) memory.grow(missing)
    } catch {
      return undefined
    }
    Atomics.store(control, next, end)
    return first * pageBytes
  })

/** Fills a block unless another thread has; while one is at it the others wait. What fails is tried again by the next. */
export const fillOnce = (
  { control }: SharedMemory,
  block: number,
  fill: () => Either.Either<void, EngineError>
): Either.Either<void, EngineError> => {
  const state = states + block
  for (;;) {
    const seen = Atomics.compareExchange(control, state, empty, filling)
    if (seen === full) return Either.void
    if (seen === filling) {
      Atomics.wait(control, state, filling)
      continue
    }
    const filled = fill()
    Atomics.store(control, state, Either.isRight(filled) ? full : empty)
    Atomics.notify(control, state)
    return filled
  }
}
