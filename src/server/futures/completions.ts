/**
 * Which requests of a sampler are done, for clients that ask for all of them at once (docs/protocol/futures.md#completions).
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type { Poll } from "./Futures.js"

/** @internal */
export interface Completion {
  readonly state: "finished" | "failed"
  readonly requestId: string
  readonly responsePayloadUncompressedSize?: number | undefined
}

/** What was completed after a cursor, and the cursor to ask with next. @internal */
export interface Completions {
  readonly completions: ReadonlyArray<Completion>
  readonly cursor: number
}

/** A future as far as this goes. `place` counts those that were settled, over all. */
interface Settled {
  readonly outcome: Poll | undefined
  readonly place: number
  readonly bytes: number
}

/** Requests of a copy of a client are numbered from this many times its number (docs/protocol-notes.md#what-newer-sdks-changed-and-what-tinkex-does). */
const perClone = 1_000_000_000

/** Whether a request is one of the sampler's copy: `<sampler>:<seq_id>`. */
const isOf = (samplerId: string, clone: number, requestId: string): boolean => {
  if (!requestId.startsWith(`${samplerId}:`)) return false
  const seqId = Number(requestId.slice(samplerId.length + 1))
  return Number.isFinite(seqId) && Math.floor(seqId / perClone) === clone
}

/** @internal */
export const make = (entries: ReadonlyMap<string, Settled>) => {
  let places = 0
  let changed = Deferred.unsafeMake<void>(FiberId.none)

  const since = (samplerId: string, clone: number, cursor: number): Completions => {
    const completions: Array<Completion> = []
    for (const [requestId, { bytes, outcome, place }] of entries) {
      if (outcome === undefined || place <= cursor || !isOf(samplerId, clone, requestId)) continue
      completions.push(
        outcome._tag === "Ready"
          ? { state: "finished", requestId, responsePayloadUncompressedSize: bytes }
          : { state: "failed", requestId }
      )
    }
    return { completions, cursor: Math.max(cursor, places) }
  }

  /** What is completed after `cursor`, as soon as there is something. */
  const next = (samplerId: string, clone: number, cursor: number): Effect.Effect<Completions> =>
    Effect.suspend(() => {
      const found = since(samplerId, clone, cursor)
      if (found.completions.length > 0) return Effect.succeed(found)
      return Effect.zipRight(Deferred.await(changed), next(samplerId, clone, found.cursor))
    })

  return {
    since,
    next,
    /** The place of one more that is settled. */
    place: () => ++places,
    /** Wakes those who wait. */
    wake: Effect.suspend(() => {
      const woken = changed
      changed = Deferred.unsafeMake<void>(FiberId.none)
      return Deferred.succeed(woken, void 0)
    })
  }
}
