import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import type { EngineError, SampleResult } from "../../../src/engine/Engine.js"
import { freezeWeights } from "../../../src/engine/model/decoder.js"
import { info } from "../../../src/engine/model/Models.js"
import { makeRun } from "../../../src/engine/run/run.js"
import { type Batch, makeBatch } from "../../../src/engine/sampler/batch.js"
import { makeCacheBudget, makePageCache } from "../../../src/engine/sampler/pageCache.js"
import type { SeededRequest } from "../../../src/engine/sampler/sampleRequest.js"
import { makeDrawer, type SampledLogprobs } from "../../../src/engine/sampler/sampling.js"
import { definition, letters, requestOf } from "../engines.js"
import { tinyModel, tokensOf } from "../models.js"

const get = Either.getOrThrow

const setUp = (options: { readonly limit?: number; readonly logprobs?: SampledLogprobs } = {}) => {
  const model = tinyModel()
  const { kernels } = model
  const budget = makeCacheBudget(kernels, options.limit ?? 2 ** 30)
  const cache = makePageCache(model, budget)
  const drawer = get(makeDrawer(kernels, model.config.vocabSize))
  const weights = get(freezeWeights(model, model.weights))
  const batch = makeBatch(
    { info: info(definition), model, tokenBytes: letters, cache, drawer },
    weights,
    budget,
    options.logprobs ?? "scaled"
  )
  return { batch, budget, cache, model, weights }
}

type Answer = Either.Either<SampleResult, EngineError>

const drain = (batch: Batch): void => {
  for (let i = 0; batch.busy(); i++) {
    assert.isBelow(i, 10_000, "the batch does not come to an end")
    batch.step()
  }
}

/** Results of requests that run together, in order. */
const all = (batch: Batch, requests: ReadonlyArray<SeededRequest>): ReadonlyArray<Answer> => {
  const answers: Array<Answer> = []
  requests.forEach((request, i) => batch.submit(request, (answer) => (answers[i] = answer)))
  drain(batch)
  return answers
}

const one = (batch: Batch, some: Partial<SeededRequest>): SampleResult => get(all(batch, [requestOf(some)])[0]!)

const text = (tokens: Int32Array): string =>
  Array.from(tokens, (token) => new TextDecoder().decode(letters[token])).join("")

/** What the training pass says of a sequence: the log-probability of each token after the first. */
const trained = (model: ReturnType<typeof tinyModel>, sequence: Int32Array): Float32Array => {
  const run = get(makeRun(model, { baseModel: "tiny", lora: null }))
  const length = sequence.length - 1
  const { outputs } = get(run.pass({
    data: [{
      tokens: sequence.slice(0, length),
      lossInputs: { target_tokens: { data: sequence.slice(1), shape: [length] } }
    }],
    lossFn: "cross_entropy",
    lossConfig: {},
    backward: false
  }))
  run.release()
  return outputs[0]!.logprobs
}

describe("log-probabilities", () => {
  it("of prompt and samples have the bits of the training pass", () => {
    const { batch, model } = setUp()
    const prompt = tokensOf(37, 9)
    const result = one(batch, { prompt, numSamples: 3, maxTokens: 20, promptLogprobs: true })
    for (const { logprobs, tokens } of result.sequences) {
      const expected = trained(model, Int32Array.of(...prompt, ...tokens))
      assert.deepStrictEqual(logprobs, expected.slice(prompt.length - 1))
      assert.deepStrictEqual(result.promptLogprobs?.slice(1), expected.slice(0, prompt.length - 1))
    }
    assert.strictEqual(result.promptLogprobs?.length, 37)
    assert.isNaN(result.promptLogprobs?.[0])
  })

  it("of samples are scaled by the temperature, or raw when told so, and raw at temperature 0", () => {
    const scaled = setUp()
    const raw = setUp({ logprobs: "raw" })
    for (const [temperature, same] of [[0, true], [1, true], [0.5, false]] as const) {
      const request = { temperature, maxTokens: 8, topK: 5 }
      const a = one(scaled.batch, request).sequences[0]!
      const b = one(raw.batch, request).sequences[0]!
      assert.deepStrictEqual(a.tokens, b.tokens)
      const { prompt } = requestOf()
      const expected = trained(raw.model, Int32Array.of(...prompt, ...b.tokens)).slice(prompt.length - 1)
      assert.deepStrictEqual(b.logprobs, expected)
      assert.strictEqual(a.logprobs.every((x, i) => x === b.logprobs[i]), same)
    }
  })

  it("of the likeliest tokens are given in order, for the prompt after one row of padding", () => {
    const { batch } = setUp()
    const result = one(batch, { topkPromptLogprobs: 3, topkSampleLogprobs: 2, temperature: 0, promptLogprobs: true })
    const { prompt } = requestOf()
    const rows = result.topkPromptLogprobs!
    assert.deepInclude(rows, { k: 3, length: prompt.length })
    assert.deepStrictEqual(Array.from(rows.tokens.slice(0, 3)), [0, 0, 0])
    assert.deepStrictEqual(Array.from(rows.logprobs.slice(0, 3)), [-99999, -99999, -99999])
    for (let i = 1; i < prompt.length; i++) {
      const row = rows.logprobs.slice(3 * i, 3 * i + 3)
      assert.isTrue(row[0]! >= row[1]! && row[1]! >= row[2]!)
      const at = rows.tokens.slice(3 * i, 3 * i + 3).indexOf(prompt[i]!)
      if (at >= 0) assert.strictEqual(row[at], result.promptLogprobs![i])
    }
    const [{ logprobs, tokens, topk }] = result.sequences as [SampleResult["sequences"][number]]
    assert.deepInclude(topk, { k: 2, length: tokens.length })
    // At temperature 0 the token drawn is the likeliest.
    assert.deepStrictEqual(topk!.tokens.filter((_, i) => i % 2 === 0), tokens)
    assert.deepStrictEqual(topk!.logprobs.filter((_, i) => i % 2 === 0), logprobs)
  })

  it("of the likeliest prompt tokens need no prompt log-probabilities", () => {
    const result = one(setUp().batch, { topkPromptLogprobs: 1, maxTokens: 0 })
    assert.strictEqual(result.promptLogprobs, undefined)
    assert.strictEqual(result.topkPromptLogprobs?.length, 5)
    assert.deepInclude(result.sequences[0]!, { stopReason: "length", tokens: new Int32Array(0) })
  })
})

