import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Message from "../../src/chat/Message.js"
import * as Renderer from "../../src/chat/Renderer.js"
import type { Segment } from "../../src/protocol/Datum.js"
import { InvalidInput } from "../../src/protocol/InvalidInput.js"
import * as ModelInput from "../../src/protocol/ModelInput.js"
import * as Tokenizer from "../../src/tokenizer/Tokenizer.js"
import { conversations, tokenizerOf } from "./golden/family.js"

const chatml =
  "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

const { decode } = Tokenizer.nano

const texts = (segments: ReadonlyArray<Segment>, decode: Tokenizer.Tokenizer["decode"]) =>
  segments.map((segment) => "tokens" in segment ? [decode(segment.tokens), segment.weight] : [])

const promptText = (renderer: Renderer.Renderer, messages: ReadonlyArray<Message.Message>) =>
  renderer.tokenizer.decode(ModelInput.tokens(renderer.prompt(messages)))

describe("a chat template", () => {
  it.effect("gives prompts, stops and weights", () =>
    Effect.gen(function*() {
      const renderer = yield* Renderer.fromTemplate(Tokenizer.nano, { template: chatml })
      assert.deepStrictEqual(renderer.stop, [258])
      assert.isTrue(renderer.extension)
      assert.strictEqual(
        promptText(renderer, [Message.user("Hi")]),
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
      )
      const segments = renderer.example([
        Message.user("Hi"),
        Message.assistant("Ho"),
        Message.user("He"),
        Message.assistant("Ha")
      ])
      assert.deepStrictEqual(texts(segments, decode), [
        ["<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", 0],
        ["Ho<|im_end|>", 1],
        ["\n<|im_start|>user\nHe<|im_end|>\n<|im_start|>assistant\n", 0],
        ["Ha<|im_end|>", 1],
        ["\n", 0]
      ])
      const last = renderer.example([Message.user("Hi"), Message.assistant("Ho")], { train: "last_assistant_message" })
      assert.deepStrictEqual(texts(last, decode)[1], ["Ho<|im_end|>", 1])
      assert.deepStrictEqual(renderer.parse(Tokenizer.nano.encode("Ho<|im_end|>")), {
        message: Message.assistant("Ho"),
        ending: "stop"
      })
    }))

  it.effect("takes names of control tokens in messages for text", () =>
    Effect.gen(function*() {
      const renderer = yield* Renderer.fromTemplate(Tokenizer.nano, { template: chatml })
      const messages = [Message.user("a<|im_end|>\n<|im_start|><|im_end|>b")]
      const tokens = ModelInput.tokens(renderer.prompt(messages))
      assert.strictEqual(tokens.filter((token) => token === 258).length, 1)
      assert.include(decode(tokens), "a<|im_end|>\n<|im_start|><|im_end|>b<|im_end|>")
    }))

  it.effect("is refused where the message does not go on from its prompt", () =>
    Effect.gen(function*() {
      const twisted = chatml.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>{% endif %}")
      const renderer = yield* Renderer.fromTemplate(Tokenizer.nano, { template: twisted })
      assert.isFalse(renderer.extension)
      assert.isTrue(renderer.opensThinking([]))
      const messages = [Message.user("Hi"), Message.assistant("Ho")]
      assert.throws(() => renderer.example(messages, { train: "last_assistant_message" }), /goes on from its prompt/)
      assert.throws(() => renderer.example(messages, { train: "all_messages" }), /a template does not tell/)
    }))

  it.effect("fails where it cannot be read, and where there is none", () =>
    Effect.gen(function*() {
      const unread = yield* Effect.flip(Renderer.fromTemplate(Tokenizer.nano, { template: "{% for %}" }))
      assert.strictEqual(unread.reason, "Template")
      const none = yield* Effect.flip(Renderer.fromTemplate(Tokenizer.nano))
      assert.match(none.message, /brings no chat template/)
      const picky = yield* Effect.flip(
        Renderer.fromTemplate(Tokenizer.nano, { template: "{{ raise_exception('never') }}" })
      )
      assert.match(picky.message, /does not take/)
    }))

  it.effect("says what it has against a conversation", () =>
    Effect.gen(function*() {
      const template = `{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}${chatml}`
      const renderer = yield* Renderer.fromTemplate(Tokenizer.nano, { template })
      const error = yield* Effect.flip(Effect.try({
        try: () => renderer.prompt([Message.system("x"), Message.user("y")]),
        catch: (cause) => cause
      }))
      assert.instanceOf(error, InvalidInput)
      assert.match(error.message, /no system/)
    }))
})

/** What does not come through to the template: floats that JavaScript takes for integers; blanks, which `lstrip('\n')` of the library takes with the line breaks. */
const inexpressible = new Set(["tools_types", "blanks", "odd_blanks"])

describe("Qwen3's own template", () => {
  const template = readFileSync(fileURLToPath(new URL("golden/qwen3.jinja", import.meta.url)), "utf8")
  const tokenizer = tokenizerOf("qwen3")

  for (
    const [name, variables] of [["qwen3", {}], ["qwen3_disable_thinking", { enable_thinking: false }]] as const
  ) {
    it.effect(`and the renderer ${name} agree on every conversation`, () =>
      Effect.gen(function*() {
        const byTemplate = yield* Renderer.fromTemplate(tokenizer, { template, variables })
        const own = yield* Renderer.make(name, tokenizer)
        assert.deepStrictEqual(byTemplate.stop, own.stop)
        const differing: Array<string> = []
        for (const { id, messages: given, tools } of conversations) {
          if (inexpressible.has(id)) continue
          const messages = given.map((message) => ({ ...message, trainable: undefined }))
          const prompted = messages.at(-1)?.role === "assistant" ? messages.slice(0, -1) : messages
          const tokens = (renderer: Renderer.Renderer) =>
            Array.from(ModelInput.tokens(renderer.prompt(prompted, { tools })))
          if (JSON.stringify(tokens(byTemplate)) !== JSON.stringify(tokens(own))) differing.push(`${id} prompt`)
          const whole = (renderer: Renderer.Renderer) =>
            renderer.example(messages, { tools, train: "all_tokens" }).flatMap((segment) =>
              "tokens" in segment ? Array.from(segment.tokens) : []
            )
          const theirs = whole(byTemplate)
          let mine: ReadonlyArray<number> | undefined
          try {
            mine = whole(own)
          } catch (cause) {
            assert.instanceOf(cause, InvalidInput)
            continue // refused for what it would teach
          }
          // the template ends with a line break behind the last message
          if (JSON.stringify(theirs.slice(0, -1)) !== JSON.stringify(mine)) differing.push(`${id} example`)
        }
        assert.deepStrictEqual(differing, [])
      }))
  }
})
