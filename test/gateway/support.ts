/** A gateway over the embedded server, without a socket: clients of OpenAI and Anthropic take its `fetch`. */
import Anthropic from "@anthropic-ai/sdk"
import { HttpApp } from "@effect/platform"
import { Effect, Layer } from "effect"
import OpenAI from "openai"
import { TestServer } from "tinkex/testing"
import * as Gateway from "../../src/gateway/Gateway.js"

export const baseURL = "http://gateway.test/v1"

export type Fetch = (url: string | URL | Request, init?: RequestInit) => Promise<Response>

const fetchOf = Effect.gen(function*() {
  const gateway = yield* Gateway.Gateway
  const runtime = yield* Effect.runtime<never>()
  const handler = HttpApp.toWebHandlerRuntime(runtime)(gateway.app)
  return ((url, init) => handler(new Request(url, init))) as Fetch
})

export const make = Effect.map(fetchOf, (fetch) => ({
  fetch,
  openai: new OpenAI({ baseURL, apiKey: "key", fetch, maxRetries: 0 }),
  anthropic: new Anthropic({ baseURL: "http://gateway.test", apiKey: "key", fetch, maxRetries: 0 })
}))

/** The embedded server really sampling, a client of it, and the gateway. */
export const layer = (options: Gateway.Options = {}) =>
  Gateway.layer(options).pipe(Layer.provideMerge(TestServer.layer()))
