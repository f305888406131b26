import { AiError, LanguageModel, Tokenizer as AiTokenizer, Tool, Toolkit } from "@effect/ai"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, Layer, Schema, Stream } from "effect"
import { ChatModel, Message, Renderer, type SamplingClient, Tokenizer } from "tinkex"
import { TestServer } from "tinkex/testing"
import * as TinkerLanguageModel from "../../src/ai/TinkerLanguageModel.js"

/** A model that says, one after the other, what it is told to; and remembers what it was asked. */
const scripted = (...answers: ReadonlyArray<Message.Message>) =>
  Effect.gen(function*() {
    const asked: Array<ChatModel.Options> = []
    const renderer = yield* Renderer.make("nano", Tokenizer.nano)
    const choiceOf = (message: Message.Message): ChatModel.Choice => ({
      index: 0,
      message,
      finishReason: (message.toolCalls?.length ?? 0) > 0 ? "tool_calls" : "stop",
      stopText: undefined,
      malformed: undefined,
      tokens: Int32Array.of(1, 2),
      logprobs: Float32Array.of(-0.5, -0.25),
      topLogprobs: undefined,
      sequenceId: "seq"
    })
    const usage = { promptTokens: 7, completionTokens: 2, cachedTokens: 3 }
    const next = (options: ChatModel.Options) =>
      Effect.sync(() => {
        asked.push(options)
        return choiceOf(answers[asked.length - 1] ?? Message.assistant("nothing more"))
      })
    const chat: ChatModel.ChatModel = {
      [ChatModel.TypeId]: ChatModel.TypeId,
      renderer,
      sampler: undefined as unknown as SamplingClient.Client, // not asked
      generate: (options) =>
        Effect.map(next(options), (choice) => ({ choices: [choice], usage, prompt: { chunks: [] } })),
      stream: (options) =>
        Stream.unwrap(Effect.map(next(options), (choice) =>
          Stream.make<Array<ChatModel.StreamEvent>>(
            ...[...Message.text(choice.message)].map((text) => ({
              type: "delta" as const,
              index: 0,
              event: { type: "text" as const, text }
            })),
            { type: "choice", choice },
            { type: "usage", usage }
          )))
    }
    return { asked, layer: Layer.effect(LanguageModel.LanguageModel, TinkerLanguageModel.fromChatModel(chat)) }
  })

const call = (name: string, args: string) => Message.assistant("", [{ name, arguments: args }])

