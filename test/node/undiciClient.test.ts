import { FetchHttpClient, HttpBody, HttpClient, HttpClientRequest } from "@effect/platform"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Agent } from "@effect/platform-node/Undici"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, type Scope } from "effect"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import * as HttpTransport from "../../src/client/HttpTransport.js"
import { bytesWithin, textWithin } from "../../src/client/transport/body.js"
import * as UndiciClient from "../../src/node/undiciClient.js"
import * as TinkexConfig from "../../src/TinkexConfig.js"
import * as TinkexError from "../../src/TinkexError.js"

interface Handler {
  (request: Http.IncomingMessage, response: Http.ServerResponse, body: Buffer): void
}

const serve = (
  handler: Handler
): Effect.Effect<{ readonly url: string; readonly server: Http.Server }, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<{ readonly url: string; readonly server: Http.Server }>((resume) => {
      const server = Http.createServer((request, response) => {
        const chunks: Array<Buffer> = []
        request.on("error", () => {})
        request.on("data", (chunk: Buffer) => chunks.push(chunk))
        request.on("end", () => handler(request, response, Buffer.concat(chunks)))
      })
      server.listen(0, "127.0.0.1", () => {
        resume(Effect.succeed({ server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })) // it listens on TCP
      })
    }),
    ({ server }) =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  )

const limits: UndiciClient.Limit = (status) => status < 400 ? 1_000_000 : 1000

const ours = Layer.scoped(
  HttpClient.HttpClient,
  Effect.map(
    Effect.acquireRelease(Effect.sync(() => new Agent()), (agent) => Effect.promise(() => agent.destroy())),
    (agent) => UndiciClient.make(agent, limits)
  )
)

const clients = {
  "ours, over undici": ours,
  "platform's, over undici": NodeHttpClient.layerUndici,
  "fetch": FetchHttpClient.layer
}

