/**
 * What is written beside the tensors, and how it is found again.
 *
 * @internal
 */
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import type { Entry, RunRecord as Run } from "./CheckpointStore.js"
import type { Disk } from "./disk.js"

/** @internal */
export const Metadata = Schema.Struct({
  version: Schema.Literal(1),
  trainingRunId: Schema.String,
  kind: Schema.Literal("weights", "sampler_weights", "external_weights"),
  name: Schema.String,
  baseModel: Schema.String,
  lora: Schema.NullOr(Schema.Struct({
    rank: Schema.Int,
    seed: Schema.Number,
    trainAttn: Schema.Boolean,
    trainMlp: Schema.Boolean,
    trainUnembed: Schema.Boolean
  })),
  hasOptimizer: Schema.Boolean,
  createdAt: Schema.Number,
  userMetadata: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String })),
  files: Schema.Array(Schema.Struct({ name: Schema.String, size: Schema.Int, sha256: Schema.String }))
})

/** @internal */
export interface Metadata extends Schema.Schema.Type<typeof Metadata> {}

/** @internal */
export const RunRecord = Schema.Struct({
  modelId: Schema.String,
  sessionId: Schema.String,
  baseModel: Schema.String,
  loraRank: Schema.NullOr(Schema.Int),
  createdAt: Schema.Number,
  userMetadata: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String })),
  projectId: Schema.optional(Schema.String)
})

/** What may change after the checkpoint was written; its file is replaced by a rename. */
const Settings = Schema.Struct({ public: Schema.Boolean, expiresAt: Schema.NullOr(Schema.Number) })

/** @internal */
export interface Settings extends Schema.Schema.Type<typeof Settings> {}

/** @internal */
export const marker = "checkpoint_complete"
/** @internal */
export const metadataFile = "metadata.json"
/** @internal */
export const settingsFile = "settings.json"

/**
 * Ids as names of files: readable, and free of separators.
 *
 * @internal
 */
export const fileNameOf = (id: string): string => encodeURIComponent(id).replaceAll(".", "%2E").replaceAll("*", "%2A")

/** @internal */
export const bytesOf = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))

/** @internal */
export const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** @internal */
export const entryOf = (metadata: Metadata, settings: Settings): Entry => ({
  path: { trainingRunId: metadata.trainingRunId, kind: metadata.kind, name: metadata.name },
  baseModel: metadata.baseModel,
  lora: metadata.lora,
  hasOptimizer: metadata.hasOptimizer,
  createdAt: metadata.createdAt,
  sizeBytes: metadata.files.reduce((n, file) => n + file.size, 0),
  files: metadata.files,
  userMetadata: metadata.userMetadata,
  public: settings.public,
  expiresAt: settings.expiresAt ?? undefined
})

/**
 * A checkpoint and the number of the directory that holds it.
 *
 * @internal
 */
export interface Stored {
  readonly entry: Entry
  readonly generation: number
}

const decodeMetadata = Schema.decodeUnknownOption(Schema.parseJson(Metadata))
const decodeSettings = Schema.decodeUnknownOption(Schema.parseJson(Settings))
const decodeRun = Schema.decodeUnknownOption(Schema.parseJson(RunRecord))

/**
 * Finds everything complete, and clears away what is not.
 *
 * @internal
 */
export const recover = Effect.fnUntraced(function*(disk: Disk, checkpoints: string, runs: string) {
  const path = yield* Path.Path
  const stored = new Map<string, Stored>()
  const records = new Map<string, Run>()

  const readText = (file: string) => Effect.option(Effect.map(disk.read(file), textOf))

  const read = Effect.fnUntraced(function*(folder: string) {
    const generation = Number(path.basename(folder))
    const complete = yield* readText(path.join(folder, marker))
    const metadata = Option.flatMap(yield* readText(path.join(folder, metadataFile)), decodeMetadata)
    const settings = Option.flatMap(yield* readText(path.join(folder, settingsFile)), decodeSettings)
    if (Option.isNone(complete) || Option.isNone(metadata) || !Number.isSafeInteger(generation)) {
      yield* Effect.ignore(disk.discard(folder))
      return Option.none<Stored>()
    }
    return Option.some<Stored>({
      entry: entryOf(metadata.value, Option.getOrElse(settings, () => ({ public: false, expiresAt: null }))),
      generation
    })
  })

  for (const run of yield* disk.children(checkpoints)) {
    for (const kind of yield* disk.children(run)) {
      for (const name of yield* disk.children(kind)) {
        const found = (yield* Effect.forEach(yield* disk.children(name), read)).flatMap(Option.toArray)
        const [newest, ...older] = found.sort((a, b) => b.generation - a.generation)
        if (newest !== undefined) stored.set(TinkerPath.format(newest.entry.path), newest)
        for (const { generation } of older) yield* Effect.ignore(disk.discard(path.join(name, String(generation))))
      }
    }
  }
  for (const file of yield* disk.children(runs)) {
    const record = Option.flatMap(yield* readText(file), decodeRun)
    if (Option.isSome(record)) records.set(record.value.modelId, record.value)
  }
  return { stored, records }
})
