import * as Headers from "@effect/platform/Headers"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { guarding, isOwnHost } from "../../../src/server/http/browsers.js"

const app = Effect.succeed(HttpServerResponse.text("done"))

const ask = (
  trusted: { readonly hosts?: ReadonlyArray<string>; readonly origins?: ReadonlyArray<string> },
  method: string,
  headers: Record<string, string>
) =>
  guarding({ hosts: [], origins: [], ...trusted })(app).pipe(
    Effect.provideService(
      HttpServerRequest.HttpServerRequest,
      HttpServerRequest.fromWeb(new Request("http://x/", { method })).modify({
        headers: Headers.fromInput({ host: "127.0.0.1:8787", ...headers })
      })
    )
  )

describe("browsers", () => {
  it("own hosts are addresses, names without a dot, and those that are told", () => {
    const own = [
      "127.0.0.1",
      "127.0.0.1:8787",
      "[::1]:8787",
      "[::1]",
      "localhost",
      "LOCALHOST:1",
      "localhost.",
      "gpu-box:80"
    ]
    for (const host of [...own, "a.localhost", "a.localhost:3", "0.0.0.0:1", "[fe80::1]"]) {
      assert.isTrue(isOwnHost(host, []), host)
    }
    for (
      const host of [
        "attacker.example",
        "attacker.example:8787",
        "",
        ".",
        "127.0.0.1.attacker.example",
        "localhost.attacker.example",
        "1.2.3",
        "127.0.0.1.",
        "a@127.0.0.1.x"
      ]
    ) {
      assert.strictEqual(isOwnHost(host, []), host === "127.0.0.1.", host)
    }
    assert.isTrue(isOwnHost("GPU.example.com:443", ["gpu.example.com"]))
    assert.isFalse(isOwnHost("x.gpu.example.com", ["gpu.example.com"]))
  })

  it("no name with a dot is an own host unless it is told", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.domain(), FastCheck.nat(65_535), (name, port) =>
        name.endsWith(".localhost") ||
        (!isOwnHost(name, []) && !isOwnHost(`${name}:${port}`, []) && isOwnHost(name, [name])))
    )
  })

  it.effect("pages of other origins are refused, with any method, however they ask", () =>
    Effect.gen(function*() {
      const strangers: ReadonlyArray<Record<string, string>> = [
        { host: "attacker.example:8787" },
        { host: "attacker.example", origin: "http://attacker.example" },
        { origin: "https://attacker.example" },
        { origin: "null" },
        { origin: "http://127.0.0.1:9999" },
        { origin: "http://localhost:8787" },
        { origin: "file://" },
        { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" },
        { "sec-fetch-site": "same-site", "sec-fetch-mode": "cors" },
        { origin: "https://attacker.example", "access-control-request-method": "POST" }
      ]
      for (const headers of strangers) {
        for (const method of ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]) {
          const { headers: given, status } = yield* ask({ origins: ["http://localhost:5173"] }, method, headers)
          assert.strictEqual(status, 403, `${method} ${JSON.stringify(headers)}`)
          assert.notProperty(given, "access-control-allow-origin")
        }
      }
      assert.strictEqual(
        (yield* ask({}, "POST", { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" })).status,
        403
      )
    }))

  it.effect("programs, own pages and links that are followed are let in", () =>
    Effect.gen(function*() {
      const friends: ReadonlyArray<Record<string, string>> = [
        {},
        { "sec-fetch-mode": "cors" },
        { "sec-fetch-site": "none", "sec-fetch-mode": "navigate" },
        { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" },
        { "sec-fetch-site": "same-origin" },
        { origin: "http://127.0.0.1:8787" }
      ]
      for (const headers of friends) assert.strictEqual((yield* ask({}, "GET", headers)).status, 200)
    }))

  it.effect("origins that are told get answers they can read, and preflights", () =>
    Effect.gen(function*() {
      const origin = "http://localhost:5173"
      const answer = yield* ask({ origins: [origin] }, "POST", { origin, "sec-fetch-site": "same-site" })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.headers["access-control-allow-origin"], origin)
      assert.strictEqual(answer.headers["vary"], "Origin")
      const preflight = yield* ask({ origins: [origin] }, "OPTIONS", {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-api-key",
        "access-control-request-private-network": "true"
      })
      assert.strictEqual(preflight.status, 204)
      assert.strictEqual(preflight.headers["access-control-allow-headers"], "content-type,x-api-key")
      assert.include(preflight.headers["access-control-allow-methods"], "DELETE")
      assert.strictEqual(preflight.headers["access-control-allow-private-network"], "true")
      assert.strictEqual((yield* ask({ origins: ["*"] }, "GET", { origin: "https://any.example" })).status, 200)
    }))
})
