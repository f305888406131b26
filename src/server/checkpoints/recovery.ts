/**
 * Finds again what earlier lives of the server wrote. What cannot be judged (damaged, unreadable, of a newer version) is
 * told and left where it is, its name taken; what was never finished goes to `quarantine`. Only drafts, and generations
 * that a later complete one has replaced, are removed.
 *
 * @internal
 */
import type * as PlatformError from "@effect/platform/Error"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import { systemText } from "./CheckpointError.js"
import * as Records from "./checkpointRecords.js"
import type { Entry, RunRecord } from "./CheckpointStore.js"
import type { Disk } from "./disk.js"

/**
 * A checkpoint and the directory that holds it.
 *
 * @internal
 */
export interface Stored {
  readonly entry: Entry
  readonly generation: number
  readonly folder: string
}

/**
 * A checkpoint that is there and cannot be given.
 *
 * @internal
 */
export interface Broken {
  readonly generation: number
  readonly folder: string
  readonly why: string
}

/** A generation as it was found. */
type Found =
  | { readonly _tag: "Stored"; readonly path: TinkerPath.TinkerPath; readonly stored: Stored }
  | { readonly _tag: "Broken"; readonly path: TinkerPath.TinkerPath; readonly broken: Broken }

const generationOf = (found: Found): number =>
  found._tag === "Stored" ? found.stored.generation : found.broken.generation

const decodeRun = Schema.decodeUnknownOption(Schema.parseJson(Records.RunRecord))

/** @internal */
export const recover = Effect.fnUntraced(function*(disk: Disk, root: string) {
  const path = yield* Path.Path
  const at = (...parts: ReadonlyArray<string>) => path.join(root, ...parts)

  /** What is below a directory; one that cannot be read is told and passed over. A file has nothing below it. */
  const below = (directory: string) =>
    Effect.catchAll(disk.children(directory), (error) =>
      Effect.as(
        error._tag === "SystemError" && error.reason === "BadResource"
          ? Effect.void
          : Effect.logWarning(`${directory} cannot be read (${systemText(error)}): what it holds is not offered`),
        []
      ))

  const read = Effect.fnUntraced(function*(self: TinkerPath.TinkerPath, folder: string) {
    const generation = Number(path.basename(folder))
    const broken = (why: string): Found => ({ _tag: "Broken", path: self, broken: { generation, folder, why } })
    const fileOf = (name: string) => Effect.either(disk.read(path.join(folder, name)))
    const checksum = yield* fileOf(Records.marker)
    if (Either.isLeft(checksum)) {
      return isMissing(checksum.left)
        ? yield* Effect.matchEffect(quarantine(folder), {
          onSuccess: (target) =>
            Effect.as(Effect.logWarning(`${folder} was never finished; it was moved to ${target}`), Option.none()),
          onFailure: (error) => Effect.succeedSome(broken(`it was never finished (${systemText(error)})`))
        })
        : Option.some(broken(`${Records.marker}: ${systemText(checksum.left)}`))
    }
    const bytes = yield* fileOf(Records.metadataFile)
    if (Either.isLeft(bytes)) return Option.some(broken(`${Records.metadataFile}: ${systemText(bytes.left)}`))
    const metadata = Records.readMetadata(self, bytes.right, Records.textOf(checksum.right))
    if (typeof metadata === "string") return Option.some(broken(metadata))
    const settings = Option.flatMap(Either.getRight(yield* fileOf(Records.settingsFile)), Records.readSettings)
    if (Option.isNone(settings)) {
      yield* Effect.logWarning(
        `${Records.settingsFile} of ${
          TinkerPath.format(self)
        } cannot be read: it is taken for private and never expires`
      )
    }
    const entry = Records.entryOf(metadata, Option.getOrElse(settings, () => ({ public: false, expiresAt: null })))
    return Option.some<Found>({ _tag: "Stored", path: self, stored: { entry, generation, folder } })
  })

  /** Out of the way, under the same names. */
  const quarantine = Effect.fnUntraced(function*(folder: string) {
    const target = at("quarantine", path.relative(at("checkpoints"), folder))
    for (let i = 0;; i++) {
      const free = i === 0 ? target : `${target}.${i}`
      if (yield* disk.exists(free)) continue
      yield* disk.move(folder, free)
      return free
    }
  })

  const found = new Map<string, Array<Found>>()
  for (const run of yield* disk.children(at("checkpoints"))) {
    const trainingRunId = Records.idOf(path.basename(run))
    if (trainingRunId === undefined) continue
    for (const kindFolder of yield* below(run)) {
      const kind = Records.kinds.find((_) => _ === path.basename(kindFolder))
      if (kind === undefined) continue
      for (const nameFolder of yield* below(kindFolder)) {
        const name = Records.idOf(path.basename(nameFolder))
        if (name === undefined) continue
        const self: TinkerPath.TinkerPath = { trainingRunId, kind, name }
        const inside = yield* below(nameFolder)
        if (inside.length === 0) yield* Effect.ignore(disk.discard(nameFolder))
        const generations = inside.filter((folder) => /^\d{1,15}$/.test(path.basename(folder)))
        const all = (yield* Effect.forEach(generations, (folder) => read(self, folder))).flatMap(Option.toArray)
        const key = TinkerPath.format(self)
        found.set(key, [...found.get(key) ?? [], ...all])
      }
    }
  }

  const stored = new Map<string, Stored>()
  const broken = new Map<string, Broken>()
  for (const [key, generations] of found) {
    const [newest, ...older] = generations.sort((a, b) => generationOf(b) - generationOf(a))
    if (newest?._tag === "Stored") stored.set(key, newest.stored)
    if (newest?._tag === "Broken") broken.set(key, newest.broken)
    for (const one of generations) {
      if (one._tag === "Stored") continue
      const what = one === newest ? `checkpoint ${key} is not offered` : `an earlier state of ${key} is not looked at`
      yield* Effect.logWarning(`${what}: ${one.broken.why}. Nothing was deleted, its files are in ${one.broken.folder}`)
    }
    // only a complete one replaces those before it
    if (newest?._tag !== "Stored") continue
    for (const one of older) if (one._tag === "Stored") yield* Effect.ignoreLogged(disk.discard(one.stored.folder))
  }

  const records = new Map<string, RunRecord>()
  for (const file of yield* disk.children(at("runs"))) {
    const record = yield* Effect.either(disk.read(file))
    const decoded = Option.flatMap(Either.getRight(record), (bytes) => decodeRun(Records.textOf(bytes)))
    if (Option.isSome(decoded)) records.set(decoded.value.modelId, decoded.value)
    else yield* Effect.logWarning(`the record of a run in ${file} cannot be read; it was left there`)
  }
  return { stored, broken, records }
})

const isMissing = (error: PlatformError.PlatformError): boolean =>
  error._tag === "SystemError" && error.reason === "NotFound"
