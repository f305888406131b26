/** Downloads: bytes, unpacking, putting in place. */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Client, RestClient } from "../../client/RestClient.js"
import { attempt, type InvalidInput } from "../../protocol/InvalidInput.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import type { ExternalWeightsUrlsResponse } from "../../protocol/Weights.js"
import type { TinkexError } from "../../TinkexError.js"
import type { Downloaded, Options } from "../Download.js"
import * as Names from "../options.js"
import { DownloadError } from "./downloadError.js"
import { type RemoteBytes, remoteBytes } from "./remoteBytes.js"
import { makeTarReader, safeParts, type TarProblem } from "./tarReader.js"

const defaults = { entries: 10_000, bytes: 2 ** 40, attempts: 6, idleTimeout: Duration.minutes(1) }
/** Up to here compressed data may unpack to whatever it likes; beyond, to a hundred times its size. */
const bombFloor = 64 * 1024 * 1024
const bombRatio = 100
/** URLs of exports are renewed so long before they expire. */
const renewAhead = Duration.toMillis(Duration.minutes(5))

type Failure = DownloadError | TinkexError

export const folderOf = (path: string): Effect.Effect<string, InvalidInput> =>
  Effect.gen(function*() {
    const { kind, name, trainingRunId } = yield* TinkerPath.parse(path)
    // the same everywhere; Windows allows none of these, and rsync, scp and make take a colon for their own
    return `${trainingRunId}_${kind}_${name}`.replaceAll(/[<>:"\\|?*]/g, "_")
  })

/** Writes files below a folder. */
const makeWriter = (path: string, root: string) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    const files: Array<{ readonly name: string; readonly sizeBytes: number }> = []
    const storage = <A, R>(effect: Effect.Effect<A, PlatformError, R>): Effect.Effect<A, DownloadError, R> =>
      Effect.mapError(
        effect,
        (error) => new DownloadError({ path, reason: "Storage", detail: `cannot write: ${error.message}` })
      )
    const locate = (name: string) => paths.join(root, ...name.split("/"))
    const open = (name: string) =>
      storage(Effect.zipRight(
        fs.makeDirectory(paths.dirname(locate(name)), { recursive: true }),
        // never through something that is there
        fs.open(locate(name), { flag: "wx" })
      ))
    return {
      files,
      storage,
      open,
      directory: (name: string) => storage(fs.makeDirectory(locate(name), { recursive: true }))
    }
  })

type Writer = Effect.Effect.Success<ReturnType<typeof makeWriter>>

/** Unpacks as the bytes come. */
const unpack = <E, R>(
  path: string,
  source: RemoteBytes<E, R>,
  writer: Writer,
  limits: { readonly bytes: number; readonly entries: number }
): Effect.Effect<void, E | DownloadError, R | FileSystem.FileSystem> =>
  Effect.scoped(Effect.gen(function*() {
    const failed = (reason: DownloadError["reason"], detail: string) => new DownloadError({ path, reason, detail })
    const reader = makeTarReader(limits)
    const outer = yield* Effect.scope
    let unpacked = 0
    let file:
      | {
        readonly handle: FileSystem.File
        readonly name: string
        readonly size: number
        readonly scope: Scope.CloseableScope
      }
      | undefined

    const read = (bytes: Uint8Array) =>
      Effect.try({
        try: () => reader.push(bytes),
        // the reader throws nothing else
        catch: (problem) => problem as TarProblem
      }).pipe(Effect.catchAll(({ detail, reason }) => Effect.fail(failed(reason, `the archive is refused: ${detail}`))))

    const step = Effect.fnUntraced(function*(bytes: Uint8Array) {
      unpacked += bytes.length
      if (unpacked > bombFloor && unpacked > bombRatio * source.received()) {
        return yield* failed("TooLarge", "the archive is refused: it unpacks to far more than it is")
      }
      for (const event of yield* read(bytes)) {
        switch (event._tag) {
          case "Directory":
            yield* writer.directory(event.name)
            break
          case "File": {
            const scope = yield* Scope.fork(outer, ExecutionStrategy.sequential)
            const handle = yield* Scope.extend(writer.open(event.name), scope)
            file = { handle, name: event.name, size: event.size, scope }
            break
          }
          case "Data":
            if (file !== undefined) yield* writer.storage(file.handle.writeAll(event.bytes))
            break
          case "End":
            if (file !== undefined) {
              yield* writer.storage(file.handle.sync)
              yield* Scope.close(file.scope, Exit.void)
              writer.files.push({ name: file.name, sizeBytes: file.size })
              file = undefined
            }
        }
      }
    })

    yield* Stream.runForEach(yield* inflated(path, source.stream), step)
    if (!reader.complete()) return yield* failed("Corrupt", "the archive ends too early")
    if (writer.files.length === 0) return yield* failed("Corrupt", "the archive is empty")
  }))

