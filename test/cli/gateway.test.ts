import Anthropic from "@anthropic-ai/sdk"
import { assert, describe, it } from "@effect/vitest"
import OpenAI from "openai"
import { serve } from "./support.js"

const model = "tinkex/nano"
const key = "key-of-this-test"
const messages = [{ role: "user" as const, content: "2 + 2 =" }]

describe("the gateway of serve", { timeout: 120_000 }, () => {
  it("answers OpenAI's and Anthropic's clients on the server's own port, with its key and its rules", async () => {
    const server = await serve("--api-key", key)
    const openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: key, maxRetries: 0 })
    const answer = await openai.chat.completions.create({ model, messages, max_tokens: 6, seed: 1, logprobs: true })
    const tokens = answer.choices[0]!.logprobs!.content!
    assert.strictEqual(tokens.length, answer.usage!.completion_tokens)
    assert.isTrue(tokens.every(({ logprob }) => logprob <= 0))
    let streamed = ""
    const oai = new OpenAI({ baseURL: `${server.url}/oai/api/v1`, apiKey: key, maxRetries: 0 })
    for await (
      const chunk of await oai.chat.completions.create({ model, messages, max_tokens: 6, seed: 1, stream: true })
    ) {
      streamed += chunk.choices[0]?.delta.content ?? ""
    }
    assert.strictEqual(streamed, answer.choices[0]!.message.content)
    const names = (await openai.models.list()).data.map(({ id }) => id)
    assert.include(names, model)
    const anthropic = new Anthropic({ baseURL: server.url, apiKey: key, maxRetries: 0 })
    const message = await anthropic.messages.create({ model, messages, max_tokens: 6 })
    assert.strictEqual(message.role, "assistant")

    const status = async (path: string, headers: Record<string, string>) =>
      (await fetch(`${server.url}${path}`, { headers })).status
    const bearer = { authorization: `Bearer ${key}` }
    for (const path of ["/v1/models", "/oai/api/v1/models", "/v1/nothing", "/v1"]) {
      assert.strictEqual(await status(path, {}), 401, path)
      assert.strictEqual(await status(path, { authorization: "Bearer another" }), 401, path)
      assert.strictEqual(await status(path, { ...bearer, origin: "http://page.example" }), 403, path)
    }
    assert.strictEqual(await status("/v1/models", bearer), 200)
    assert.strictEqual(await status("/v1/nothing", bearer), 404)
    // the protocol is where it was
    assert.strictEqual(await status("/api/v1/healthz", {}), 200)
    assert.strictEqual((await server.stop()).code, 130)
  })
})
