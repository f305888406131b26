/** SmolLM2-135M-Instruct out of its GGUF file, held to transformers and llama.cpp (golden.json, make-golden.py). */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import * as ModelFiles from "../../src/engine/files/ModelFiles.js"
import * as InProcessEngine from "../../src/engine/host/InProcessEngine.js"
import * as Tokenizer from "../../src/tokenizer/Tokenizer.js"

const path = process.env["TINKEX_TEST_MODEL"]!

const golden: {
  readonly prompts: ReadonlyArray<{
    readonly text: string
    readonly tokens: ReadonlyArray<number>
    readonly greedy: ReadonlyArray<number>
    readonly logprobs: ReadonlyArray<number>
  }>
  readonly texts: ReadonlyArray<readonly [text: string, tokens: ReadonlyArray<number>]>
} = JSON.parse(readFileSync(new URL("./golden.json", import.meta.url), "utf8"))

describe("SmolLM2-135M-Instruct", () => {
  it.effect("cuts every text as llama.cpp does, and puts it together again", () =>
    Effect.gen(function*() {
      const { tokenizer } = yield* ModelFiles.open(path)
      const { decode, encode } = yield* Tokenizer.fromJson({ id: "smollm2", ...tokenizer! })
      assert.isAbove(golden.texts.length, 300)
      for (const [text, tokens] of golden.texts) {
        assert.deepStrictEqual([...encode(text)], [...tokens], text)
        assert.strictEqual(decode(tokens), text)
      }
    }))

  for (const form of [undefined, "f16"] as const) {
    it.effect(`completes 20 prompts as transformers does, with its log-probabilities (${form ?? "as in the file"})`, () =>
      Effect.gen(function*() {
        const model = yield* ModelFiles.open(path, { name: "smollm2", form })
        const engine = yield* InProcessEngine.make({ models: [model] })
        yield* engine.createSampler("s", { baseModel: "smollm2" })
        const results = yield* Effect.forEach(golden.prompts, ({ tokens }) =>
          engine.sample("s", {
            prompt: Int32Array.from(tokens),
            numSamples: 1,
            maxTokens: 24,
            temperature: 0,
            topK: -1,
            topP: 1,
            promptLogprobs: true,
            topkPromptLogprobs: 0,
            topkSampleLogprobs: 0
          }), { concurrency: "unbounded" })
        for (const [i, { promptLogprobs, sequences }] of results.entries()) {
          const { greedy, logprobs, text } = golden.prompts[i]!
          // Halves round every weight: a token may then differ where two are all but equally likely.
          if (form === undefined) assert.deepStrictEqual([...sequences[0]!.tokens], [...greedy], text)
          for (const [at, logprob] of logprobs.entries()) {
            assert.approximately(promptLogprobs![at + 1]!, logprob, form === undefined ? 1e-3 : 5e-2, text)
          }
        }
      }).pipe(Effect.scoped))
  }
})
