import { HttpClient, HttpClientError, HttpClientResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { cacheOf, find } from "../../../src/node/hub/cache.js"
import { pullModel } from "../../../src/node/hub/pullModel.js"

const commit = "0123456789abcdef0123456789abcdef01234567"
const token = "hf_secret"

const bytesOf = (name: string, size: number) => {
  const bytes = new Uint8Array(size)
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + name.length) & 0xff
  return bytes
}

const qwen: Readonly<Record<string, Uint8Array>> = {
  ".gitattributes": bytesOf("a", 10),
  "README.md": bytesOf("b", 99),
  "config.json": bytesOf("c", 700),
  "tokenizer.json": bytesOf("d", 5_000),
  "tokenizer_config.json": bytesOf("e", 0),
  "model.safetensors.index.json": bytesOf("f", 300),
  "model-00001-of-00002.safetensors": bytesOf("g", 100_000),
  "model-00002-of-00002.safetensors": bytesOf("h", 50_000),
  "original/model.safetensors": bytesOf("i", 10),
  "pytorch_model.bin": bytesOf("j", 10)
}

const sibling = ([rfilename, bytes]: readonly [string, Uint8Array]) => ({
  rfilename,
  size: bytes.length,
  blobId: createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex"),
  ...(bytes.length > 10_000
    ? { lfs: { sha256: createHash("sha256").update(bytes).digest("hex"), size: bytes.length } }
    : {})
})

interface Seen {
  readonly url: string
  readonly range: string | undefined
  readonly authorization: string | undefined
}

/** What a request is answered with, in place of what a hub says; undefined: as a hub. */
type Odd = (seen: Seen) => Response | "cut" | undefined

/** A hub with some files, large ones on another host, and what it was asked. */
const hub = (files: Readonly<Record<string, Uint8Array>> = qwen, odd: Odd = () => undefined) => {
  const asked: Array<Seen> = []
  const client = HttpClient.make((request, url) => {
    const seen = {
      url: url.href,
      range: request.headers["range"],
      authorization: request.headers["authorization"]
    }
    asked.push(seen)
    const answer = (response: Response) => Effect.succeed(HttpClientResponse.fromWeb(request, response))
    const strange = odd(seen)
    if (strange instanceof Response) return answer(strange)
    if (url.pathname.startsWith("/api/models/")) {
      return answer(Response.json({ sha: commit, siblings: Object.entries(files).map(sibling) }))
    }
    const name = url.pathname.split(`/${commit}/`)[1] ?? ""
    const bytes = files[name]
    if (bytes === undefined) return answer(new Response("", { status: 404 }))
    if (bytes.length > 10_000 && url.host === "hub.test") {
      return answer(
        new Response(null, { status: 302, headers: { location: `https://cdn.test${url.pathname}?signed=1` } })
      )
    }
    const begin = seen.range === undefined ? 0 : Number(/^bytes=(\d+)-$/.exec(seen.range)![1])
    if (begin > 0 && begin >= bytes.length) return answer(new Response("", { status: 416 }))
    const part = bytes.slice(begin)
    const body = strange !== "cut" ? part : new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(part.slice(0, part.length >> 1)),
      pull: (controller) => controller.error(new Error("cut"))
    })
    return answer(
      seen.range === undefined
        ? new Response(body)
        : new Response(body, {
          status: 206,
          headers: { "content-range": `bytes ${begin}-${bytes.length - 1}/${bytes.length}` }
        })
    )
  })
  return { asked, layer: Layer.succeed(HttpClient.HttpClient, client) }
}

/** A folder of its own for a test. */
const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "tinkex-hub-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const settings = (cache: string) => ({ cache, endpoint: "https://hub.test/", token: Redacted.make(token) })

const repository = "Qwen/Qwen3-test"
const blobsIn = (cache: string) => readdirSync(join(cache, "models--Qwen--Qwen3-test", "blobs")).sort()

