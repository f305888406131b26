/**
 * What is written beside the tensors.
 *
 * @internal
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as TinkerPath from "../../protocol/TinkerPath.js"
import { sha256 } from "../http/hash.js"
import type { Entry } from "./CheckpointStore.js"

const version = 1

/** @internal */
export const kinds: ReadonlyArray<TinkerPath.Kind> = ["weights", "sampler_weights", "external_weights"]

/** @internal */
export const Metadata = Schema.Struct({
  version: Schema.Literal(version),
  trainingRunId: Schema.String,
  kind: Schema.Literal(...kinds),
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
const Settings = Schema.Struct({
  public: Schema.Boolean,
  expiresAt: Schema.NullOr(Schema.Number),
  /** Over the others: a flipped bit in a time would delete the checkpoint. Absent in what 0.1.0 wrote. */
  sha256: Schema.optional(Schema.String)
})

/** @internal */
export interface Settings extends Omit<Schema.Schema.Type<typeof Settings>, "sha256"> {}

/** The last file that is written; it holds the checksum of the metadata. @internal */
export const marker = "checkpoint_complete"
/** @internal */
export const metadataFile = "metadata.json"
/** @internal */
export const settingsFile = "settings.json"

/**
 * Ids as names of files: readable, free of separators, never hidden, no longer than what a checkpoint may be called.
 *
 * @internal
 */
export const fileNameOf = (id: string): string => encodeURIComponent(id).replaceAll("*", "%2A").replace(/^\./, "%2E")

/**
 * The id of a file's name, if it is the name of one.
 *
 * @internal
 */
export const idOf = (fileName: string): string | undefined => {
  try {
    return decodeURIComponent(fileName)
  } catch {
    return undefined
  }
}

/** @internal */
export const bytesOf = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))

/** @internal */
export const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

const checksumOf = (settings: Settings): string => sha256(JSON.stringify([settings.public, settings.expiresAt]))

/** @internal */
export const settingsBytes = (settings: Settings): Uint8Array => bytesOf({ ...settings, sha256: checksumOf(settings) })

/** The files besides the tensors, in the order in which they are written. @internal */
export const recordFiles = (metadata: Metadata, settings: Settings) => {
  const bytes = bytesOf(metadata)
  return [
    { name: metadataFile, bytes },
    { name: settingsFile, bytes: settingsBytes(settings) },
    { name: marker, bytes: new TextEncoder().encode(sha256(bytes)) }
  ]
}

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

const decodeMetadata = Schema.decodeUnknownOption(Schema.parseJson(Metadata))
const decodeVersion = Schema.decodeUnknownOption(Schema.parseJson(Schema.Struct({ version: Schema.Number })))
const decodeSettings = Schema.decodeUnknownOption(Schema.parseJson(Settings))

/**
 * The metadata of the checkpoint `self`, or why they are not.
 *
 * @internal
 */
export const readMetadata = (
  self: TinkerPath.TinkerPath,
  bytes: Uint8Array,
  checksum: string
): Metadata | string => {
  // 0.1.0 wrote the mark without a checksum
  if (checksum !== "" && sha256(bytes) !== checksum) return `${metadataFile} does not match its checksum`
  const text = textOf(bytes)
  const found = Option.getOrUndefined(decodeMetadata(text))
  if (found === undefined) {
    const written = Option.getOrUndefined(decodeVersion(text))?.version ?? version
    return written > version
      ? `it is of format ${written}, of a newer version of this server`
      : `${metadataFile} is not that of a checkpoint`
  }
  return found.trainingRunId === self.trainingRunId && found.kind === self.kind && found.name === self.name
    ? found
    : `${metadataFile} is that of another checkpoint`
}

/** @internal */
export const readSettings = (bytes: Uint8Array): Option.Option<Settings> =>
  Option.filter(
    decodeSettings(textOf(bytes)),
    (settings) => settings.sha256 === undefined || settings.sha256 === checksumOf(settings)
  )
