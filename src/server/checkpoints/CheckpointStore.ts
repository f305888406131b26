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
import type * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { RunState } from "../../engine/Engine.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import { sha256 } from "../http/hash.js"
import { ServerConfig } from "../ServerConfig.js"
import { agreed, wall } from "../time.js"
import { CheckpointError, storage } from "./CheckpointError.js"
import { readState, stateFiles } from "./checkpointFiles.js"
import * as Records from "./checkpointRecords.js"
import * as Disk from "./disk.js"
import { lockDirectory } from "./lockDirectory.js"
import { recover, type Stored } from "./recovery.js"

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
  readonly save: (path: TinkerPath.TinkerPath, state: RunState, options: {
    readonly overwrite?: boolean | undefined
    readonly ttlSeconds?: number | undefined
    readonly userMetadata?: Readonly<Record<string, string>> | undefined
  }) => Effect.Effect<Entry, CheckpointError>
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

const decodeSpooled = Schema.decodeUnknown(Schema.parseJson(Records.Metadata.pick("baseModel", "lora")))

const namePattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$/

/**
 * Whether a checkpoint can be called so: letters, digits, `_`, `-` and `.`, at most 255, not beginning with `-` or `.`.
 *
 * @since 0.1.0
 * @category guards
 */
export const isName = (name: string): boolean => namePattern.test(name)

/**
 * Tells that a name is taken.
 *
 * @internal
 */
export const takenText = (path: TinkerPath.TinkerPath): string =>
  `Checkpoint '${path.name}' already exists as ${TinkerPath.format(path)}; save under another name, or with overwrite`

const hasExpired = (entry: Entry, now: number): boolean => (entry.expiresAt ?? Infinity) <= now

