import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import * as ModelInput from "../../src/protocol/ModelInput.js"
import { tokenizerConfigJson, tokenizerJson } from "../../src/tokenizer/internal/nanoTokenizer.generated.js"
import * as Tokenizer from "../../src/tokenizer/Tokenizer.js"
import { TokenizerError } from "../../src/tokenizer/TokenizerError.js"
import * as Tokenizers from "../../src/tokenizer/Tokenizers.js"
import type * as TokenizerSource from "../../src/tokenizer/TokenizerSource.js"

describe("resolveId", () => {
  const cases: ReadonlyArray<readonly [model: Tokenizers.Model, id: string]> = [
    [{ modelName: "Qwen/Qwen3-8B" }, "Qwen/Qwen3-8B"],
    [{ modelName: "Qwen/Qwen3-8B:64k" }, "Qwen/Qwen3-8B"],
    [{ modelName: "Qwen/Qwen3-8B", tokenizerId: "some/other:rev" }, "some/other"],
    [{ modelName: "meta-llama/Llama-3.1-8B" }, "thinkingmachineslabinc/meta-llama-3-instruct-tokenizer"],
    [{ modelName: "meta-llama/Llama-3.1-8B", tokenizerId: "meta-llama/Llama-3.1-8B" }, "meta-llama/Llama-3.1-8B"],
    [{ modelName: "meta-llama/Llama-2-7b" }, "meta-llama/Llama-2-7b"],
    [{ modelName: "openai/gpt-oss-120b/high" }, "openai/gpt-oss-120b"],
    [{ modelName: "a/b/c/d" }, "a/b/c/d"],
    [{ modelName: "moonshotai/Kimi-K2.5-Text-Only" }, "moonshotai/Kimi-K2.5"],
    [{ modelName: "x", tokenizerId: "moonshotai/Kimi-K2.5-Text-Only" }, "moonshotai/Kimi-K2.5"],
    [{ modelName: "tinkex/nano", tokenizerId: "" }, "tinkex/nano"]
  ]
  for (const [model, id] of cases) {
    it(`${model.modelName} told ${String(model.tokenizerId)}: ${id}`, () => {
      assert.strictEqual(Tokenizers.resolveId(model), id)
    })
  }
})

const get = (modelName: string) => Effect.flatMap(Tokenizers.Tokenizers, (tokenizers) => tokenizers.get({ modelName }))

/** A source whose loads are counted and held until `open`. */
const gated = Effect.gen(function*() {
  const open = yield* Deferred.make<void, TokenizerError>()
  const loads: Array<string> = []
  const source: TokenizerSource.TokenizerSource = (id) =>
    Effect.suspend(() => {
      loads.push(id)
      return Effect.as(Deferred.await(open), Option.some(Tokenizer.nano))
    })
  return { layer: Tokenizers.layerSources(Effect.succeed(source)), loads, open }
})

