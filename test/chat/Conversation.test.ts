import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Stream from "effect/Stream"
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Conversation from "../../src/chat/Conversation.js"
import * as Message from "../../src/chat/Message.js"
import * as Renderer from "../../src/chat/Renderer.js"
import { InvalidInput } from "../../src/protocol/InvalidInput.js"
import * as ModelInput from "../../src/protocol/ModelInput.js"
import * as TensorData from "../../src/protocol/TensorData.js"
import * as Tokenizer from "../../src/tokenizer/Tokenizer.js"
import * as Preview from "../../src/training/Preview.js"
import { sized } from "../support/deep.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "tinkex-chat-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const file = (text: string) =>
  Effect.map(folder, (path) => {
    const name = join(path, "chat.jsonl")
    writeFileSync(name, text)
    return name
  })

const read = (path: string) => Effect.map(Stream.runCollect(Conversation.fromJsonl(path)), Chunk.toReadonlyArray)

const decode = (value: unknown) => Either.getOrThrowWith(Conversation.decode(value), (detail) => new Error(detail))

describe("forms", () => {
  it("reads messages as OpenAI has them, with tools, calls and reasoning", () => {
    const { messages, tools } = decode({
      messages: [
        { role: "user", content: "Weather?" },
        {
          role: "assistant",
          content: null,
          reasoning_content: "look it up",
          tool_calls: [{ id: "c1", type: "function", function: { name: "weather", arguments: "{\"city\":\"Bern\"}" } }]
        },
        { role: "tool", tool_call_id: "c1", name: "weather", content: "fog" },
        { role: "assistant", content: [{ type: "text", text: "Fog." }] }
      ],
      tools: [{ type: "function", function: { name: "weather", description: "d", parameters: { type: "object" } } }]
    })
    assert.deepStrictEqual(messages, [
      Message.user("Weather?"),
      Message.assistant([{ type: "thinking", thinking: "look it up" }], [
        { id: "c1", name: "weather", arguments: "{\"city\":\"Bern\"}" }
      ]),
      { role: "tool", content: "fog", toolCallId: "c1", name: "weather" },
      Message.assistant([{ type: "text", text: "Fog." }])
    ])
    assert.deepStrictEqual(tools, [{ name: "weather", description: "d", parameters: { type: "object" } }])
  })

  it("reads ShareGPT, prompt and completion, and pairs", () => {
    assert.deepStrictEqual(
      decode({
        system: "Be brief.",
        conversations: [{ from: "human", value: "Hi" }, { from: "gpt", value: "Ho" }]
      }).messages,
      [Message.system("Be brief."), Message.user("Hi"), Message.assistant("Ho")]
    )
    assert.deepStrictEqual(decode({ prompt: "Hi", completion: "Ho" }).messages, [
      Message.user("Hi"),
      Message.assistant("Ho")
    ])
    assert.deepStrictEqual(
      Conversation.decodePair({ prompt: "Hi", chosen: "Ho", rejected: [{ role: "assistant", content: "No" }] }),
      Either.right({
        prompt: [Message.user("Hi")],
        chosen: [Message.assistant("Ho")],
        rejected: [Message.assistant("No")]
      })
    )
    const pair = (last: string) => [{ role: "user", content: "Hi" }, { role: "assistant", content: last }]
    assert.deepStrictEqual(
      Conversation.decodePair({ chosen: pair("Ho"), rejected: pair("No") }),
      Either.right({
        prompt: [Message.user("Hi")],
        chosen: [Message.assistant("Ho")],
        rejected: [Message.assistant("No")]
      })
    )
    assert.isTrue(Either.isLeft(Conversation.decodePair({ chosen: "a", rejected: "b" })))
  })
})

