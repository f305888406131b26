/** Models out of files: what transformers computes from the same numbers (fixtures/make-checkpoints.py). */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as ModelFiles from "../../../src/engine/files/ModelFiles.js"
import * as InProcessEngine from "../../../src/engine/host/InProcessEngine.js"
import { makeKernels } from "../../../src/engine/kernels/kernels.js"
import type { Form } from "../../../src/engine/kernels/panels.js"
import { forward, logits } from "../../../src/engine/model/forward.js"
import type { ModelDefinition } from "../../../src/engine/model/Models.js"
import { loadStored } from "../../../src/engine/model/storedWeights.js"
import { layMicroBatch } from "../../../src/engine/run/microBatch.js"

const checkpoints = fileURLToPath(new URL("./fixtures/checkpoints", import.meta.url))

interface Golden {
  readonly tokens: ReadonlyArray<number>
  readonly from: number
  readonly logits: string
  readonly greedy: ReadonlyArray<number>
  readonly leastMargin: number
}

const goldenOf = (name: string): Golden => JSON.parse(readFileSync(`${checkpoints}/${name}/golden.json`, "utf8"))

const pathOf = (name: string): string =>
  name.startsWith("gguf-") ? `${checkpoints}/${name}/model.gguf` : `${checkpoints}/${name}`

const load = ({ name, shape, weights }: ModelDefinition) => {
  if (!("stored" in weights)) throw new Error("not out of files")
  return Either.getOrThrow(loadStored(makeKernels(), name, shape, weights.stored))
}

/** Logits of all positions, as a pass computes them. */
const logitsOf = (definition: ModelDefinition, tokens: Int32Array): Float32Array => {
  const model = load(definition)
  const { vocabSize } = model.config
  const datum = { tokens, targets: tokens, perToken: 1, shape: [tokens.length], inputs: {} }
  const pass = Either.getOrThrow(
    forward(model, model.weights, Either.getOrThrow(layMicroBatch(model, [datum], 0, 1)), false)
  )
  const a = pass.activations
  const out = new Float32Array(tokens.length * vocabSize)
  for (let first = 0; first < tokens.length; first += a.headRows) {
    const count = Math.min(a.headRows, tokens.length - first)
    logits(pass, first, count)
    out.set(model.kernels.floats(a.logits, count * vocabSize), first * vocabSize)
  }
  return out
}

const numbersOf = ({ logits }: Golden): Float32Array =>
  new Float32Array(new Uint8Array(Buffer.from(logits, "base64")).buffer)

/** The logits that the golden ones are to be held against. */
const computed = (definition: ModelDefinition, { from, tokens }: Golden): Float32Array =>
  logitsOf(definition, Int32Array.from(tokens)).subarray(from * definition.shape.vocabSize)

const distance = (definition: ModelDefinition, golden: Golden): number => {
  const expected = numbersOf(golden)
  const own = computed(definition, golden)
  assert.strictEqual(own.length, expected.length)
  return expected.reduce((most, x, i) => Math.max(most, Math.abs(x - own[i]!)), 0)
}

const rootMeanSquare = (values: Float32Array): number =>
  Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length)

const names = readdirSync(checkpoints)

describe("checkpoints of every architecture", () => {
  it("are there", () => {
    assert.sameMembers(
      names.filter((name) => !name.startsWith("gguf-")),
      ["llama-tied", "llama-stretched", "qwen2", "qwen3"]
    )
  })

  for (const name of names) {
    const golden = goldenOf(name)

    it.effect(`${name}: the logits of transformers within 1e-4`, () =>
      Effect.gen(function*() {
        const definition = yield* ModelFiles.open(pathOf(name), { name, form: "f32" })
        assert.isBelow(distance(definition, golden), 1e-4)
      }))

    it.effect(`${name}: the same greedy tokens, in every form that keeps the logits`, () =>
      Effect.gen(function*() {
        const forms: ReadonlyArray<Form | undefined> = ["f32", "f16", undefined]
        const models = yield* Effect.forEach(forms, (form) =>
          ModelFiles.open(pathOf(name), { name: `${name}-${form}`, form }))
        const engine = yield* InProcessEngine.make({ models })
        for (const model of models) {
          yield* engine.createSampler(model.name, { baseModel: model.name })
          const { sequences } = yield* engine.sample(model.name, {
            prompt: Int32Array.from(golden.tokens),
            numSamples: 1,
            maxTokens: golden.greedy.length,
            temperature: 0,
            topK: -1,
            topP: 1,
            stopTokens: [],
            promptLogprobs: false,
            topkPromptLogprobs: 0,
            topkSampleLogprobs: 0
          })
          assert.deepStrictEqual([...sequences[0]!.tokens], [...golden.greedy])
        }
      }).pipe(Effect.scoped))
  }
})

describe("the forms in which weights are held", () => {
  it.effect("are by default the smallest that lose nothing to speak of", () =>
    Effect.gen(function*() {
      const first = (name: string) =>
        Effect.map(ModelFiles.open(pathOf(name)), (definition) => load(definition).weights)
      const quantised = yield* first("gguf-qwen3-q5_1")
      assert.deepInclude(quantised.embedding, { form: "q8" })
      // Rows of 44 are no whole blocks of 32, so the file has this matrix as float32.
      assert.deepInclude(quantised.layers[0]!.down, { form: "f32" })
      assert.deepInclude((yield* first("qwen3")).embedding, { form: "f16" })
      assert.deepInclude((yield* first("qwen2")).embedding, { form: "f32" })
    }))

  it.effect("keep the logits within 1e-2 by default, and in 8-bit blocks to 5 % of their spread", () =>
    Effect.gen(function*() {
      for (const name of names) {
        const golden = goldenOf(name)
        assert.isBelow(distance(yield* ModelFiles.open(pathOf(name)), golden), 1e-2, name)
        const expected = numbersOf(golden)
        const coarse = computed(yield* ModelFiles.open(pathOf(name), { form: "q8" }), golden)
        const error = rootMeanSquare(coarse.map((x, i) => x - expected[i]!))
        assert.isBelow(error, 0.05 * rootMeanSquare(expected), name)
      }
    }))
})