describe("the service", () => {
  it.effect("has the built-in models", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* get("tinkex/nano"), Tokenizer.nano)
      assert.strictEqual(yield* get("tinkex/nano-random"), Tokenizer.nano)
      const error = yield* Effect.flip(get("Qwen/Qwen3-8B"))
      assert.strictEqual(error.reason, "NotFound")
      assert.strictEqual(error.id, "Qwen/Qwen3-8B")
      const published = yield* Effect.flip(get("thinkingmachines/Inkling"))
      assert.match(published.message, /publishes no tokenizer files/)
    }).pipe(Effect.provide(Tokenizers.layer)))

  it.effect("makes model inputs", () =>
    Effect.gen(function*() {
      const input = yield* Tokenizers.modelInput("once upon", { modelName: "tinkex/nano" })
      assert.deepStrictEqual(input, ModelInput.fromTokens(Tokenizer.nano.encode("once upon")))
      const error = yield* Effect.flip(Tokenizers.modelInput("secret", { modelName: "no/model" }))
      assert.strictEqual(error.reason, "NotFound")
      assert.notInclude(error.message, "secret")
    }).pipe(Effect.provide(Tokenizers.layer)))

  it.effect("loads once for all names of one tokenizer, however many ask at once", () =>
    Effect.gen(function*() {
      const { layer, loads, open } = yield* gated
      yield* Effect.gen(function*() {
        const fibers = yield* Effect.forEach(
          ["openai/gpt-oss-20b", "openai/gpt-oss-20b/low", "openai/gpt-oss-20b:16k"],
          (name) => Effect.fork(get(name))
        )
        yield* Effect.yieldNow()
        yield* Deferred.succeed(open, undefined)
        for (const tokenizer of yield* Fiber.joinAll(fibers)) assert.strictEqual(tokenizer, Tokenizer.nano)
        yield* get("openai/gpt-oss-20b")
        assert.deepStrictEqual(loads, ["openai/gpt-oss-20b"])
      }).pipe(Effect.provide(layer))
    }))

  it.effect("a caller that goes away stops only its own wait", () =>
    Effect.gen(function*() {
      const { layer, loads, open } = yield* gated
      yield* Effect.gen(function*() {
        const first = yield* Effect.fork(get("a/b"))
        yield* Effect.yieldNow()
        const second = yield* Effect.fork(get("a/b"))
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(first)
        yield* Deferred.succeed(open, undefined)
        assert.strictEqual(yield* Fiber.join(second), Tokenizer.nano)
        assert.deepStrictEqual(loads, ["a/b"])
      }).pipe(Effect.provide(layer))
    }))

  it.effect("a failure is not kept", () =>
    Effect.gen(function*() {
      let fail = true
      const source: TokenizerSource.TokenizerSource = (id) =>
        Effect.suspend(() =>
          fail
            ? Effect.fail(new TokenizerError({ reason: "Unreachable", id, detail: "away" }))
            : Effect.succeedSome(Tokenizer.nano)
        )
      yield* Effect.gen(function*() {
        assert.strictEqual((yield* Effect.flip(get("a/b"))).reason, "Unreachable")
        fail = false
        assert.strictEqual(yield* get("a/b"), Tokenizer.nano)
      }).pipe(Effect.provide(Tokenizers.layerSources(Effect.succeed(source))))
    }))

  it.effect("asks the sources in order and stops at a failure", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const source =
        (name: string, answer: ReturnType<TokenizerSource.TokenizerSource>): TokenizerSource.TokenizerSource => () =>
          Effect.suspend(() => {
            asked.push(name)
            return answer
          })
      const refused = new TokenizerError({ reason: "Unauthorized", id: "a/b", detail: "gated" })
      const layer = Tokenizers.layerSources(
        Effect.succeed(source("first", Effect.succeedNone)),
        Effect.succeed(source("second", Effect.fail(refused))),
        Effect.succeed(source("third", Effect.succeedSome(Tokenizer.nano)))
      )
      assert.strictEqual((yield* Effect.flip(Effect.provide(get("a/b"), layer))).detail, "gated")
      assert.deepStrictEqual(asked, ["first", "second"])
    }))
})

interface Call {
  readonly url: string
  readonly authorization: string | undefined
}

/** A hub in memory; every request is noted. */
const fakeHub = (
  answer: (url: URL, calls: ReadonlyArray<Call>) => Response | HttpClientError.RequestError["reason"] | "hang"
) => {
  const calls: Array<Call> = []
  const client = HttpClient.make((request: HttpClientRequest.HttpClientRequest, url) =>
    Effect.suspend((): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.RequestError> => {
      calls.push({ url: url.toString(), authorization: request.headers["authorization"] })
      const response = answer(url, calls)
      return response === "hang"
        ? Effect.never
        : typeof response === "string"
        ? Effect.fail(new HttpClientError.RequestError({ request, reason: response }))
        : Effect.succeed(HttpClientResponse.fromWeb(request, response))
    })
  )
  return { calls, client: Layer.succeed(HttpClient.HttpClient, client) }
}

const file = (url: URL): Response =>
  url.pathname.endsWith("/tokenizer.json")
    ? new Response(tokenizerJson)
    : url.pathname.endsWith("/tokenizer_config.json")
    ? new Response(tokenizerConfigJson)
    : new Response("no", { status: 404 })

