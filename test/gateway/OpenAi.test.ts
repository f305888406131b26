import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ServiceClient, Tokenizer } from "tinkex"
import * as Support from "./support.js"

const model = "tinkex/nano"
const { decode, encode } = Tokenizer.nano

describe("OpenAI's client", () => {
  it.live("chat.completions.create answers, with usage and log-probabilities", () =>
    Effect.gen(function*() {
      const { openai } = yield* Support.make
      const answer = yield* Effect.promise(() =>
        openai.chat.completions.create({
          model,
          messages: [{ role: "system", content: "Be short." }, { role: "user", content: "2 + 2 =" }],
          max_tokens: 6,
          n: 2,
          seed: 1,
          logprobs: true,
          top_logprobs: 3
        })
      )
      assert.strictEqual(answer.object, "chat.completion")
      assert.lengthOf(answer.choices, 2)
      for (const choice of answer.choices) {
        assert.include(["stop", "length"], choice.finish_reason)
        assert.isString(choice.message.content)
        const content = choice.logprobs?.content ?? []
        assert.isAbove(content.length, 0)
        for (const { bytes, logprob, token, top_logprobs: top } of content) {
          assert.isAtMost(logprob, 0)
          assert.deepStrictEqual(bytes, [...new TextEncoder().encode(token)])
          assert.lengthOf(top, 3)
          assert.isAtLeast(top[0]!.logprob, top[2]!.logprob)
        }
      }
      const { completion_tokens: completion, prompt_tokens: prompt, total_tokens: total } = answer.usage!
      assert.strictEqual(total, prompt + completion)
      assert.isAbove(prompt, 4)
    }).pipe(Effect.provide(Support.layer())))

  it.live("a stream brings the same text, its end and its usage", () =>
    Effect.gen(function*() {
      const { openai } = yield* Support.make
      const request = {
        model,
        messages: [{ role: "user" as const, content: "Once upon a time" }],
        max_tokens: 24,
        seed: 3
      }
      const whole = yield* Effect.promise(() => openai.chat.completions.create(request))
      const chunks = yield* Effect.promise(async () => {
        const all = []
        const stream = await openai.chat.completions.create({
          ...request,
          stream: true,
          stream_options: { include_usage: true }
        })
        for await (const chunk of stream) all.push(chunk)
        return all
      })
      const text = chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")
      assert.strictEqual(text, whole.choices[0]!.message.content)
      assert.strictEqual(chunks[0]!.choices[0]!.delta.role, "assistant")
      assert.deepStrictEqual(
        chunks.flatMap(({ choices }) => choices.map((choice) => choice.finish_reason)).filter((one) => one !== null),
        [whole.choices[0]!.finish_reason]
      )
      assert.deepStrictEqual(chunks.at(-1)!.usage, whole.usage)
    }).pipe(Effect.provide(Support.layer())))

  it.live("completions echo with the log-probabilities that the client of this package computes", () =>
    Effect.gen(function*() {
      const { openai } = yield* Support.make
      const prompts = ["2 + 2 = 4", "The cat sat"]
      const answer = yield* Effect.promise(() =>
        openai.completions.create({
          model,
          prompt: prompts.map((text) => [...encode(text)]),
          max_tokens: 1,
          logprobs: 1,
          echo: true,
          temperature: 0
        })
      )
      const service = yield* ServiceClient.ServiceClient
      const sampler = yield* service.createSamplingClient({ baseModel: model })
      for (const [i, text] of prompts.entries()) {
        const tokens = encode(text)
        const choice = answer.choices[i]!
        assert.strictEqual(choice.index, i)
        assert.isTrue(choice.text.startsWith(text))
        const told = choice.logprobs!.token_logprobs!
        assert.lengthOf(told, tokens.length + 1)
        const own = yield* sampler.computeLogprobs(tokens)
        own.forEach((logprob, at) => {
          if (logprob === null) assert.isNull(told[at])
          else assert.closeTo(told[at]!, logprob, 1e-4)
        })
        // what lm_eval reads: whether the continuation is what the model would have said
        choice.logprobs!.top_logprobs!.slice(1).forEach((top, at) => {
          assert.isTrue(Object.values(top!).some((value) => Math.abs(value - told[at + 1]!) < 1e-6))
        })
        assert.strictEqual(choice.logprobs!.tokens!.slice(0, -1).join(""), text)
      }
    }).pipe(Effect.scoped, Effect.provide(Support.layer())))

  it.live("completions take texts, several samples, stops and streams", () =>
    Effect.gen(function*() {
      const { openai } = yield* Support.make
      const [one, streamed] = yield* Effect.promise(async () => {
        const request = { model, prompt: ["one", "two"], n: 2, max_tokens: 8, seed: 7, stop: [" "] }
        const whole = await openai.completions.create(request)
        const texts: Array<string> = []
        for await (const chunk of await openai.completions.create({ ...request, stream: true })) {
          for (const choice of chunk.choices) texts[choice.index] = (texts[choice.index] ?? "") + choice.text
        }
        return [whole, texts] as const
      })
      assert.lengthOf(one.choices, 4)
      assert.deepStrictEqual(streamed, one.choices.map(({ text }) => text))
      for (const { text } of one.choices) assert.notInclude(text, " ")
    }).pipe(Effect.provide(Support.layer())))

  it.live("models are listed and found by name, tokens counted and turned back", () =>
    Effect.gen(function*() {
      const { fetch, openai } = yield* Support.make
      const names = yield* Effect.promise(async () => (await openai.models.list()).data.map(({ id }) => id))
      assert.deepStrictEqual(names.slice(0, 2), ["mine", model])
      const mine = yield* Effect.promise(() => openai.models.retrieve("mine"))
      assert.strictEqual(mine.id, "mine")
      const post = (path: string, body: object) =>
        Effect.promise(async () =>
          (await fetch(`${Support.baseURL}/${path}`, { method: "POST", body: JSON.stringify(body) })).json()
        )
      const { count, tokens } = yield* post("tokenize", { model: "mine", prompt: "2 + 2 =" })
      assert.deepStrictEqual(tokens, [...encode("2 + 2 =")])
      assert.strictEqual(count, tokens.length)
      assert.deepStrictEqual(yield* post("detokenize", { model, tokens }), { prompt: decode(tokens) })
    }).pipe(Effect.provide(Support.layer({ models: { mine: model } }))))

  it.live("what is wrong is refused in OpenAI's words", () =>
    Effect.gen(function*() {
      const { fetch, openai } = yield* Support.make
      const refusal = (body: object) =>
        Effect.promise(async () => {
          const answer = await fetch(`${Support.baseURL}/chat/completions`, {
            method: "POST",
            body: JSON.stringify(body)
          })
          return { status: answer.status, error: (await answer.json()).error }
        })
      const base = { model, messages: [{ role: "user", content: "hi" }] }
      const unknown = yield* refusal({ ...base, temprature: 1 })
      assert.deepStrictEqual([unknown.status, unknown.error.message], [
        400,
        "Unrecognized request argument supplied: temprature"
      ])
      const unsupported = yield* refusal({ ...base, frequency_penalty: 0.5 })
      assert.deepStrictEqual([unsupported.status, unsupported.error.param, unsupported.error.code], [
        400,
        "frequency_penalty",
        "unsupported_parameter"
      ])
      assert.strictEqual(
        (yield* refusal({ ...base, frequency_penalty: 0, user: "u", store: true, max_tokens: 2 })).error,
        undefined
      )
      const missing = yield* refusal({ ...base, model: "no/such" })
      assert.deepStrictEqual([missing.status, missing.error.code], [404, "model_not_found"])
      assert.strictEqual((yield* refusal({ model, messages: [] })).status, 400)
      assert.strictEqual((yield* refusal({ ...base, temperature: 3 })).status, 400)
      const error = yield* Effect.promise(() =>
        openai.chat.completions.create({ model: "no/such", messages: [] }).then(
          () => undefined,
          (error: Error) => error
        )
      )
      assert.strictEqual(error?.constructor.name, "BadRequestError")
      const nowhere = yield* Effect.promise(() => fetch(`${Support.baseURL}/nothing`))
      assert.strictEqual(nowhere.status, 404)
    }).pipe(Effect.provide(Support.layer())))

  it.live("a format that the model does not keep to is asked for again, and then refused", () =>
    Effect.gen(function*() {
      const { openai } = yield* Support.make
      const error = yield* Effect.promise(() =>
        openai.chat.completions.create({
          model,
          messages: [{ role: "user", content: "a number" }],
          max_tokens: 4,
          response_format: {
            type: "json_schema",
            json_schema: {
              name: "answer",
              schema: { type: "object", required: ["n"], properties: { n: { type: "number" } } }
            }
          }
        }).then(() => undefined, (error: Error & { status?: number; code?: string }) => error)
      )
      assert.deepStrictEqual([error?.status, error?.code], [422, "response_format_not_met"])
      assert.include(error?.message ?? "", "after 4 tries")
    }).pipe(Effect.provide(Support.layer())))
})
