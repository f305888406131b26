/**
 * Training runs: models being trained, each with its queue of operations.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import { Engine, type LoraConfig, type ModelInfo } from "../../engine/Engine.js"
import * as Model from "../../protocol/Model.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import * as Weights from "../../protocol/Weights.js"
import { FaultInjector } from "../app/FaultInjector.js"
import { Models } from "../app/Models.js"
import { checkOptimizer, loraOf } from "../app/modelSettings.js"
import { CheckpointStore, type RunRecord } from "../checkpoints/CheckpointStore.js"
import { type Failure, Futures, type Result } from "../futures/Futures.js"
import * as Results from "../futures/results.js"
import { badRequest, conflict, notFound, type Refusal } from "../http/refusal.js"
import { Uploads } from "../http/uploads.js"
import { ServerConfig } from "../ServerConfig.js"
import { metadataOf } from "../sessions/metadata.js"
import { type Session, Sessions } from "../sessions/Sessions.js"
import { wall } from "../time.js"
import { AppliedLog } from "./AppliedLog.js"
import * as OperationQueue from "./OperationQueue.js"

/**
 * A training run of this life of the server.
 *
 * @since 0.1.0
 * @category models
 */
export interface Run {
  readonly id: string
  readonly session: Session
  readonly model: ModelInfo
  /** Name under which the model was asked for. */
  readonly baseModel: string
  readonly lora: LoraConfig | null
  readonly createdAt: number
  readonly userMetadata: Readonly<Record<string, string>> | undefined
  readonly queue: OperationQueue.OperationQueue
  lastRequest: number
  /** Operations that were done, for the metric `clock_cycle:unique`. */
  cycles: number
  closed: boolean
}

/**
 * @since 0.1.0
 * @category services
 */
export class Runs extends Context.Tag("tinkex/server/Runs")<Runs, {
  /** Makes a run; gives the id of the request whose result tells when it is there. */
  readonly create: (request: Model.CreateModelRequest, fingerprint: string) => Effect.Effect<Created, Refusal>
  /** Makes a run from a checkpoint (docs/protocol/checkpoints.md#loading). */
  readonly createFrom: (
    request: Weights.LoadWeightsRequest & { readonly sessionId: string; readonly modelSeqId: number },
    fingerprint: string
  ) => Effect.Effect<Created, Refusal>
  /** A run that takes operations. */
  readonly active: (modelId: string) => Effect.Effect<Run, Refusal>
  /** Takes nothing more for a run, lets it end what it has, and gives its memory back. */
  readonly unload: (modelId: string) => Effect.Effect<string, Refusal>
  /** The run, if it is of this life of the server. */
  readonly get: (modelId: string) => Effect.Effect<Option.Option<Run>>
  /** Runs of this and earlier lives of the server, newest first. */
  readonly list: Effect.Effect<ReadonlyArray<RunRecord>>
  readonly stats: Effect.Effect<{ readonly loaded: number; readonly queued: number }>
}>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Created {
  readonly requestId: string
  readonly modelId: string
}

interface Plan {
  readonly session: Session
  readonly modelId: string
  readonly baseModel: string
  readonly model: ModelInfo
  readonly lora: LoraConfig | null
  readonly userMetadata: Readonly<Record<string, string>> | undefined
  readonly endpoint: string
  readonly fingerprint: string
  readonly make: Effect.Effect<Result, Failure>
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<
  Context.Tag.Service<Runs>,
  never,
  ServerConfig | Engine | Models | Sessions | Futures | CheckpointStore | Uploads
> = Effect.gen(function*() {
  const config = yield* ServerConfig
  const engine = yield* Engine
  const models = yield* Models
  const sessions = yield* Sessions
  const futures = yield* Futures
  const checkpoints = yield* CheckpointStore
  const uploads = yield* Uploads
  const runs = new Map<string, Run & { readonly scope: Scope.CloseableScope }>()
  const log = yield* AppliedLog
  const faults = yield* FaultInjector

  const close = (run: Run & { readonly scope: Scope.CloseableScope }): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (run.closed) return Effect.void
      run.closed = true
      runs.delete(run.id)
      run.session.beforeEnd.delete(run.queue.drain)
      return Effect.zipRight(Scope.close(run.scope, Exit.void), engine.releaseRun(run.id))
    })

