/** A model of a hub, fetched into the cache. */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import * as DirectoryLock from "../DirectoryLock.js"
import * as Cache from "./cache.js"
import { fetchBlob, fetchJson, type Hub } from "./fetchBlob.js"
import { HubError } from "./hubError.js"
import * as Repository from "./repository.js"

/** How far a pull is, over all files. */
export interface PullProgress {
  /** The file that is coming. */
  readonly file: string
  readonly receivedBytes: number
  readonly totalBytes: number
}

export interface PullOptions {
  /** A file of the repository, as one of several GGUF files. */
  readonly file?: string | undefined
  /** A branch, a tag or a commit. `main` unless given. */
  readonly revision?: string | undefined
  readonly token?: Redacted.Redacted | undefined
  /** `https://huggingface.co` unless given. */
  readonly endpoint?: string | undefined
  /** The folder of the cache. That of the environment unless given: `HF_HUB_CACHE`, `hub` in `HF_HOME`, `~/.cache/huggingface/hub`. */
  readonly cache?: string | undefined
  /** Failures in a row, without a new byte, after which it is given up. 6 unless given. */
  readonly attempts?: number | undefined
  /** A connection that is silent for so long counts as broken. A minute unless given. */
  readonly idleTimeout?: Duration.DurationInput | undefined
  readonly onProgress?: ((progress: PullProgress) => Effect.Effect<void>) | undefined
}

export interface Pulled {
  readonly repository: string
  /** The commit that was fetched. */
  readonly commit: string
  /** What `models: [{ path }]` and `serve --model` take: the folder, or the GGUF file. */
  readonly path: string
  readonly files: ReadonlyArray<{ readonly name: string; readonly sizeBytes: number }>
}

const checked = (repository: string, { endpoint = "https://huggingface.co", revision = "main" }: PullOptions) => {
  const fail = (detail: string) => new HubError({ reason: "NotFound", repository, detail })
  if (!Repository.isRepository(repository)) return Effect.fail(fail("expected a name like Qwen/Qwen3-0.6B"))
  if (!Repository.isRevision(revision)) return Effect.fail(fail(`${revision} is no name of a revision`))
  const root = endpoint.replace(/\/+$/, "")
  return URL.canParse(root) && /^https?:/.test(root)
    ? Effect.succeed({ root, revision })
    : Effect.fail(
      new HubError({
        reason: "Unreachable",
        repository,
        detail: `the endpoint ${JSON.stringify(endpoint)} is no URL; give one like https://huggingface.co`
      })
    )
}

/** One pull of a repository at a time: two would write into the same files. */
const alone = (places: Cache.Places, repository: string) =>
  Effect.zipRight(
    Cache.storage(repository, places.root, () => Fs.mkdir(Path.join(places.root, "blobs"), { recursive: true })),
    Effect.mapError(DirectoryLock.hold(places.root), ({ cause, owner, reason }) =>
      new HubError({
        reason: "Storage",
        repository,
        detail: reason === "InUse"
          ? `it is being pulled by ${owner ?? "somebody else"}; wait for that to end`
          : `${places.root} cannot be locked: ${cause?.code ?? "it failed"}`
      }))
  )

/**
 * Fetches the files of a model that are not in the cache yet, one after the other. What broke off is gone on with the next
 * time; a file is put in place when its checksum is right, and the revision is written when all are there.
 */
export const pullModel = (
  repository: string,
  options: PullOptions = {}
): Effect.Effect<Pulled, HubError, HttpClient.HttpClient> =>
  Effect.scoped(Effect.gen(function*() {
    const { revision, root } = yield* checked(repository, options)
    const hub: Hub = {
      http: yield* HttpClient.HttpClient,
      repository,
      token: options.token,
      attempts: options.attempts ?? 6,
      idleTimeout: Duration.decode(options.idleTimeout ?? "1 minute")
    }
    const json = yield* fetchJson(
      hub,
      new URL(`${root}/api/models/${repository}/revision/${revision}?blobs=true`),
      "list of its files"
    ).pipe(
      Effect.mapError((error) =>
        error.reason === "NotFound"
          ? new HubError({
            reason: "NotFound",
            repository,
            detail: `the hub has no repository of this name, or it has no revision ${revision}`
          })
          : error
      )
    )
    const { commit, files } = yield* Repository.parse(repository, json)
    const chosen = yield* Repository.choose(repository, files, options.file)
    const places = Cache.placesOf(options.cache ?? Cache.cacheOf(), repository)
    yield* alone(places, repository)

    const totalBytes = chosen.reduce((sum, { size }) => sum + size, 0)
    const missing = yield* Effect.forEach(chosen, (file) => {
      const blob = places.blob(file)
      return Effect.flatMap(Cache.sizeOf(blob), (whole) =>
        whole === file.size
          ? Effect.succeed(0)
          : Effect.map(Cache.sizeOf(`${blob}.incomplete`), (part = 0) => Math.max(0, file.size - part)))
    })
    yield* Cache.roomFor(places, repository, missing.reduce((sum, bytes) => sum + bytes, 0))

    let done = 0
    const paths: Array<string> = []
    for (const file of chosen) {
      const url = new URL(`${root}/${repository}/resolve/${commit}/${file.name}`)
      yield* fetchBlob(hub, url, file, places.blob(file), (bytes) =>
        options.onProgress?.({ file: file.name, receivedBytes: done + bytes, totalBytes }) ?? Effect.void)
      paths.push(yield* Cache.link(places, repository, commit, file))
      done += file.size
    }
    yield* Cache.remember(places, repository, revision, commit)
    const [only] = paths
    return {
      repository,
      commit,
      path: paths.length === 1 && only !== undefined ? only : places.snapshot(commit),
      files: chosen.map(({ name, size }) => ({ name, sizeBytes: size }))
    }
  })).pipe(Effect.withSpan("tinkex.pullModel", { attributes: { repository } }))
