/**
 * A file system in memory, with what the server needs of one: nothing of a test touches the disk, and no operation takes
 * time that a test's clock does not see.
 *
 * @internal
 */
import * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"

const problem = (reason: PlatformError.SystemErrorReason, method: string, path: string) =>
  new PlatformError.SystemError({ reason, module: "FileSystem", method, pathOrDescriptor: path })

const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/"))) || "/"

/** A file's bytes, or `null` for a directory, by absolute path. */
type Nodes = Map<string, Uint8Array | null>

const make = Effect.sync(() => {
  const nodes: Nodes = new Map([["/", null]])
  let temporary = 0

  const read = (path: string) =>
    Effect.suspend(() => {
      const found = nodes.get(path)
      return found === undefined || found === null
        ? Effect.fail(problem("NotFound", "readFile", path))
        : Effect.succeed(found)
    })

  const write = (path: string, bytes: Uint8Array) =>
    Effect.suspend(() => {
      if (nodes.get(parentOf(path)) !== null) return Effect.fail(problem("NotFound", "writeFile", path))
      nodes.set(path, Uint8Array.from(bytes))
      return Effect.void
    })

  const makeDirectory = (path: string): Effect.Effect<void> =>
    Effect.sync(() => {
      for (let at = path; !nodes.has(at); at = parentOf(at)) nodes.set(at, null)
    })

  const within = (path: string): ReadonlyArray<string> => [...nodes.keys()].filter((key) => key.startsWith(`${path}/`))

  const remove = (path: string, force: boolean) =>
    Effect.suspend(() => {
      if (!nodes.has(path) && !force) return Effect.fail(problem("NotFound", "remove", path))
      for (const key of within(path)) nodes.delete(key)
      nodes.delete(path)
      return Effect.void
    })

  const rename = (from: string, to: string) =>
    Effect.suspend(() => {
      const node = nodes.get(from)
      if (node === undefined || nodes.get(parentOf(to)) !== null) {
        return Effect.fail(problem("NotFound", "rename", from))
      }
      if (node === null && within(to).length > 0) return Effect.fail(problem("AlreadyExists", "rename", to))
      for (const key of within(from)) {
        nodes.set(to + key.slice(from.length), nodes.get(key)!) // a key of the map
        nodes.delete(key)
      }
      nodes.delete(from)
      nodes.set(to, node)
      return Effect.void
    })

  const fs = FileSystem.makeNoop({
    exists: (path) => Effect.sync(() => nodes.has(path)),
    makeDirectory,
    makeTempDirectory: (options) =>
      Effect.suspend(() => {
        const path = `/${options?.prefix ?? ""}${temporary++}`
        return Effect.as(makeDirectory(path), path)
      }),
    open: (path, options) =>
      Effect.suspend(() => {
        const begin = options?.flag === "w" ? write(path, new Uint8Array(0)) : Effect.void
        return Effect.flatMap(begin, () =>
          nodes.has(path) ? Effect.succeed(file(path)) : Effect.fail(problem("NotFound", "open", path)))
      }),
    readDirectory: (path) =>
      Effect.suspend(() =>
        nodes.get(path) === null
          ? Effect.succeed(within(path).map((key) => key.slice(path.length + 1)).filter((name) => !name.includes("/")))
          : Effect.fail(problem("NotFound", "readDirectory", path))
      ),
    readFile: read,
    readFileString: (path) => Effect.map(read(path), (bytes) => new TextDecoder().decode(bytes)),
    remove: (path, options) => remove(path, options?.force === true),
    rename,
    writeFile: write,
    writeFileString: (path, text) => write(path, new TextEncoder().encode(text))
  })

  const unsupported = (method: string, path: string) => Effect.fail(problem("Unknown", method, path))

  const append = (path: string, bytes: Uint8Array) =>
    Effect.flatMap(read(path), (before) => {
      const joined = new Uint8Array(before.length + bytes.length)
      joined.set(before)
      joined.set(bytes, before.length)
      return write(path, joined)
    })

  const file = (path: string): FileSystem.File => ({
    [FileSystem.FileTypeId]: FileSystem.FileTypeId,
    fd: FileSystem.FileDescriptor(0),
    stat: unsupported("stat", path),
    seek: () => Effect.void,
    sync: Effect.void,
    read: () => unsupported("read", path),
    readAlloc: () => Effect.succeed(Option.none()),
    truncate: () => unsupported("truncate", path),
    write: (bytes) => Effect.as(append(path, bytes), FileSystem.Size(bytes.length)),
    writeAll: (bytes) => append(path, bytes)
  })

  return fs
})

/** @internal */
export const layer: Layer.Layer<FileSystem.FileSystem> = Layer.effect(FileSystem.FileSystem, make)
