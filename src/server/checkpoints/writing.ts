/**
 * Checkpoints written, changed and deleted. One becomes durable in `save`, by the rename at the end of `writeDirectory`.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { RunState } from "../../engine/Engine.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import { sha256 } from "../http/hash.js"
import { agreed, wall } from "../time.js"
import { CheckpointError } from "./CheckpointError.js"
import { stateFiles } from "./checkpointFiles.js"
import { isName, takenText } from "./checkpointName.js"
import * as Records from "./checkpointRecords.js"
import type { Entry, SaveOptions } from "./CheckpointStore.js"
import type { DataDirectory } from "./dataDirectory.js"
import type { Inventory } from "./inventory.js"
import type { Stored } from "./recovery.js"

/** @internal */
export const make = ({ at, changing, disk, join, parentOf }: DataDirectory, inventory: Inventory) => {
  const folderOf = (self: TinkerPath.TinkerPath, generation: number) =>
    at(
      "checkpoints",
      Records.fileNameOf(self.trainingRunId),
      self.kind,
      Records.fileNameOf(self.name),
      String(generation)
    )

  const save = Effect.fn("CheckpointStore.save")(
    function*(self: TinkerPath.TinkerPath, state: RunState, options: SaveOptions) {
      if (!isName(self.name)) {
        return yield* new CheckpointError({
          reason: "BadName",
          detail:
            "A checkpoint's name has 1 to 255 letters, digits, '_', '-' and '.', and does not begin with '-' or '.'"
        })
      }
      if (options.overwrite !== true && inventory.isTaken(self, yield* agreed)) {
        return yield* new CheckpointError({ reason: "AlreadyExists", detail: takenText(self) })
      }
      const createdAt = yield* wall
      const files = stateFiles(state)
      const metadata: Records.Metadata = {
        version: 1,
        ...self,
        baseModel: state.baseModel,
        lora: state.lora,
        hasOptimizer: state.optimizer !== null,
        createdAt,
        ...(options.userMetadata === undefined ? {} : { userMetadata: options.userMetadata }),
        files: files.map(({ bytes, name }) => ({ name, size: bytes.length, sha256: sha256(bytes) }))
      }
      const settings: Records.Settings = {
        public: false,
        expiresAt: options.ttlSeconds === undefined ? null : createdAt + options.ttlSeconds * 1000
      }
      const { next, previous } = inventory.before(self)
      const folder = folderOf(self, next)
      yield* changing(
        `saving ${TinkerPath.format(self)}`,
        disk.writeDirectory(folder, [...files, ...Records.recordFiles(metadata, settings)])
      )
      const entry = Records.entryOf(metadata, settings)
      inventory.put({ entry, generation: next, folder })
      if (previous !== undefined) yield* Effect.ignore(disk.discard(previous.folder))
      return entry
    },
    Effect.uninterruptible
  )

  /** It is forgotten when it is gone, not before. */
  const erase = (doing: string, self: Stored) =>
    Effect.zipRight(
      changing(
        doing,
        Effect.zipRight(disk.discard(self.folder), Effect.ignore(disk.flush(parentOf(self.folder))))
      ),
      Effect.sync(() => inventory.drop(self))
    ).pipe(Effect.uninterruptible)

  const remove = (self: TinkerPath.TinkerPath) =>
    Effect.flatMap(inventory.find(self), (found) => erase(`deleting ${TinkerPath.format(self)}`, found))

  const update = (
    self: TinkerPath.TinkerPath,
    change: { readonly public?: boolean; readonly expiresAt?: number | undefined }
  ) =>
    Effect.gen(function*() {
      const { entry, folder, generation } = yield* inventory.find(self)
      const next: Entry = { ...entry, ...change }
      const settings: Records.Settings = { public: next.public, expiresAt: next.expiresAt ?? null }
      yield* changing(
        `changing ${TinkerPath.format(self)}`,
        disk.replaceFile(join(folder, Records.settingsFile), Records.settingsBytes(settings))
      )
      inventory.put({ entry: next, generation, folder })
      return next
    }).pipe(Effect.uninterruptible)

  const told = new Set<string>()
  /** Deletes those whose time is over. One that cannot be deleted is told once, and tried again. */
  const sweep = Effect.flatMap(inventory.expired, (expired) =>
    Effect.forEach(expired, (one) => {
      const key = TinkerPath.format(one.entry.path)
      return Effect.catchAll(erase(`deleting ${key}, which has expired`, one), (error) => {
        if (told.has(key)) return Effect.void
        told.add(key)
        return Effect.logWarning(error.message)
      })
    }, { discard: true }))

  return { save, remove, update, sweep }
}
