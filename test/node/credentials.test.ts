import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted } from "effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as NodeTinkex from "tinkex/NodeTinkex"
import * as Credentials from "../../src/node/credentials.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "tinkex-credentials-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

describe("credentials", () => {
  it.scopedLive("are kept where nobody else reads them, beside those of others, and forgotten", () =>
    Effect.gen(function*() {
      const file = Credentials.fileOf(yield* folder)
      assert.isUndefined(yield* Credentials.stored(file))
      yield* Credentials.keep(Redacted.make("tml-one"), file)
      if (process.platform !== "win32") {
        assert.strictEqual(Fs.statSync(file).mode & 0o777, 0o600)
        assert.strictEqual(Fs.statSync(Path.dirname(file)).mode & 0o777, 0o700)
      }
      assert.deepStrictEqual(Fs.readdirSync(Path.dirname(file)), ["credentials.json"])
      const key = yield* Credentials.stored(file)
      assert.strictEqual(key === undefined ? undefined : Redacted.value(key), "tml-one")
      assert.isTrue(yield* Credentials.forget(file))
      assert.isFalse(yield* Credentials.forget(file))
      // the official SDK's own
      Fs.writeFileSync(
        file,
        JSON.stringify({
          version: 1,
          default: "b",
          keys: { a: { type: "manual", key: "tml-a", name: "a" }, b: { type: "generated", key: "tml-b", name: "b" } }
        })
      )
      const theirs = yield* Credentials.stored(file)
      assert.strictEqual(theirs === undefined ? undefined : Redacted.value(theirs), "tml-b")
      yield* Credentials.keep(Redacted.make("tml-two"), file)
      assert.sameMembers(Object.keys(JSON.parse(Fs.readFileSync(file, "utf8")).keys), ["a", "b", "tinkex"])
    }))

  it.scopedLive("that cannot be read are told, without what is in them", () =>
    Effect.gen(function*() {
      const file = Path.join(yield* folder, "credentials.json")
      for (
        const text of [
          "tml-secret",
          "{}",
          "{\"version\":2,\"keys\":{}}",
          "{\"version\":1,\"keys\":{\"a\":{\"key\":1}}}"
        ]
      ) {
        Fs.writeFileSync(file, text)
        const error = yield* Effect.flip(Credentials.stored(file))
        assert.strictEqual(error.source, file)
        assert.notInclude(error.detail, "secret")
      }
    }))

  it.live("come from a command", () =>
    Effect.gen(function*() {
      assert.strictEqual(Redacted.value(yield* Credentials.ofCommand("echo ' tml-c '")), "tml-c")
      assert.match((yield* Effect.flip(Credentials.ofCommand("exit 3"))).detail, /ended with 3/)
      assert.match((yield* Effect.flip(Credentials.ofCommand("echo"))).detail, /printed nothing/)
    }))

  it.live("of options and environment come first", () =>
    Effect.gen(function*() {
      const environment = (values: Readonly<Record<string, string>>) =>
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(values))))
      const own = yield* environment({})(NodeTinkex.withCredential({ apiKey: "tml-own" }))
      assert.strictEqual(own.apiKey, "tml-own")
      // the environment's is found when the options are completed from it
      assert.deepStrictEqual(yield* environment({ TINKER_API_KEY: "tml-env" })(NodeTinkex.withCredential({})), {})
    }))
})