  const start = (plan: Plan): Effect.Effect<Created, Refusal> =>
    Effect.gen(function*() {
      const { modelId, session } = plan
      const found = runs.get(modelId)
      const created = (requestId: string): Created => ({ requestId, modelId })
      const submission: OperationQueue.Submission = {
        seqId: 0,
        endpoint: plan.endpoint,
        fingerprint: plan.fingerprint,
        prepare: () => Either.right(plan.make)
      }
      if (found !== undefined) return created(yield* found.queue.submit(submission))
      if ((yield* checkpoints.runs).some((record) => record.modelId === modelId)) {
        return yield* conflict(`Model ${modelId} was unloaded; take another model_seq_id`)
      }
      const now = yield* wall
      const scope = yield* Scope.fork(session.scope, ExecutionStrategy.sequential)
      const queue = yield* Scope.extend(
        OperationQueue.make({
          modelId,
          first: 0,
          gapTimeout: config.gapTimeout,
          limit: config.limits.queuedOperations,
          futures,
          uploads,
          log,
          faults
        }),
        scope
      )
      const run = {
        id: modelId,
        session,
        model: plan.model,
        baseModel: plan.baseModel,
        lora: plan.lora,
        createdAt: now,
        userMetadata: plan.userMetadata,
        queue,
        scope,
        lastRequest: now,
        cycles: 0,
        closed: false
      }
      runs.set(modelId, run)
      yield* Scope.addFinalizer(session.scope, close(run))
      session.beforeEnd.add(queue.drain)
      return created(yield* queue.submit(submission))
    }).pipe(Effect.uninterruptible)

  const remember = (plan: Plan): Effect.Effect<void, Failure> =>
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

  const isFull = Effect.sync(() => runs.size > config.limits.models)

  /** Room for one more run; what is being given back is waited for. */
  const room: Effect.Effect<void, Failure> = Effect.whenEffect(
    Effect.zipRight(
      sessions.released,
      Effect.whenEffect(
        Effect.fail(Results.userFailure(
          `The server holds ${config.limits.models} training runs, as many as it may. Unload one, or finish a session that is no longer needed`
        )),
        isFull
      )
    ),
    isFull
  )

  const seqIdOf = (seqId: number): Effect.Effect<number, Refusal> =>
    seqId >= 0
      ? Effect.succeed(seqId)
      : Effect.fail(badRequest(`model_seq_id: expected a whole number from 0, got ${seqId}`))

  const create: Context.Tag.Service<Runs>["create"] = Effect.fnUntraced(function*(request, fingerprint) {
    if (request.sessionId === "") return yield* badRequest("session_id: expected the id of a session, got empty text")
    if (request.baseModel === "") return yield* badRequest("base_model is required")
    const session = yield* sessions.active(request.sessionId)
    const model = yield* models.require(request.baseModel)
    const lora = yield* loraOf(request.loraConfig)
    const userMetadata = request.userMetadata && (yield* metadataOf(request.userMetadata))
    yield* checkOptimizer(request.optimizerConfig)
    const modelId = Model.modelIdOf(session.id, yield* seqIdOf(request.modelSeqId))
    const plan: Plan = {
      session,
      modelId,
      baseModel: request.baseModel,
      model,
      lora,
      userMetadata,
      endpoint: "create_model",
      fingerprint,
      make: Effect.suspend(() =>
        room.pipe(
          Effect.zipRight(
            Effect.mapError(engine.createRun(modelId, { baseModel: model.name, lora }), Results.engineFailure)
          ),
          Effect.zipRight(remember(plan)),
          Effect.as(Results.json(Model.CreateModelResponse, { modelId }))
        )
      )
    }
    return yield* start(plan)
  })