describe("seeds", () => {
  it("give the same bits again, and different ones for another seed or sample", () => {
    const { batch } = setUp()
    const first = one(batch, { numSamples: 4 })
    assert.deepStrictEqual(one(batch, { numSamples: 4 }), first)
    const texts = first.sequences.map(({ tokens }) => text(tokens))
    assert.strictEqual(new Set(texts).size, 4)
    assert.notDeepEqual(one(batch, { numSamples: 4, seed: 43n }), first)
    // Both halves of the seed count.
    assert.notDeepEqual(one(batch, { numSamples: 4, seed: 42n + (1n << 32n) }), first)
  })

  it("do not tell sample i how many samples there are", () => {
    const { batch } = setUp()
    assert.deepStrictEqual(one(batch, { numSamples: 9 }).sequences.slice(0, 2), one(batch, { numSamples: 2 }).sequences)
  })
})

describe("a batch", () => {
  const requests = [
    requestOf({ prompt: tokensOf(1, 1), maxTokens: 30, numSamples: 2 }),
    requestOf({ prompt: tokensOf(60, 2), maxTokens: 20, temperature: 0.7, topP: 0.9, promptLogprobs: true }),
    requestOf({ prompt: tokensOf(16, 3), maxTokens: 3, numSamples: 5, topK: 4, topkSampleLogprobs: 2 }),
    requestOf({ prompt: tokensOf(80, 4), maxTokens: 16, temperature: 0 }),
    requestOf({ prompt: tokensOf(15, 5), maxTokens: 1, seed: -1n, topkPromptLogprobs: 2 })
  ]

  it("gives each request the bits that it has alone", () => {
    const alone = requests.map((request) => all(setUp().batch, [request])[0]!)
    assert.deepStrictEqual(all(setUp().batch, requests), alone)
  })

  it("takes requests in and lets them go between any two tokens", () => {
    const alone = requests.map((request) => get(all(setUp().batch, [request])[0]!))
    const { batch, budget } = setUp()
    const answers: Array<Answer> = []
    requests.forEach((request, i) => {
      batch.submit(request, (answer) => (answers[i] = answer))
      const cancel = batch.submit({ ...request, maxTokens: 15, seed: 1000n }, () => assert.fail("was cancelled"))
      for (let s = 0; s <= i; s++) batch.step()
      cancel()
      batch.step()
    })
    drain(batch)
    assert.deepStrictEqual(answers.map(get), alone)
    assert.deepInclude(budget, { promised: 0, held: 0 })
  })

  it("runs more samples than it has places for, fairly", () => {
    const { batch, budget } = setUp()
    const many = requestOf({ numSamples: 200, maxTokens: 10 })
    const few = requestOf({ numSamples: 3, maxTokens: 10, seed: 7n })
    const order: Array<string> = []
    const sizes: Array<number> = []
    batch.submit(many, (answer) => {
      order.push("many")
      sizes.push(get(answer).sequences.length)
    })
    for (let i = 0; i < 3; i++) batch.step()
    batch.submit(few, (answer) => {
      order.push("few")
      assert.deepStrictEqual(answer, all(setUp().batch, [few])[0])
    })
    drain(batch)
    assert.deepStrictEqual(order, ["few", "many"])
    assert.deepStrictEqual(sizes, [200])
    assert.deepInclude(budget, { promised: 0, held: 0 })
  })

  it("lets requests wait for room in memory", () => {
    const roomy = setUp()
    const used = roomy.model.kernels.allocated() * 4
    const { pageBytes } = roomy.cache
    // Room for two requests of a page, besides what the engine holds and its working memory.
    const { batch, budget } = setUp({ limit: used + 4 * pageBytes + 2 ** 18 })
    const small = Array.from({ length: 40 }, (_, i) => requestOf({ seed: BigInt(i), maxTokens: 9, numSamples: 3 }))
    assert.deepStrictEqual(all(batch, small), all(roomy.batch, small))
    assert.deepInclude(budget, { promised: 0, held: 0 })
  })

  it("refuses what can never fit, saying how much it needs and how much there is", () => {
    const used = setUp().model.kernels.allocated() * 4
    const { batch, cache } = setUp({ limit: used + 100 })
    const answers = all(batch, [requestOf({ maxTokens: 40 }), requestOf({ maxTokens: 2 })])
    for (const [answer, pages] of [[answers[0]!, 1 + 3], [answers[1]!, 1 + 1]] as const) {
      const error = Either.getOrThrow(Either.flip(answer))
      assert.strictEqual(error.reason, "LimitReached")
      assert.include(error.detail, `${pages * cache.pageBytes} bytes`)
      assert.include(error.detail, "100 are left")
    }
  })

  it("ends requests whose weights have diverged, and goes on", () => {
    const { batch, budget, model, weights } = setUp()
    const gain = model.kernels.floats(weights.weights.finalNorm, 1)[0]!
    model.kernels.floats(weights.weights.finalNorm, 1)[0] = NaN
    const answers = all(batch, [requestOf({ numSamples: 3 }), requestOf({ promptLogprobs: true, temperature: 0 })])
    for (const answer of answers) {
      const error = Either.getOrThrow(Either.flip(answer))
      assert.strictEqual(error.reason, "InvalidInput")
      assert.include(error.detail, "diverged")
    }
    assert.deepInclude(budget, { promised: 0, held: 0 })
    model.kernels.floats(weights.weights.finalNorm, 1)[0] = gain
    assert.deepStrictEqual(one(batch, {}), one(setUp().batch, {}))
  })
})

