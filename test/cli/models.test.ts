import { assert, describe, it } from "@effect/vitest"
import { fileURLToPath } from "node:url"
import { json, run, serve } from "./support.js"

const checkpoints = fileURLToPath(new URL("../engine/files/fixtures/checkpoints", import.meta.url))
const gguf = `${checkpoints}/gguf-qwen3-q5_1/model.gguf`

describe("serve --model", { timeout: 120_000 }, () => {
  it("serves files under their names and aliases, beside the built-in models", async () => {
    const server = await serve(
      "--model",
      `small=${gguf}`,
      "--model",
      `${checkpoints}/qwen2`,
      "--alias",
      "Qwen/Qwen2-tiny=qwen2"
    )
    const { models } = await json(["model", "list", "q", "--base-url", server.url]) as {
      readonly models: ReadonlyArray<Record<string, unknown>>
    }
    assert.deepStrictEqual(models.map((model) => model["model_name"]), ["qwen2", "Qwen/Qwen2-tiny"])
    assert.deepInclude(models[1], { tokenizer_id: "qwen2", max_context_length: 128, has_chat_template: true })
    const table = await run(["model", "list", "--base-url", server.url])
    assert.match(table.out, /small +128 +\d+ K +small +Yes +Yes +Yes/)
    const sampled = await run(
      ["sample", "--base-model", "small", "--prompt", "The", "--max-tokens", "4", "--temperature", "0"].concat([
        "--base-url",
        server.url
      ])
    )
    assert.strictEqual(sampled.code, 0, sampled.err)
    const tokenizer = await fetch(`${server.url}/small/resolve/main/tokenizer_config.json`)
    assert.include(await tokenizer.text(), "chat_template")
    const head = await fetch(`${server.url}/small/resolve/main/tokenizer.json`, { method: "HEAD" })
    assert.strictEqual(head.status, 200)
    assert.match(head.headers.get("etag")!, /^"[0-9a-f]{64}"$/)
    const other = await fetch(`${server.url}/small/resolve/main/pytorch_model.bin`)
    assert.strictEqual(other.status, 404)
    assert.strictEqual(other.headers.get("x-error-code"), "EntryNotFound")
    assert.strictEqual((await fetch(`${server.url}/none/resolve/main/tokenizer.json`)).status, 404)
    const stopped = await server.stop()
    assert.include(stopped.out, "serving small")
  })

  it("refuses what cannot be served before it listens", async () => {
    const refused = async (...args: ReadonlyArray<string>) => {
      const { code, err, out } = await run(["serve", "--port", "0", ...args])
      assert.strictEqual(code, 1, out)
      assert.notInclude(out, "listening")
      return err
    }
    assert.include(await refused("--model", "/no/such.gguf"), "--model /no/such.gguf: there is no such file")
    assert.include(await refused("--model", `a b=${gguf}`), "cannot be the model's name")
    assert.include(
      await refused("--model", `small=${gguf}`, "--alias", "x=y"),
      "--alias x=y: there is no model y; there are tinkex/nano, tinkex/nano-random, small"
    )
    assert.include(await refused("--model", `tinkex/nano=${gguf}`), "two models are called tinkex/nano")
  })
})