/** What the transport asks of an HttpClient: that one is as good as the other. */
for (const [name, layer] of Object.entries(clients)) {
  describe(`an HttpClient for the transport: ${name}`, () => {
    const test = (
      title: string,
      handler: Handler,
      body: (url: string, server: Http.Server) => Effect.Effect<void, unknown, HttpClient.HttpClient | Scope.Scope>
    ) =>
      it.scopedLive(
        title,
        () => Effect.provide(Effect.flatMap(serve(handler), ({ server, url }) => body(url, server)), layer)
      )
    const http = Effect.map(HttpClient.HttpClient, HttpClient.withTracerDisabledWhen(() => true))
    const post = (url: string, body = HttpBody.uint8Array(new Uint8Array([1, 2, 3]), "application/x-test")) =>
      Effect.flatMap(
        http,
        (client) => client.execute(HttpClientRequest.post(`${url}/a/b?c=d%20e`, { headers: { "X-Own": "v" }, body }))
      )

    test("method, path, headers and body arrive; status, headers and body come back", (request, response, body) => {
      response.writeHead(207, { "content-type": "text/x", "x-more": "1" })
      response.end(
        `${request.method} ${request.url} ${request.headers["x-own"]} ${
          request.headers["content-type"]
        } ${body.length} ü`
      )
    }, (url) =>
      Effect.gen(function*() {
        const response = yield* post(url)
        assert.strictEqual(response.status, 207)
        assert.strictEqual(response.headers["content-type"], "text/x")
        assert.strictEqual(response.headers["x-more"], "1")
        assert.strictEqual(yield* response.text, "POST /a/b?c=d%20e v application/x-test 3 ü")
        const get = yield* Effect.flatMap(http, (client) => client.execute(HttpClientRequest.get(`${url}/x`)))
        assert.include(yield* get.text, "GET /x")
      }))

    test("bodies as text, JSON, bytes and stream", (_, response) => {
      response.writeHead(200, { "content-type": "application/json", "content-length": "7" })
      response.end("[1,2,3]")
    }, (url) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* Effect.flatMap(post(url), (response) => response.json), [1, 2, 3])
        assert.strictEqual((yield* Effect.flatMap(post(url), (response) => response.arrayBuffer)).byteLength, 7)
        const read = yield* Effect.flatMap(post(url), (response) => textWithin(response, 100))
        assert.deepStrictEqual(read, { text: "[1,2,3]", cut: false })
        const cut = yield* Effect.flatMap(post(url), (response) => bytesWithin(response, 3))
        assert.isTrue(cut.cut)
      }))

    test("a body without an end is cut, and the connection given up", (request, response) => {
      response.writeHead(503, { "content-type": "text/plain" })
      const write = () => {
        while (!response.destroyed && response.write("x".repeat(10_000))) continue
      }
      response.on("drain", write)
      write()
      request.on("error", () => {})
    }, (url, server) =>
      Effect.gen(function*() {
        const gone = yield* Deferred.make<void>()
        server.on("connection", (socket) => socket.once("close", () => Deferred.unsafeDone(gone, Effect.void)))
        const read = yield* Effect.flatMap(post(url), (response) => textWithin(response, 1000))
        assert.isTrue(read.cut)
        assert.lengthOf(read.text, 1000)
        yield* Deferred.await(gone)
      }))

    test("a redirect is an answer", (_, response) => {
      response.writeHead(307, { location: "http://elsewhere.invalid/" })
      response.end()
    }, (url) =>
      Effect.gen(function*() {
        const settings = yield* TinkexConfig.make({ baseUrl: url, apiKey: "tml-secret", retry: { times: 0 } })
        const error = yield* Effect.flip(Effect.flatMap(HttpTransport.make(settings), (transport) =>
          transport.send({ operation: "list", method: "GET", path: "x", pool: "service" })))
        assert.strictEqual(error._tag, "UnexpectedStatus")
        assert.include(error.message, "a redirect to http://elsewhere.invalid/, which is another origin")
      }).pipe(Effect.provide(HttpTransport.layerParts())))

    test("interruption ends the request", (_, response) => {
      response.on("error", () => {})
    }, (url, server) =>
      Effect.gen(function*() {
        const gone = yield* Deferred.make<void>()
        const arrived = yield* Deferred.make<void>()
        server.on("request", (request) => {
          // the server keeps its side open while it owes an answer
          for (const event of ["end", "close"]) request.socket.once(event, () => Deferred.unsafeDone(gone, Effect.void))
          Deferred.unsafeDone(arrived, Effect.void)
        })
        const fiber = yield* Effect.fork(post(url))
        yield* Deferred.await(arrived)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
        yield* Deferred.await(gone)
      }))

    const lost = (url: string) =>
      Effect.map(
        Effect.flip(Effect.flatMap(post(url), (response) => response.text)),
        (error) => TinkexError.fromHttpClientError(error, "sample (x)")
      )

    test("how a connection failed is known: lost before the answer, in the answer, refused", (request, response) => {
      if (request.headers["x-own"] === undefined) return
      if (request.url?.startsWith("/torn")) {
        response.writeHead(200, { "content-length": "100" })
        response.write("half")
        setImmediate(() => request.socket.destroy())
      } else request.socket.resetAndDestroy()
    }, (url, server) =>
      Effect.gen(function*() {
        assert.deepInclude(yield* lost(url), { _tag: "ConnectionError", reason: "reset", certainlyNotSent: false })
        assert.deepInclude(yield* lost(`${url}/torn`), {
          _tag: "ConnectionError",
          reason: "reset",
          certainlyNotSent: false
        })
        server.close()
        yield* Effect.async<void>((resume) => {
          if (!server.listening) resume(Effect.void)
          else server.once("close", () => resume(Effect.void))
          server.closeAllConnections()
        })
        assert.deepInclude(yield* lost(url), { _tag: "ConnectionError", reason: "refused", certainlyNotSent: true })
      }))
  })
}

describe("a pooled connection that was closed while it was idle", () => {
  it.scopedLive("a request that was written to it is sent again at once, whatever the policy, and nothing else is", () =>
    Effect.gen(function*() {
      let asked = 0
      const sockets: Array<number | undefined> = []
      const { url } = yield* serve((request, response) => {
        sockets.push(request.socket.remotePort)
        // the first request of a connection is answered, the next finds it closed
        if (sockets.filter((port) => port === request.socket.remotePort).length > 1) return request.socket.end()
        asked++
        response.end("{}")
      })
      const settings = yield* TinkexConfig.make({ baseUrl: url, apiKey: "tml-secret" })
      const transport = yield* HttpTransport.make(settings)
      const sample = transport.send({
        operation: "sample (x)",
        method: "POST",
        path: "asample",
        pool: "sampling",
        times: 0
      })
      for (let i = 0; i < 3; i++) yield* sample
      assert.strictEqual(asked, 3)
    }).pipe(Effect.provide(Layer.merge(ours, HttpTransport.layerParts()))))

  it.scopedLive("a new connection that breaks is not one", () =>
    Effect.gen(function*() {
      let asked = 0
      const { url } = yield* serve((request) => {
        asked++
        request.socket.destroy()
      })
      const settings = yield* TinkexConfig.make({ baseUrl: url, apiKey: "tml-secret" })
      const transport = yield* HttpTransport.make(settings)
      const error = yield* Effect.flip(
        transport.send({ operation: "sample (x)", method: "POST", path: "asample", pool: "sampling", times: 0 })
      )
      assert.strictEqual(error._tag, "ConnectionError")
      assert.strictEqual(asked, 1)
    }).pipe(Effect.provide(Layer.merge(ours, HttpTransport.layerParts()))))
})