describe("stopping", () => {
  const { batch } = setUp()
  const free = one(batch, { maxTokens: 60, temperature: 1.8 }).sequences[0]!
  const written = text(free.tokens)

  it("runs to maxTokens when nothing stops", () => {
    assert.strictEqual(free.tokens.length, 60)
    assert.strictEqual(free.stopReason, "length")
    assert.isTrue(free.tokens.includes(0), "the free text should contain the end-of-sequence token")
  })

  const prefix = (length: number, stopReason: "stop" | "length") => ({
    stopReason,
    tokens: free.tokens.slice(0, length),
    logprobs: free.logprobs.slice(0, length)
  })
  const check = (some: Partial<SeededRequest>, length: number, stopReason: "stop" | "length" = "stop") =>
    assert.deepInclude(
      one(batch, { maxTokens: 60, temperature: 1.8, ...some }).sequences[0]!,
      prefix(length, stopReason)
    )

  it("stops at the end-of-sequence token, which is kept, when no stop tokens are given", () => {
    check({ stopTokens: undefined }, free.tokens.indexOf(0) + 1)
    check({ stopTokens: undefined, stopStrings: ["0"] }, free.tokens.indexOf(0) + 1)
  })

  it("stops at given tokens instead, whichever comes first", () => {
    const a = free.tokens[7]!
    const b = free.tokens[11]!
    check({ stopTokens: [b, a] }, Math.min(free.tokens.indexOf(a), free.tokens.indexOf(b)) + 1)
  })

  it("stops at the token that completes a string", () => {
    const stop = written.slice(9, 12)
    const at = written.indexOf(stop)
    // Letters are one token each; the end-of-sequence token is five characters.
    let length = 0
    while (text(free.tokens.slice(0, length)).length < at + stop.length) length++
    check({ stopStrings: [stop, "nowhere"] }, length)
  })

  it("does not look for strings in the prompt", () => {
    const last = String.fromCharCode(96 + 5)
    const prompt = Int32Array.of(1, 2, 3, 4)
    const alone = one(batch, { prompt, maxTokens: 3, topK: 1 }).sequences[0]!
    const next = text(alone.tokens.slice(0, 1))
    assert.notStrictEqual(next, last)
    const stopped = one(batch, { prompt, maxTokens: 3, topK: 1, stopStrings: [`d${next}`] }).sequences[0]!
    assert.strictEqual(stopped.tokens.length, 3)
  })

  it("reports length when the last token allowed does not stop, stop when it does", () => {
    check({ maxTokens: 8 }, 8, "length")
    check(
      { maxTokens: free.tokens.indexOf(free.tokens[7]!) + 1, stopTokens: [free.tokens[7]!] },
      free.tokens.indexOf(free.tokens[7]!) + 1
    )
  })

  it("fills the context when maxTokens is absent", () => {
    const { tokens } = one(batch, { prompt: tokensOf(90, 1), maxTokens: undefined }).sequences[0]!
    assert.strictEqual(tokens.length, 96 - 90)
  })
})
