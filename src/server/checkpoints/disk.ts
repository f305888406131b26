/**
 * The steps from which durable writes are made. Before each that changes something the injector is asked for faults.
 *
 * @internal
 */
import * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import { FaultInjector, type FaultPoint } from "../FaultInjector.js"
import { wall } from "../time.js"

type Step<A = void> = Effect.Effect<A, PlatformError.PlatformError>

/** @internal */
export interface File {
  readonly name: string
  readonly bytes: Uint8Array
}

/** @internal */
export interface Disk {
  readonly read: (file: string) => Step<Uint8Array>
  /** Paths of what a directory holds; nothing when it is not there. */
  readonly children: (directory: string) => Step<ReadonlyArray<string>>
  readonly exists: (path: string) => Step<boolean>
  readonly remove: (path: string) => Step
  /** Makes a directory disappear at once, whatever becomes of its contents: it is moved to the drafts first. */
  readonly discard: (path: string) => Step
  /** Makes sure that what was entered in a directory, or taken out of it, stays so. */
  readonly flush: (directory: string) => Step
  /** Moves a directory to where nothing is. */
  readonly move: (from: string, to: string) => Step
  /** Removes what this module left in `drafts`, and nothing else. */
  readonly clear: Step
  /** Makes a directory and its parents, each of them safely entered in its parent. */
  readonly ensureDirectory: (directory: string) => Step
  /** Writes files under `drafts`, flushes them, and moves their directory to `target`, which must not exist. */
  readonly writeDirectory: (target: string, files: ReadonlyArray<File>) => Step
  /** Replaces one small file by a rename. */
  readonly replaceFile: (file: string, bytes: Uint8Array) => Step
  /** Writes files into a directory without flushing anything. */
  readonly scribble: (directory: string, files: ReadonlyArray<File>) => Step
}

/** How drafts are called: time and number. */
const draftName = /^\d+-\d+$/

const isMissing = (error: PlatformError.PlatformError): boolean =>
  error._tag === "SystemError" && error.reason === "NotFound"

const isThere = (error: PlatformError.PlatformError): boolean =>
  error._tag === "SystemError" && error.reason === "AlreadyExists"

/**
 * `drafts` is a directory of the same file system.
 *
 * @internal
 */
export const make = Effect.fnUntraced(function*(drafts: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const faults = yield* FaultInjector
  let counter = 0

  const before = (step: Exclude<FaultPoint["step"], undefined>, target: string): Step =>
    Effect.flatMap(
      faults({ phase: "storage", endpoint: "storage", step, path: target }),
      (injected) =>
        Effect.forEach(injected, (fault): Step =>
          fault._tag === "Fail"
            ? Effect.fail(
              new PlatformError.SystemError({
                reason: "WriteZero",
                module: "FileSystem",
                method: step,
                pathOrDescriptor: target,
                description: "injected"
              })
            )
            : fault._tag === "Delay"
            ? Effect.sleep(fault.duration)
            : Effect.void, { discard: true })
    )

  const remove = (target: string): Step =>
    Effect.zipRight(before("remove", target), fs.remove(target, { recursive: true, force: true }))

  const rename = (from: string, to: string): Step => Effect.zipRight(before("rename", to), fs.rename(from, to))

  const syncDirectory = (directory: string): Step =>
    Effect.zipRight(
      before("sync", directory),
      Effect.scoped(Effect.flatMap(fs.open(directory, { flag: "r" }), (file) => file.sync)).pipe(
        // some systems cannot flush a directory; there the rename itself is all that can be had
        Effect.catchIf(
          (error) => error._tag === "SystemError" && error.reason === "PermissionDenied",
          () => Effect.void
        )
      )
    )

  const write = (target: string, bytes: Uint8Array): Step =>
    Effect.scoped(Effect.gen(function*() {
      yield* before("write", target)
      const handle = yield* fs.open(target, { flag: "w" })
      // the library takes a write of nothing for a full disk
      if (bytes.length > 0) yield* handle.writeAll(bytes)
      yield* before("sync", target)
      yield* handle.sync
    }))

  const ensureDirectory = (directory: string): Step =>
    Effect.gen(function*() {
      if (yield* fs.exists(directory)) return
      const parent = path.dirname(directory)
      yield* ensureDirectory(parent)
      yield* before("directory", directory)
      // one level at a time: where a level cannot be made, as below /proc, Node's own recursion never ends
      yield* Effect.catchIf(fs.makeDirectory(directory), isThere, () => Effect.void)
      yield* syncDirectory(parent)
    })

  const children = (directory: string): Step<ReadonlyArray<string>> =>
    Effect.map(
      Effect.catchIf(fs.readDirectory(directory), isMissing, () => Effect.succeed<Array<string>>([])),
      (names) => names.sort().map((name) => path.join(directory, name))
    )

  const draft = Effect.map(wall, (now) => path.join(drafts, `${now}-${counter++}`))

  const withDraft = (use: (name: string) => Step): Step =>
    Effect.flatMap(draft, (name) => Effect.onError(use(name), () => Effect.ignore(remove(name))))

  const discard = (target: string): Step =>
    Effect.flatMap(draft, (name) => Effect.zipRight(rename(target, name), Effect.ignore(remove(name))))

  const disk: Disk = {
    read: (file) => fs.readFile(file),
    children,
    flush: syncDirectory,
    exists: fs.exists,
    remove,
    discard,
    move: (from, to) => Effect.zipRight(ensureDirectory(path.dirname(to)), rename(from, to)),
    clear: Effect.flatMap(
      children(drafts),
      (found) =>
        Effect.forEach(found.filter((target) => draftName.test(path.basename(target))), remove, { discard: true })
    ),
    ensureDirectory,
    writeDirectory: (target, files) =>
      withDraft((name) =>
        Effect.gen(function*() {
          yield* ensureDirectory(path.dirname(target))
          yield* ensureDirectory(name)
          for (const file of files) yield* write(path.join(name, file.name), file.bytes)
          yield* syncDirectory(name)
          yield* rename(name, target)
          yield* Effect.onError(syncDirectory(path.dirname(target)), () => Effect.ignore(discard(target)))
        })
      ),
    replaceFile: (file, bytes) =>
      withDraft((name) =>
        Effect.gen(function*() {
          yield* ensureDirectory(path.dirname(file))
          yield* write(name, bytes)
          yield* rename(name, file)
          yield* syncDirectory(path.dirname(file))
        })
      ),
    scribble: (directory, files) =>
      Effect.gen(function*() {
        yield* ensureDirectory(directory)
        for (const file of files) yield* fs.writeFile(path.join(directory, file.name), file.bytes)
      })
  }
  return disk
})
