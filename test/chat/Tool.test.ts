import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Message from "../../src/chat/Message.js"
import * as Tool from "../../src/chat/Tool.js"

const weather = Tool.make({
  name: "weather",
  description: "The weather of a city",
  parameters: Schema.Struct({ city: Schema.String, days: Schema.optional(Schema.Int) }),
  handler: ({ city, days }) =>
    city === "Atlantis" ? Effect.fail(new Error("no such city")) : Effect.succeed({ city, days: days ?? 1, sky: "fog" })
})

const call = (name: string, args: string, id = "c1"): Message.ToolCall => ({ id, name, arguments: args })

describe("Tool", () => {
  it("is told as JSON Schema", () => {
    assert.deepStrictEqual(weather.spec, {
      name: "weather",
      description: "The weather of a city",
      parameters: {
        type: "object",
        required: ["city"],
        properties: { city: { type: "string" }, days: { type: "integer", title: "int", description: "an integer" } },
        additionalProperties: false
      }
    } as Tool.ToolSpec)
    assert.deepStrictEqual(
      Tool.spec({
        name: "weather",
        description: "The weather of a city",
        parameters: Schema.Struct({ city: Schema.String })
      }).name,
      "weather"
    )
  })

  it.effect("answers calls, and those that cannot be made", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(
        yield* weather.run(call("weather", "{\"city\": \"Bern\"}")),
        { role: "tool", content: "{\"city\":\"Bern\",\"days\":1,\"sky\":\"fog\"}", name: "weather", toolCallId: "c1" }
      )
      const text = (args: string) => Effect.map(weather.run(call("weather", args)), Message.text)
      assert.strictEqual(yield* text("{\"city\": \"Atlantis\"}"), "error: no such city")
      assert.strictEqual(yield* text("{\"city\": "), "error: the arguments are not JSON")
      const wrong = yield* text("{\"city\": 7}")
      assert.match(wrong, /^error: city: expected/)
      const failure = yield* Effect.flip(weather.decode(call("weather", "{}")))
      assert.match(failure.message, /tool weather: city/)
    }))

  it.effect("answers all calls of a message in order, at the same time", () =>
    Effect.gen(function*() {
      const second = yield* Deferred.make<void>()
      const first = Tool.make({
        name: "first",
        description: "",
        parameters: Schema.Struct({}),
        handler: () => Effect.as(Deferred.await(second), "first")
      })
      const other = Tool.make({
        name: "second",
        description: "",
        parameters: Schema.Struct({}),
        handler: () => Effect.as(Deferred.succeed(second, undefined), "second")
      })
      const dying = Tool.make({
        name: "dies",
        description: "",
        parameters: Schema.Struct({}),
        handler: () => Effect.die("x")
      })
      const message: Message.Message = {
        ...Message.assistant("", [
          call("first", ""),
          call("second", "{}", "c2"),
          call("third", "{}", "c3"),
          call("dies", "", "c4")
        ]),
        unparsedToolCalls: [{ rawText: "<tool_call>", error: "unterminated tool block" }]
      }
      const answers = yield* Tool.runAll([first, other, dying], message)
      assert.deepStrictEqual(answers.map(Message.text), [
        "first",
        "second",
        "error: there is no tool of this name; there are first, second, dies",
        "error: the tool failed",
        "error: this could not be read as a tool call (unterminated tool block)"
      ])
      assert.deepStrictEqual(answers.map(({ toolCallId }) => toolCallId), ["c1", "c2", "c3", "c4", undefined])
    }))

  it("reads specifications with and without the wrapper", () => {
    const decode = Schema.decodeUnknownSync(Tool.FromOpenAi)
    const bare = { name: "a", description: "b", parameters: { type: "object" } }
    assert.deepStrictEqual(decode({ type: "function", function: bare }), bare)
    assert.deepStrictEqual(decode({ name: "a" }), { name: "a", description: "", parameters: {} })
    assert.deepStrictEqual(Schema.encodeSync(Tool.FromOpenAi)(bare), { type: "function", function: bare })
  })
})