  const createFrom: Context.Tag.Service<Runs>["createFrom"] = Effect.fnUntraced(function*(request, fingerprint) {
    const session = yield* sessions.active(request.sessionId)
    const path = yield* Effect.mapError(TinkerPath.parse(request.path), (error) => badRequest(error.message))
    const entry = yield* Effect.mapError(
      checkpoints.get(path),
      () => notFound("path: no checkpoint of that path exists, or it has expired")
    )
    const model = yield* models.require(entry.baseModel)
    if (request.baseModel !== undefined && Option.getOrUndefined(models.get(request.baseModel)) !== model) {
      return yield* badRequest(`base_model: expected ${model.name}, the base of the checkpoint, got another one`)
    }
    const userMetadata = request.userMetadata && (yield* metadataOf(request.userMetadata))
    yield* checkOptimizer(request.optimizerConfig)
    const modelId = Model.modelIdOf(session.id, yield* seqIdOf(request.modelSeqId))
    const plan: Plan = {
      session,
      modelId,
      baseModel: request.baseModel ?? entry.baseModel,
      model,
      lora: entry.lora,
      userMetadata,
      endpoint: "load_weights",
      fingerprint,
      make: Effect.suspend(() =>
        room.pipe(
          Effect.zipRight(checkpoints.load(path, { optimizer: request.optimizer })),
          Effect.flatMap((state) => engine.importRun(modelId, state, { optimizer: request.optimizer })),
          Effect.mapError((error) => "_tag" in error ? Results.failure(error) : error),
          Effect.zipRight(remember(plan)),
          Effect.as(Results.json(Weights.LoadWeightsResponse, { path: request.path, modelId }))
        )
      )
    }
    return yield* start(plan)
  })

  const active: Context.Tag.Service<Runs>["active"] = Effect.fnUntraced(function*(modelId) {
    const run = runs.get(modelId)
    if (run === undefined) {
      const record = (yield* checkpoints.runs).find((_) => _.modelId === modelId)
      if (record === undefined) return yield* notFound("No model of that id is known here")
      yield* sessions.active(record.sessionId)
      return yield* notFound(`Model ${modelId} is not loaded: it was unloaded`)
    }
    yield* sessions.active(run.session.id)
    run.lastRequest = yield* wall
    return run
  })

  return {
    create,
    createFrom,
    active,
    unload: (modelId) =>
      Effect.gen(function*() {
        const run = yield* active(modelId)
        const found = runs.get(run.id)!
        const requestId = `${modelId}:unload:${yield* Random.nextIntBetween(0, 2 ** 31)}`
        yield* futures.submit(requestId, Effect.succeed({ state: "active" }))
        yield* Effect.forkIn(
          found.queue.drain.pipe(
            Effect.zipRight(close(found)),
            Effect.zipRight(
              futures.settle(requestId, Either.right(Results.json(Model.UnloadModelResponse, { modelId })))
            ),
            Effect.interruptible
          ),
          found.session.scope
        )
        return requestId
      }),
    get: (modelId) => Effect.sync(() => Option.fromNullable(runs.get(modelId))),
    list: Effect.map(checkpoints.runs, (records) => [...records].sort((a, b) => b.createdAt - a.createdAt)),
    stats: Effect.suspend(() => {
      return Effect.map(Effect.forEach([...runs.values()], (run) => run.queue.size), (sizes) => ({
        loaded: sizes.length,
        queued: sizes.reduce((a, b) => a + b, 0)
      }))
    })
  }
})

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<
  Runs,
  never,
  ServerConfig | Engine | Models | Sessions | Futures | CheckpointStore | Uploads
> = Layer.effect(Runs, make)
