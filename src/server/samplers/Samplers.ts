/**
 * Samplers: frozen weights that can be asked for completions. Training that goes on never changes them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as PartitionedSemaphore from "effect/PartitionedSemaphore"
import * as Scope from "effect/Scope"
import { Engine, type ModelInfo } from "../../engine/Engine.js"
import type { SampleRequest } from "../../protocol/Sampling.js"
import type { CreateSamplingSessionRequest } from "../../protocol/Session.js"
import { CheckpointStore } from "../checkpoints/CheckpointStore.js"
import { type Failure, Futures } from "../futures/Futures.js"
import * as Results from "../futures/results.js"
import { attempt, badRequest, conflict, notFound, type Refusal, tooMany } from "../http/refusal.js"
import type { Models } from "../runs/Models.js"
import { ServerConfig } from "../ServerConfig.js"
import { type Session, Sessions } from "../sessions/Sessions.js"
import { traced } from "../sessions/Trace.js"
import { monotonic } from "../time.js"
import { outcomeOf, responseOf } from "./sampleOutcome.js"
import * as SamplerPool from "./samplerPool.js"
import { keyOf, samplerWeights, type Source } from "./samplerWeights.js"
import { validateSample } from "./validateSample.js"

/**
 * A sampler of a session.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sampler {
  readonly id: string
  readonly session: Session
  readonly model: ModelInfo
  /** Name under which the model was asked for. */
  readonly baseModel: string
  readonly modelPath: string | undefined
  readonly source: Source
}

/**
 * What a sample request is answered with.
 *
 * @since 0.1.0
 * @category models
 */
export interface Accepted {
  readonly requestId: string
  /** One id per sample (docs/protocol-notes.md#what-newer-sdks-changed-and-what-tinkex-does). */
  readonly sampleSequenceIds: ReadonlyArray<string>
}

/**
 * @since 0.1.0
 * @category services
 */
export class Samplers extends Context.Tag("tinkex/server/Samplers")<Samplers, {
  /** A sampler for a base model or a checkpoint. The same request again gives the same sampler. */
  readonly create: (request: CreateSamplingSessionRequest) => Effect.Effect<Sampler, Refusal>
  /**
   * Freezes a run as it is now into the sampler `<session>:sample:<seqId>`. To be called in the run's order.
   */
  readonly freeze: (options: {
    readonly session: Session
    readonly seqId: number
    readonly modelId: string
    readonly model: ModelInfo
    readonly baseModel: string
  }) => Effect.Effect<Sampler, Failure>
  readonly get: (id: string) => Effect.Effect<Sampler, Refusal>
  readonly ofSession: (sessionId: string) => Effect.Effect<ReadonlyArray<string>>
  /** Takes a sample request; `fingerprint` tells a repeated one from another under the same `seq_id`. */
  readonly sample: (request: SampleRequest, fingerprint: string) => Effect.Effect<Accepted, Refusal>
  /** Stops a sample request; false when there is none of that id under way. */
  readonly cancel: (requestId: string) => Effect.Effect<boolean>
  /** A number for one more client of a sampler, from 1 (docs/protocol-notes.md#what-newer-sdks-changed-and-what-tinkex-does). */
  readonly join: (id: string) => Effect.Effect<number, Refusal>
  readonly stats: Effect.Effect<{ readonly samplers: number; readonly requests: number }>
}>() {}

interface Held extends Sampler {
  clients: number
  readonly requests: Map<string, Accepted & { readonly fingerprint: string }>
}

/** Requests of one sampler that are recognised when they are repeated. */
const remembered = 16_384

const make: Effect.Effect<
  Context.Tag.Service<Samplers>,
  never,
  ServerConfig | Engine | Models | Sessions | Futures | CheckpointStore | Scope.Scope
