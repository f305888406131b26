/** What a repository of the hub holds, and which of its files make a model. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { HubError } from "./hubError.js"

/** A file, and how it is known that it came whole: by the SHA-256 of its bytes, or as git names it. */
export interface RemoteFile {
  readonly name: string
  readonly size: number
  readonly digest: { readonly kind: "sha256" | "git"; readonly hex: string }
}

export interface Listing {
  /** The commit that the revision stands for. */
  readonly commit: string
  readonly files: ReadonlyArray<RemoteFile>
}

const hex = (digits: number) => Schema.String.pipe(Schema.pattern(new RegExp(`^[0-9a-f]{${digits}}$`)))

const Size = Schema.Int.pipe(Schema.nonNegative())

const Answer = Schema.Struct({
  sha: hex(40),
  siblings: Schema.Array(Schema.Struct({
    rfilename: Schema.String,
    size: Schema.optional(Schema.NullOr(Size)),
    blobId: Schema.optional(Schema.NullOr(hex(40))),
    lfs: Schema.optional(Schema.NullOr(Schema.Struct({ sha256: hex(64), size: Size })))
  }))
})

/** Names of repositories that make a folder of the cache and a part of a URL: `name`, or `owner/name`. */
export const isRepository = (text: string): boolean =>
  text.length <= 200 && /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9][\w.-]*)?$/.test(text) && !text.includes("..")

/** A branch, a tag or a commit. */
export const isRevision = (text: string): boolean =>
  text.length <= 200 && /^[A-Za-z0-9][\w.-]*$/.test(text) && !text.includes("..")

/** Names that stay inside the folder that they are put in, on every system. */
const isSafe = (name: string): boolean =>
  name.length <= 200 && name.split("/").every((part) => /^[\w.-]+$/.test(part) && !/^\.+$/.test(part))

/** The hub's answer, read. Files with names that lead out of their folder, and those without a checksum, are left out. */
export const parse = (repository: string, json: unknown): Effect.Effect<Listing, HubError> =>
  Schema.decodeUnknown(Answer)(json).pipe(
    Effect.mapBoth({
      onFailure: () =>
        new HubError({ reason: "Malformed", repository, detail: "the hub's list of its files is not one" }),
      onSuccess: ({ sha, siblings }) => ({
        commit: sha,
        files: siblings.flatMap(({ blobId, lfs, rfilename: name, size }): ReadonlyArray<RemoteFile> => {
          if (!isSafe(name)) return []
          if (lfs != null) return [{ name, size: lfs.size, digest: { kind: "sha256", hex: lfs.sha256 } }]
          return size != null && blobId != null ? [{ name, size, digest: { kind: "git", hex: blobId } }] : []
        })
      })
    })
  )

/** Beside the weights: what says how they are computed with, cut and talked to. */
const companions: ReadonlySet<string> = new Set([
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
  "chat_template.json",
  "model.safetensors.index.json"
])

const isWeights = (name: string): boolean => /^model(-\d{5}-of-\d{5})?\.safetensors$/.test(name)

const isGguf = (name: string): boolean => /\.gguf$/i.test(name)

/**
 * The files of one model: the one that is asked for; otherwise `config.json`, its weights in safetensors and its tokenizer;
 * otherwise the only GGUF file.
 */
export const choose = (
  repository: string,
  files: ReadonlyArray<RemoteFile>,
  wanted: string | undefined
): Effect.Effect<ReadonlyArray<RemoteFile>, HubError> => {
  const fail = (reason: HubError["reason"], detail: string) => Effect.fail(new HubError({ reason, repository, detail }))
  const ggufs = files.filter(({ name }) => isGguf(name))
  const listed = ggufs.map(({ name }) => name).join(", ")
  if (wanted !== undefined) {
    const file = files.find(({ name }) => name === wanted)
    if (file !== undefined) return Effect.succeed([file])
    return fail("NotFound", `it has no file ${wanted}${listed === "" ? "" : `; its GGUF files are ${listed}`}`)
  }
  const folder = files.filter(({ name }) => companions.has(name) || isWeights(name))
  const has = (name: string) => folder.some((file) => file.name === name)
  if (has("config.json") && folder.some(({ name }) => isWeights(name))) {
    return has("tokenizer.json")
      ? Effect.succeed(folder)
      : fail("Unsupported", "it has no tokenizer.json, so nothing could be said to the model")
  }
  if (ggufs.length === 1) return Effect.succeed(ggufs)
  return ggufs.length > 1
    ? fail("Ambiguous", `it has several models; choose one of ${listed}`)
    : fail("Unsupported", "it has neither a GGUF file nor config.json with weights in safetensors")
}
