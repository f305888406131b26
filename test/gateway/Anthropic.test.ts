import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Support from "./support.js"

const request = {
  model: "tinkex/nano",
  max_tokens: 16,
  messages: [{ role: "user" as const, content: "Once upon a time" }],
  temperature: 0
}

describe("Anthropic's client", () => {
  it.live("messages.create answers, and a stream brings the same", () =>
    Effect.gen(function*() {
      const { anthropic } = yield* Support.make
      const message = yield* Effect.promise(() => anthropic.messages.create(request))
      assert.strictEqual(message.type, "message")
      assert.include(["end_turn", "max_tokens"], message.stop_reason)
      assert.isAbove(message.usage.input_tokens, 0)
      const [block] = message.content
      assert.strictEqual(block?.type, "text")
      const streamed = yield* Effect.promise(() => anthropic.messages.stream(request).finalMessage())
      assert.deepStrictEqual(streamed.content, message.content)
      assert.deepStrictEqual(
        [streamed.stop_reason, streamed.usage.output_tokens],
        [message.stop_reason, message.usage.output_tokens]
      )
    }).pipe(Effect.provide(Support.layer())))

  it.live("a stop sequence ends the answer before it, and is told", () =>
    Effect.gen(function*() {
      const { anthropic } = yield* Support.make
      const free = yield* Effect.promise(() => anthropic.messages.create(request))
      const text = free.content[0]?.type === "text" ? free.content[0].text : ""
      const stop = text.slice(2, 4)
      const answer = yield* Effect.promise(() => anthropic.messages.create({ ...request, stop_sequences: [stop] }))
      assert.strictEqual(answer.stop_reason, "stop_sequence")
      assert.strictEqual(answer.stop_sequence, stop)
      const cut = answer.content[0]?.type === "text" ? answer.content[0].text : ""
      assert.strictEqual(cut, text.slice(0, text.indexOf(stop)))
    }).pipe(Effect.provide(Support.layer())))

  it.live("what is wrong is refused in Anthropic's words", () =>
    Effect.gen(function*() {
      const { anthropic, fetch } = yield* Support.make
      const error = yield* Effect.promise(() =>
        anthropic.messages.create({ ...request, model: "no/such" }).then(
          () => undefined,
          (error: Error & { status?: number; error?: { error?: { type?: string } } }) => error
        )
      )
      assert.deepStrictEqual([error?.status, error?.error?.error?.type], [404, "not_found_error"])
      const malformed = yield* Effect.promise(async () =>
        (await fetch("http://gateway.test/v1/messages", { method: "POST", body: "{" })).json()
      )
      assert.deepStrictEqual(malformed, {
        type: "error",
        error: { type: "invalid_request_error", message: "the body is not JSON" }
      })
    }).pipe(Effect.provide(Support.layer())))
})
