import { HttpClient, HttpClientRequest } from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { cacheDirectory } from "../../src/node/cacheDirectory.js"
import * as HttpAgent from "../../src/node/httpAgent.js"

/** A server, and what it was asked. */
const listen = (answer: string) =>
  Effect.acquireRelease(
    Effect.async<{ readonly url: string; readonly asked: Array<string>; readonly close: () => void }>((resume) => {
      const asked: Array<string> = []
      const server = Http.createServer((request, response) => {
        asked.push(`${request.method} ${request.url}`)
        response.end(answer)
      })
      server.on("connect", (request, socket) => {
        asked.push(`CONNECT ${request.url}`)
        socket.end("HTTP/1.1 502 no\r\n\r\n")
      })
      server.listen(0, "127.0.0.1", () =>
        resume(Effect.succeed({
          asked,
          url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
          close: () => {
            server.closeAllConnections()
            server.close()
          }
        })))
    }),
    ({ close }) => Effect.sync(close)
  )

const get = (url: string, environment: Readonly<Record<string, string>>) =>
  Effect.flatMap(
    HttpClient.HttpClient,
    (http) => Effect.flatMap(http.execute(HttpClientRequest.get(url)), (response) => response.text)
  ).pipe(
    Effect.provide(Layer.provide(
      NodeHttpClient.layerUndiciWithoutDispatcher,
      Layer.scoped(
        NodeHttpClient.Dispatcher,
        HttpAgent.make({ connections: 2, keepAliveTimeout: 1000 }, environment)
      )
    ))
  )

describe("proxies of the environment", () => {
  it.scopedLive("are used for other machines, in either case of letters", () =>
    Effect.gen(function*() {
      const proxy = yield* listen("by the proxy")
      for (const name of ["HTTP_PROXY", "http_proxy"]) {
        assert.strictEqual(yield* get("http://service.invalid/a", { [name]: proxy.url }), "by the proxy")
      }
      assert.deepStrictEqual(proxy.asked, ["GET http://service.invalid/a", "GET http://service.invalid/a"])
      yield* Effect.ignore(get("https://service.invalid/a", { HTTPS_PROXY: proxy.url }))
      assert.strictEqual(proxy.asked.at(-1), "CONNECT service.invalid:443")
    }))

  it.scopedLive("are left out for this machine, and for what NO_PROXY names", () =>
    Effect.gen(function*() {
      const proxy = yield* listen("by the proxy")
      const server = yield* listen("direct")
      assert.strictEqual(yield* get(server.url, { HTTP_PROXY: proxy.url }), "direct")
      assert.strictEqual(yield* get(server.url, {}), "direct")
      yield* Effect.flip(get("http://service.invalid/", { HTTP_PROXY: proxy.url, NO_PROXY: "other.test,.invalid" }))
      yield* Effect.flip(get("http://service.invalid/", { HTTP_PROXY: proxy.url, no_proxy: "*" }))
      assert.deepStrictEqual(proxy.asked, [])
      assert.deepStrictEqual(server.asked.length, 2)
    }))

  it.scopedLive("that are no address are refused by the name of the variable", () =>
    Effect.gen(function*() {
      for (
        const [name, value] of [["HTTP_PROXY", "proxy:3128"], ["https_proxy", "ftp://a:1"], [
          "HTTPS_PROXY",
          "no url"
        ]] as const
      ) {
        const error = yield* Effect.flip(HttpAgent.make({ connections: 1, keepAliveTimeout: 1 }, { [name]: value }))
        assert.strictEqual(error.variable, name)
      }
      yield* HttpAgent.make({ connections: 1, keepAliveTimeout: 1 }, { HTTP_PROXY: "", http_proxy: "http://a.test:1" })
    }))
})

describe("cacheDirectory", () => {
  it("is where the platform keeps caches, unless told otherwise", () => {
    const posix = (path: string) => path.replaceAll("\\", "/")
    assert.strictEqual(posix(cacheDirectory({}, "linux", "/home/a")), "/home/a/.cache/tinkex")
    assert.strictEqual(posix(cacheDirectory({}, "darwin", "/home/a")), "/home/a/Library/Caches/tinkex")
    assert.strictEqual(posix(cacheDirectory({ LOCALAPPDATA: "/local" }, "win32", "/home/a")), "/local/tinkex")
    assert.strictEqual(posix(cacheDirectory({ XDG_CACHE_HOME: "/xdg" }, "linux", "/home/a")), "/xdg/tinkex")
    assert.strictEqual(posix(cacheDirectory({ TINKEX_CACHE: "/own", XDG_CACHE_HOME: "/xdg" }, "linux", "/")), "/own")
    assert.strictEqual(posix(cacheDirectory({ TINKEX_CACHE: " " }, "linux", "/home/a")), "/home/a/.cache/tinkex")
  })
})
