/** Runs `tinkex/nano` for measurements: continuations and losses. */
import * as Effect from "effect/Effect"
import type { Datum } from "../src/engine/Engine.js"
import * as InProcessEngine from "../src/engine/host/InProcessEngine.js"
import * as Tokenizer from "../src/tokenizer/Tokenizer.js"

const { decode, encode } = Tokenizer.nano

/** A datum whose loss is `weight` times the sum over the window's tokens but the first. */
export const datumOf = (window: Int32Array, weight: number): Datum => {
  const n = window.length - 1
  return {
    tokens: window.slice(0, n),
    lossInputs: {
      target_tokens: { data: window.slice(1), shape: [n] },
      weights: { data: new Float32Array(n).fill(weight), shape: [n] }
    }
  }
}

/** The pre-trained model, in a scope. */
export const makeNano = Effect.gen(function*() {
  const engine = yield* InProcessEngine.make()
  yield* engine.createSampler("nano", { baseModel: "tinkex/nano" })
  yield* engine.createRun("nano", { baseModel: "tinkex/nano", lora: null })
  return {
    /** Continues each prompt, up to a stop string, the end of the text, or so many tokens. */
    continueAll: (
      prompts: ReadonlyArray<string>,
      options: {
        readonly maxTokens: number
        readonly temperature: number
        readonly seed: number
        readonly stop?: string
      }
    ) =>
      Effect.forEach(
        prompts,
        (prompt, i) =>
          Effect.map(
            engine.sample("nano", {
              prompt: encode(prompt),
              numSamples: 1,
              maxTokens: options.maxTokens,
              temperature: options.temperature,
              topK: -1,
              topP: 1,
              seed: BigInt(options.seed + i),
              stopTokens: [Tokenizer.nano.eosToken!],
              stopStrings: options.stop === undefined ? [] : [options.stop],
              promptLogprobs: false,
              topkPromptLogprobs: 0,
              topkSampleLogprobs: 0
            }),
            ({ sequences }) => decode(sequences[0]!.tokens, { skipSpecialTokens: true })
          ),
        { concurrency: 16 }
      ),
    /** Summed loss and number of predicted tokens. */
    loss: (windows: ReadonlyArray<Int32Array>) =>
      Effect.map(
        engine.pass("nano", {
          data: windows.map((window) => datumOf(window, 1)),
          lossFn: "cross_entropy",
          lossConfig: {},
          backward: false
        }),
        ({ loss }) => ({ sum: loss, tokens: windows.reduce((sum, window) => sum + window.length - 1, 0) })
      )
  }
})
