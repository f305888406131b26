/**
 * Checkpoints read back, and held against their checksums.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import { sha256 } from "../http/hash.js"
import { CheckpointError, storage } from "./CheckpointError.js"
import { readState } from "./checkpointFiles.js"
import * as Records from "./checkpointRecords.js"
import type { DataDirectory } from "./dataDirectory.js"
import type { Inventory } from "./inventory.js"

/** @internal */
export const make = ({ disk, join }: DataDirectory, inventory: Inventory) => {
  const damaged = (self: TinkerPath.TinkerPath, why: string) =>
    new CheckpointError({ reason: "Damaged", detail: `Checkpoint ${TinkerPath.format(self)} is damaged: ${why}` })

  const file = Effect.fnUntraced(function*(self: TinkerPath.TinkerPath, name: string) {
    const { entry, folder } = yield* inventory.find(self)
    if (name === Records.marker) return new Uint8Array()
    const listed = entry.files.find((_) => _.name === name)
    if (listed === undefined) {
      return yield* new CheckpointError({
        reason: "NotFound",
        detail: `Checkpoint ${TinkerPath.format(self)} has no such file`
      })
    }
    const bytes = yield* storage(`reading ${TinkerPath.format(self)}`, disk.read(join(folder, name)))
    return bytes.length === listed.size && sha256(bytes) === listed.sha256
      ? bytes
      : yield* damaged(self, `${name} does not match its checksum`)
  })

  const load = Effect.fn("CheckpointStore.load")(
    function*(self: TinkerPath.TinkerPath, options: { readonly optimizer: boolean }) {
      const { entry } = yield* inventory.find(self)
      return yield* readState(entry, options.optimizer, (name) => file(self, name)).pipe(
        Effect.catchTag("MalformedFile", (error) => Effect.fail(damaged(self, error.message)))
      )
    }
  )

  return { file, load }
}
