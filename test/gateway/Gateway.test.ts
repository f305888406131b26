import { HttpApp } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Redacted } from "effect"
import { Future, ModelRef, ServiceClient } from "tinkex"
import { TestServer } from "tinkex/testing"
import { Engine } from "../../src/engine/Engine.js"
import * as InProcessEngine from "../../src/engine/host/InProcessEngine.js"
import * as Gateway from "../../src/gateway/Gateway.js"
import { sized } from "../support/deep.js"
import * as Support from "./support.js"

const model = "tinkex/nano"
const chat = (model: string, more: object = {}) => ({
  method: "POST",
  body: JSON.stringify({ model, messages: [{ role: "user", content: "2 + 2 =" }], max_tokens: 4, ...more })
})

describe("Gateway", () => {
  it.live("asks for its key in either header, and lets nobody else in", () =>
    Effect.gen(function*() {
      const { fetch } = yield* Support.make
      const status = (headers: Record<string, string>, path = "/models") =>
        Effect.promise(async () => (await fetch(`${Support.baseURL}${path}`, { headers })).status)
      assert.strictEqual(yield* status({ authorization: "Bearer open-sesame" }), 200)
      assert.strictEqual(yield* status({ "x-api-key": "open-sesame" }), 200)
      for (
        const headers of [{}, { authorization: "Bearer open-sesam" }, { authorization: "open-sesame" }, {
          "x-api-key": ""
        }, { "x-api-key": "open-sesameopen-sesame" }]
      ) {
        assert.strictEqual(yield* status(headers as Record<string, string>), 401)
        assert.strictEqual(yield* status(headers as Record<string, string>, "/models/x"), 401)
      }
    }).pipe(Effect.provide(Support.layer({ apiKey: Redacted.make("open-sesame") }))))

  it.live("answers to the hosts that it is told, and to no page of another site", () =>
    Effect.gen(function*() {
      const { fetch } = yield* Support.make
      const status = (headers: Record<string, string>) =>
        Effect.promise(async () => (await fetch(`${Support.baseURL}/models`, { headers })).status)
      assert.strictEqual(yield* status({ host: "localhost:8788" }), 200)
      assert.strictEqual(yield* status({ host: "localhost", origin: "http://localhost:3000" }), 200)
      for (
        const headers of [{ host: "evil.example" }, { host: "localhost.evil.example" }, {}, {
          host: "localhost",
          origin: "https://evil.example"
        }, { host: "localhost", origin: "null" }]
      ) assert.strictEqual(yield* status(headers as Record<string, string>), 403)
    }).pipe(Effect.provide(Support.layer({ hosts: ["localhost", "127.0.0.1"] }))))

  it.live("answers under both prefixes, and refuses a body that is too large", () =>
    Effect.gen(function*() {
      const { fetch } = yield* Support.make
      const answer = yield* Effect.promise(() => fetch("http://gateway.test/oai/api/v1/chat/completions", chat(model)))
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.headers.get("x-tinkex-target"), model)
      const large = yield* Effect.promise(() =>
        fetch(`${Support.baseURL}/chat/completions`, chat(model, { user: "x".repeat(5000) }))
      )
      assert.strictEqual(large.status, 413)
    }).pipe(Effect.provide(Support.layer({ maxBodyBytes: 4096 }))))

  it.live("weights promoted under load answer every later call, and no call fails or is answered by two", () =>
    Effect.gen(function*() {
      const service = yield* ServiceClient.ServiceClient
      const training = yield* service.createLoraTrainingClient({ baseModel: model, rank: 4 })
      const save = (name: string) =>
        Effect.map(Effect.flatMap(training.saveWeightsForSampler(name), Future.await), ({ path }) => path)
      const targets = [yield* save("one"), yield* save("two"), yield* save("three")]
      const ref = yield* ModelRef.make(targets[0]!)
      const gateway = yield* Gateway.make({ models: { mine: ref } })
      const runtime = yield* Effect.runtime<never>()
      const handler = HttpApp.toWebHandlerRuntime(runtime)(gateway.app)
      const ask = Effect.promise(async () => {
        const answer = await handler(new Request(`${Support.baseURL}/chat/completions`, chat("mine")))
        await answer.json()
        return { status: answer.status, target: answer.headers.get("x-tinkex-target") }
      })
      const calls = yield* Effect.fork(
        Effect.forEach(Array.from({ length: sized(200, 40) }), () => ask, { concurrency: 8 })
      )
      for (const target of targets.slice(1)) {
        yield* ask
        yield* ref.promote(target)
        assert.strictEqual((yield* ask).target, target)
      }
      const answers = yield* Fiber.join(calls)
      for (const { status, target } of answers) {
        assert.strictEqual(status, 200)
        assert.include(targets, target)
      }
    }).pipe(Effect.scoped, Effect.provide(TestServer.layer())))

  it.live("whoever goes away stops the work in the engine", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const stopped = yield* Deferred.make<void>()
      const waiting = Layer.effect(
        Engine,
        Effect.map(Engine, (engine) => ({
          ...engine,
          sample: () =>
            Effect.zipRight(Deferred.succeed(started, undefined), Effect.never).pipe(
              Effect.onInterrupt(() => Deferred.succeed(stopped, undefined))
            )
        }))
      ).pipe(Layer.provide(InProcessEngine.layer()))
      yield* Effect.gen(function*() {
        const { fetch } = yield* Support.make
        const abort = new AbortController()
        void fetch(`${Support.baseURL}/chat/completions`, { ...chat(model), signal: abort.signal }).catch(
          () => undefined
        )
        yield* Deferred.await(started)
        const service = yield* ServiceClient.ServiceClient
        yield* Effect.repeat(Effect.zipRight(Effect.sleep(1), service.pending), {
          until: (pending) => pending.length > 0
        })
        abort.abort()
        yield* Deferred.await(stopped)
      }).pipe(
        Effect.provide(
          Gateway.layer().pipe(
            Layer.provideMerge(ServiceClient.layer({ baseUrl: TestServer.baseUrl })),
            Layer.provideMerge(TestServer.layerWithoutEngine()),
            Layer.provide(waiting)
          )
        )
      )
    }))

  it.live("256 at once, every one answered once", () =>
    Effect.gen(function*() {
      const { fetch } = yield* Support.make
      const n = sized(256, 64)
      const answers = yield* Effect.forEach(
        Array.from({ length: n }, (_, i) => i),
        (i) =>
          Effect.promise(async () => {
            const stream = i % 2 === 0
            const answer = await fetch(`${Support.baseURL}/chat/completions`, chat(model, { stream, seed: i }))
            const text = await answer.text()
            return { status: answer.status, ends: text.split(stream ? "[DONE]" : `"finish_reason"`).length - 1 }
          }),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(new Set(answers.map(({ ends, status }) => `${status} ${ends}`)), new Set(["200 1"]))
    }).pipe(Effect.provide(Support.layer())), 60_000)
})
