import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as HttpTransport from "../../../src/client/HttpTransport.js"
import * as Body from "../../../src/client/transport/body.js"
import * as TinkexConfig from "../../../src/TinkexConfig.js"
import { layerOver, makeFake } from "../fixtures/FakeService.js"

const request = HttpClientRequest.get("http://fake")

/** A body without an end, and how many bytes of it were taken. */
const endless = (status: number, headers: Readonly<Record<string, string>> = {}) => {
  const seen = { bytes: 0, given: true }
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      seen.bytes += 65_536
      controller.enqueue(new Uint8Array(65_536).fill(120))
    },
    cancel() {
      seen.given = false
    }
  })
  return { seen, response: HttpClientResponse.fromWeb(request, new Response(stream, { status, headers })) }
}

describe("bodies of answers", () => {
  it.live("no more is read than the limit, and the connection is given up", () =>
    Effect.gen(function*() {
      for (
        const headers of [{}, { "content-length": "9999999999" }, {
          "content-length": "10",
          "content-encoding": "gzip"
        }]
      ) {
        const { response, seen } = endless(200, headers)
        const { bytes, cut } = yield* Body.bytesWithin(response, 1_000_000)
        assert.isTrue(cut)
        assert.lengthOf(bytes, 1_000_000)
        assert.isBelow(seen.bytes, 1_400_000)
        assert.isFalse(seen.given)
        const { text } = yield* Body.textWithin(endless(200, headers).response, 1000)
        assert.lengthOf(text, 1000)
      }
    }))

  it.live("what fits is read whole, with and without a length", () =>
    Effect.gen(function*() {
      const whole = "grüße\u{1F600}"
      const size = new TextEncoder().encode(whole).length
      for (const headers of [{}, { "content-length": String(size) }]) {
        const of = () => HttpClientResponse.fromWeb(request, new Response(new Blob([whole]).stream(), { headers }))
        assert.deepStrictEqual(yield* Body.textWithin(of(), size), { text: whole, cut: false })
        assert.strictEqual((yield* Body.bytesWithin(of(), size)).bytes.length, size)
        const { cut } = yield* Body.textWithin(of(), size - 1)
        assert.isTrue(cut)
      }
    }))

  it.live("an answer may have no body at all", () =>
    Effect.gen(function*() {
      const none = () => HttpClientResponse.fromWeb(request, new Response(null, { status: 204 }))
      assert.deepStrictEqual(yield* Body.textWithin(none(), 10), { text: "", cut: false })
      assert.strictEqual((yield* Body.bytesWithin(none(), 10)).bytes.length, 0)
    }))

  it.live("an error without an end is told with its first words", () =>
    Effect.gen(function*() {
      const fake = makeFake()
      const { response, seen } = endless(503, { "content-type": "text/plain" })
      const http = HttpClient.make(() => Effect.succeed(response))
      const error = yield* Effect.scoped(Effect.gen(function*() {
        const settings = yield* TinkexConfig.make({ baseUrl: "http://fake", apiKey: "tml-secret" })
        const transport = yield* Effect.provideService(HttpTransport.make(settings), HttpClient.HttpClient, http)
        return yield* Effect.flip(transport.send({
          operation: "get_server_capabilities",
          method: "GET",
          path: "get_server_capabilities",
          pool: "service",
          times: 0
        }))
      })).pipe(Effect.provide(layerOver(fake)))
      assert.strictEqual(error._tag, "ServerError")
      assert.include(error.message, "503 the service failed: xxx")
      assert.isBelow(seen.bytes, 500_000)
    }))
})
