/**
 * The cache of models, laid out as the official Python client of the hub has it, so that both find what either fetched:
 * `models--OWNER--NAME/{blobs/<checksum>, snapshots/<commit>/<file>, refs/<revision>}`.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import { HubError } from "./hubError.js"
import type { RemoteFile } from "./repository.js"

type Environment = Readonly<Record<string, string | undefined>>

/** `HF_HUB_CACHE`, `hub` in `HF_HOME`, or where the platform keeps caches. */
export const cacheOf = (environment: Environment = process.env, home: string = Os.homedir()): string => {
  const given = (name: string) => {
    const value = environment[name]?.trim()
    return value === undefined || value === "" ? undefined : value
  }
  return given("HF_HUB_CACHE") ??
    Path.join(
      given("HF_HOME") ?? Path.join(given("XDG_CACHE_HOME") ?? Path.join(home, ".cache"), "huggingface"),
      "hub"
    )
}

/** Places of a repository's files. */
export interface Places {
  readonly root: string
  readonly blob: (file: RemoteFile) => string
  readonly snapshot: (commit: string) => string
  readonly ref: (revision: string) => string
}

export const placesOf = (cache: string, repository: string): Places => {
  const root = Path.join(Path.resolve(cache), `models--${repository.replaceAll("/", "--")}`)
  return {
    root,
    blob: ({ digest }) => Path.join(root, "blobs", digest.hex),
    snapshot: (commit) => Path.join(root, "snapshots", commit),
    ref: (revision) => Path.join(root, "refs", revision)
  }
}

/** A call of the file system; what it says is told as the cache's trouble. */
export const storage = <A>(repository: string, place: string, run: () => Promise<A>): Effect.Effect<A, HubError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) =>
      new HubError({
        reason: "Storage",
        repository,
        detail: `${place} cannot be used: ${
          cause instanceof Error && "code" in cause ? String(cause.code) : "it failed"
        }`
      })
  })

export const sizeOf = (path: string): Effect.Effect<number | undefined> =>
  Effect.promise(() => Fs.stat(path).then(({ size }) => size, () => undefined))

/** Names a blob in a snapshot. Where links are not allowed, the blob itself goes there, as the official client has it. */
export const link = (places: Places, repository: string, commit: string, file: RemoteFile) =>
  storage(repository, places.snapshot(commit), async () => {
    const path = Path.join(places.snapshot(commit), ...file.name.split("/"))
    await Fs.mkdir(Path.dirname(path), { recursive: true })
    await Fs.rm(path, { force: true })
    const blob = places.blob(file)
    await Fs.symlink(Path.relative(Path.dirname(path), blob), path).catch((error: NodeJS.ErrnoException) =>
      error.code === "EPERM" || error.code === "EACCES" ? Fs.rename(blob, path) : Promise.reject(error)
    )
    return path
  })

/** Writes which commit a revision stands for, once all its files are there. */
export const remember = (places: Places, repository: string, revision: string, commit: string) =>
  storage(repository, places.ref(revision), async () => {
    await Fs.mkdir(Path.dirname(places.ref(revision)), { recursive: true })
    await Fs.writeFile(places.ref(revision), commit)
  })

/** What of a repository is in the cache: a folder with a `config.json`, or its only GGUF file; absent when neither is. */
export const find = (
  repository: string,
  { cache = cacheOf(), revision = "main" }: { readonly cache?: string; readonly revision?: string } = {}
): Effect.Effect<string | undefined> =>
  Effect.promise(async () => {
    const places = placesOf(cache, repository)
    const commit = await Fs.readFile(places.ref(revision), "utf8").then((text) => text.trim(), () => revision)
    if (!/^[0-9a-f]{40}$/.test(commit)) return undefined
    const folder = places.snapshot(commit)
    const names: ReadonlyArray<string> = await Fs.readdir(folder).catch(() => [])
    if (names.includes("config.json")) return folder
    const ggufs = names.filter((name) => /\.gguf$/i.test(name))
    return ggufs.length === 1 ? Path.join(folder, ggufs[0]!) : undefined
  })

/** Refuses what has no room, before the first byte of it comes. */
export const roomFor = (places: Places, repository: string, bytes: number): Effect.Effect<void, HubError> =>
  Effect.flatMap(
    storage(repository, places.root, () => Fs.statfs(places.root)),
    ({ bavail, bsize }) =>
      bytes <= bavail * bsize
        ? Effect.void
        : Effect.fail(
          new HubError({
            reason: "Storage",
            repository,
            detail: `${megabytes(bytes)} are still to come and ${megabytes(bavail * bsize)} are free in ${places.root}`
          })
        )
  )

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`
