/**
 * The directory in which a server keeps everything: opened, locked, and looked through.
 *
 * @internal
 */
import type * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import { type CheckpointError, storage } from "./CheckpointError.js"
import * as Disk from "./disk.js"
import { lockDirectory } from "./lockDirectory.js"
import { recover } from "./recovery.js"
import * as Spool from "./spool.js"

/** @internal */
export interface DataDirectory {
  readonly at: (...parts: ReadonlyArray<string>) => string
  readonly join: (...parts: ReadonlyArray<string>) => string
  readonly parentOf: (path: string) => string
  readonly disk: Disk.Disk
  /** Does something that changes files; it fails when the directory is not the server's any more. */
  readonly changing: <A, R>(
    doing: string,
    effect: Effect.Effect<A, PlatformError.PlatformError, R>
  ) => Effect.Effect<A, CheckpointError, R>
}

const temporaryDirectory = Effect.flatMap(FileSystem.FileSystem, (fs) =>
  // a write that was interrupted may still put its last file there while the directory is being removed
  Effect.acquireRelease(fs.makeTempDirectory({ prefix: "tinkex-" }), (directory) =>
    Effect.ignoreLogged(Effect.retry(fs.remove(directory, { recursive: true, force: true }), { times: 20 }))))

/**
 * Opens the directory, or a temporary one that goes with the scope; gives it and what was found in it.
 *
 * @internal
 */
export const open = Effect.fnUntraced(function*(dataDir: string | undefined) {
  const path = yield* Path.Path
  const root = dataDir ?? (yield* storage("making a temporary directory", temporaryDirectory))
  const at = (...parts: ReadonlyArray<string>) => path.join(root, ...parts)
  const disk = yield* Disk.make(at("tmp"))
  yield* storage(`opening the data directory ${root}`, disk.ensureDirectory(root))
  // a directory of our own making is nobody else's
  const locked = dataDir === undefined ? Effect.void : yield* lockDirectory(root)
  const directory: DataDirectory = {
    at,
    join: path.join,
    parentOf: path.dirname,
    disk,
    changing: (doing, effect) => Effect.zipRight(locked, storage(doing, effect))
  }
  const found = yield* storage(
    `reading the data directory ${root}`,
    Effect.gen(function*() {
      yield* disk.ensureDirectory(at("tmp"))
      yield* disk.clear
      yield* Spool.clear(directory)
      return yield* recover(disk, root)
    })
  )
  return { directory, found }
})