> = Effect.gen(function*() {
  const config = yield* ServerConfig
  const engine = yield* Engine
  const sessions = yield* Sessions
  const futures = yield* Futures
  const checkpoints = yield* CheckpointStore
  const scope = yield* Effect.scope
  const { resolve, weights } = yield* samplerWeights
  const pool = yield* SamplerPool.make(engine, config.limits.samplers)
  const gate = yield* PartitionedSemaphore.make<string>({ permits: config.limits.concurrentSamples })
  const samplers = new Map<string, Held>()
  const running = new Map<string, Fiber.RuntimeFiber<void>>()
  let inFlight = 0
  let anonymous = 0

  const hold = (sampler: Sampler): Effect.Effect<Held> =>
    Effect.suspend(() => {
      const held: Held = { ...sampler, clients: 0, requests: new Map() }
      samplers.set(sampler.id, held)
      return Effect.as(Scope.addFinalizer(sampler.session.scope, letGo(sampler)), held)
    })

  const letGo = (sampler: Sampler): Effect.Effect<void> =>
    Effect.suspend(() => {
      samplers.delete(sampler.id)
      return sampler.source._tag === "Ephemeral"
        ? Effect.zipRight(pool.drop(keyOf(sampler)), checkpoints.forget(sampler.source.key))
        : Effect.void
    })

  const create: Context.Tag.Service<Samplers>["create"] = Effect.fnUntraced(function*(request) {
    const session = yield* sessions.active(request.sessionId)
    if (request.samplingSessionSeqId < 0) {
      return yield* badRequest(
        `sampling_session_seq_id: expected a whole number from 0, got ${request.samplingSessionSeqId}`
      )
    }
    const id = samplerIdOf(session.id, request.samplingSessionSeqId)
    const found = samplers.get(id)
    const target = yield* resolve(request)
    if (found !== undefined) {
      return keyOf(found) === keyOf(target)
        ? found
        : yield* conflict(`Sampling session ${id} exists already, for other weights`)
    }
    return yield* hold({ id, session, ...target })
  })

  const freeze: Context.Tag.Service<Samplers>["freeze"] = Effect.fnUntraced(function*(options) {
    const id = samplerIdOf(options.session.id, options.seqId)
    const key = `ephemeral:${id}`
    if (samplers.has(id)) return yield* Effect.fail(Results.userFailure(`Sampling session ${id} exists already`))
    yield* pool.put(key, { runId: options.modelId }).pipe(Effect.mapError(Results.failure))
    yield* engine.exportRun(options.modelId, { optimizer: false }).pipe(
      Effect.flatMap((state) => checkpoints.spool(key, state)),
      Effect.mapError(Results.failure),
      Effect.tapError(() => pool.drop(key))
    )
    return yield* hold({
      id,
      session: options.session,
      model: options.model,
      baseModel: options.baseModel,
      modelPath: undefined,
      source: { _tag: "Ephemeral", key }
    })
  })

  const find = (id: string): Effect.Effect<Held, Refusal> =>
    Effect.suspend(() => {
      const sampler = samplers.get(id)
      return sampler === undefined
        ? Effect.fail(
          notFound("No sampling session of that id is known here: it never was, or its session has expired")
        )
        : Effect.succeed(sampler)
    })

  const submit = (
    sampler: Pick<Sampler, "model" | "source"> & { readonly id?: string },
    requestId: string,
    request: SampleRequest,
    session: Session | undefined,
    accepted: (accepted: Accepted) => void
  ): Effect.Effect<Accepted, Refusal> =>
    Effect.flatMap(monotonic, (queuedAt) => {
      const checked = attempt(() => validateSample(request, sampler.model))
      if (Either.isLeft(checked)) return Effect.fail(checked.left)
      if (inFlight >= config.limits.queuedSamples) {
        return Effect.fail(tooMany(`${inFlight} sample requests are waiting; submit again later`, 1))
      }
      const full = futures.unsafeFull()
      if (full !== undefined) return Effect.fail(full)
      inFlight++
      const answer: Accepted = {
        requestId,
        sampleSequenceIds: Array.from({ length: request.numSamples }, (_, i) => `${requestId}:${i}`)
      }
      accepted(answer)
      const done = pool.use(keyOf(sampler), weights(sampler), (engineId) => engine.sample(engineId, checked.right))
      const operation = { endpoint: "sample", requestId, queuedAt }
      const work = gate.withPermits(session?.id ?? "", 1)(
        session === undefined ? done : traced(session.trace, sampler.id ?? requestId, operation)(done)
      ).pipe(
        Effect.mapBoth({
          onFailure: Results.failure,
          onSuccess: (result) => Results.sample(responseOf(result, request))
        }),
        Effect.interruptible,
        // not interruptible, so that the future is settled even if the work never began
        Effect.onExit((exit) => {
          inFlight--
          running.delete(requestId)
          return Effect.flatMap(outcomeOf(exit), (outcome) => futures.settle(requestId, outcome))
        }),
        Effect.ignore
      )
      return Effect.flatMap(
        futures.submit(requestId, queue),
        () =>
          Effect.map(Effect.forkIn(work, session?.scope ?? scope), (fiber) => {
            if (fiber.unsafePoll() === null) running.set(requestId, fiber)
            return answer
          })
      )
    }).pipe(Effect.uninterruptible)

  const queue = Effect.sync(() =>
    inFlight > config.limits.concurrentSamples
      ? { state: "paused_capacity" as const, reason: `${inFlight} sample requests are waiting` }
      : { state: "active" as const }
  )

  const sample: Context.Tag.Service<Samplers>["sample"] = Effect.fnUntraced(function*(request, fingerprint) {
    if (request.samplingSessionId === undefined) {
      const target = yield* resolve(request)
      return yield* submit(target, `sample:${++anonymous}`, request, undefined, () => {})
    }
    const sampler = yield* find(request.samplingSessionId)
    yield* sessions.active(sampler.session.id)
    if (request.seqId === undefined) {
      return yield* badRequest("seq_id: expected a whole number, it is needed with sampling_session_id")
    }
    const seqId = String(request.seqId)
    // from here to the acceptance nothing may come in between, or a request sent twice would be done twice
    return yield* Effect.suspend(() => {
      const before = sampler.requests.get(seqId)
      if (before !== undefined) {
        return before.fingerprint === fingerprint
          ? Effect.succeed(before)
          : Effect.fail(conflict(`seq_id ${seqId} of ${sampler.id} was already used for another request`))
      }
      return submit(sampler, `${sampler.id}:${seqId}`, request, sampler.session, (accepted) => {
        sampler.requests.set(seqId, { ...accepted, fingerprint })
        if (sampler.requests.size <= remembered) return
        for (const oldest of sampler.requests.keys()) {
          sampler.requests.delete(oldest)
          break
        }
      })
    })
  })

  return {
    create,
    freeze,
    get: find,
    ofSession: (sessionId) =>
      Effect.sync(() => [...samplers.values()].filter((_) => _.session.id === sessionId).map((_) => _.id)),
    sample,
    cancel: (requestId) =>
      Effect.suspend(() => {
        const fiber = running.get(requestId)
        return fiber === undefined ? Effect.succeed(false) : Effect.as(Fiber.interruptFork(fiber), true)
      }),
    join: (id) => Effect.map(find(id), (sampler) => ++sampler.clients),
    stats: Effect.sync(() => ({ samplers: samplers.size, requests: inFlight }))
  }
})

const samplerIdOf = (sessionId: string, seqId: number): string => `${sessionId}:sample:${seqId}`

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<
  Samplers,
  never,
  ServerConfig | Engine | Models | Sessions | Futures | CheckpointStore
> = Layer.scoped(Samplers, make)