/** Archives come as they are or as gzip; which, their first bytes say. */
const inflated = <E, R>(
  path: string,
  bytes: Stream.Stream<Uint8Array, E, R>
): Effect.Effect<Stream.Stream<Uint8Array, E | DownloadError, R>, E | DownloadError, R | Scope.Scope> =>
  Effect.gen(function*() {
    const pull = yield* Stream.toPull(bytes)
    const first: Array<Uint8Array> = []
    let length = 0
    while (length < 2) {
      const chunk = yield* Effect.catchAll(
        pull,
        (end) => Option.isNone(end) ? Effect.succeedNone : Effect.fail(end.value)
      )
      if (Option.isOption(chunk)) break
      for (const piece of chunk) {
        first.push(piece)
        length += piece.length
      }
    }
    const whole = Stream.concat(Stream.fromIterable(first), Stream.repeatEffectChunkOption(pull))
    const magic = first.flatMap((piece) => Array.from(piece.subarray(0, 2))).slice(0, 2)
    if (magic[0] !== 0x1f || magic[1] !== 0x8b) return whole
    return yield* gunzip(path, whole)
  })

/**
 * The platform's own gunzip. It is fed and read by hand, and left alone when it is not needed any more: Node's throws where
 * nobody can catch it when it is cancelled in the middle.
 */
const gunzip = <E, R>(
  path: string,
  bytes: Stream.Stream<Uint8Array, E, R>
): Effect.Effect<Stream.Stream<Uint8Array, E | DownloadError>, never, R | Scope.Scope> =>
  Effect.gen(function*() {
    const broken = () => new DownloadError({ path, reason: "Corrupt", detail: "the archive is no whole gzip file" })
    const { readable, writable } = new DecompressionStream("gzip")
    const writer = writable.getWriter()
    const reader = readable.getReader()
    const failure = yield* Deferred.make<never, E>()
    // bytes from the network are in no memory that is shared
    yield* Stream.runForEach(bytes, (piece) =>
      Effect.ignore(Effect.tryPromise(() => writer.write(piece as Uint8Array<ArrayBuffer>)))).pipe(
        Effect.zipRight(Effect.ignore(Effect.tryPromise(() =>
          writer.close()
        ))),
        Effect.catchAllCause((cause) => Deferred.failCause(failure, cause)),
        Effect.forkScoped
      )
    const read = Effect.raceFirst(
      Effect.tryPromise({ try: () => reader.read(), catch: broken }),
      Deferred.await(failure)
    )
    return Stream.repeatEffectOption(Effect.matchEffect(read, {
      onFailure: (error) => Effect.fail(Option.some(error)),
      // it gives bytes
      onSuccess: ({ done, value }) => done ? Effect.fail(Option.none()) : Effect.succeed(value as Uint8Array)
    }))
  })

