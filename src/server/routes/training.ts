/**
 * Passes and optimiser steps.
 *
 * @internal
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { type AdamParams, Engine, type PassResult } from "../../engine/Engine.js"
import type { Datum } from "../../protocol/Datum.js"
import * as ForwardBackwardCodec from "../../protocol/ForwardBackwardCodec.js"
import { ModelInputSchema } from "../../protocol/ModelInput.js"
import { TensorDataSchema } from "../../protocol/TensorData.js"
import {
  adamDefaults,
  type ForwardBackwardOutput,
  type ForwardBackwardRequest,
  OptimStepRequest,
  OptimStepResponse
} from "../../protocol/Training.js"
import * as Body from "../internal/body.js"
import { sha256 } from "../internal/hash.js"
import { BodyReader, note, post, promised, route } from "../internal/http.js"
import { attempt, badRequest, type Refusal } from "../internal/refusal.js"
import * as Results from "../internal/results.js"
import { seqIdOf } from "../internal/seqId.js"
import { validatePass } from "../internal/validatePass.js"
import { type Run, Runs } from "../Runs.js"

const LegacyInput = Schema.Struct({
  data: Schema.Array(Schema.Struct({
    model_input: ModelInputSchema,
    loss_fn_inputs: Schema.optionalWith(Schema.Record({ key: Schema.String, value: TensorDataSchema }), {
      nullable: true,
      default: () => ({})
    })
  })),
  loss_fn: Schema.String,
  loss_fn_config: Schema.optionalWith(
    Schema.Record({ key: Schema.String, value: Schema.Union(Schema.Number, Schema.String) }),
    { nullable: true }
  )
})

/** The JSON of older clients and of curl (wire-protocol 10.2). */
const legacy = (key: "forward_backward_input" | "forward_input") =>
  Body.decode(
    Schema.Struct({
      input: Schema.propertySignature(LegacyInput).pipe(Schema.fromKey(key)),
      model_id: Schema.String,
      seq_id: Schema.optionalWith(Schema.Int, { nullable: true })
    })
  )

/** @internal */
export const routes = Effect.gen(function*() {
  const runs = yield* Runs
  const engine = yield* Engine

  const pass = (request: ForwardBackwardRequest, seqId: number | undefined, fingerprint: string) =>
    Effect.gen(function*() {
      const { lossFn, lossFnConfig, modelId } = request
      yield* note({ modelId, seqId })
      const run = yield* runs.active(modelId)
      const backward = !request.forwardOnly
      const requestId = yield* run.queue.submit({
        seqId,
        endpoint: backward ? "forward_backward" : "forward",
        fingerprint,
        prepare: () =>
          Either.map(
            attempt(() => validatePass({ data: request.data, lossFn, lossFnConfig, backward, model: run.model })),
            (batch) =>
              engine.pass(run.id, batch.request).pipe(
                Effect.mapBoth({
                  onFailure: Results.engineFailure,
                  onSuccess: (result) => Results.output(outputOf(result, batch.outputType, run))
                })
              )
          )
      })
      return yield* promised({ requestId, modelId })
    })

  const legacyPass = (key: "forward_backward_input" | "forward_input", forwardOnly: boolean) => {
    const decode = legacy(key)
    return (bytes: Uint8Array) =>
      Effect.flatMap(
        Effect.flatMap(Body.parseJson(bytes), decode),
        ({ input, model_id, seq_id }) =>
          Effect.flatMap(seqIdOf(seq_id), (seqId) =>
            pass(
              {
                modelId: model_id,
                seqId: seqId ?? 0,
                data: input.data.map((datum): Datum => ({
                  modelInput: datum.model_input,
                  lossFnInputs: datum.loss_fn_inputs
                })),
                lossFn: input.loss_fn,
                lossFnConfig: input.loss_fn_config,
                forwardOnly
              },
              seqId,
              sha256(key, bytes)
            ))
      )
  }

  const jsonForwardBackward = legacyPass("forward_backward_input", false)
  const jsonForward = legacyPass("forward_input", true)
  const body = Effect.flatMap(BodyReader, (reader) => reader.bytes)

  return [
    route(
      "POST",
      "/forward_backward",
      Effect.gen(function*() {
        const { headers } = yield* HttpServerRequest.HttpServerRequest
        const bytes = yield* body
        if (headers["content-type"]?.startsWith(ForwardBackwardCodec.mediaType) !== true) {
          return yield* jsonForwardBackward(bytes)
        }
        const request = yield* Effect.mapError(
          ForwardBackwardCodec.decodeRequest(bytes),
          (error) => badRequest(error.message)
        )
        // 0 is an absent seq_id in protobuf
        const seqId = yield* seqIdOf(request.seqId === 0 ? undefined : request.seqId)
        return yield* pass(request, seqId, sha256("forward_backward", bytes))
      })
    ),
    route("POST", "/forward", Effect.flatMap(body, jsonForward)),
    post("/optim_step", OptimStepRequest, (payload, fingerprint) =>
      Effect.gen(function*() {
        const seqId = yield* seqIdOf(payload.seqId)
        yield* note({ modelId: payload.modelId, seqId })
        const run = yield* runs.active(payload.modelId)
        const requestId = yield* run.queue.submit({
          seqId,
          endpoint: "optim_step",
          fingerprint,
          prepare: () =>
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
        return yield* promised({ requestId, modelId: payload.modelId })
      }))
  ]
})

const outputOf = (result: PassResult, outputType: string, run: Run): ForwardBackwardOutput => ({
  lossFnOutputType: outputType,
  lossFnOutputs: result.outputs.map(({ logprobs, shape }) => ({
    logprobs: { dtype: "float32", data: logprobs, shape }
  })),
  metrics: { "loss:sum": result.loss, "clock_cycle:unique": run.cycles }
})

const adamOf = (request: OptimStepRequest): Either.Either<AdamParams, Refusal> => {
  const { adamParams, optimizerParams } = request
  if (optimizerParams !== undefined) {
    return Either.left(badRequest(
      "optimizer_params: expected adam_params instead, AdamW is the one optimizer of this server, got another"
    ))
  }
  const params = adamParams ?? adamDefaults
  const check = (name: string, value: number, good: boolean, expected: string) =>
    Number.isFinite(value) && good ? [] : [`adam_params.${name}: expected ${expected}, got another number`]
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
