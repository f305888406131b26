import { HttpClient, HttpClientResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { ServiceClient, Tinkex } from "tinkex"

/** A service, and a hub that has nothing; who asked the hub, and with what. */
const world = () => {
  const asked: Array<string> = []
  const http = HttpClient.make((request, url) =>
    Effect.sync(() => {
      const json = (text: string, status = 200) =>
        HttpClientResponse.fromWeb(
          request,
          new Response(text, { status, headers: { "content-type": "application/json" } })
        )
      if (url.pathname.startsWith("/api/v1/")) {
        return json(url.pathname.endsWith("create_session") ? "{\"session_id\":\"s\"}" : "{}")
      }
      asked.push(`${url.host} ${request.headers["authorization"] ?? "without a token"}`)
      return json("{}", 404)
    })
  )
  return { asked, layer: Layer.succeed(HttpClient.HttpClient, http) }
}

const variables = {
  TINKER_BASE_URL: "http://service.test",
  HF_TOKEN: "hf_secret",
  HF_ENDPOINT: "https://mirror.test"
}

const askHub = (environment: Readonly<Record<string, string>>) => {
  const { asked, layer } = world()
  return ServiceClient.ServiceClient.pipe(
    Effect.flatMap((service) => Effect.exit(service.tokenizer("example/model"))),
    Effect.provide(Layer.provide(Tinkex.layerConfig({ telemetry: false, metrics: false }), layer)),
    Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(environment)))),
    Effect.map(() => Array.from(new Set(asked)))
  )
}

describe("Tinkex.layerConfig", () => {
  it.effect("asks the hub of the environment, with its token", () =>
    Effect.gen(function*() {
      // the service itself may have the tokenizer; the hub's token is not for it
      const itself = "service.test without a token"
      assert.deepStrictEqual(yield* askHub(variables), [itself, "mirror.test Bearer hf_secret"])
      assert.deepStrictEqual(yield* askHub({ ...variables, HF_TOKEN: "", HF_ENDPOINT: " " }), [
        itself,
        "huggingface.co without a token"
      ])
    }))
})
