import { assert, describe, it } from "@effect/vitest"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { readdirSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { json, run, serve, serveIn, temporary } from "./support.js"

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

/** A hub with one repository, tiny/qwen2: the files of a folder. */
const standInHub = async (folder: string) => {
  const files = new Map(readdirSync(folder).map((name) => [name, readFileSync(`${folder}/${name}`)]))
  const commit = "a".repeat(40)
  const server = createServer((request, response) => {
    if (request.url === "/api/models/tiny/qwen2/revision/main?blobs=true") {
      return response.end(JSON.stringify({
        sha: commit,
        siblings: [...files].map(([rfilename, bytes]) => ({
          rfilename,
          size: bytes.length,
          blobId: createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex")
        }))
      }))
    }
    const bytes = files.get(request.url?.split(`/tiny/qwen2/resolve/${commit}/`)[1] ?? "")
    response.statusCode = bytes === undefined ? 404 : 200
    return response.end(bytes)
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  // listening on a port of an IP address
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() }
}

describe("model pull", { timeout: 120_000 }, () => {
  it("fetches a model that serve then knows by its name", async () => {
    const hub = await standInHub(`${checkpoints}/qwen2`)
    const cache = temporary()
    const env = { HF_ENDPOINT: hub.url, HF_HOME: cache.path }
    try {
      const pulled = await run(["model", "pull", "tiny/qwen2"], { env })
      assert.strictEqual(pulled.code, 0, pulled.err)
      const path = `${cache.path}/hub/models--tiny--qwen2/snapshots/${"a".repeat(40)}`
      assert.strictEqual(pulled.out, `${path}\n`)
      assert.match(pulled.err, /\d files, .*; tinkex serve --model tiny\/qwen2/)
      assert.deepInclude(await json(["model", "pull", "tiny/qwen2"], { env }), { repository: "tiny/qwen2", path })
      const missing = await run(["model", "pull", "tiny/none"], { env })
      assert.strictEqual(missing.code, 1)
      assert.include(missing.err, "tiny/none: the hub has no repository of this name, or it has no revision main")

      const server = await serveIn(env, "--model", "tiny/qwen2")
      const { models } = await json(["model", "list", "qwen2", "--base-url", server.url]) as {
        readonly models: ReadonlyArray<Record<string, unknown>>
      }
      assert.deepStrictEqual(models.map((model) => model["model_name"]), ["tiny/qwen2"])
      await server.stop()
      const refused = await run(["serve", "--port", "0", "--model", "tiny/none"], { env })
      assert.include(refused.err, "no such model was pulled; tinkex model pull tiny/none")
    } finally {
      hub.close()
      cache.remove()
    }
  })
})
