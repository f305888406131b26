/**
 * Saving and loading of weights.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { Engine } from "../../engine/Engine.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import * as Protocol from "../../protocol/Weights.js"
import { CheckpointStore, isName } from "../CheckpointStore.js"
import { sha256 } from "../internal/hash.js"
import { encoded, note, post, promised } from "../internal/http.js"
import { attempt, badRequest, notFound, type Refusal } from "../internal/refusal.js"
import * as Results from "../internal/results.js"
import { seqIdOf } from "../internal/seqId.js"
import type { Operation } from "../OperationQueue.js"
import { type Run, Runs } from "../Runs.js"
import { Samplers } from "../Samplers.js"
import { ServerConfig } from "../ServerConfig.js"

/** @internal */
export const routes = Effect.gen(function*() {
  const config = yield* ServerConfig
  const runs = yield* Runs
  const engine = yield* Engine
  const checkpoints = yield* CheckpointStore
  const samplers = yield* Samplers
  const weightsInfo = encoded(Protocol.WeightsInfoResponse)

  interface Save {
    readonly kind: TinkerPath.Kind
    readonly name: string
    readonly overwrite: boolean
    readonly ttlSeconds?: number | undefined
    readonly userMetadata?: Readonly<Record<string, string>> | undefined
  }

  const save = (run: Run, { kind, name, ...options }: Save) =>
    Effect.flatMap(
      engine.exportRun(run.id, { optimizer: kind === "weights" }),
      (state) => checkpoints.save({ trainingRunId: run.id, kind, name }, state, options)
    ).pipe(Effect.mapError(Results.failure))

  /** Takes an operation of a run: what its endpoints have in common. */
  const submit = (options: {
    readonly modelId: string
    readonly seqId?: number | undefined
    readonly endpoint: string
    readonly fingerprint: string
    readonly prepare: (run: Run, now: number) => Either.Either<Operation, Refusal>
  }) =>
    Effect.gen(function*() {
      const { endpoint, fingerprint, modelId, prepare } = options
      const seqId = yield* seqIdOf(options.seqId)
      yield* note({ modelId, seqId })
      const run = yield* runs.active(modelId)
      const now = yield* Clock.currentTimeMillis
      const requestId = yield* run.queue.submit({ seqId, endpoint, fingerprint, prepare: () => prepare(run, now) })
      return yield* promised({ requestId, modelId })
    })

  /**
   * A save under a name. One that is taken fails its future at once: clients repeat a 409 for minutes, but believe a
   * future (server-semantics 1.8).
   */
  const named = (save: Save, run: Run, now: number, work: Operation): Either.Either<Operation, Refusal> =>
    Either.flatMap(checkSave(save), () => {
      const path = { trainingRunId: run.id, kind: save.kind, name: save.name }
      const taken = !save.overwrite && checkpoints.unsafeHas(path, now)
      return Either.right(taken ? Effect.fail(Results.userFailure(takenText(path))) : work)
    })

  const load = (modelId: string, path: string, optimizer: boolean): Either.Either<Operation, Refusal> =>
    Either.map(attempt(() => TinkerPath.unsafeParse(path)), (parsed) =>
      checkpoints.load(parsed, { optimizer }).pipe(
        Effect.flatMap((state) => engine.loadRun(modelId, state, { optimizer })),
        Effect.mapBoth({
          onFailure: Results.failure,
          onSuccess: () => Results.json(Protocol.LoadWeightsResponse, { path, modelId })
        })
      ))

  return [
    post("/save_weights", Protocol.SaveWeightsRequest, (payload, fingerprint) =>
      submit({
        ...payload,
        endpoint: "save_weights",
        fingerprint,
        prepare: (run, now) => {
          const what: Save = { ...payload, kind: "weights", name: payload.path ?? `unnamed-${now}` }
          return named(
            what,
            run,
            now,
            Effect.map(save(run, what), ({ path }) =>
              Results.json(Protocol.SaveWeightsResponse, { path: TinkerPath.format(path) }))
          )
        }
      })),
    post("/save_weights_for_sampler", Protocol.SaveWeightsForSamplerRequest, (payload, fingerprint) => {
      const { path: name, samplingSessionSeqId } = payload
      if (name === undefined && samplingSessionSeqId === undefined) {
        return Effect.fail(badRequest("path: expected a name, or a sampling_session_seq_id instead, got neither"))
      }
      if (payload.kind === "inflight") {
        return Effect.fail(badRequest("kind: expected snapshot, this server has no mutable samplers, got inflight"))
      }
      return submit({
        ...payload,
        endpoint: "save_weights_for_sampler",
        // clients draw a new sampling_session_seq_id when they repeat an unnamed save (wire-protocol 2.5)
        fingerprint: name === undefined ? sha256("save_weights_for_sampler", payload.modelId) : fingerprint,
        prepare: (run, now) => {
          if (name === undefined) {
            return Either.right(
              samplers.freeze({
                session: run.session,
                seqId: samplingSessionSeqId!, // one of the two is there, as checked above
                modelId: run.id,
                model: run.model,
                baseModel: run.baseModel
              }).pipe(
                Effect.map((sampler) =>
                  Results.json(Protocol.SaveWeightsForSamplerResponse, { samplingSessionId: sampler.id })
                )
              )
            )
          }
          const what: Save = { ...payload, kind: "sampler_weights", name, overwrite: false }
          return named(
            what,
            run,
            now,
            Effect.map(
              save(run, what),
              ({ path, sizeBytes }) =>
                Results.json(Protocol.SaveWeightsForSamplerResponse, { path: TinkerPath.format(path), sizeBytes })
            )
          )
        }
      })
    }),
    post(
      "/save_weights_external",
      Protocol.SaveWeightsExternalRequest,
      (payload, fingerprint) =>
        (payload.ageEncryptionRecipients ?? []).length > 0
          ? Effect.fail(
            badRequest("age_encryption_recipients: expected none, this server does not encrypt exports, got some")
          )
          : submit({
            ...payload,
            endpoint: "save_weights_external",
            fingerprint,
            prepare: (run, now) => {
              const what: Save = { ...payload, kind: "external_weights", name: payload.path, overwrite: false }
              return named(
                what,
                run,
                now,
                Effect.map(
                  save(run, what),
                  ({ path, sizeBytes }) =>
                    Results.json(Protocol.SaveWeightsExternalResponse, { path: TinkerPath.format(path), sizeBytes })
                )
              )
            }
          })
    ),
    post("/load_weights", Protocol.LoadWeightsRequest, (payload, fingerprint) => {
      const { modelId, modelSeqId, optimizer, path, sessionId } = payload
      if (sessionId !== undefined && modelSeqId !== undefined) {
        return Effect.flatMap(
          runs.createFrom({ ...payload, sessionId, modelSeqId }, fingerprint),
          (created) => Effect.zipRight(note({ modelId: created.modelId, seqId: 0 }), promised(created))
        )
      }
      if (modelId === undefined) {
        return Effect.fail(badRequest("model_id: expected it, or session_id and model_seq_id instead, got neither"))
      }
      return submit({
        modelId,
        seqId: payload.seqId,
        endpoint: "load_weights",
        fingerprint,
        prepare: (run) =>
          config.strictLoad && (payload.seqId ?? 1) !== 1
            ? Either.left(badRequest(`LoadWeights is not permitted with seq_id ${payload.seqId}`))
            : load(run.id, path, optimizer)
      })
    }),
    post("/weights_info", Protocol.WeightsInfoRequest, ({ tinkerPath }) =>
      Effect.gen(function*() {
        const path = yield* attempt(() => TinkerPath.unsafeParse(tinkerPath, "tinker_path"))
        const entry = yield* Effect.mapError(checkpoints.get(path), () =>
          notFound("tinker_path: no checkpoint of that path exists, or it has expired"))
        return yield* weightsInfo({
          baseModel: entry.baseModel,
          isLora: entry.lora !== null,
          loraRank: entry.lora?.rank,
          trainUnembed: entry.lora?.trainUnembed,
          trainMlp: entry.lora?.trainMlp,
          trainAttn: entry.lora?.trainAttn,
          optimizerConfig: { type: "adamw" }
        })
      }))
  ]
})

const takenText = (path: TinkerPath.TinkerPath): string =>
  `Checkpoint '${path.name}' already exists as ${TinkerPath.format(path)}; save under another name, or with overwrite`

const tenYears = 10 * 366 * 24 * 3600

const checkSave = (
  save: { readonly name: string; readonly ttlSeconds?: number | undefined }
): Either.Either<void, Refusal> =>
  !isName(save.name)
    ? Either.left(badRequest(
      "path: expected a name of 1 to 255 letters, digits, '_', '-' and '.' that does not begin with '-' or '.', got another text"
    ))
    : save.ttlSeconds !== undefined && (save.ttlSeconds < 1 || save.ttlSeconds > tenYears)
    ? Either.left(badRequest("ttl_seconds: expected seconds from 1 to 10 years, or nothing, got another number"))
    : Either.right(void 0)
