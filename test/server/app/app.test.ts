import { HttpServerRequest } from "@effect/platform"
import { assert, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as Harness from "../fixtures/harness.js"

const key = "tml-right"

/** Ways of making a path look like another one: delimiters, encodings, dots, slashes, case. */
const disguises: ReadonlyArray<(path: string) => string> = [
  ";/healthz",
  ";x=/files/",
  "#/healthz",
  "?/healthz",
  "?x=/api/v1/healthz",
  "&/healthz",
  "/healthz",
  "//healthz",
  "/../healthz",
  "/./healthz",
  "/%2e%2e/healthz",
  "/..;/healthz",
  "%2fhealthz",
  "%2Fhealthz",
  "%252fhealthz",
  "%3b/healthz",
  "%3B/healthz",
  "%23/healthz",
  "%3f/healthz",
  "\\healthz",
  "%5chealthz",
  "%00/healthz",
  "%ff/healthz",
  "%/healthz",
  "/",
  "/.",
  ".",
  "/files/a/archive.tar",
  "/api/v1/healthz"
].map((suffix) => (path: string) => path + suffix).concat([
  (path) => path,
  (path) => path.toUpperCase(),
  (path) => path.replace("/api", "/API"),
  (path) => path.replaceAll("_", "%5f"),
  (path) => path.replace("/api/v1/", "/api/v1//"),
  (path) => path.replace("/api/v1/", "/api%2fv1%2F"),
  (path) => path.replace("/api/v1/", "/api/v1/./"),
  (path) => path.replace("/api/v1/", "/api/v1/healthz/../"),
  (path) => path.replace("/api/v1/", "/api/v1/healthz;/"),
  (path) => path.replace("/api/v1/", "/healthz/api/v1/"),
  (path) => path.replace("/api/v1/", "/api/v1/healthz#/api/v1/"),
  (path) => `http://healthz${path}`,
  (path) => `http://x/healthz${path}`
])

const ids = ["healthz", "files", "anything", "a:train:0"]

/** A request with its target exactly as it is written. */
const ask = (h: Harness.Harness, method: string, target: string, headers: Record<string, string> = {}) =>
  h.server.app.pipe(
    Effect.provideService(
      HttpServerRequest.HttpServerRequest,
      HttpServerRequest.fromWeb(
        new Request("http://test/", {
          method,
          headers,
          ...(method === "GET" || method === "HEAD" ? {} : { body: "{}" })
        })
      ).modify({ url: target })
    ),
    Effect.map(({ status }) => status)
  )

it.scoped("answers without the key on two routes, whatever the others are made to look like", () =>
  Effect.gen(function*() {
    const h = yield* Harness.make({ apiKey: Redacted.make(key) })
    const { routes } = h.server
    assert.isAbove(routes.length, 45)
    assert.deepStrictEqual(
      routes.filter(({ open }) => open).map(({ method, path }) => `${method} ${path}`),
      ["GET /api/v1/healthz", "GET /api/v1/files/:token/:file"]
    )
    const wrong: ReadonlyArray<Record<string, string>> = [
      {},
      { "x-api-key": "" },
      { "x-api-key": key.slice(0, -1) },
      { "x-api-key": key.toUpperCase(), authorization: `Bearer ${key}x` },
      { authorization: `Basic ${key}` }
    ]
    let tried = 0
    const entered: Array<string> = []
    for (const { method, open, path } of routes) {
      if (open) continue
      for (const id of ids) {
        const plain = path.replaceAll(/:\w+/g, id)
        for (const disguise of disguises) {
          const target = disguise(plain)
          // what comes before the protocol's own path is a base path: this one really asks for the open route
          if (target.slice(target.indexOf("/api/v1/")) === "/api/v1/healthz") continue
          const headers = wrong[tried++ % wrong.length]!
          if ((yield* ask(h, method, target, headers)) !== 401) entered.push(`${method} ${target}`)
        }
        if (plain === path) break
      }
    }
    assert.isAbove(tried, 2000)
    assert.deepStrictEqual(entered, [])
    assert.deepStrictEqual(h.methods(), [])
    assert.deepInclude(yield* h.server.stats, { sessions: 0, runs: 0, samplers: 0, pendingFutures: 0 })
  }))

it.scoped("finds every route with the key, in each of its forms", () =>
  Effect.gen(function*() {
    const h = yield* Harness.make({ apiKey: Redacted.make(key), longPoll: 0 })
    for (const { method, path } of h.server.routes) {
      const target = path.replaceAll(/:\w+/g, "anything")
      assert.notStrictEqual(yield* ask(h, method, target, { "x-api-key": key }), 401, target)
    }
    const forms: ReadonlyArray<Record<string, string>> = [
      { "x-api-key": key },
      { authorization: `Bearer ${key}` },
      { "x-api-key": "", authorization: `bearer ${key}` }
    ]
    for (const headers of forms) assert.strictEqual(yield* ask(h, "GET", "/api/v1/checkpoints", headers), 200)
    assert.strictEqual(yield* ask(h, "GET", "/api/v1/nothing", { "x-api-key": key }), 404)
    assert.strictEqual(yield* ask(h, "GET", "/api/v1/healthz"), 200)
    // signed links say themselves whether they hold
    assert.strictEqual(yield* ask(h, "GET", "/api/v1/files/x/archive.tar"), 403)
  }))
