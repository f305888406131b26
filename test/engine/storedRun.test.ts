/** Runs on weights that are stored once: their adapters stay beside the base, for training and for sampling. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { fileURLToPath } from "node:url"
import type { LoraConfig, PassRequest } from "../../src/engine/Engine.js"
import * as ModelFiles from "../../src/engine/files/ModelFiles.js"
import { openFile } from "../../src/engine/files/nodeFiles.js"
import { decodeFloats } from "../../src/engine/files/tensorTypes.js"
import * as InProcessEngine from "../../src/engine/host/InProcessEngine.js"
import { makeKernels } from "../../src/engine/kernels/kernels.js"
import { makeModel, type Model } from "../../src/engine/model/model.js"
import type { ModelDefinition } from "../../src/engine/model/Models.js"
import { loadStored } from "../../src/engine/model/storedWeights.js"
import { weightLayout } from "../../src/engine/model/weights.js"
import { makeRun, type Run } from "../../src/engine/run/run.js"
import { adam, requestOf } from "./engines.js"
import { tokensOf, wave } from "./models.js"

const get = Either.getOrThrow
const checkpoint = (name: string) => fileURLToPath(new URL(`./files/fixtures/checkpoints/${name}`, import.meta.url))

const lora: LoraConfig = { rank: 4, seed: 7, trainAttn: true, trainMlp: true, trainUnembed: true }

const stored = ({ name, shape, weights }: ModelDefinition): Model => {
  if (!("stored" in weights)) throw new Error("not out of files")
  return get(loadStored(makeKernels(), name, shape, weights.stored))
}

/** The same numbers in one flat array. */
const flat = ({ shape, weights }: ModelDefinition): Model => {
  if (!("stored" in weights)) throw new Error("not out of files")
  const layout = weightLayout(shape)
  const numbers = new Float32Array(layout.total)
  for (const { length, name, offset } of layout.tensors) {
    const tensor = weights.stored.tensors[name]!
    const file = openFile(tensor.path)
    const bytes = file.read(tensor.offset, tensor.bytes)
    file.close()
    decodeFloats(tensor.type, new DataView(bytes.buffer), 0, length, numbers.subarray(offset, offset + length))
  }
  return get(makeModel(makeKernels(), shape, { flat: numbers }))
}

/** A run whose adapters are not fresh. */
const runOn = (model: Model): Run => {
  const run = get(makeRun(model, { baseModel: "m", lora }))
  const state = run.exportState({ optimizer: false })
  const weights = state.weights.map((tensor, t) =>
    tensor.name.endsWith("lora_B.weight") ? { ...tensor, data: wave(tensor.data.length, t, 0.05) } : tensor
  )
  get(run.importState({ ...state, weights }, { optimizer: false }))
  return run
}

const request: PassRequest = {
  lossFn: "cross_entropy",
  lossConfig: {},
  backward: true,
  data: [21, 40].map((length, i) => ({
    tokens: tokensOf(length, i, 290),
    lossInputs: { target_tokens: { data: tokensOf(length, i + 10, 290), shape: [length] } }
  }))
}

describe("a run on stored weights", () => {
  it.effect("has the bits of one on flat weights whose adapters are apart as well", () =>
    Effect.gen(function*() {
      const definition = yield* ModelFiles.open(checkpoint("llama-tied"), { form: "f32" })
      const [a, b] = [runOn(stored(definition)), runOn(flat(definition))]
      assert.deepStrictEqual(get(a.evaluate(request)), get(b.evaluate(request)))
      assert.deepStrictEqual(a.gradients(), b.gradients())
    }))

  for (const name of ["qwen2", "qwen3", "llama-stretched"]) {
    it.effect(`has the gradients of one on flat weights: ${name}`, () =>
      Effect.gen(function*() {
        const definition = yield* ModelFiles.open(checkpoint(name), { form: "f32" })
        const [a, b] = [runOn(stored(definition)), runOn(flat(definition))]
        assert.approximately(get(a.evaluate(request)).loss, get(b.evaluate(request)).loss, 1e-3)
        const expected = b.gradients()
        const scale = Math.sqrt(expected.reduce((sum, x) => sum + x * x, 0))
        const error = Math.sqrt(a.gradients().reduce((sum, x, i) => sum + (x - expected[i]!) ** 2, 0))
        assert.isBelow(error, 1e-5 * scale)
      }))
  }

  it.effect("trains adapters only, and says so", () =>
    Effect.gen(function*() {
      const model = stored(yield* ModelFiles.open(checkpoint("qwen2")))
      const error = Either.getOrThrow(Either.flip(makeRun(model, { baseModel: "m", lora: null })))
      assert.strictEqual(error.reason, "InvalidInput")
      assert.include(error.detail, "adapters only")
    }))

  for (const form of ["f32", "f16", "q8"] as const) {
    it.effect(`samples with the bits of its passes, before and after training, in ${form}`, () =>
      Effect.gen(function*() {
        const definition = yield* ModelFiles.open(checkpoint("llama-tied"), { name: "m", form })
        const engine = yield* InProcessEngine.make({ models: [definition] })
        yield* engine.createRun("r", { baseModel: "m", lora })
        const prompt = tokensOf(30, 4, 290)
        const logprobs = engine.pass("r", {
          ...request,
          backward: false,
          data: [{
            tokens: prompt.slice(0, -1),
            lossInputs: { target_tokens: { data: prompt.slice(1), shape: [29] } }
          }]
        })
        for (const [round, id] of ["before", "after"].entries()) {
          if (round > 0) {
            yield* engine.pass("r", request)
            yield* engine.optimStep("r", adam)
          }
          yield* engine.createSampler(id, { runId: "r" })
          const sampled = yield* engine.sample(id, requestOf({ prompt, promptLogprobs: true }))
          assert.deepStrictEqual(sampled.promptLogprobs!.slice(1), (yield* logprobs).outputs[0]!.logprobs)
        }
        yield* engine.createSampler("base", { baseModel: "m" })
        const [base, before, after] = yield* Effect.forEach(
          ["base", "before", "after"],
          (id) => engine.sample(id, requestOf({ prompt, promptLogprobs: true }))
        )
        assert.deepStrictEqual(base, before)
        assert.notDeepEqual(after, before)
      }).pipe(Effect.scoped))
  }
})
