import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Duration, Effect, FastCheck as fc, Layer, Redacted } from "effect"
import { createHash } from "node:crypto"
import { inspect } from "node:util"
import * as TinkexConfig from "../src/TinkexConfig.js"
import { sha256 } from "../src/TinkexConfig/internal/sha256.js"

const key = "tml-secret-0123456789"
const refusal = (options: TinkexConfig.Options) => Effect.flip(TinkexConfig.make(options))
const fromEnv = (env: Record<string, string>, options?: TinkexConfig.Options) =>
  TinkexConfig.makeConfig(options).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env)))))

describe("TinkexConfig", () => {
  it.effect("without options it is Tinker itself, which needs a key", () =>
    Effect.gen(function*() {
      const error = yield* refusal({})
      assert.strictEqual(error._tag, "ConfigurationError")
      assert.include(error.message, "TINKER_API_KEY")
      assert.include(error.message, "tml-")
      const settings = yield* TinkexConfig.make({ apiKey: key })
      assert.strictEqual(settings.baseUrl, TinkexConfig.hostedBaseUrl)
      assert.isTrue(settings.hosted)
      assert.strictEqual(Duration.toSeconds(settings.timeouts.request), 60)
      assert.deepStrictEqual(settings.chunks, { examples: 128, numbers: 500_000 })
      assert.deepStrictEqual(settings.samplingRetry, { policy: "none" })
    }))

  it.effect("a hosted key starts with tml- or eyJ; elsewhere any key, or none", () =>
    Effect.gen(function*() {
      const wrong = yield* refusal({ apiKey: "sk-nope-nope" })
      assert.include(wrong.message, "tml-")
      assert.notInclude(wrong.message, "nope")
      yield* TinkexConfig.make({ apiKey: "eyJhbGciOi" })
      yield* TinkexConfig.make({ apiKey: "tml-x" })
      yield* TinkexConfig.make({ apiKey: "sk-nope", baseUrl: "http://127.0.0.1:8787" })
      const none = yield* TinkexConfig.make({ baseUrl: "http://127.0.0.1:8787" })
      assert.isUndefined(none.apiKey)
      assert.isFalse(none.hosted)
    }))

  it("base URLs are normalised: host in lower case, default ports and trailing slashes dropped, path kept", () => {
    const cases: ReadonlyArray<readonly [string, string]> = [
      ["https://Example.com:443/a/", "https://example.com/a"],
      ["http://EXAMPLE.com:80", "http://example.com"],
      ["http://example.com:8080//", "http://example.com:8080"],
      ["https://example.com/services/tinker-prod/?x=1#y", "https://example.com/services/tinker-prod"],
      [" http://[::1]:8787/ ", "http://[::1]:8787"]
    ]
    for (const [given, expected] of cases) assert.strictEqual(TinkexConfig.normalizeBaseUrl(given), expected)
  })

  it("normalising twice changes nothing", () =>
    fc.assert(fc.property(fc.webUrl({ validSchemes: ["http", "https"] }), (url) => {
      const once = TinkexConfig.normalizeBaseUrl(url)
      assert.strictEqual(TinkexConfig.normalizeBaseUrl(once), once)
    })))

  it.effect("what is not a base URL is refused, and says what would be", () =>
    Effect.gen(function*() {
      for (const baseUrl of ["localhost:8787", "not a url", "ftp://x", "https://u:p@example.com"]) {
        const error = yield* refusal({ baseUrl })
        assert.include(error.setting, "TINKER_BASE_URL", baseUrl)
        assert.notInclude(error.message, "u:p")
      }
      const blank = yield* TinkexConfig.make({ apiKey: key, baseUrl: " " })
      assert.strictEqual(blank.baseUrl, TinkexConfig.hostedBaseUrl)
    }))

  it.effect("a tenant is base URL and key: the same for other spellings, another for another key or URL", () =>
    Effect.gen(function*() {
      const of = (baseUrl: string, apiKey?: string) =>
        Effect.map(TinkexConfig.make({ baseUrl, apiKey }), (settings) => settings.tenant)
      const a = yield* of("http://example.com:80/", key)
      const b = yield* of("http://EXAMPLE.com", key)
      assert.deepStrictEqual(a, b)
      const others = yield* Effect.all([
        of("http://example.com", "tml-other"),
        of("http://example.com"),
        of("http://example.org", key)
      ])
      for (const other of others) assert.notStrictEqual(other.id, a.id)
      const hash = createHash("sha256").update(`http://example.com#${key}`).digest("hex")
      assert.strictEqual(a.id, `http://example.com#${hash.slice(0, 16)}`)
      assert.strictEqual(a.label, hash.slice(0, 8))
    }))

  it("the hash is SHA-256", () =>
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ maxLength: 200 }),
          fc.constantFrom(55, 56, 63, 64, 119).map((n) => "k".repeat(n))
        ),
        (text) => {
          assert.strictEqual(sha256(text), createHash("sha256").update(text).digest("hex"))
        }
      )
    ))

  it.effect("neither key nor secret nor header values are shown, however it is printed", () =>
    Effect.gen(function*() {
      const settings = yield* TinkexConfig.make({
        apiKey: key,
        cloudflareAccess: { clientId: "id", clientSecret: "cf-secret" },
        headers: { Authorization: "Bearer hidden" }
      })
      assert.strictEqual(settings.headers["authorization"], "Bearer hidden")
      const printed = [
        inspect(settings, { depth: 9 }),
        String(settings),
        JSON.stringify(settings),
        inspect({ ...settings }, { depth: 9 }).replace("Bearer hidden", "")
      ]
      for (const text of printed) {
        assert.notInclude(text, "secret")
        assert.notInclude(text, "hidden")
      }
      assert.include(printed[0], "<redacted>")
    }))

  it.effect("options win over the environment, the environment over defaults", () =>
    Effect.gen(function*() {
      const env = {
        TINKER_API_KEY: key,
        TINKER_BASE_URL: "http://env:1/x/",
        TINKER_PROJECT_ID: "p1",
        TINKER_TAGS: " a, b ,,a",
        TINKER_TELEMETRY: "Off",
        TINKEX_OTEL_PROPAGATE: "yes",
        CLOUDFLARE_ACCESS_CLIENT_ID: "cf",
        CLOUDFLARE_ACCESS_CLIENT_SECRET: "cfs"
      }
      const settings = yield* fromEnv(env)
      assert.strictEqual(Redacted.value(settings.apiKey!), key)
      assert.strictEqual(settings.baseUrl, "http://env:1/x")
      assert.strictEqual(settings.projectId, "p1")
      assert.deepStrictEqual(settings.tags, ["a", "b"])
      assert.isFalse(settings.telemetry)
      assert.isTrue(settings.propagation)
      assert.strictEqual(settings.cloudflareAccess?.clientId, "cf")
      assert.strictEqual(Redacted.value(settings.cloudflareAccess!.clientSecret), "cfs")
      const given = yield* fromEnv(env, { baseUrl: "http://option", telemetry: true, apiKey: undefined })
      assert.strictEqual(given.baseUrl, "http://option")
      assert.isTrue(given.telemetry)
      assert.strictEqual(Redacted.value(given.apiKey!), key)
    }))

  it.effect("blank variables count as unset", () =>
    Effect.gen(function*() {
      const settings = yield* fromEnv({
        TINKER_API_KEY: "  ",
        TINKER_BASE_URL: "http://h",
        TINKER_PROJECT_ID: "",
        TINKER_TAGS: "",
        TINKER_TELEMETRY: "",
        CLOUDFLARE_ACCESS_CLIENT_ID: " ",
        CLOUDFLARE_ACCESS_CLIENT_SECRET: ""
      })
      assert.isUndefined(settings.apiKey)
      assert.isUndefined(settings.projectId)
      assert.isUndefined(settings.cloudflareAccess)
      assert.deepStrictEqual(settings.tags, [])
      assert.isTrue(settings.telemetry)
    }))

  it.effect("a wrong variable is refused by its name", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [Record<string, string>, string]> = [
        [{ TINKER_TELEMETRY: "maybe" }, "TINKER_TELEMETRY"],
        [{ TINKER_API_KEY: "sk-x" }, "TINKER_API_KEY"],
        [{}, "TINKER_API_KEY"],
        [{ TINKER_BASE_URL: "nope" }, "TINKER_BASE_URL"],
        [{ TINKER_BASE_URL: "http://h", CLOUDFLARE_ACCESS_CLIENT_ID: "a" }, "CLOUDFLARE_ACCESS_CLIENT_SECRET"],
        [{ TINKER_BASE_URL: "http://h", CLOUDFLARE_ACCESS_CLIENT_SECRET: "a" }, "CLOUDFLARE_ACCESS_CLIENT_ID"]
      ]
      for (const [env, name] of cases) {
        const error = yield* Effect.flip(fromEnv(env))
        assert.strictEqual(error._tag, "ConfigurationError")
        assert.include(error.setting, name)
      }
    }))

  it.effect("limits, durations and names are checked", () =>
    Effect.gen(function*() {
      const baseUrl = "http://h"
      const cases: ReadonlyArray<readonly [TinkexConfig.Options, string]> = [
        [{ chunks: { examples: 0 } }, "chunks.examples"],
        [{ chunks: { numbers: 1.5 } }, "chunks.numbers"],
        [{ pools: { training: -1 } }, "pools.training"],
        [{ pools: { trainin: 1 } as never }, "pools.trainin"],
        [{ timeouts: { request: 0 } }, "timeouts.request"],
        [{ timeouts: { poll: "soon" as never } }, "timeouts.poll"],
        [{ retry: { times: -1 } }, "retry.times"],
        [{ headers: { "x y": "z" } }, "headers"],
        [{ headers: { x: "a\nb" } }, "headers.x"],
        [{ apiKey: "a\nb" }, "apiKey"],
        [{ samplingRetry: "always" as never }, "samplingRetry"],
        [{ samplingRetry: { policy: "progress-timeout", progressTimeout: 0 } }, "samplingRetry.progressTimeout"],
        [{ cloudflareAccess: { clientId: "a", clientSecret: "" } }, "cloudflareAccess"]
      ]
      for (const [options, field] of cases) {
        const error = yield* refusal({ baseUrl, ...options })
        assert.include(error.setting, field)
      }
      const settings = yield* TinkexConfig.make({
        baseUrl,
        pools: { training: 3, sampling: undefined },
        timeouts: { poll: "20 seconds" },
        retry: { times: 0 },
        samplingRetry: { policy: "progress-timeout", progressTimeout: "1 minute" },
        displayName: "run 7",
        userMetadata: { a: "b" }
      })
      assert.strictEqual(settings.pools.training, 3)
      assert.strictEqual(settings.pools.sampling, 400)
      assert.strictEqual(Duration.toSeconds(settings.timeouts.poll), 20)
      assert.strictEqual(settings.retry.times, 0)
      assert.strictEqual(settings.samplingRetry.policy, "progress-timeout")
      for (const samplingRetry of ["none", "standard", "progress-timeout"] as const) {
        assert.strictEqual((yield* TinkexConfig.make({ baseUrl, samplingRetry })).samplingRetry.policy, samplingRetry)
      }
    }))

  it.effect("layers give the settings", () =>
    Effect.gen(function*() {
      const direct = yield* Layer.build(TinkexConfig.layer({ baseUrl: "http://h" }))
      assert.strictEqual(Context.get(direct, TinkexConfig.TinkexConfig).baseUrl, "http://h")
      const fromEnvironment = yield* Layer.build(TinkexConfig.layerConfig()).pipe(
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["TINKER_BASE_URL", "http://e"]])))
      )
      assert.strictEqual(Context.get(fromEnvironment, TinkexConfig.TinkexConfig).baseUrl, "http://e")
    }).pipe(Effect.scoped))
})
