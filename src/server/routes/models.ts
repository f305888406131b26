/**
 * Models: create, describe, unload.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Protocol from "../../protocol/Model.js"
import { encoded, note, post, promised } from "../internal/http.js"
import { Runs } from "../Runs.js"

/** @internal */
export const routes = Effect.gen(function*() {
  const runs = yield* Runs
  const info = encoded(Protocol.GetInfoResponse)
  return [
    post(
      "/create_model",
      Protocol.CreateModelRequest,
      (payload, fingerprint) =>
        Effect.flatMap(
          runs.create(payload, fingerprint),
          (created) => Effect.zipRight(note({ modelId: created.modelId, seqId: 0 }), promised(created))
        )
    ),
    post("/get_info", Protocol.GetInfoRequest, (payload) =>
      Effect.flatMap(runs.active(payload.modelId), (run) =>
        info({
          modelId: run.id,
          modelData: { arch: "unknown", modelName: run.baseModel, tokenizerId: run.model.tokenizerId },
          isLora: run.lora !== null,
          loraRank: run.lora?.rank,
          modelName: run.baseModel,
          optimizerConfig: { type: "adamw" }
        }))),
    post(
      "/unload_model",
      Protocol.UnloadModelRequest,
      (payload) =>
        Effect.flatMap(runs.unload(payload.modelId), (requestId) => promised({ requestId, modelId: payload.modelId }))
    )
  ]
})
