import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { Engine, type SampledTokens, type SampleResult, sampleStream } from "../../src/engine/Engine.js"
import * as InProcessEngine from "../../src/engine/host/InProcessEngine.js"
import * as WorkerEngine from "../../src/engine/host/WorkerEngine.js"
import { RecordingEngine } from "../../src/testing/index.js"
import { definition, letters, requestOf } from "./engines.js"

/** The sequences that pieces add up to. */
const joined = (pieces: Iterable<SampledTokens>, samples: number) => {
  const sequences = Array.from({ length: samples }, () => ({
    tokens: [] as Array<number>,
    logprobs: [] as Array<number>,
    top: [] as Array<number>,
    stopReason: undefined as string | undefined
  }))
  for (const { index, logprobs, stopReason, tokens, topk } of pieces) {
    const sequence = sequences[index]!
    assert.isUndefined(sequence.stopReason, "nothing follows the end")
    sequence.tokens.push(...tokens)
    sequence.logprobs.push(...logprobs)
    sequence.top.push(...topk?.tokens ?? [])
    sequence.stopReason = stopReason
  }
  return sequences
}

const parts = ({ sequences }: SampleResult) =>
  sequences.map(({ logprobs, stopReason, tokens, topk }) => ({
    tokens: [...tokens],
    logprobs: [...logprobs],
    top: [...topk?.tokens ?? []],
    stopReason
  }))

const engines = [
  ["on the calling thread", InProcessEngine.layer({ models: [definition] })],
  ["in two workers", WorkerEngine.layer({ models: [definition], workers: 2 })]
] as const

describe.each(engines)("tokens as they are drawn, %s", (_, layer) => {
  it.effect("add up to the result, which is the same without them", () =>
    Effect.gen(function*() {
      const engine = yield* Engine
      yield* engine.createSampler("s", { baseModel: "tiny" })
      for (
        const request of [
          requestOf({ numSamples: 5, maxTokens: 40, topkSampleLogprobs: 2, stopTokens: [3, 9] }),
          requestOf({ maxTokens: 0 }),
          requestOf({ numSamples: 2, stopStrings: [new TextDecoder().decode(letters[7])], maxTokens: undefined })
        ]
      ) {
        const pieces: Array<SampledTokens> = []
        const heard = yield* engine.sample("s", request, { onTokens: (tokens) => pieces.push(tokens) })
        assert.deepStrictEqual(heard, yield* engine.sample("s", request))
        assert.deepStrictEqual(joined(pieces, request.numSamples), parts(heard))
        const streamed = yield* Stream.runCollect(sampleStream("s", request))
        assert.deepStrictEqual(joined(streamed, request.numSamples), parts(heard))
      }
    }).pipe(Effect.provide(layer)))

  it.effect("come while the rest is still to be drawn", () =>
    Effect.gen(function*() {
      const engine = yield* Engine
      yield* engine.createSampler("s", { baseModel: "tiny" })
      const first = yield* Deferred.make<SampledTokens>()
      const fiber = yield* Effect.fork(
        engine.sample("s", requestOf({ maxTokens: 80 }), {
          onTokens: (tokens) => Deferred.unsafeDone(first, Effect.succeed(tokens))
        })
      )
      assert.strictEqual((yield* Deferred.await(first)).tokens.length, 1)
      assert.isUndefined((yield* Deferred.await(first)).stopReason)
      assert.strictEqual((yield* Fiber.join(fiber)).sequences[0]!.tokens.length, 80)
    }).pipe(Effect.provide(layer)))

  it.effect("stop with whoever stops reading, and the room is given back", () =>
    Effect.gen(function*() {
      const engine = yield* Engine
      yield* engine.createSampler("s", { baseModel: "tiny" })
      for (let i = 0; i < 200; i++) {
        const taken = yield* sampleStream("s", requestOf({ numSamples: 64, maxTokens: 80 })).pipe(
          Stream.take(1),
          Stream.runCollect
        )
        assert.strictEqual(Chunk.size(taken), 1)
      }
      const { sequences } = yield* engine.sample("s", requestOf({ numSamples: 64, maxTokens: 80 }))
      assert.strictEqual(sequences.length, 64)
    }).pipe(Effect.provide(layer)))

  it.effect("fail as the request fails", () =>
    Effect.gen(function*() {
      const engine = yield* Engine
      yield* engine.createSampler("s", { baseModel: "tiny" })
      const refused = yield* Effect.flip(Stream.runDrain(sampleStream("s", requestOf({ topP: 2 }))))
      assert.strictEqual(refused.reason, "InvalidInput")
      const unknown = yield* Effect.flip(Stream.runDrain(sampleStream("t", requestOf())))
      assert.strictEqual(unknown.reason, "UnknownSampler")
    }).pipe(Effect.provide(layer)))
})

it.effect("an engine that draws all at once tells all at once", () =>
  Effect.gen(function*() {
    const engine = yield* Engine
    yield* engine.createSampler("s", { baseModel: "tinkex/nano" })
    const request = requestOf({ numSamples: 2 })
    const result = yield* engine.sample("s", request)
    assert.deepStrictEqual(joined(yield* Stream.runCollect(sampleStream("s", request)), 2), parts(result))
  }).pipe(Effect.provide(RecordingEngine.layer())))
