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
import type * as Weights from "../../protocol/Weights.js"
import { CheckpointStore, type RunRecord } from "../checkpoints/CheckpointStore.js"
import { FaultInjector } from "../FaultInjector.js"
import { type Failure, Futures } from "../futures/Futures.js"
import * as Results from "../futures/results.js"
import { conflict, notFound, type Refusal } from "../http/refusal.js"
import { Uploads } from "../http/uploads.js"
import { ServerConfig } from "../ServerConfig.js"
import { type Session, Sessions } from "../sessions/Sessions.js"
import { wall } from "../time.js"
import { AppliedLog } from "./AppliedLog.js"
import type { Models } from "./Models.js"
import * as OperationQueue from "./OperationQueue.js"
import { type Plan, planning } from "./planRun.js"

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

const tooManyRuns = (limit: number): string =>
  `The server holds ${limit} training runs, as many as it may. Unload one, or finish a session that is no longer needed`

const make: Effect.Effect<
  Context.Tag.Service<Runs>,
  never,
  ServerConfig | Engine | Models | Sessions | Futures | CheckpointStore | Uploads
> = Effect.gen(function*() {
  const config = yield* ServerConfig
  const engine = yield* Engine
  const sessions = yield* Sessions
  const futures = yield* Futures
  const checkpoints = yield* CheckpointStore
  const uploads = yield* Uploads
  const plans = yield* planning
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

  const isFull = Effect.sync(() => runs.size > config.limits.models)

  /** Room for one more run; what is being given back is waited for. */
  const room: Effect.Effect<void, Failure> = Effect.whenEffect(
    Effect.zipRight(
      sessions.released,
      Effect.whenEffect(
        Effect.fail(Results.userFailure(tooManyRuns(config.limits.models))),
        isFull
      )
    ),
    isFull
  )

  const start = (plan: Plan): Effect.Effect<Created, Refusal> =>
    Effect.gen(function*() {
      const { modelId, session } = plan
      const found = runs.get(modelId)
      const created = (requestId: string): Created => ({ requestId, modelId })
      const submission: OperationQueue.Submission = {
        seqId: 0,
        endpoint: plan.endpoint,
        fingerprint: plan.fingerprint,
        prepare: () => Either.right(Effect.zipRight(room, plan.make))
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
          trace: session.trace,
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
    create: (request, fingerprint) => Effect.flatMap(plans.fresh(request, fingerprint), start),
    createFrom: (request, fingerprint) => Effect.flatMap(plans.from(request, fingerprint), start),
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
