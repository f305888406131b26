/**
 * Weights that are kept for as long as the server lives, for samplers that have to make room.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { RunState } from "../../engine/Engine.js"
import { CheckpointError, storage } from "./CheckpointError.js"
import { readState, stateFiles } from "./checkpointFiles.js"
import * as Records from "./checkpointRecords.js"
import type { DataDirectory } from "./dataDirectory.js"

const decodeSpooled = Schema.decodeUnknown(Schema.parseJson(Records.Metadata.pick("baseModel", "lora")))

const folderOf = ({ at }: DataDirectory, key: string): string => at("spool", Records.fileNameOf(key))

/**
 * Removes what earlier lives left: keys begin with `ephemeral:`.
 *
 * @internal
 */
export const clear = (directory: DataDirectory) =>
  Effect.flatMap(directory.disk.children(directory.at("spool")), (kept) =>
    Effect.forEach(
      kept.filter((folder) => folder.startsWith(folderOf(directory, "ephemeral:"))),
      directory.disk.remove,
      { discard: true }
    ))

/** @internal */
export const make = (directory: DataDirectory) => {
  const { disk, join } = directory
  const damaged = (cause: unknown) =>
    new CheckpointError({ reason: "Damaged", detail: "a sampler's spool is damaged", cause })
  return {
    spool: (key: string, state: RunState): Effect.Effect<void, CheckpointError> =>
      storage(
        "keeping a sampler's weights",
        disk.scribble(folderOf(directory, key), [
          ...stateFiles(state),
          { name: Records.metadataFile, bytes: Records.bytesOf({ baseModel: state.baseModel, lora: state.lora }) }
        ])
      ),
    unspool: (key: string): Effect.Effect<RunState, CheckpointError> =>
      Effect.gen(function*() {
        const folder = folderOf(directory, key)
        const reading = (name: string) => storage("bringing back a sampler", disk.read(join(folder, name)))
        const found = yield* decodeSpooled(Records.textOf(yield* reading(Records.metadataFile)))
        return yield* readState(found, false, reading)
      }).pipe(
        Effect.catchTags({
          ParseError: (cause) => Effect.fail(damaged(cause)),
          MalformedFile: (cause) => Effect.fail(damaged(cause))
        })
      ),
    forget: (key: string): Effect.Effect<void> => Effect.ignore(disk.remove(folderOf(directory, key)))
  }
}