describe("fromJsonl", () => {
  it.scoped("names file and line of what is no conversation, and does not quote it", () =>
    Effect.gen(function*() {
      const good = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}"
      const cases: ReadonlyArray<readonly [line: string, expected: RegExp]> = [
        ["{\"messages\": [{\"role\": \"user\", \"content\": 7}]}", /chat\.jsonl, line 3: messages\[0\]\.content/],
        [
          "{\"secret\": 1}",
          /line 3: expected an object with messages, with conversations, or with prompt and completion/
        ],
        ["{\"messages\": ", /line 3: the line is not JSON/],
        [
          "{\"conversations\": [{\"from\": \"secret\", \"value\": \"x\"}]}",
          /line 3: conversations\[0\]\.from: expected one of human/
        ]
      ]
      for (const [line, expected] of cases) {
        const path = yield* file(`\uFEFF${good}\n\n${line}\n${good}`)
        const error = yield* Effect.flip(read(path))
        assert.match(error.message, expected)
        assert.notInclude(error.message, "secret")
        assert.strictEqual(error.line, 3)
      }
      const absent = yield* Effect.flip(read("/nowhere/chat.jsonl"))
      assert.match(absent.message, /there is no such file/)
      const path = yield* file("x".repeat(2000))
      const long = yield* Effect.flip(Stream.runDrain(Conversation.fromJsonl(path, { maxLineBytes: 100 })))
      assert.match(long.message, /line 1: expected a line of at most 100 bytes/)
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.scoped("reads lines of any ending, characters across pieces of the file, and the last line without an end", () =>
    Effect.gen(function*() {
      const line = (text: string) => JSON.stringify({ prompt: text, completion: "ü🙂" })
      const texts = Array.from({ length: 300 }, (_, i) => `${"🙂".repeat(i * 3)}${i}`)
      const path = yield* file(texts.map(line).join("\r\n"))
      const found = yield* read(path)
      assert.deepStrictEqual(found.map(({ messages }) => messages[0]?.content), texts)
      assert.match(found.at(-1)?.source ?? "", /line 300$/)
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.scoped("passes a large file in constant memory and tells how far it is", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "large.jsonl")
      const line = `${JSON.stringify({ prompt: "a".repeat(700), completion: "b".repeat(290) })}\n`
      const block = line.repeat(10_000)
      const blocks = sized(100) // 1 GB in full size
      for (let i = 0; i < blocks; i++) appendFileSync(path, block)
      const told: Array<Conversation.Progress> = []
      let most = 0
      let count = 0
      const before = process.memoryUsage().heapUsed
      yield* Conversation.fromJsonl(path, { onProgress: (progress) => Effect.sync(() => told.push(progress)) }).pipe(
        Stream.runForEachChunk((chunk) =>
          Effect.sync(() => {
            count += chunk.length
            if (count % 1000 < chunk.length) most = Math.max(most, process.memoryUsage().heapUsed)
          })
        )
      )
      assert.strictEqual(count, blocks * 10_000)
      // what is collected later than it is dropped, not what is kept: a file ten times as large needs no more
      assert.isBelow((most - before) / 1e6, 150)
      const last = told.at(-1)!
      assert.deepStrictEqual(last, { lines: count, bytes: last.total, total: line.length * count })
      assert.isAbove(told.length, blocks * 9)
      assert.strictEqual(
        Conversation.progressText("large.jsonl", told[0]!).replace(/\d[\d,]*\b/g, "n"),
        "large.jsonl: n lines, n %"
      )
    }).pipe(Effect.provide(NodeFileSystem.layer)), 300_000)
})

describe("toData", () => {
  const conversation: Conversation.Conversation = {
    messages: [Message.user("1 + 1?"), Message.assistant("2"), Message.user("2 + 2?"), Message.assistant("4")],
    source: "chat.jsonl, line 7"
  }

  it.effect("makes one datum of a conversation, or one of each message", () =>
    Effect.gen(function*() {
      const renderer = yield* Renderer.make("nano", Tokenizer.nano)
      const [datum, ...others] = yield* Conversation.toData(renderer)(Stream.make(conversation))
      assert.strictEqual(others.length, 0)
      assert.include(Preview.toText(datum!, Tokenizer.nano.decode), "assistant⏎[2<|im_end|>]")
      assert.include(Preview.toText(datum!, Tokenizer.nano.decode), "assistant⏎[4<|im_end|>]")
      // a renderer whose history is written otherwise
      const template =
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}!{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
      const other = yield* Renderer.fromTemplate(Tokenizer.nano, { template })
      const data = yield* Conversation.toData(other)(Stream.make(conversation))
      assert.deepStrictEqual(
        data.map((one) => /\[.*\]/.exec(Preview.toText(one, Tokenizer.nano.decode))?.[0]),
        ["[!2<|im_end|>]", "[!4<|im_end|>]"]
      )
    }))

  it.effect("cuts, weighs and refuses what has nothing to learn", () =>
    Effect.gen(function*() {
      const renderer = yield* Renderer.make("nano", Tokenizer.nano)
      const whole = yield* Conversation.toData(renderer, { reduction: "mean" })(Stream.make(conversation))
      const weights = TensorData.toArray(whole[0]!.lossFnInputs["weights"]!)
      assert.closeTo(weights.reduce((sum, weight) => sum + weight, 0), 1, 1e-6)
      const length = ModelInput.length(whole[0]!.modelInput)
      const cut = yield* Conversation.toData(renderer, { maxLength: length - 5 })(Stream.make(conversation))
      assert.strictEqual(ModelInput.length(cut[0]!.modelInput), length - 6)
      const error = yield* Effect.flip(Conversation.toData(renderer, { maxLength: 5 })(Stream.make(conversation)))
      assert.instanceOf(error, InvalidInput)
      assert.match(error.message, /chat\.jsonl, line 7\.messages: expected something to learn .* within 5 tokens/)
      const skipped = yield* Conversation.toData(renderer, { maxLength: 5, onEmpty: "skip" })(Stream.make(conversation))
      assert.deepStrictEqual(skipped, [])
      const misspelt = yield* Effect.flip(
        // a name that TypeScript refuses
        Conversation.toData(renderer, { max_length: 5 } as Conversation.ToDataOptions)(Stream.make(conversation))
      )
      assert.match(misspelt.message, /maxLength/)
    }))
})

describe("the renderer of a run", () => {
  it.effect("is checked against its metadata", () =>
    Effect.gen(function*() {
      const renderer = yield* Renderer.make("nano", Tokenizer.nano)
      yield* Renderer.checkMetadata(renderer, Renderer.metadata(renderer))
      yield* Renderer.checkMetadata(renderer, undefined)
      const other = { renderer_name: "qwen3" }
      const error = yield* Effect.flip(Renderer.checkMetadata(renderer, other))
      assert.strictEqual(error.reason, "Mismatch")
      assert.match(error.message, /trained with the renderer qwen3/)
      yield* Renderer.checkMetadata(renderer, other, { override: true })
    }))
})
