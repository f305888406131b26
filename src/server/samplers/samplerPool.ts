/**
 * Samplers in the engine: as many as the limit allows, the least recently used idle one making room, each brought back
 * when it is asked for again.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import type { Engine, EngineError, RunState } from "../../engine/Engine.js"
import type { CheckpointError } from "../checkpoints/CheckpointError.js"

type Source = { readonly runId: string } | { readonly state: RunState } | { readonly baseModel: string }

interface Entry {
  readonly id: string
  readonly ready: Deferred.Deferred<void, EngineError | CheckpointError>
  users: number
  lastUsed: number
}

/** @internal */
export interface SamplerPool {
  /** Uses the sampler of `key`, which is made from `load` unless it is there. */
  readonly use: <A, E>(
    key: string,
    load: Effect.Effect<Source, EngineError | CheckpointError>,
    body: (engineSamplerId: string) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | EngineError | CheckpointError>
  /** Makes the sampler of `key` now. */
  readonly put: (key: string, source: Source) => Effect.Effect<void, EngineError | CheckpointError>
  readonly drop: (key: string) => Effect.Effect<void>
}

/** @internal */
export const make = Effect.fnUntraced(function*(
  engine: typeof Engine.Service,
  limit: number
): Effect.fn.Return<SamplerPool, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const entries = new Map<string, Entry>()
  let clock = 0
  let made = 0

  const release = (key: string, entry: Entry) =>
    Effect.suspend(() => {
      if (entries.get(key) === entry) entries.delete(key)
      return engine.releaseSampler(entry.id)
    })

  const makeRoom = Effect.suspend(() => {
    const idle = [...entries].filter(([, entry]) => entry.users === 0).sort(([, a], [, b]) => a.lastUsed - b.lastUsed)
    return Effect.forEach(idle.slice(0, Math.max(0, entries.size - limit)), ([key, entry]) => release(key, entry), {
      discard: true
    })
  })

  /** Takes hold of the entry of `key`. The one who finds none makes it, in a fiber that nobody's interruption stops. */
  const acquire = (key: string, load: Effect.Effect<Source, EngineError | CheckpointError>) =>
    Effect.suspend(() => {
      const found = entries.get(key)
      if (found !== undefined) {
        found.users++
        found.lastUsed = ++clock
        return Effect.succeed(found)
      }
      const entry: Entry = {
        id: `${key}#${made++}`,
        ready: Deferred.unsafeMake(FiberId.none),
        users: 1,
        lastUsed: ++clock
      }
      entries.set(key, entry)
      return load.pipe(
        Effect.flatMap((source) => engine.createSampler(entry.id, source)),
        Effect.tapErrorCause(() => Effect.sync(() => entries.get(key) === entry && entries.delete(key))),
        Effect.intoDeferred(entry.ready),
        Effect.interruptible,
        Effect.forkIn(scope),
        Effect.zipRight(makeRoom),
        Effect.as(entry)
      )
    })

  const use: SamplerPool["use"] = (key, load, body) =>
    Effect.acquireUseRelease(
      acquire(key, load),
      (entry) => Effect.zipRight(Deferred.await(entry.ready), body(entry.id)),
      (entry) =>
        Effect.sync(() => {
          entry.users--
        })
    )

  return {
    use,
    put: (key, source) => use(key, Effect.succeed(source), () => Effect.void),
    drop: (key) =>
      Effect.suspend(() => {
        const entry = entries.get(key)
        return entry === undefined ? Effect.void : release(key, entry)
      })
  }
})
