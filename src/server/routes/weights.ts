/**
 * Saving and loading of weights.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { Engine } from "../../engine/Engine.js"
import { WeightsGroup } from "../../protocol/TinkerApi.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import * as Weights from "../../protocol/Weights.js"
import { named } from "../checkpoints/checkpointPath.js"
import { CheckpointStore } from "../checkpoints/CheckpointStore.js"
import * as Results from "../futures/results.js"
import { sha256 } from "../http/hash.js"
import { note } from "../http/http.js"
import { attempt, badRequest, type Refusal } from "../http/refusal.js"
import type { Operation } from "../runs/OperationQueue.js"
import { Runs } from "../runs/Runs.js"
import { saving } from "../runs/saving.js"
import { submitOperation } from "../runs/submitOperation.js"
import { Samplers } from "../samplers/Samplers.js"
import { ServerConfig } from "../ServerConfig.js"
import { implement } from "./implement.js"

/** @internal */
export const routes = Effect.gen(function*() {
  const config = yield* ServerConfig
  const runs = yield* Runs
  const engine = yield* Engine
  const checkpoints = yield* CheckpointStore
  const samplers = yield* Samplers
  const submit = yield* submitOperation
  const save = yield* saving

  const load = (modelId: string, path: string, optimizer: boolean): Either.Either<Operation, Refusal> =>
    Either.map(attempt(() => TinkerPath.unsafeParse(path)), (parsed) =>
      checkpoints.load(parsed, { optimizer }).pipe(
        Effect.flatMap((state) => engine.loadRun(modelId, state, { optimizer })),
        Effect.mapBoth({
          onFailure: Results.failure,
          onSuccess: () => Results.json(Weights.LoadWeightsResponse, { path, modelId })
        })
      ))

  return implement(WeightsGroup, {
    save: ({ fingerprint, payload }) =>
      submit({
        modelId: payload.modelId,
        seqId: payload.seqId,
        endpoint: "save_weights",
        fingerprint,
        prepare: (run, now) =>
          save(run, { ...payload, kind: "weights", name: payload.path ?? `unnamed-${now}` }, now, ({ path }) =>
            Results.json(Weights.SaveWeightsResponse, { path: TinkerPath.format(path) }))
      }),
    saveForSampler: ({ fingerprint, payload }) => {
      const { path: name, samplingSessionSeqId } = payload
      if (name === undefined && samplingSessionSeqId === undefined) {
        return Effect.fail(badRequest("path: expected a name, or a sampling_session_seq_id instead, got neither"))
      }
      if (payload.kind === "inflight") {
        return Effect.fail(badRequest("kind: expected snapshot, this server has no mutable samplers, got inflight"))
      }
      return submit({
        modelId: payload.modelId,
        seqId: payload.seqId,
        endpoint: "save_weights_for_sampler",
        // clients draw a new sampling_session_seq_id when they repeat an unnamed save (docs/protocol/checkpoints.md#saving)
        fingerprint: name === undefined ? sha256("save_weights_for_sampler", payload.modelId) : fingerprint,
        prepare: (run, now) =>
          name === undefined
            ? Either.right(
              samplers.freeze({
                session: run.session,
                seqId: samplingSessionSeqId!, // one of the two is there, as checked above
                modelId: run.id,
                model: run.model,
                baseModel: run.baseModel
              }).pipe(
                Effect.map(({ id }) => Results.json(Weights.SaveWeightsForSamplerResponse, { samplingSessionId: id }))
              )
            )
            : save(run, { ...payload, kind: "sampler_weights", name }, now, ({ path, sizeBytes }) =>
              Results.json(Weights.SaveWeightsForSamplerResponse, { path: TinkerPath.format(path), sizeBytes }))
      })
    },
    load: ({ fingerprint, payload }) => {
      const { modelId, modelSeqId, optimizer, path, seqId, sessionId } = payload
      if (sessionId !== undefined && modelSeqId !== undefined) {
        return Effect.tap(
          runs.createFrom({ ...payload, sessionId, modelSeqId }, fingerprint),
          (created) => note({ ...created, seqId: 0 })
        )
      }
      if (modelId === undefined) {
        return Effect.fail(badRequest("model_id: expected it, or session_id and model_seq_id instead, got neither"))
      }
      return submit({
        modelId,
        seqId,
        endpoint: "load_weights",
        fingerprint,
        prepare: (run) =>
          config.strictLoad && (seqId ?? 1) !== 1
            ? Either.left(badRequest(`LoadWeights is not permitted with seq_id ${seqId}`))
            : load(run.id, path, optimizer)
      })
    },
    info: ({ payload }) =>
      Effect.gen(function*() {
        const path = yield* attempt(() => TinkerPath.unsafeParse(payload.tinkerPath, "tinker_path"))
        const { baseModel, lora } = yield* named("tinker_path", checkpoints.get(path))
        return {
          baseModel,
          isLora: lora !== null,
          loraRank: lora?.rank,
          trainUnembed: lora?.trainUnembed,
          trainMlp: lora?.trainMlp,
          trainAttn: lora?.trainAttn,
          optimizerConfig: { type: "adamw" }
        }
      })
  })
})
