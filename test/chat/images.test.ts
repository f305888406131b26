import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Message from "../../src/chat/Message.js"
import * as Renderer from "../../src/chat/Renderer.js"
import * as Datum from "../../src/protocol/Datum.js"
import type * as ModelInput from "../../src/protocol/ModelInput.js"
import * as TensorData from "../../src/protocol/TensorData.js"
import { tokenizerOf } from "./golden/family.js"

const image: Message.ImagePart = { type: "image", data: new Uint8Array([1, 2, 3]), format: "png", tokens: 4 }
const question = Message.user([{ type: "text", text: "What is this?" }, image, { type: "text", text: "Tell." }])

/** The input as text, images by their format and length. */
const shown = (renderer: Renderer.Renderer, input: ModelInput.ModelInput) =>
  input.chunks
    .map((chunk) =>
      chunk.type === "encoded_text"
        ? renderer.tokenizer.decode(chunk.tokens)
        : chunk.type === "image"
        ? `(${chunk.format} of ${chunk.expectedTokens})`
        : chunk.type
    )
    .join("")

describe("images", () => {
  const cases: ReadonlyArray<readonly [family: string, name: string, expected: string]> = [
    ["qwen3", "qwen3_vl", "What is this?<|vision_start|>(png of 4)<|vision_end|>Tell.<|im_end|>"],
    ["qwen3_5", "qwen3_5", "What is this?<|vision_start|>(png of 4)<|vision_end|>Tell.<|im_end|>"],
    ["kimi", "kimi_k25", "What is this?<|media_begin|>image<|media_content|>(png of 4)<|media_end|>\nTell.<|im_end|>"],
    ["nemotron3", "nemotron3_ultra", "What is this?\n<img>(png of 4)</img>Tell.<|im_end|>"]
  ]
  for (const [family, name, expected] of cases) {
    it.effect(`${name} writes them between its marks, and never learns them`, () =>
      Effect.gen(function*() {
        const renderer = yield* Renderer.make(name, tokenizerOf(family))
        assert.include(shown(renderer, renderer.prompt([question])), expected)
        const datum = Datum.fromSegments(renderer.example([question, Message.assistant("A cat.")]))
        assert.include(shown(renderer, datum.modelInput), expected)
        const targets = TensorData.toArray(datum.lossFnInputs["target_tokens"]!)
        const weights = TensorData.toArray(datum.lossFnInputs["weights"]!)
        const learnt = targets.filter((_, at) => weights[at] === 1)
        assert.include(renderer.tokenizer.decode(learnt), "A cat.")
        assert.isFalse(learnt.includes(0))
      }))
  }

  it.effect("are refused where the format has no form for them", () =>
    Effect.gen(function*() {
      for (
        const [family, name] of [["qwen3", "qwen3"], ["llama3", "llama3"], ["gpt_oss", "gpt_oss_no_sysprompt"]] as const
      ) {
        const renderer = yield* Renderer.make(name, tokenizerOf(family))
        assert.throws(() => renderer.prompt([question]), /messages\[0\]\.content/)
      }
    }))
})
