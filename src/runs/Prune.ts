/**
 * Removing at the service what a run no longer needs.
 *
 * @since 0.2.0
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { RestClient } from "../client/RestClient.js"
import type { InvalidInput, TinkexError } from "../TinkexError.js"
import { check, superfluous } from "./CheckpointPolicy.js"
import { DirectoryLock } from "./DirectoryLock.js"
import * as Journal from "./Journal.js"
import * as RunDirectory from "./RunDirectory.js"
import type { JournalDamaged, RunError, RunStorageError } from "./RunError.js"
import { apply, empty, type Entry, type State } from "./runState.js"

/**
 * Something that may go.
 *
 * @since 0.2.0
 * @category models
 */
export interface Removable {
  readonly path: string
  /**
   * `superfluous`: more than were to be kept. `unfinished`: its removal was begun. `abandoned`: it belongs to no checkpoint that
   * the run knows of, as what was being saved when a process died.
   */
  readonly why: "superfluous" | "unfinished" | "abandoned"
}

/**
 * How many checkpoints to keep, beside the newest and the final one: the newest, all unless given.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  readonly keep?: number | undefined
}

const readState = (directory: string) =>
  Effect.flatMap(Path.Path, (path) =>
    Effect.map(
      Journal.read<Entry, State>(path.join(directory, RunDirectory.files.journal), empty(), apply),
      ({ state }) => state
    ))

/** Names that runs give; what has another name was saved by somebody on purpose. */
const isOurs = (path: string): boolean => /\/(?:sampler_)?weights\/(?:\d{6,}|final)$/.test(path)

/**
 * What may go. Changes nothing.
 *
 * @since 0.2.0
 * @category getters
 */
export const plan = (
  directory: string,
  options: Options = {}
): Effect.Effect<
  ReadonlyArray<Removable>,
  InvalidInput | TinkexError | RunStorageError | JournalDamaged,
  RestClient | FileSystem.FileSystem | Path.Path
> =>
  Effect.gen(function*() {
    const rest = yield* RestClient
    const policy = yield* check(options.keep === undefined ? {} : { keep: options.keep })
    const state = yield* readState(directory)
    const found: Array<Removable> = []
    const removing = state.checkpoints.filter(({ path }) => state.removing.has(path))
    const remaining = state.checkpoints.filter(({ path }) => !state.removing.has(path))
    const doomed = superfluous(policy, remaining)
    const listed = new Set<string>()
    const add = (path: string | undefined, why: Removable["why"]) => {
      if (path === undefined || listed.has(path)) return
      listed.add(path)
      found.push({ path, why })
    }
    for (const { path, sampler } of removing) for (const one of [path, sampler]) add(one, "unfinished")
    for (const { path, sampler } of doomed) for (const one of [path, sampler]) add(one, "superfluous")
    const kept = new Set(
      remaining.filter((one) => !doomed.includes(one)).flatMap(({ path, sampler }) => [path, sampler])
    )
    for (const modelId of state.models) {
      const all = yield* Effect.catchTag(
        Stream.runCollect(rest.listCheckpoints(modelId)),
        "NotFound",
        () => Effect.succeed([])
      )
      for (const { tinkerPath } of all) if (isOurs(tinkerPath) && !kept.has(tinkerPath)) add(tinkerPath, "abandoned")
    }
    return found
  })

/**
 * Removes it. The run must not be open elsewhere.
 *
 * @since 0.2.0
 * @category combinators
 */
export const remove = (
  directory: string,
  removables: ReadonlyArray<Removable>
): Effect.Effect<void, TinkexError | RunError, RestClient | FileSystem.FileSystem | Path.Path> =>
  Effect.scoped(Effect.gen(function*() {
    const rest = yield* RestClient
    const path = yield* Path.Path
    yield* (yield* DirectoryLock)(directory)
    const journal = yield* Journal.open<Entry, State>(path.join(directory, RunDirectory.files.journal), empty(), apply)
    const known = new Set(journal.state.checkpoints.map((saved) => saved.path))
    for (const { path } of removables) {
      if (known.has(path)) yield* journal.append({ t: "removing", path })
      yield* Effect.catchTag(rest.deleteCheckpoint(path), "NotFound", () => Effect.void)
      if (known.has(path)) yield* journal.append({ t: "removed", path })
    }
  }))