describe("the hub", () => {
  it.effect("loads by id, the token with it", () =>
    Effect.gen(function*() {
      const hub = fakeHub(file)
      const layer = Tokenizers.layerHub({ token: Redacted.make("hf_secret") }).pipe(Layer.provide(hub.client))
      const tokenizer = yield* Effect.provide(get("Qwen/Qwen3-8B"), layer)
      assert.strictEqual(tokenizer.id, "Qwen/Qwen3-8B")
      assert.deepStrictEqual(tokenizer.encode("hello"), Tokenizer.nano.encode("hello"))
      assert.deepStrictEqual(
        hub.calls,
        ["tokenizer.json", "tokenizer_config.json"].map((name) => ({
          url: `https://huggingface.co/Qwen/Qwen3-8B/resolve/main/${name}`,
          authorization: "Bearer hf_secret"
        }))
      )
    }))

  it.effect("pins the revisions that the official SDK pins and reads tiktoken.model", () =>
    Effect.gen(function*() {
      const ranks = Array.from({ length: 256 }, (_, byte) => `${btoa(String.fromCharCode(byte))} ${byte}`).join("\n")
      const hub = fakeHub((url) =>
        url.pathname.endsWith("/tiktoken.model") ? new Response(ranks) : new Response("", { status: 404 })
      )
      const layer = Tokenizers.layerHub({ endpoint: "https://mirror.test/" }).pipe(Layer.provide(hub.client))
      const tokenizer = yield* Effect.provide(get("moonshotai/Kimi-K2-Thinking"), layer)
      assert.strictEqual(tokenizer.vocabSize, 512)
      assert.strictEqual(
        hub.calls.at(-1)?.url,
        "https://mirror.test/moonshotai/Kimi-K2-Thinking/resolve/612681931a8c906ddb349f8ad0f582cb552189cd/tiktoken.model"
      )
    }))

  it.effect("follows redirects and leaves the token behind at another host", () =>
    Effect.gen(function*() {
      const hub = fakeHub((url) =>
        url.host === "huggingface.co" && !url.pathname.includes("/moved/")
          ? new Response("", { status: 307, headers: { location: `/moved${url.pathname}` } })
          : url.host === "huggingface.co"
          ? new Response("", { status: 302, headers: { location: `https://cdn.test${url.pathname}` } })
          : file(url)
      )
      const layer = Tokenizers.layerHub({ token: Redacted.make("hf_secret") }).pipe(Layer.provide(hub.client))
      yield* Effect.provide(get("a/b"), layer)
      assert.deepStrictEqual(hub.calls.slice(0, 3).map((call) => [new URL(call.url).host, call.authorization]), [
        ["huggingface.co", "Bearer hf_secret"],
        ["huggingface.co", "Bearer hf_secret"],
        ["cdn.test", undefined]
      ])
    }))

  it.effect("gives up on endless redirects", () =>
    Effect.gen(function*() {
      const hub = fakeHub((url) => new Response("", { status: 302, headers: { location: url.toString() } }))
      const layer = Tokenizers.layerHub().pipe(Layer.provide(hub.client))
      const fiber = yield* Effect.fork(Effect.flip(Effect.provide(get("a/b"), layer)))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(fiber)).reason, "Unreachable")
      assert.strictEqual(hub.calls.length, 4 * 6)
    }))

  it.effect("says what a refusal means, without the token", () =>
    Effect.gen(function*() {
      const hub = fakeHub(() => new Response("", { status: 401 }))
      const bare = Tokenizers.layerHub().pipe(Layer.provide(hub.client))
      const error = yield* Effect.flip(Effect.provide(get("meta/gated"), bare))
      assert.strictEqual(error.reason, "Unauthorized")
      assert.match(error.message, /HF_TOKEN/)
      const withToken = Tokenizers.layerHub({ token: Redacted.make("hf_secret") }).pipe(Layer.provide(hub.client))
      const other = yield* Effect.flip(Effect.provide(get("meta/gated"), withToken))
      assert.notInclude(JSON.stringify(other) + other.message, "hf_secret")
      assert.strictEqual(hub.calls.length, 2)
    }))

  it.effect("tells an absent repository", () =>
    Effect.gen(function*() {
      const hub = fakeHub(() => new Response("", { status: 404 }))
      const layer = Tokenizers.layerHub().pipe(Layer.provide(hub.client))
      assert.strictEqual((yield* Effect.flip(Effect.provide(get("a/b"), layer))).reason, "NotFound")
    }))

  it.effect("tries again when the hub is away, four times in all", () =>
    Effect.gen(function*() {
      const hub = fakeHub((url, calls) =>
        calls.length === 1 ? "Transport" : calls.length < 4 ? new Response("", { status: 503 }) : file(url)
      )
      const layer = Tokenizers.layerHub().pipe(Layer.provide(hub.client))
      const fiber = yield* Effect.fork(Effect.provide(get("a/b"), layer))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(fiber)).vocabSize, 512)

      const away = fakeHub(() => "Transport")
      const awayLayer = Tokenizers.layerHub().pipe(Layer.provide(away.client))
      const failing = yield* Effect.fork(Effect.flip(Effect.provide(get("a/b"), awayLayer)))
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(failing)
      assert.strictEqual(
        error.message,
        "tokenizer a/b: huggingface.co could not be reached for tokenizer.json; check the connection and try again"
      )
      assert.strictEqual(away.calls.length, 4)
    }))

  it.effect("does not wait for ever", () =>
    Effect.gen(function*() {
      const hub = fakeHub(() => "hang")
      const layer = Tokenizers.layerHub().pipe(Layer.provide(hub.client))
      const fiber = yield* Effect.fork(Effect.flip(Effect.provide(get("a/b"), layer)))
      yield* TestClock.adjust(Duration.minutes(5))
      assert.match((yield* Fiber.join(fiber)).message, /took more than 1m/)
    }))

  for (const name of ["../../etc/passwd", "a/..", "a b", "a/b?x=1", "/etc", "-a"]) {
    it.effect(`asks for nothing under the name ${name}`, () =>
      Effect.gen(function*() {
        const hub = fakeHub(file)
        const layer = Tokenizers.layerHub().pipe(Layer.provide(hub.client))
        const error = yield* Effect.flip(Effect.provide(get(name), layer))
        assert.strictEqual(error.reason, "NotFound")
        assert.strictEqual(hub.calls.length, 0)
      }))
  }

  it.effect("takes its options from the environment", () =>
    Effect.gen(function*() {
      const hub = fakeHub(file)
      const layer = Tokenizers.layerHubConfig.pipe(
        Layer.provide(hub.client),
        Layer.provide(Layer.setConfigProvider(
          ConfigProvider.fromMap(new Map([["HF_TOKEN", "hf_secret"], ["HF_ENDPOINT", "https://mirror.test"]]))
        ))
      )
      yield* Effect.provide(get("a/b"), layer)
      assert.deepStrictEqual(hub.calls[0], {
        url: "https://mirror.test/a/b/resolve/main/tokenizer.json",
        authorization: "Bearer hf_secret"
      })
    }))

  it.effect("refuses an endpoint that is no URL", () =>
    Effect.gen(function*() {
      const hub = fakeHub(file)
      const layer = Tokenizers.layerHub({ endpoint: "mirror" }).pipe(Layer.provide(hub.client))
      const error = yield* Effect.flip(Effect.provide(get("a/b"), layer))
      assert.strictEqual(error.reason, "Malformed")
      assert.match(error.message, /"mirror" is no URL/)
    }))
})

