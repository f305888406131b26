import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import { decodeStep, freezeWeights } from "../../../src/engine/model/decoder.js"
import { forward, logits } from "../../../src/engine/model/forward.js"
import { type ModelConfig, nano } from "../../../src/engine/model/modelConfig.js"
import { layMicroBatch } from "../../../src/engine/run/microBatch.js"
import { makeCacheBudget, makePageCache } from "../../../src/engine/sampler/pageCache.js"
import { families, tiny, tinyModel, tokensOf } from "../models.js"

const get = Either.getOrThrow

/** Reads a sequence in pieces through the cache; logits of every row. */
const throughCache = (model: ReturnType<typeof tinyModel>, tokens: Int32Array, piece: number): Float32Array => {
  const { vocabSize } = model.config
  const frozen = get(freezeWeights(model, model.weights))
  const cache = makePageCache(model, makeCacheBudget(model.kernels, 2 ** 30))
  const table = get(cache.open())
  const out = new Float32Array(tokens.length * vocabSize)
  for (let from = 0; from < tokens.length; from += piece) {
    const count = Math.min(piece, tokens.length - from)
    get(cache.extend(table, from + count))
    const rows = Array.from({ length: count }, (_, i) => i)
    const step = get(decodeStep(model, frozen, {
      count,
      tokens: tokens.subarray(from, from + count),
      positions: rows.map((i) => from + i),
      tables: rows.map(() => table.address),
      wanted: rows
    }))
    out.set(step, from * vocabSize)
  }
  cache.close(table)
  frozen.blocks.forEach(model.kernels.release)
  return out
}

const throughForward = (model: ReturnType<typeof tinyModel>, tokens: Int32Array): Float32Array => {
  const { vocabSize } = model.config
  const datum = { tokens, targets: tokens, perToken: 1, shape: [tokens.length], inputs: {} }
  const pass = get(forward(model, model.weights, get(layMicroBatch(model, [datum], 0, 1)), false))
  const a = pass.activations
  const out = new Float32Array(tokens.length * vocabSize)
  for (let first = 0; first < tokens.length; first += a.headRows) {
    const count = Math.min(a.headRows, tokens.length - first)
    logits(pass, first, count)
    out.set(model.kernels.floats(a.logits, count * vocabSize), first * vocabSize)
  }
  return out
}

describe("the decoder over its cache", () => {
  const shapes: ReadonlyArray<readonly [name: string, config: ModelConfig, length: number]> = [
    ["a ragged shape", tiny, 96],
    ["sums in several blocks, contexts of several blocks", { ...tiny, maxContext: 600, ffnDim: 300, headDim: 40 }, 530],
    ["one head for all queries", { ...tiny, kvHeads: 1, layers: 1 }, 33],
    ["nano", nano, 64],
    ...Object.entries(families).map(([name, config]) => [name, config, 40] as const)
  ]
  for (const [name, config, length] of shapes) {
    it(`gives the bits of the training pass's logits: ${name}`, () => {
      const model = tinyModel(5n, config)
      const tokens = tokensOf(length, 1, config.vocabSize)
      const expected = throughForward(model, tokens)
      for (const piece of [1, 7, length]) {
        const differing = throughCache(model, tokens, piece).findIndex((x, i) => x !== expected[i])
        assert.strictEqual(differing, -1, `in pieces of ${piece}`)
      }
    })
  }

  it("gives all its memory back", () => {
    const model = tinyModel()
    throughCache(model, tokensOf(40, 1), 8)
    const before = model.kernels.allocated()
    throughCache(model, tokensOf(40, 1), 8)
    assert.strictEqual(model.kernels.allocated(), before)
  })

  it("shares whole pages and copies a page that both sides will write", () => {
    const model = tinyModel()
    const budget = makeCacheBudget(model.kernels, 2 ** 30)
    const cache = makePageCache(model, budget)
    const prompt = get(cache.open())
    get(cache.extend(prompt, 40))
    assert.strictEqual(budget.held, 3 * cache.pageBytes)
    const first = get(cache.open({ table: prompt, tokens: 40 }))
    const second = get(cache.open({ table: prompt, tokens: 32 }))
    assert.deepStrictEqual(first.pages.slice(0, 2), prompt.pages.slice(0, 2))
    assert.notStrictEqual(first.pages[2], prompt.pages[2])
    assert.deepStrictEqual(second.pages, prompt.pages.slice(0, 2))
    assert.strictEqual(budget.held, 4 * cache.pageBytes)
    cache.close(prompt)
    assert.strictEqual(budget.held, 3 * cache.pageBytes)
    cache.close(first)
    cache.close(second)
    assert.strictEqual(budget.held, 0)
  })
})
