/**
 * Passes: forward, and forward with backward.
 *
 * @internal
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { Engine, type PassResult } from "../../engine/Engine.js"
import * as ForwardBackwardCodec from "../../protocol/ForwardBackwardCodec.js"
import { RequestSchema } from "../../protocol/ForwardBackwardJson.js"
import type { ForwardBackwardOutput, ForwardBackwardRequest } from "../../protocol/Training.js"
import * as Results from "../futures/results.js"
import { sha256 } from "../http/hash.js"
import { BodyReader, promised, route } from "../http/http.js"
import * as Json from "../http/json.js"
import { attempt, badRequest, Refusal } from "../http/refusal.js"
import type { Run } from "../runs/Runs.js"
import { submitOperation } from "../runs/submitOperation.js"
import { validatePass } from "../runs/validatePass.js"
import { ServerConfig } from "../ServerConfig.js"

/** @internal */
export const routes = Effect.gen(function*() {
  const engine = yield* Engine
  const { experimentalLosses } = yield* ServerConfig
  const submit = yield* submitOperation
  const decodeJson = Json.decode(RequestSchema)

  const pass = (
    { data, forwardOnly, lossFn, lossFnConfig, modelId, seqId }: ForwardBackwardRequest,
    fingerprint: string
  ) =>
    Effect.flatMap(
      submit({
        modelId,
        // 0 is an absent seq_id
        seqId: seqId === 0 ? undefined : seqId,
        endpoint: forwardOnly ? "forward" : "forward_backward",
        fingerprint,
        prepare: (run) =>
          Either.map(
            attempt(() =>
              validatePass({
                data,
                lossFn,
                lossFnConfig,
                backward: !forwardOnly,
                model: run.model,
                experimentalLosses
              })
            ),
            (batch) =>
              engine.pass(run.id, batch.request).pipe(
                Effect.mapBoth({
                  onFailure: Results.engineFailure,
                  onSuccess: (result) => Results.output(outputOf(result, batch.outputType, run))
                })
              )
          )
      }),
      promised
    )

  const jsonPass = (endpoint: string, bytes: Uint8Array, json: unknown) =>
    Effect.flatMap(decodeJson(json), (request) => pass(request, sha256(endpoint, bytes)))

  const body = Effect.flatMap(BodyReader, (reader) => reader.bytes)

  return [
    route(
      "POST",
      "/forward_backward",
      Effect.gen(function*() {
        const { headers } = yield* HttpServerRequest.HttpServerRequest
        const type = headers["content-type"]
        const bytes = yield* body
        if (type?.startsWith(ForwardBackwardCodec.mediaType) === true) {
          const request = yield* Effect.mapError(
            ForwardBackwardCodec.decodeRequest(bytes),
            (error) => badRequest(error.message)
          )
          return yield* pass(request, sha256("forward_backward", bytes))
        }
        // curl calls JSON a form, fetch calls it text; what is no JSON at all is told what would be right
        const json = yield* Effect.mapError(
          Json.parseJson(bytes),
          (error) => type === undefined || type.includes("json") ? error : unsupported
        )
        return yield* jsonPass("forward_backward", bytes, json)
      })
    ),
    route(
      "POST",
      "/forward",
      Effect.flatMap(body, (bytes) => Effect.flatMap(Json.parseJson(bytes), (json) => jsonPass("forward", bytes, json)))
    )
  ]
})

const unsupported = new Refusal({
  status: 415,
  detail: `Content-Type: expected ${ForwardBackwardCodec.mediaType} or application/json, got another`
})

const outputOf = (result: PassResult, outputType: string, run: Run): ForwardBackwardOutput => ({
  lossFnOutputType: outputType,
  lossFnOutputs: result.outputs.map(({ logprobs, shape }) => ({
    logprobs: { dtype: "float32", data: logprobs, shape }
  })),
  metrics: { "loss:sum": result.loss, "clock_cycle:unique": run.cycles }
})
