/** Models out of files through the whole stack: the server, the clients, their tokenizers. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { fileURLToPath } from "node:url"
import { Datum, Future, ServiceClient } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const checkpoints = fileURLToPath(new URL("../engine/files/fixtures/checkpoints", import.meta.url))
const path = `${checkpoints}/gguf-llama-tied/model.gguf`

describe("LocalTinkex with models", () => {
  it.effect("trains and samples a GGUF file with the tokenizer that it brought", () =>
    Effect.gen(function*() {
      const service = yield* ServiceClient.ServiceClient
      const { supportedModels } = yield* service.serverCapabilities
      assert.deepInclude(supportedModels.find(({ modelName }) => modelName === "small"), {
        maxContextLength: 128,
        tokenizerId: "small",
        parameterCount: 39_792,
        hasChatTemplate: true
      })
      const training = yield* service.createLoraTrainingClient({ baseModel: "small", rank: 8, seed: 1 })
      const tokenizer = yield* training.tokenizer
      assert.strictEqual(tokenizer.id, "small")
      assert.include(tokenizer.chatTemplate, "<|im_start|>")
      const text = "Ein kleines Modell: d\u00e9j\u00e0 vu, 42"
      assert.strictEqual(tokenizer.decode(tokenizer.encode(text)), text)
      const data = [Datum.fromCompletion(tokenizer.encode("2 + 2 ="), tokenizer.encode(" 4<|im_end|>"))]
      const losses: Array<number> = []
      for (let i = 0; i < 12; i++) {
        const gradients = yield* training.forwardBackward(data, "cross_entropy")
        const step = yield* training.optimStep({ learningRate: 2e-2 })
        const [{ metrics }] = yield* Effect.all([Future.await(gradients), Future.await(step)])
        losses.push(metrics["loss:sum"]!)
      }
      assert.isBelow(losses.at(-1)!, losses[0]! / 4)
      const sampler = yield* training.saveWeightsAndGetSamplingClient
      const { sequences } = yield* sampler.sample({
        prompt: tokenizer.encode("2 + 2 ="),
        maxTokens: 8,
        temperature: 0
      })
      assert.strictEqual(tokenizer.decode(sequences[0]!.tokens), " 4<|im_end|>")
      // Another client of the same model, and the built-in one, beside it.
      assert.strictEqual((yield* service.tokenizer("small")).vocabSize, 304)
      assert.strictEqual((yield* service.tokenizer("tinkex/nano")).vocabSize, 512)
    }).pipe(
      Effect.scoped,
      Effect.provide(LocalTinkex.layer({ models: [{ name: "small", path }] }))
    ), 60_000)

  it.effect("refuses a file that is no model before anything listens", () =>
    Effect.gen(function*() {
      const refusal = (models: ReadonlyArray<LocalTinkex.LocalModel>) =>
        Effect.flip(Effect.scoped(Effect.provide(LocalTinkex.LocalServer, LocalTinkex.layer({ models }))))
      const absent = yield* refusal([`${checkpoints}/none.gguf`])
      assert.strictEqual(absent._tag, "ModelFileError")
      assert.include(absent.message, "none.gguf: there is no such file")
      const wrong = yield* refusal([fileURLToPath(import.meta.url)])
      assert.include(wrong.message, "it is no GGUF file")
      const twice = yield* refusal([path, { path: `${checkpoints}/qwen2`, name: "model" }])
      assert.include(twice.message, "two models of the name model")
    }))
})
