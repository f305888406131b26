/**
 * Models: create, describe, step, unload.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type AdamParams, Engine } from "../../engine/Engine.js"
import { ModelGroup } from "../../protocol/TinkerApi.js"
import { adamDefaults, type OptimStepRequest, OptimStepResponse } from "../../protocol/Training.js"
import * as Results from "../futures/results.js"
import { note } from "../http/http.js"
import { badRequest, type Refusal } from "../http/refusal.js"
import { Runs } from "../runs/Runs.js"
import { submitOperation } from "../runs/submitOperation.js"
import { implement } from "./implement.js"

/** @internal */
export const routes = Effect.gen(function*() {
  const runs = yield* Runs
  const engine = yield* Engine
  const submit = yield* submitOperation
  return implement(ModelGroup, {
    create: ({ fingerprint, payload }) =>
      Effect.tap(runs.create(payload, fingerprint), ({ modelId, requestId }) => note({ modelId, requestId, seqId: 0 })),
    getInfo: ({ payload }) =>
      Effect.map(runs.active(payload.modelId), (run) => ({
        modelId: run.id,
        modelData: { arch: "unknown", modelName: run.baseModel, tokenizerId: run.model.tokenizerId },
        isLora: run.lora !== null,
        loraRank: run.lora?.rank,
        modelName: run.baseModel,
        optimizerConfig: { type: "adamw" }
      })),
    unload: ({ payload: { modelId } }) =>
      Effect.tap(
        Effect.map(runs.unload(modelId), (requestId) => ({ requestId, modelId })),
        (future) => note(future)
      ),
    optimStep: ({ fingerprint, payload }) =>
      submit({
        modelId: payload.modelId,
        seqId: payload.seqId,
        endpoint: "optim_step",
        fingerprint,
        prepare: (run) =>
          Either.map(adamOf(payload), (params) =>
            engine.optimStep(run.id, params).pipe(
              Effect.mapBoth({
                onFailure: Results.engineFailure,
                onSuccess: ({ gradNorm }) => {
                  run.cycles++
                  return Results.json(OptimStepResponse, { metrics: { "unclipped_grad_l2:mean": gradNorm } })
                }
              })
            ))
      })
  })
})

const adamOf = (request: OptimStepRequest): Either.Either<AdamParams, Refusal> => {
  if (request.optimizerParams !== undefined) {
    return Either.left(badRequest(
      "optimizer_params: expected adam_params instead, AdamW is the one optimizer of this server, got another"
    ))
  }
  const params = request.adamParams ?? adamDefaults
  const check = (name: string, value: number, good: boolean, expected: string) =>
    Number.isFinite(value) && good ? [] : [`adam_params.${name}: expected ${expected}, got ${value}`]
  const wrong = [
    ...check("learning_rate", params.learningRate, true, "a finite number"),
    ...check("beta1", params.beta1, params.beta1 >= 0 && params.beta1 < 1, "a number from 0, below 1"),
    ...check("beta2", params.beta2, params.beta2 >= 0 && params.beta2 < 1, "a number from 0, below 1"),
    ...check("eps", params.eps, params.eps >= 0, "a number from 0"),
    ...check("weight_decay", params.weightDecay, true, "a finite number"),
    ...check("grad_clip_norm", params.gradClipNorm, true, "a finite number")
  ]
  return wrong.length > 0
    ? Either.left(badRequest(wrong[0]!))
    : Either.right({ ...params, gradClipNorm: Math.max(0, params.gradClipNorm) })
}