const temporaryDirectory = Effect.flatMap(FileSystem.FileSystem, (fs) =>
  // a write that was interrupted may still put its last file there while the directory is being removed
  Effect.acquireRelease(fs.makeTempDirectory({ prefix: "tinkex-" }), (directory) =>
    Effect.ignoreLogged(Effect.retry(fs.remove(directory, { recursive: true, force: true }), { times: 20 }))))

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
  const path = yield* Path.Path
  const root = config.dataDir ?? (yield* storage("making a temporary directory", temporaryDirectory))
  const at = (...parts: ReadonlyArray<string>) => path.join(root, ...parts)
  const disk = yield* Disk.make(at("tmp"))

  yield* storage(`opening the data directory ${root}`, disk.ensureDirectory(root))
  // a directory of our own making is nobody else's
  const locked = config.dataDir === undefined ? Effect.void : yield* lockDirectory(root)
  const changing = <A, R>(doing: string, effect: Effect.Effect<A, PlatformError.PlatformError, R>) =>
    Effect.zipRight(locked, storage(doing, effect))
  const spoolFolder = (key: string) => at("spool", Records.fileNameOf(key))
  const { broken, records, stored } = yield* storage(
    `reading the data directory ${root}`,
    Effect.gen(function*() {
      yield* disk.ensureDirectory(at("tmp"))
      yield* disk.clear
      const kept = yield* disk.children(at("spool"))
      yield* Effect.forEach(kept.filter((folder) => folder.startsWith(spoolFolder("ephemeral:"))), disk.remove)
      return yield* recover(disk, root)
    })
  )

  const folderOf = (self: TinkerPath.TinkerPath, generation: number) =>
    at(
      "checkpoints",
      Records.fileNameOf(self.trainingRunId),
      self.kind,
      Records.fileNameOf(self.name),
      String(generation)
    )

  const find = (self: TinkerPath.TinkerPath) =>
    Effect.flatMap(agreed, (now) => {
      const key = TinkerPath.format(self)
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
    })

  const isTaken = (self: TinkerPath.TinkerPath, now: number): boolean => {
    const key = TinkerPath.format(self)
    const found = stored.get(key)
    return broken.has(key) || (found !== undefined && !hasExpired(found.entry, now))
  }

  const save: Context.Tag.Service<CheckpointStore>["save"] = Effect.fn("CheckpointStore.save")(
    function*(self, state, options) {
      if (!isName(self.name)) {
        return yield* new CheckpointError({
          reason: "BadName",
          detail:
            "A checkpoint's name has 1 to 255 letters, digits, '_', '-' and '.', and does not begin with '-' or '.'"
        })
      }
      const key = TinkerPath.format(self)
      if (options.overwrite !== true && isTaken(self, yield* agreed)) {
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
      const previous = stored.get(key)
      // what is broken stays beside it: it is not known to be the same
      const generation = 1 + Math.max(previous?.generation ?? 0, broken.get(key)?.generation ?? 0)
      const folder = folderOf(self, generation)
      yield* changing(
        `saving ${key}`,
        disk.writeDirectory(folder, [...files, ...Records.recordFiles(metadata, settings)])
      )
      const entry = Records.entryOf(metadata, settings)
      stored.set(key, { entry, generation, folder })
      broken.delete(key)
      if (previous !== undefined) yield* Effect.ignore(disk.discard(previous.folder))
      return entry
    },
    Effect.uninterruptible
  )

  const file = Effect.fnUntraced(function*(self: TinkerPath.TinkerPath, name: string) {
    const { entry, folder } = yield* find(self)
    if (name === Records.marker) return new Uint8Array()
    const listed = entry.files.find((_) => _.name === name)
    if (listed === undefined) {
      return yield* new CheckpointError({
        reason: "NotFound",
        detail: `Checkpoint ${TinkerPath.format(self)} has no such file`
      })
    }
    const bytes = yield* storage(
      `reading ${TinkerPath.format(self)}`,
      disk.read(path.join(folder, name))
    )
    return bytes.length === listed.size && sha256(bytes) === listed.sha256
      ? bytes
      : yield* new CheckpointError({
        reason: "Damaged",
        detail: `Checkpoint ${TinkerPath.format(self)} is damaged: ${name} does not match its checksum`
      })
  })

  const load = Effect.fn("CheckpointStore.load")(
    function*(self: TinkerPath.TinkerPath, options: { readonly optimizer: boolean }) {
      const { entry } = yield* find(self)
      return yield* readState(entry, options.optimizer, (name) => file(self, name)).pipe(
        Effect.catchTag("MalformedFile", (error) =>
          new CheckpointError({
            reason: "Damaged",
            detail: `Checkpoint ${TinkerPath.format(self)} is damaged: ${error.message}`
          }))
      )
    }
  )

  /** It is forgotten when it is gone, not before. */
  const erase = (self: Stored) =>
    Effect.zipRight(
      Effect.zipRight(disk.discard(self.folder), Effect.ignore(disk.flush(path.dirname(self.folder)))),
      Effect.sync(() => {
        const key = TinkerPath.format(self.entry.path)
        if (stored.get(key) === self) stored.delete(key)
      })
    ).pipe(Effect.uninterruptible)

  const told = new Set<string>()
  const sweep = Effect.gen(function*() {
    const now = yield* agreed
    for (const one of [...stored.values()].filter(({ entry }) => hasExpired(entry, now))) {
      const key = TinkerPath.format(one.entry.path)
      yield* changing(`deleting ${key}, which has expired`, erase(one)).pipe(
        Effect.catchAll((error) =>
          told.has(key)
            ? Effect.void
            : Effect.zipRight(Effect.sync(() => told.add(key)), Effect.logWarning(error.message))
        )
      )
    }
  })
  yield* sweep.pipe(Effect.schedule(Schedule.spaced("1 minute")), Effect.interruptible, Effect.forkScoped)

  return {
    save,
    load,
    file,
    get: (self) => Effect.map(find(self), (_) => _.entry),
    unsafeHas: isTaken,
    list: Effect.map(
      agreed,
      (now) =>
        [...stored.values()].flatMap(({ entry }) => hasExpired(entry, now) ? [] : [entry]).sort((a, b) =>
          b.createdAt - a.createdAt
        )
    ),
    remove: (self) =>
      Effect.flatMap(find(self), (found) => changing(`deleting ${TinkerPath.format(self)}`, erase(found))),
    update: (self, change) =>
      Effect.gen(function*() {
        const { entry, folder, generation } = yield* find(self)
        const next: Entry = { ...entry, ...change }
        const settings: Records.Settings = { public: next.public, expiresAt: next.expiresAt ?? null }
        yield* changing(
          `changing ${TinkerPath.format(self)}`,
          disk.replaceFile(path.join(folder, Records.settingsFile), Records.settingsBytes(settings))
        )
        stored.set(TinkerPath.format(self), { entry: next, generation, folder })
        return next
      }).pipe(Effect.uninterruptible),
    saveRun: (record) =>
      Effect.zipRight(
        changing(
          `keeping the record of ${record.modelId}`,
          disk.replaceFile(at("runs", `${Records.fileNameOf(record.modelId)}.json`), Records.bytesOf(record))
        ),
        Effect.sync(() => records.set(record.modelId, record))
      ).pipe(Effect.uninterruptible, Effect.asVoid),
    runs: Effect.sync(() => [...records.values()]),
    spool: (key, state) =>
      storage(
        "keeping a sampler's weights",
        disk.scribble(spoolFolder(key), [
          ...stateFiles(state),
          { name: Records.metadataFile, bytes: Records.bytesOf({ baseModel: state.baseModel, lora: state.lora }) }
        ])
      ),
    unspool: (key) =>
      Effect.gen(function*() {
        const folder = spoolFolder(key)
        const reading = (name: string) => storage("bringing back a sampler", disk.read(path.join(folder, name)))
        const found = yield* decodeSpooled(Records.textOf(yield* reading(Records.metadataFile)))
        return yield* readState(found, false, reading)
      }).pipe(
        Effect.catchTags({
          ParseError: (cause) =>
            new CheckpointError({ reason: "Damaged", detail: "a sampler's spool is damaged", cause }),
          MalformedFile: (cause) =>
            new CheckpointError({ reason: "Damaged", detail: "a sampler's spool is damaged", cause })
        })
      ),
    forget: (key) => Effect.ignore(disk.remove(spoolFolder(key)))
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
