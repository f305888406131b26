/**
 * Which checkpoints there are, by their paths.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import { agreed } from "../time.js"
import { CheckpointError } from "./CheckpointError.js"
import type { Entry } from "./CheckpointStore.js"
import type { Broken, Stored } from "./recovery.js"

const hasExpired = (entry: Entry, now: number): boolean => (entry.expiresAt ?? Infinity) <= now

/** @internal */
export interface Inventory {
  /** The one under a path, unless its time is over. */
  readonly find: (path: TinkerPath.TinkerPath) => Effect.Effect<Stored, CheckpointError>
  readonly isTaken: (path: TinkerPath.TinkerPath, now: number) => boolean
  /** Those whose time is not over, newest first. */
  readonly list: Effect.Effect<ReadonlyArray<Entry>>
  /** Those whose time is over. */
  readonly expired: Effect.Effect<ReadonlyArray<Stored>>
  /** What is complete under a path, and the number for the next one. */
  readonly before: (path: TinkerPath.TinkerPath) => { readonly previous: Stored | undefined; readonly next: number }
  readonly put: (stored: Stored) => void
  /** Forgets this one, not another that has its path by now. */
  readonly drop: (stored: Stored) => void
}

/** @internal */
export const make = (stored: Map<string, Stored>, broken: Map<string, Broken>): Inventory => ({
  find: (path) =>
    Effect.flatMap(agreed, (now) => {
      const key = TinkerPath.format(path)
      const found = stored.get(key)
      if (found !== undefined && !hasExpired(found.entry, now)) return Effect.succeed(found)
      const damage = broken.get(key)
      return Effect.fail(
        damage === undefined
          ? new CheckpointError({ reason: "NotFound", detail: `Checkpoint ${key} does not exist` })
          : new CheckpointError({
            reason: "Damaged",
            detail: `Checkpoint ${key} is there and cannot be used: ${damage.why}. Its files are in ${damage.folder}`
          })
      )
    }),
  isTaken: (path, now) => {
    const key = TinkerPath.format(path)
    const found = stored.get(key)
    return broken.has(key) || (found !== undefined && !hasExpired(found.entry, now))
  },
  list: Effect.map(
    agreed,
    (now) =>
      [...stored.values()].flatMap(({ entry }) => hasExpired(entry, now) ? [] : [entry]).sort((a, b) =>
        b.createdAt - a.createdAt
      )
  ),
  expired: Effect.map(agreed, (now) => [...stored.values()].filter(({ entry }) => hasExpired(entry, now))),
  before: (path) => {
    const key = TinkerPath.format(path)
    const previous = stored.get(key)
    // what is broken stays beside it: it is not known to be the same
    return { previous, next: 1 + Math.max(previous?.generation ?? 0, broken.get(key)?.generation ?? 0) }
  },
  put: (one) => {
    const key = TinkerPath.format(one.entry.path)
    stored.set(key, one)
    broken.delete(key)
  },
  drop: (one) => {
    const key = TinkerPath.format(one.entry.path)
    if (stored.get(key) === one) stored.delete(key)
  }
})
