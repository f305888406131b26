import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServer from "@effect/platform/HttpServer"
import * as OpenApi from "@effect/platform/OpenApi"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as ApiError from "../../src/protocol/ApiError.js"
import * as Routes from "../../src/protocol/Routes.js"
import { ModelGroup, TinkerApi, TinkerCompleteApi, TinkerRestApi } from "../../src/protocol/TinkerApi.js"

describe("ApiError", () => {
  it("is {detail} under every status of the protocol", () => {
    for (const status of ApiError.statuses) {
      const error = new ApiError.ApiError({ status, detail: "why" })
      assert.deepStrictEqual(Schema.encodeSync(ApiError.ApiErrorSchema)(error), { detail: "why" })
      assert.strictEqual(error.message, `${status}: why`)
    }
    const read = Schema.decodeUnknownSync(ApiError.ApiErrorSchema)
    assert.strictEqual(read({ detail: "why" }).detail, "why")
    assert.strictEqual(read({ detail: [{ msg: "m" }] }).detail, "[{\"msg\":\"m\"}]")
  })
})

describe("the APIs", () => {
  const paths = (api: HttpApi.HttpApi.Any) => Object.keys(OpenApi.fromApi(api as never).paths)

  it("make OpenAPI pages with every JSON route of Routes", () => {
    const plain = new Set<string>([
      Routes.paths.forwardBackward,
      Routes.paths.forward,
      Routes.paths.asample,
      Routes.paths.retrieveFuture,
      Routes.paths.retrieveFutures,
      Routes.paths.createCustomLoss
    ])
    const described = new Set(paths(TinkerCompleteApi))
    for (const path of Object.values(Routes.paths)) {
      assert.strictEqual(described.has(Routes.prefix + path), !plain.has(path), path)
    }
    assert.isTrue(described.has("/api/v1/training_runs/{run}/checkpoints/{kind}/{name}/publish"))
    assert.isAbove(paths(TinkerRestApi).length, paths(TinkerApi).length)
    assert.include(JSON.stringify(OpenApi.fromApi(TinkerApi)), "fwdbwd_max_chunk_len")
  })

  it.effect("serve requests in the wire's form: 202 for futures, {detail} with its status for refusals", () =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        class Api
          extends HttpApi.make("test").add(ModelGroup).addError(ApiError.ApiErrorSchema).prefix(Routes.prefix)
        {}
        const Handlers = HttpApiBuilder.group(Api, "models", (handlers) =>
          handlers
            .handle("create", ({ payload }) => Effect.succeed({ requestId: payload.baseModel, modelId: undefined }))
            .handle("getInfo", ({ payload }) =>
              Effect.fail(new ApiError.ApiError({ status: 404, detail: `no model ${payload.modelId}` })))
            .handle("unload", () =>
              Effect.fail(new ApiError.ApiError({ status: 429, detail: "later" })))
            .handle("optimStep", ({ payload }) =>
              Effect.succeed({ requestId: String(payload.adamParams?.learningRate), sampleSequenceIds: [] })))
        return HttpApiBuilder.toWebHandler(
          Layer.mergeAll(HttpApiBuilder.api(Api).pipe(Layer.provide(Handlers)), HttpServer.layerContext)
        )
      }),
      ({ handler }) =>
        Effect.promise(async () => {
          const post = async (path: string, body: unknown) => {
            const response = await handler(
              new Request(`http://localhost${Routes.prefix}${path}`, {
                method: "POST",
                headers: { "content-type": "application/json" },
                body: JSON.stringify(body)
              })
            )
            return [response.status, await response.json()] as const
          }
          assert.deepStrictEqual(
            await post(Routes.paths.createModel, { session_id: "s", model_seq_id: 0, base_model: "b", future: 1 }),
            [202, { request_id: "b" }]
          )
          assert.deepStrictEqual(await post(Routes.paths.getInfo, { model_id: "m" }), [404, { detail: "no model m" }])
          assert.deepStrictEqual(await post(Routes.paths.unloadModel, { model_id: "m" }), [429, { detail: "later" }])
          assert.deepStrictEqual(
            await post(Routes.paths.optimStep, { model_id: "m", adam_params: {} }),
            [202, { request_id: "0.0001", sample_sequence_ids: [] }]
          )
        }),
      ({ dispose }) => Effect.promise(dispose)
    ))
})