describe("pullModel", () => {
  it.scopedLive("fetches what makes a model, as the official client's cache has it, and not twice", () =>
    Effect.gen(function*() {
      const cache = yield* folder
      const { asked, layer } = hub()
      const seen: Array<number> = []
      const pull = pullModel(repository, {
        ...settings(cache),
        onProgress: ({ receivedBytes, totalBytes }) =>
          Effect.sync(() => {
            assert.strictEqual(totalBytes, 156_000)
            seen.push(receivedBytes)
          })
      })
      const pulled = yield* Effect.provide(pull, layer)
      const names = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors"
      ]
      assert.deepStrictEqual(pulled.files.map(({ name }) => name), names)
      assert.strictEqual(pulled.path, join(cache, "models--Qwen--Qwen3-test", "snapshots", commit))
      for (const name of names) {
        const path = join(pulled.path, name)
        assert.deepStrictEqual(new Uint8Array(readFileSync(path)), qwen[name])
        const { blobId, lfs } = sibling([name, qwen[name]!])
        assert.strictEqual(
          realpathSync(path),
          realpathSync(join(cache, "models--Qwen--Qwen3-test", "blobs", lfs?.sha256 ?? blobId))
        )
      }
      assert.strictEqual(readFileSync(join(cache, "models--Qwen--Qwen3-test", "refs", "main"), "utf8"), commit)
      assert.strictEqual(yield* find(repository, { cache }), pulled.path)
      assert.strictEqual(seen.at(-1), 156_000)
      assert.deepStrictEqual(seen, seen.toSorted((a, b) => a - b))

      const before = asked.length
      assert.deepStrictEqual(yield* Effect.provide(pull, layer), pulled)
      assert.deepStrictEqual(asked.slice(before).map(({ url }) => new URL(url).pathname), [
        `/api/models/${repository}/revision/main`
      ])
    }))

  it.scopedLive("the token is given to the hub, and to no other host", () =>
    Effect.gen(function*() {
      const { asked, layer } = hub()
      yield* Effect.provide(pullModel(repository, settings(yield* folder)), layer)
      for (const { authorization, url } of asked) {
        assert.strictEqual(authorization, new URL(url).host === "hub.test" ? `Bearer ${token}` : undefined, url)
      }
      assert.isTrue(asked.some(({ url }) => url.startsWith("https://cdn.test/")))
    }))

  it.scopedLive("goes on where a connection broke, in one pull and in the next", () =>
    Effect.gen(function*() {
      const cache = yield* folder
      let cuts = 0
      const cut = hub(qwen, ({ url }) => url.includes("cdn.test") && cuts++ < 2 ? "cut" : undefined)
      const pulled = yield* Effect.provide(pullModel(repository, settings(cache)), cut.layer)
      assert.deepStrictEqual(
        new Uint8Array(readFileSync(join(pulled.path, "model-00001-of-00002.safetensors"))),
        qwen["model-00001-of-00002.safetensors"]
      )
      assert.includeMembers(cut.asked.map(({ range }) => range), ["bytes=50000-", "bytes=75000-"])

      const other = yield* folder
      const always = hub(qwen, ({ url }) => url.includes("cdn.test") ? "cut" : undefined)
      const error = yield* Effect.flip(
        Effect.provide(pullModel(repository, { ...settings(other), attempts: 1 }), always.layer)
      )
      assert.strictEqual(error.reason, "Unreachable")
      assert.include(error.message, "pull it again")
      assert.isUndefined(yield* find(repository, { cache: other }))
      const whole = hub()
      yield* Effect.provide(pullModel(repository, settings(other)), whole.layer)
      assert.includeMembers(whole.asked.map(({ range }) => range), ["bytes=50000-"])
      assert.deepStrictEqual(blobsIn(other), blobsIn(cache))
    }))

  it.scopedLive("a hub that knows no parts gives the whole file again", () =>
    Effect.gen(function*() {
      const cache = yield* folder
      const weights = qwen["model-00002-of-00002.safetensors"]!
      const { sha256 } = sibling(["x", weights]).lfs!
      mkdirSync(join(cache, "models--Qwen--Qwen3-test", "blobs"), { recursive: true })
      writeFileSync(join(cache, "models--Qwen--Qwen3-test", "blobs", `${sha256}.incomplete`), "something else")
      const { layer } = hub(qwen, ({ url }) =>
        url.includes("cdn.test") && url.includes("00002-of")
          ? new Response(weights.slice())
          : undefined)
      const pulled = yield* Effect.provide(pullModel(repository, settings(cache)), layer)
      assert.deepStrictEqual(
        new Uint8Array(readFileSync(join(pulled.path, "model-00002-of-00002.safetensors"))),
        weights
      )
    }))

  it.scopedLive("what has another checksum is thrown away, and more than was said is refused", () =>
    Effect.gen(function*() {
      for (const [length, words] of [[50_000, "another checksum"], [60_000, "more came"]] as const) {
        const cache = yield* folder
        const { layer } = hub(
          qwen,
          ({ url }) =>
            url.includes("cdn.test") && url.includes("00002-of") ? new Response(bytesOf("bad", length)) : undefined
        )
        const error = yield* Effect.flip(Effect.provide(pullModel(repository, settings(cache)), layer))
        assert.strictEqual(error.reason, "Corrupt")
        assert.include(error.message, words)
        const partial = blobsIn(cache).filter((name) => name.endsWith(".incomplete"))
        for (const name of partial) {
          assert.lengthOf(readFileSync(join(cache, "models--Qwen--Qwen3-test", "blobs", name)), 0)
        }
        assert.isUndefined(yield* find(repository, { cache }))
      }
    }))

  it.scopedLive("says what is wrong, before a byte of a model comes", () =>
    Effect.gen(function*() {
      const cache = yield* folder
      const refused = (
        name: string,
        options: Parameters<typeof pullModel>[1],
        layer = hub().layer
      ) => Effect.flip(Effect.provide(pullModel(name, { ...settings(cache), ...options }), layer))
      const answering = (response: () => Response) => hub(qwen, () => response()).layer
      const reasonOf = (...args: Parameters<typeof refused>) =>
        Effect.map(refused(...args), ({ message, reason }) => `${reason} ${message}`)

      assert.match(yield* reasonOf("../etc", {}), /^NotFound ..\/etc: expected a name like Qwen/)
      assert.match(yield* reasonOf(repository, { revision: "../x" }), /no name of a revision/)
      assert.match(yield* reasonOf(repository, { endpoint: "huggingface.co" }), /^Unreachable .*is no URL/)
      assert.match(yield* reasonOf(repository, {}, answering(() => new Response("", { status: 404 }))), /^NotFound/)
      assert.match(
        yield* reasonOf(repository, {}, answering(() => new Response("", { status: 401 }))),
        /^Unauthorized .*401: the token may not read/
      )
      assert.match(
        yield* reasonOf(repository, { token: undefined }, answering(() => new Response("", { status: 401 }))),
        /gated and needs a token \(HF_TOKEN\)/
      )
      assert.match(yield* reasonOf(repository, {}, answering(() => new Response("<html>"))), /^Malformed .*no JSON/)
      assert.match(yield* reasonOf(repository, {}, answering(() => Response.json({ sha: 1 }))), /^Malformed/)
      assert.match(yield* reasonOf(repository, { file: "b.gguf" }), /^NotFound .*no file b.gguf/)
      const { "tokenizer.json": _, ...untalkative } = qwen
      assert.match(yield* reasonOf(repository, {}, hub(untalkative).layer), /^Unsupported .*no tokenizer.json/)
      assert.match(yield* reasonOf(repository, {}, hub({ "x.bin": bytesOf("x", 3) }).layer), /^Unsupported/)
      const down = Layer.succeed(
        HttpClient.HttpClient,
        HttpClient.make((request) =>
          Effect.fail(new HttpClientError.RequestError({ request, reason: "Transport", cause: "down" }))
        )
      )
      assert.match(yield* reasonOf(repository, { attempts: 1 }, down), /^Unreachable .*hub.test could not be reached/)
      assert.deepStrictEqual(readdirSync(cache), [])
    }))

  it.scopedLive("of several GGUF files one is chosen; the only one is taken", () =>
    Effect.gen(function*() {
      const cache = yield* folder
      const two = { "a-Q4_0.gguf": bytesOf("a", 20_000), "b-Q8_0.gguf": bytesOf("b", 30_000) }
      const error = yield* Effect.flip(Effect.provide(pullModel(repository, settings(cache)), hub(two).layer))
      assert.include(error.message, "choose one of a-Q4_0.gguf, b-Q8_0.gguf")
      const pulled = yield* Effect.provide(
        pullModel(repository, { ...settings(cache), file: "b-Q8_0.gguf" }),
        hub(two).layer
      )
      assert.isTrue(pulled.path.endsWith("b-Q8_0.gguf"))
      assert.strictEqual(yield* find(repository, { cache }), pulled.path)
      const one = yield* Effect.provide(
        pullModel("me/one", settings(cache)),
        hub({ "only.gguf": bytesOf("o", 20_000), "README.md": bytesOf("r", 3) }).layer
      )
      assert.isTrue(one.path.endsWith("only.gguf"))
    }))

  it.scopedLive("names that lead out of the cache are not written to", () =>
    Effect.gen(function*() {
      const cache = yield* folder
      const evil = {
        "../../evil.gguf": bytesOf("e", 20_000),
        "/abs.gguf": bytesOf("a", 20_000),
        "ok.gguf": bytesOf("o", 5)
      }
      const pulled = yield* Effect.provide(pullModel(repository, settings(cache)), hub(evil).layer)
      assert.deepStrictEqual(pulled.files.map(({ name }) => name), ["ok.gguf"])
    }))

  it("the cache is where the official client has it", () => {
    assert.strictEqual(cacheOf({}, "/home/me"), "/home/me/.cache/huggingface/hub")
    assert.strictEqual(cacheOf({ XDG_CACHE_HOME: "/x" }, "/home/me"), "/x/huggingface/hub")
    assert.strictEqual(cacheOf({ HF_HOME: "/hf" }, "/home/me"), "/hf/hub")
    assert.strictEqual(cacheOf({ HF_HOME: "/hf", HF_HUB_CACHE: "/c" }, "/home/me"), "/c")
    assert.strictEqual(cacheOf({ HF_HOME: " " }, "/home/me"), "/home/me/.cache/huggingface/hub")
  })
})