/** The files of an export, each from its own URL. */
const exported = (
  rest: Client,
  http: HttpClient.HttpClient,
  path: string,
  writer: Writer,
  options: Options,
  report: (received: number, total: number | undefined) => Effect.Effect<void>
): Effect.Effect<number, Failure, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const failed = (reason: DownloadError["reason"], detail: string) => new DownloadError({ path, reason, detail })
    let signed: ExternalWeightsUrlsResponse = yield* rest.getExternalWeightsUrls(path)
    const names = Object.keys(signed.urls).sort()
    if (names.length === 0) return yield* failed("Corrupt", "the export has no files")
    if (names.length > (options.maxEntries ?? defaults.entries)) return yield* failed("TooLarge", "too many files")
    let before = 0
    for (const given of names) {
      const parts = yield* Effect.try({
        try: () => safeParts(given),
        catch: () => failed("Unsafe", "the export is refused: the name of a file leads out of the folder")
      })
      const name = parts.join("/")
      let fresh = true
      const source = remoteBytes({
        http,
        path,
        attempts: options.attempts ?? defaults.attempts,
        idleTimeout: Duration.decode(options.idleTimeout ?? defaults.idleTimeout),
        url: Effect.gen(function*() {
          const now = yield* Clock.currentTimeMillis
          if (!fresh || now >= signed.expires.epochMillis - renewAhead) {
            signed = yield* rest.getExternalWeightsUrls(path)
          }
          fresh = false
          return signed.urls[given] ?? (yield* failed("Changed", "a file of the export is gone"))
        })
      })
      yield* Effect.scoped(Effect.gen(function*() {
        const handle = yield* writer.open(name)
        yield* Stream.runForEach(source.stream, (bytes) =>
          before + source.received() > (options.maxBytes ?? defaults.bytes)
            ? Effect.fail(failed("TooLarge", "the export is longer than allowed"))
            : Effect.zipRight(writer.storage(handle.writeAll(bytes)), report(before + source.received(), undefined)))
        yield* writer.storage(handle.sync)
      }))
      writer.files.push({ name, sizeBytes: source.received() })
      before += source.received()
    }
    return before
  })

export const download = Effect.fn("Download.download")(
  function*(path: string, options: Options): Effect.fn.Return<
    Downloaded,
    Failure,
    RestClient | HttpClient.HttpClient | FileSystem.FileSystem | Path.Path
  > {
    yield* attempt(() => Names.download(options))
    const rest = yield* RestClient
    const http = yield* HttpClient.HttpClient
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    const { kind } = yield* TinkerPath.parse(path)
    const parent = paths.resolve(options.directory)
    const target = paths.join(parent, yield* folderOf(path))
    const storage = <A, R>(effect: Effect.Effect<A, PlatformError, R>) =>
      Effect.mapError(effect, (error) => new DownloadError({ path, reason: "Storage", detail: error.message }))

    const refuseIfThere = Effect.filterOrFail(
      storage(fs.exists(target)),
      (there) => !there || options.overwrite === true,
      () => new DownloadError({ path, reason: "Exists", detail: `${target} is there already` })
    )
    const report = (receivedBytes: number, totalBytes: number | undefined) =>
      options.onProgress?.({ receivedBytes, totalBytes }) ?? Effect.void

    return yield* Effect.scoped(Effect.gen(function*() {
      yield* refuseIfThere
      yield* storage(fs.makeDirectory(parent, { recursive: true }))
      const work = yield* storage(fs.makeTempDirectoryScoped({ directory: parent, prefix: ".tinkex-download-" }))
      const staging = paths.join(work, "new")
      yield* storage(fs.makeDirectory(staging))
      const writer = yield* makeWriter(path, staging)
      let receivedBytes: number
      if (kind === "external_weights") {
        receivedBytes = yield* exported(rest, http, path, writer, options, report)
      } else {
        const source = remoteBytes({
          http,
          path,
          attempts: options.attempts ?? defaults.attempts,
          idleTimeout: Duration.decode(options.idleTimeout ?? defaults.idleTimeout),
          url: Effect.map(rest.getCheckpointArchiveUrl(path), ({ url }) => url)
        })
        const shown = Stream.tap(source.stream, () => report(source.received(), source.total()))
        yield* unpack(path, { ...source, stream: shown }, writer, {
          bytes: options.maxBytes ?? defaults.bytes,
          entries: options.maxEntries ?? defaults.entries
        })
        receivedBytes = source.received()
      }
      // the old one moves into the working folder, which goes with the scope, at the moment when the new one takes its place
      yield* Effect.uninterruptible(Effect.gen(function*() {
        const there = yield* refuseIfThere
        const old = paths.join(work, "old")
        if (there) yield* storage(fs.rename(target, old))
        yield* Effect.tapError(
          storage(fs.rename(staging, target)),
          () => there ? Effect.ignore(fs.rename(old, target)) : Effect.void
        )
      }))
      return { path, directory: target, files: writer.files, receivedBytes }
    }))
  }
)