describe("folders", () => {
  const write = (path: string, text: string) =>
    Effect.flatMap(FileSystem.FileSystem, (fs) =>
      Effect.zipRight(
        fs.makeDirectory(path.slice(0, path.lastIndexOf("/")), { recursive: true }),
        fs.writeFileString(path, text)
      ))
  const temporary = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())

  it.scoped("are read by id, the configuration being optional", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* write(`${directory}/Qwen/Qwen3-8B/tokenizer.json`, tokenizerJson)
      yield* write(`${directory}/broken/tokenizer.json`, "{}")
      const layer = Tokenizers.layerFolder(directory)
      yield* Effect.gen(function*() {
        const tokenizer = yield* get("Qwen/Qwen3-8B")
        assert.strictEqual(tokenizer.vocabSize, 512)
        assert.isUndefined(tokenizer.eosToken)
        assert.strictEqual((yield* Effect.flip(get("Qwen/other"))).reason, "NotFound")
        assert.strictEqual((yield* Effect.flip(get("broken"))).reason, "Malformed")
        assert.strictEqual(yield* get("tinkex/nano"), Tokenizer.nano)
      }).pipe(Effect.provide(layer))
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.scoped("that cannot be read are told, not taken for empty", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const fs = yield* FileSystem.FileSystem
      yield* fs.makeDirectory(`${directory}/a/b/tokenizer.json`, { recursive: true })
      const error = yield* Effect.flip(Effect.provide(get("a/b"), Tokenizers.layerFolder(directory)))
      assert.strictEqual(error.reason, "Unreachable")
      assert.include(error.message, "tokenizer.json could not be read")
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.scoped("keep what the hub gave, whole files only", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const fs = yield* FileSystem.FileSystem
      const hub = fakeHub(file)
      const load = Effect.provide(
        get("a/b"),
        Tokenizers.layerHubCached({ directory }).pipe(Layer.provide(hub.client))
      )
      yield* load
      assert.deepStrictEqual((yield* fs.readDirectory(`${directory}/a/b/main`)).toSorted(), [
        "tokenizer.json",
        "tokenizer_config.json"
      ])
      assert.strictEqual(hub.calls.length, 2)
      assert.strictEqual((yield* load).eosToken, 256)
      assert.strictEqual(hub.calls.length, 2)
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.scoped("that cannot be written do not stand in the way", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      yield* write(`${directory}/a`, "a file where a folder should be")
      const hub = fakeHub(file)
      const layer = Tokenizers.layerHubCached({ directory: `${directory}/nowhere\0` }).pipe(Layer.provide(hub.client))
      const error = yield* Effect.flip(Effect.provide(get("a/b"), layer))
      assert.strictEqual(error.reason, "Unreachable")
      assert.strictEqual(hub.calls.length, 0)
    }).pipe(Effect.provide(NodeFileSystem.layer)))
})
