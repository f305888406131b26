/**
 * The files of a tokenizer's repository, from a folder or through a cache on disk.
 *
 * @internal
 */
import type * as PlatformError from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import { TokenizerError } from "../TokenizerError.js"

/** The text of one file of a repository; none when the repository has no such file. @internal */
export type RepositoryFiles = (id: string, file: string) => Effect.Effect<Option.Option<string>, TokenizerError>

/** @internal */
export const fileNames = {
  tokenizer: "tokenizer.json",
  config: "tokenizer_config.json",
  tiktoken: "tiktoken.model"
}

/**
 * Ids come from servers too: `name` or `owner/name`, each of letters, digits, `_`, `-` and `.`, starting with none of the
 * marks, so that an id leads to no other folder and no other address.
 *
 * @internal
 */
export const isSafeId = (id: string): boolean => /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9][\w.-]*)?$/.test(id)

const failed = (id: string, path: string) => (cause: PlatformError.PlatformError) =>
  new TokenizerError({
    reason: "Unreachable",
    id,
    detail: `${path} could not be read or written (${cause._tag === "SystemError" ? cause.reason : cause._tag})`,
    cause
  })

const isAbsent = (cause: PlatformError.PlatformError) => cause._tag === "SystemError" && cause.reason === "NotFound"

const read = (
  fs: FileSystem.FileSystem,
  id: string,
  path: string
): Effect.Effect<Option.Option<string>, TokenizerError> =>
  fs.readFileString(path).pipe(
    Effect.asSome,
    Effect.catchIf(isAbsent, () => Effect.succeedNone),
    Effect.mapError(failed(id, path))
  )

/** @internal */
export const folderFiles = (fs: FileSystem.FileSystem, directory: string): RepositoryFiles => (id, file) =>
  isSafeId(id) ? read(fs, id, `${directory}/${id}/${file}`) : Effect.succeedNone

/**
 * Files from a folder when they are there, otherwise from `files`, and then kept in the folder. A file is written under
 * another name first and then renamed. A failure to write is only logged: the file is here already.
 *
 * @internal
 */
export const diskCached = (
  files: RepositoryFiles,
  fs: FileSystem.FileSystem,
  directory: string,
  revisionOf: (id: string) => string
): RepositoryFiles =>
  Effect.fnUntraced(function*(id, file) {
    if (!isSafeId(id)) return Option.none()
    const folder = `${directory}/${id}/${revisionOf(id)}`
    const path = `${folder}/${file}`
    const cached = yield* read(fs, id, path)
    if (Option.isSome(cached)) return cached
    const fetched = yield* files(id, file)
    if (Option.isSome(fetched)) {
      const suffix = yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER)
      const partial = `${path}.${suffix.toString(36)}.part`
      yield* fs.makeDirectory(folder, { recursive: true }).pipe(
        Effect.zipRight(fs.writeFileString(partial, fetched.value)),
        Effect.zipRight(fs.rename(partial, path)),
        Effect.onError(() => Effect.ignore(fs.remove(partial, { force: true }))),
        Effect.catchAll((cause) => Effect.logWarning(failed(id, path)(cause).message))
      )
    }
    return fetched
  })
