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
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { RunState } from "../../engine/Engine.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import { sha256 } from "../http/hash.js"
import { ServerConfig } from "../ServerConfig.js"
import { readState, stateFiles } from "./checkpointFiles.js"
import * as Records from "./checkpointRecords.js"
import * as Disk from "./disk.js"
import * as Lock from "./lock.js"

/**
 * Why a checkpoint could not be written, read or changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class CheckpointError extends Data.TaggedError("CheckpointError")<{
  readonly reason: "NotFound" | "AlreadyExists" | "BadName" | "Damaged" | "Storage" | "InUse"
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message() {
    return this.detail
  }
}

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
  /** Keeps weights for as long as the server lives, for samplers that have to make room. */
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
  const storage = <A, R>(doing: string, effect: Effect.Effect<A, PlatformError.PlatformError, R>) =>
    Effect.mapError(effect, (cause) =>
      new CheckpointError({
        reason: "Storage",
        detail: `${doing}: ${cause._tag === "SystemError" ? cause.reason : "the storage failed"}`,
        cause
      }))

  const root = config.dataDir ?? (yield* storage(
    "making a temporary directory",
    Effect.flatMap(FileSystem.FileSystem, (fs) =>
      // A write that was interrupted may still put its last file there while the directory is being removed
      Effect.acquireRelease(fs.makeTempDirectory({ prefix: "tinkex-" }), (directory) =>
        Effect.ignoreLogged(Effect.retry(fs.remove(directory, { recursive: true, force: true }), { times: 20 }))))
  ))
  const at = (...parts: ReadonlyArray<string>) => path.join(root, ...parts)
  const disk = yield* Disk.make(at("tmp"))

  yield* storage(`opening ${root}`, disk.ensureDirectory(root))
  const holder = yield* storage(`opening ${root}`, Lock.hold(root))
  if (holder !== undefined) {
    return yield* new CheckpointError({
      reason: "InUse",
      detail: `The data directory ${root} is in use by process ${holder}. Stop that server, or take another directory`
    })
  }
  yield* storage(`reading ${root}`, Effect.zipRight(disk.remove(at("tmp")), disk.remove(at("spool"))))
  yield* storage(`reading ${root}`, disk.ensureDirectory(at("tmp")))
  const { records, stored } = yield* Records.recover(disk, at("checkpoints"), at("runs"))

  const directory = (self: TinkerPath.TinkerPath) =>
    at("checkpoints", Records.fileNameOf(self.trainingRunId), self.kind, Records.fileNameOf(self.name))
  const generationOf = (self: TinkerPath.TinkerPath, generation: number) =>
    path.join(directory(self), String(generation))

  const missing = (self: TinkerPath.TinkerPath) =>
    new CheckpointError({ reason: "NotFound", detail: `Checkpoint ${TinkerPath.format(self)} does not exist` })

  const find = (self: TinkerPath.TinkerPath) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const found = stored.get(TinkerPath.format(self))
      return found === undefined || (found.entry.expiresAt ?? Infinity) <= now
        ? Effect.fail(missing(self))
        : Effect.succeed(found)
    })

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
      const before = Option.getOrUndefined(yield* Effect.option(find(self)))
      if (before !== undefined && options.overwrite !== true) {
        return yield* new CheckpointError({
          reason: "AlreadyExists",
          detail: takenText(self)
        })
      }
      const createdAt = yield* Clock.currentTimeMillis
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
      const generation = (previous?.generation ?? 0) + 1
      yield* storage(
        `saving ${key}`,
        disk.writeDirectory(generationOf(self, generation), [
          ...files,
          { name: Records.metadataFile, bytes: Records.bytesOf(metadata) },
          { name: Records.settingsFile, bytes: Records.bytesOf(settings) },
          { name: Records.marker, bytes: new Uint8Array() }
        ])
      )
      const entry = Records.entryOf(metadata, settings)
      stored.set(key, { entry, generation })
      if (previous !== undefined) yield* Effect.ignore(disk.discard(generationOf(self, previous.generation)))
      return entry
    },
    Effect.uninterruptible
  )

  const file = Effect.fnUntraced(function*(self: TinkerPath.TinkerPath, name: string) {
    const { entry, generation } = yield* find(self)
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
      disk.read(path.join(generationOf(self, generation), name))
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

  const erase = (self: TinkerPath.TinkerPath) =>
    Effect.zipRight(
      Effect.sync(() => stored.delete(TinkerPath.format(self))),
      disk.discard(directory(self))
    )

  const sweep = Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    const expired = Array.from(stored.values()).filter(({ entry }) => (entry.expiresAt ?? Infinity) <= now)
    yield* Effect.forEach(expired, ({ entry }) => Effect.ignoreLogged(erase(entry.path)), { discard: true })
  })
  yield* sweep.pipe(Effect.schedule(Schedule.spaced("1 minute")), Effect.interruptible, Effect.forkScoped)

  return {
    save,
    load,
    file,
    get: (self) => Effect.map(find(self), (_) => _.entry),
    unsafeHas: (self, now) =>
      (stored.get(TinkerPath.format(self))?.entry.expiresAt ?? Infinity) > now &&
      stored.has(TinkerPath.format(self)),
    list: Effect.map(
      Clock.currentTimeMillis,
      (now) =>
        [...stored.values()].map((_) => _.entry).filter((entry) => (entry.expiresAt ?? Infinity) > now).sort((a, b) =>
          b.createdAt - a.createdAt
        )
    ),
    remove: (self) =>
      Effect.zipRight(find(self), storage(`deleting ${TinkerPath.format(self)}`, erase(self))).pipe(
        Effect.uninterruptible
      ),
    update: (self, change) =>
      Effect.gen(function*() {
        const { entry, generation } = yield* find(self)
        const next: Entry = { ...entry, ...change }
        const settings: Records.Settings = { public: next.public, expiresAt: next.expiresAt ?? null }
        yield* storage(
          `changing ${TinkerPath.format(self)}`,
          disk.replaceFile(path.join(generationOf(self, generation), Records.settingsFile), Records.bytesOf(settings))
        )
        stored.set(TinkerPath.format(self), { entry: next, generation })
        return next
      }).pipe(Effect.uninterruptible),
    saveRun: (record) =>
      Effect.zipRight(
        storage(
          `keeping the record of ${record.modelId}`,
          disk.replaceFile(at("runs", `${Records.fileNameOf(record.modelId)}.json`), Records.bytesOf(record))
        ),
        Effect.sync(() => records.set(record.modelId, record))
      ).pipe(Effect.uninterruptible, Effect.asVoid),
    runs: Effect.sync(() => [...records.values()]),
    spool: (key, state) =>
      storage(
        "keeping a sampler's weights",
        disk.scribble(at("spool", Records.fileNameOf(key)), [
          ...stateFiles(state),
          { name: Records.metadataFile, bytes: Records.bytesOf({ baseModel: state.baseModel, lora: state.lora }) }
        ])
      ),
    unspool: (key) =>
      Effect.gen(function*() {
        const folder = at("spool", Records.fileNameOf(key))
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
    forget: (key) => Effect.ignore(disk.remove(at("spool", Records.fileNameOf(key))))
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
