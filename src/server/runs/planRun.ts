/**
 * What a request for a new run comes to, checked: everything that is known before it is its turn.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Engine, type LoraConfig, type ModelInfo } from "../../engine/Engine.js"
import * as Model from "../../protocol/Model.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import * as Weights from "../../protocol/Weights.js"
import { named } from "../checkpoints/checkpointPath.js"
import { CheckpointStore } from "../checkpoints/CheckpointStore.js"
import type { Failure, Result } from "../futures/Futures.js"
import * as Results from "../futures/results.js"
import { badRequest, type Refusal } from "../http/refusal.js"
import { metadataOf } from "../sessions/metadata.js"
import { type Session, Sessions } from "../sessions/Sessions.js"
import { wall } from "../time.js"
import { Models } from "./Models.js"
import { checkOptimizer, loraOf } from "./modelSettings.js"

/** @internal */
export interface Plan {
  readonly session: Session
  readonly modelId: string
  /** Name under which the model was asked for. */
  readonly baseModel: string
  readonly model: ModelInfo
  readonly lora: LoraConfig | null
  readonly userMetadata: Readonly<Record<string, string>> | undefined
  readonly endpoint: string
  readonly fingerprint: string
  /** Makes it, and keeps its record. */
  readonly make: Effect.Effect<Result, Failure>
}

const seqIdOf = (seqId: number): Effect.Effect<number, Refusal> =>
  seqId >= 0
    ? Effect.succeed(seqId)
    : Effect.fail(badRequest(`model_seq_id: expected a whole number from 0, got ${seqId}`))

/** @internal */
export const planning = Effect.gen(function*() {
  const engine = yield* Engine
  const models = yield* Models
  const sessions = yield* Sessions
  const checkpoints = yield* CheckpointStore

  const remember = (plan: Omit<Plan, "make">): Effect.Effect<void, Failure> =>
    Effect.flatMap(wall, (createdAt) =>
      checkpoints.saveRun({
        modelId: plan.modelId,
        sessionId: plan.session.id,
        baseModel: plan.baseModel,
        loraRank: plan.lora?.rank ?? null,
        createdAt,
        ...(plan.session.projectId === undefined ? {} : { projectId: plan.session.projectId }),
        ...(plan.userMetadata === undefined ? {} : { userMetadata: plan.userMetadata })
      })).pipe(Effect.mapError(Results.checkpointFailure))

  /** What both kinds have in common. */
  const common = Effect.fnUntraced(function*(
    session: Session,
    request: Pick<Model.CreateModelRequest, "modelSeqId" | "optimizerConfig" | "userMetadata">
  ) {
    const userMetadata = request.userMetadata && (yield* metadataOf(request.userMetadata))
    yield* checkOptimizer(request.optimizerConfig)
    return { session, modelId: Model.modelIdOf(session.id, yield* seqIdOf(request.modelSeqId)), userMetadata }
  })

  const fresh = Effect.fnUntraced(function*(request: Model.CreateModelRequest, fingerprint: string) {
    if (request.sessionId === "") return yield* badRequest("session_id: expected the id of a session, got empty text")
    if (request.baseModel === "") return yield* badRequest("base_model is required")
    const session = yield* sessions.active(request.sessionId)
    const model = yield* models.require(request.baseModel)
    const lora = yield* loraOf(request.loraConfig)
    const plan = {
      ...(yield* common(session, request)),
      baseModel: request.baseModel,
      model,
      lora,
      endpoint: "create_model",
      fingerprint
    }
    const { modelId } = plan
    return {
      ...plan,
      make: Effect.mapError(engine.createRun(modelId, { baseModel: model.name, lora }), Results.engineFailure).pipe(
        Effect.zipRight(remember(plan)),
        Effect.as(Results.json(Model.CreateModelResponse, { modelId }))
      )
    } satisfies Plan
  })

  const from = Effect.fnUntraced(function*(
    request: Weights.LoadWeightsRequest & { readonly sessionId: string; readonly modelSeqId: number },
    fingerprint: string
  ) {
    const session = yield* sessions.active(request.sessionId)
    const path = yield* Effect.mapError(TinkerPath.parse(request.path), (error) => badRequest(error.message))
    const entry = yield* named("path", checkpoints.get(path))
    const model = yield* models.require(entry.baseModel)
    if (request.baseModel !== undefined && Option.getOrUndefined(models.get(request.baseModel)) !== model) {
      return yield* badRequest(`base_model: expected ${model.name}, the base of the checkpoint, got another one`)
    }
    const plan = {
      ...(yield* common(session, request)),
      baseModel: request.baseModel ?? entry.baseModel,
      model,
      lora: entry.lora,
      endpoint: "load_weights",
      fingerprint
    }
    const { modelId } = plan
    return {
      ...plan,
      make: checkpoints.load(path, { optimizer: request.optimizer }).pipe(
        Effect.flatMap((state) => engine.importRun(modelId, state, { optimizer: request.optimizer })),
        Effect.mapError(Results.failure),
        Effect.zipRight(remember(plan)),
        Effect.as(Results.json(Weights.LoadWeightsResponse, { path: request.path, modelId }))
      )
    } satisfies Plan
  })

  return { fresh, from }
})
