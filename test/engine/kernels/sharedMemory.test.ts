import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import { EngineError } from "../../../src/engine/Engine.js"
import { bestVariant, compileKernels, makeKernels } from "../../../src/engine/kernels/kernels.js"
import {
  blockBytes,
  fairShare,
  fillOnce,
  makeSharedMemory,
  type SharedMemory
} from "../../../src/engine/kernels/sharedMemory.js"

const get = Either.getOrThrow

const make = (blocks: ReadonlyArray<number>): SharedMemory => {
  const shared = makeSharedMemory(blocks, 2)
  if (shared === undefined) throw new Error("this runtime shares no memory")
  return shared
}

describe("two instances on one memory", () => {
  const shared = make([100_000, 64])
  const module = compileKernels(bestVariant(), true)
  const instances = [makeKernels(module, shared), makeKernels(module, shared)] as const

  it("see the same blocks, and nothing of what the other allocates", () => {
    const [one, other] = instances
    const { at } = shared.blocks[1]!
    one.floats(at, 16).fill(5)
    assert.isTrue(other.floats(at, 16).every((x) => x === 5))
    const live: Array<{ from: number; to: number; kernels: typeof one; mark: number }> = []
    for (let i = 0; i < 60; i++) {
      const kernels = instances[i % 2]!
      // Some need more than is taken from the memory at once.
      const words = (i * 7919) % 40_000 + (i % 9 === 0 ? 400_000 : 1)
      const address = get(kernels.allocate(words))
      assert.isTrue(kernels.floats(address, words).every((x) => x === 0))
      kernels.floats(address, words).fill(i + 1)
      live.push({ from: address, to: address + words * 4, kernels, mark: i + 1 })
      if (i % 5 === 4) {
        const [gone] = live.splice(i % live.length, 1)
        gone!.kernels.release(gone!.from)
      }
    }
    for (const { from, kernels, mark, to } of live) {
      assert.isTrue(kernels.floats(from, (to - from) / 4).every((x) => x === mark))
      assert.isAtLeast(from, at + 64)
    }
    for (const { from, kernels } of live) kernels.release(from)
    assert.isTrue(other.floats(at, 16).every((x) => x === 5))
  })

  it("multiply with their own scratch", () => {
    const results = instances.map((kernels) => {
      const at = get(kernels.allocate(3 * 64 * 64))
      kernels.floats(at, 2 * 64 * 64).set(Float32Array.from({ length: 2 * 64 * 64 }, (_, i) => (i * 31) % 17 - 8))
      kernels.gemm(64, 64, 64, at, 64, 1, at + 64 * 64 * 4, 64, 1, at + 2 * 64 * 64 * 4, 64, 1, 0)
      return kernels.floats(at + 2 * 64 * 64 * 4, 64 * 64).slice()
    })
    assert.deepStrictEqual(results[0], results[1])
    assert.notStrictEqual(results[0]![5], 0)
  })

  it("count the blocks as held, and share the rest equally", () => {
    assert.isAtLeast(instances[0].allocated() * 4, blockBytes(shared))
    const share = fairShare(shared)
    assert.isAtMost(2 * (share - blockBytes(shared)) + blockBytes(shared), 2 ** 32 - 2 ** 20)
    assert.strictEqual(get(Either.flip(instances[1].allocate(2 ** 30))).reason, "LimitReached")
    assert.isTrue(Either.isRight(instances[1].allocate(1000)))
  })
})

describe("a block", () => {
  it("is filled once, and again after a failure", () => {
    const shared = make([64])
    const failed = Either.left(new EngineError({ reason: "InvalidInput", detail: "no" }))
    let filled = 0
    assert.deepStrictEqual(fillOnce(shared, 0, () => failed), failed)
    for (let i = 0; i < 3; i++) {
      get(fillOnce(shared, 0, () => {
        filled++
        return Either.void
      }))
    }
    assert.strictEqual(filled, 1)
  })
})

it("what does not fit is not made", () => {
  assert.isUndefined(makeSharedMemory([2 ** 32], 2))
})
