/**
 * Checkpoints on disk: written completely or not at all, found again after a restart.
 *
 * A checkpoint is a directory `checkpoints/<run>/<kind>/<name>/<generation>`. It is written under `tmp`, file by file and
 * each flushed, `checkpoint_complete` last, and then moved into place by one rename. Overwriting writes the next
 * generation and removes the one before when that is in place, so that there is a complete one at every moment; the
 * highest complete generation counts.
 *
 * @since 0.1.0
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { RunState } from "../../engine/Engine.js"
import type * as TinkerPath from "../../protocol/TinkerPath.js"
import { ServerConfig } from "../ServerConfig.js"
import type { CheckpointError } from "./CheckpointError.js"
import * as Records from "./checkpointRecords.js"
import * as DataDirectory from "./dataDirectory.js"
import * as Inventory from "./inventory.js"
import * as Reading from "./reading.js"
import * as Spool from "./spool.js"
import * as Writing from "./writing.js"

/**
 * What is known of a checkpoint without reading its tensors.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  readonly path: TinkerPath.TinkerPath
  readonly baseModel: string
  readonly lora: RunState["lora"]
  readonly hasOptimizer: boolean
  readonly createdAt: number
  readonly sizeBytes: number
  readonly files: ReadonlyArray<{ readonly name: string; readonly size: number; readonly sha256: string }>
  readonly userMetadata: Readonly<Record<string, string>> | undefined
  readonly public: boolean
  /** Milliseconds since the epoch; absent: never. */
  readonly expiresAt: number | undefined
}

/**
 * How a checkpoint is saved.
 *
 * @since 0.2.0
 * @category models
 */
export interface SaveOptions {
  /** Whether it may take the place of one of the same path. */
  readonly overwrite?: boolean | undefined
  /** Absent: it never expires. */
  readonly ttlSeconds?: number | undefined
  readonly userMetadata?: Readonly<Record<string, string>> | undefined
}

/**
 * A training run as it is remembered across restarts.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunRecord extends Schema.Schema.Type<typeof Records.RunRecord> {}

/**
 * @since 0.1.0
 * @category services
 */
export class CheckpointStore extends Context.Tag("tinkex/server/CheckpointStore")<CheckpointStore, {
  /** Writes a checkpoint and answers when it is safe on disk. */
  readonly save: (
    path: TinkerPath.TinkerPath,
    state: RunState,
    options: SaveOptions
  ) => Effect.Effect<Entry, CheckpointError>
  /** Reads a checkpoint back and checks it against its checksums. */
  readonly load: (
    path: TinkerPath.TinkerPath,
    options: { readonly optimizer: boolean }
  ) => Effect.Effect<RunState, CheckpointError>
  readonly get: (path: TinkerPath.TinkerPath) => Effect.Effect<Entry, CheckpointError>
  /** Whether a name is taken at the time `now`. Answers at once, without looking at the disk. */
  readonly unsafeHas: (path: TinkerPath.TinkerPath, now: number) => boolean
  /** All checkpoints that have not expired, newest first. */
  readonly list: Effect.Effect<ReadonlyArray<Entry>>
  readonly remove: (path: TinkerPath.TinkerPath) => Effect.Effect<void, CheckpointError>
  /** Publishes, takes back, or changes when it expires. */
  readonly update: (
    path: TinkerPath.TinkerPath,
    change: { readonly public?: boolean; readonly expiresAt?: number | undefined }
  ) => Effect.Effect<Entry, CheckpointError>
  /** One file of a checkpoint. */
  readonly file: (path: TinkerPath.TinkerPath, name: string) => Effect.Effect<Uint8Array, CheckpointError>
  readonly saveRun: (record: RunRecord) => Effect.Effect<void, CheckpointError>
  /** Runs of this and earlier lives of the server, in no order. */
  readonly runs: Effect.Effect<ReadonlyArray<RunRecord>>
  /**
   * Keeps weights for as long as the server lives, for samplers that have to make room. Keys begin with `ephemeral:`.
   */
  readonly spool: (key: string, state: RunState) => Effect.Effect<void, CheckpointError>
  readonly unspool: (key: string) => Effect.Effect<RunState, CheckpointError>
  readonly forget: (key: string) => Effect.Effect<void>
}>() {}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.gen(function*(): Effect.fn.Return<
  Context.Tag.Service<CheckpointStore>,
  CheckpointError,
  ServerConfig | FileSystem.FileSystem | Path.Path | Scope.Scope
> {
  const config = yield* ServerConfig
  const { directory, found } = yield* DataDirectory.open(config.dataDir)
  const inventory = Inventory.make(found.stored, found.broken)
  const { remove, save, sweep, update } = Writing.make(directory, inventory)
  yield* sweep.pipe(Effect.schedule(Schedule.spaced("1 minute")), Effect.interruptible, Effect.forkScoped)
  return {
    save,
    remove,
    update,
    ...Reading.make(directory, inventory),
    ...Spool.make(directory),
    get: (self) => Effect.map(inventory.find(self), ({ entry }) => entry),
    unsafeHas: inventory.isTaken,
    list: inventory.list,
    saveRun: (record) =>
      Effect.zipRight(
        directory.changing(
          `keeping the record of ${record.modelId}`,
          directory.disk.replaceFile(
            directory.at("runs", `${Records.fileNameOf(record.modelId)}.json`),
            Records.bytesOf(record)
          )
        ),
        Effect.sync(() => void found.records.set(record.modelId, record))
      ).pipe(Effect.uninterruptible),
    runs: Effect.sync(() => [...found.records.values()])
  }
})

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<
  CheckpointStore,
  CheckpointError,
  ServerConfig | FileSystem.FileSystem | Path.Path
> = Layer.scoped(CheckpointStore, make)