describe("TinkerLanguageModel", () => {
  it.live("answers with text, usage and the log-probability of every token, from weights that really sample", () =>
    Effect.gen(function*() {
      const answer = yield* LanguageModel.generateText({ prompt: "2 + 2 =" }).pipe(
        TinkerLanguageModel.withSettings({ maxTokens: 8 })
      )
      const [finish] = answer.content.filter((part) => part.type === "finish")
      assert.include(["stop", "length"], finish?.reason)
      assert.isAbove(answer.usage.inputTokens ?? 0, 4)
      const { logprobs, tokens } = finish!.metadata["tinker"] as unknown as {
        tokens: Array<number>
        logprobs: Array<number>
      }
      assert.strictEqual(tokens.length, logprobs.length)
      const parts = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "2 + 2 =" }))
      const text = Chunk.toReadonlyArray(parts).map((part) => part.type === "text-delta" ? part.delta : "").join("")
      assert.strictEqual(text, answer.text)
      const tokenizer = yield* AiTokenizer.Tokenizer
      const renderer = yield* Renderer.make("nano", Tokenizer.nano)
      const shown = renderer.prompt([Message.user("2 + 2 =")])
      assert.deepStrictEqual(
        yield* tokenizer.tokenize("2 + 2 ="),
        shown.chunks.flatMap((chunk) => "tokens" in chunk ? [...chunk.tokens] : [])
      )
    }).pipe(Effect.provide(
      TinkerLanguageModel.layer({ baseModel: "tinkex/nano", settings: { temperature: 0, maxTokens: 16 } }).pipe(
        Layer.provide(TestServer.layer())
      )
    )))

  it.effect("an object is asked for until it is one, with what was wrong", () =>
    Effect.gen(function*() {
      const { asked, layer } = yield* scripted(
        Message.assistant("I think it is Ada."),
        Message.assistant(`{"name": "Ada"}`),
        Message.assistant("```json\n{\"name\": \"Ada\", \"age\": 36}\n```")
      )
      const { usage, value } = yield* Effect.provide(
        LanguageModel.generateObject({
          prompt: "Who?",
          schema: Schema.Struct({ name: Schema.String, age: Schema.Number })
        }),
        layer
      )
      assert.deepStrictEqual(value, { name: "Ada", age: 36 })
      assert.strictEqual(usage.outputTokens, 6)
      assert.include(Message.text(asked[0]!.messages[0]!), "JSON Schema")
      assert.include(Message.text(asked[1]!.messages.at(-1)!), "it is not JSON")
      assert.include(Message.text(asked[2]!.messages.at(-1)!), "age")
    }))

  it.effect("a model that does not keep to the format fails in words, without its answer", () =>
    Effect.gen(function*() {
      const { layer } = yield* scripted(...Array.from({ length: 4 }, () => Message.assistant("a secret")))
      const error = yield* Effect.flip(Effect.provide(
        LanguageModel.generateObject({ prompt: "?", schema: Schema.Struct({ n: Schema.Number }) }),
        layer
      ))
      assert.instanceOf(error, AiError.MalformedOutput)
      assert.include(String(error.description), "after 4 tries")
      assert.notInclude(JSON.stringify(error), "a secret")
    }))

  it.effect("tools are told, called and answered; a choice of tool is kept to", () =>
    Effect.gen(function*() {
      const toolkit = Toolkit.make(
        Tool.make("weather", {
          description: "The weather of a city",
          parameters: { city: Schema.String },
          success: Schema.String
        })
      )
      const handlers = toolkit.toLayer({ weather: ({ city }) => Effect.succeed(`sunny in ${city}`) })
      const { asked, layer } = yield* scripted(
        Message.assistant("I do not know."),
        call("weather", "{not json"),
        call("weather", `{"city": "Bern"}`)
      )
      const answer = yield* LanguageModel.generateText({ prompt: "Weather in Bern?", toolkit, toolChoice: "required" })
        .pipe(
          Effect.provide(Layer.merge(layer, handlers))
        )
      assert.deepStrictEqual(answer.toolResults.map(({ name, result }) => [name, result]), [[
        "weather",
        "sunny in Bern"
      ]])
      assert.strictEqual(answer.finishReason, "tool-calls")
      const [spec] = asked[0]!.tools ?? []
      assert.deepStrictEqual([spec?.name, spec?.description], ["weather", "The weather of a city"])
      assert.deepInclude(spec?.parameters["properties"], { city: { type: "string" } })
      assert.include(Message.text(asked[1]!.messages.at(-1)!), "a tool has to be called")
      assert.include(Message.text(asked[2]!.messages.at(-1)!), "are not JSON")
    }))

  it.effect("a conversation with calls and results becomes messages of the model's own", () =>
    Effect.gen(function*() {
      const { asked, layer } = yield* scripted(Message.assistant("It is sunny."))
      yield* Effect.provide(
        LanguageModel.generateText({
          prompt: [
            { role: "system", content: "Be short." },
            { role: "user", content: [{ type: "text", text: "Weather?" }] },
            {
              role: "assistant",
              content: [{
                type: "tool-call",
                id: "c1",
                name: "weather",
                params: { city: "Bern" },
                providerExecuted: false
              }]
            },
            {
              role: "tool",
              content: [{
                type: "tool-result",
                id: "c1",
                name: "weather",
                result: "sunny",
                isFailure: false,
                providerExecuted: false
              }]
            }
          ]
        }),
        layer
      )
      assert.deepStrictEqual(asked[0]!.messages, [
        Message.system("Be short."),
        Message.user("Weather?"),
        Message.assistant("", [{ id: "c1", name: "weather", arguments: `{"city":"Bern"}` }]),
        Message.toolResult({ id: "c1", name: "weather", arguments: "" }, "sunny")
      ])
    }))

  it.effect("a file that is no image is refused before anything is sent", () =>
    Effect.gen(function*() {
      const { asked, layer } = yield* scripted()
      const error = yield* Effect.flip(Effect.provide(
        LanguageModel.generateText({
          prompt: [{ role: "user", content: [{ type: "file", mediaType: "application/pdf", data: "AAAA" }] }]
        }),
        layer
      ))
      assert.instanceOf(error, AiError.MalformedInput)
      assert.include(error.message, "application/pdf")
      assert.lengthOf(asked, 0)
    }))
})
