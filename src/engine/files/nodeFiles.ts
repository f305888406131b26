/**
 * Files through Node's own module, wherever there is one: on the main thread, in workers, under bundlers.
 */
import type * as NodeFs from "node:fs"
import type { ByteSource } from "./byteReader.js"
import { fail } from "./problem.js"

/** An open file. */
export interface OpenFile extends ByteSource {
  readonly path: string
  /** When it was last changed, in milliseconds. */
  readonly modified: number
  readonly close: () => void
}

const nodeFs = (): typeof NodeFs =>
  // Not imported: this module is part of engines that also run where there is no Node.
  globalThis.process?.getBuiltinModule?.("node:fs") ?? fail("Unreadable", "files can be read under Node only")

const because = (error: unknown): string => {
  const code = error instanceof Error && "code" in error ? String(error.code) : String(error)
  return code === "ENOENT" ? "there is no such file" : `it cannot be read (${code})`
}

const attempt = <A>(body: () => A): A => {
  try {
    return body()
  } catch (error) {
    return fail("Unreadable", because(error))
  }
}

/** Opens a file for reading. */
export const openFile = (path: string): OpenFile => {
  const fs = nodeFs()
  const descriptor = attempt(() => fs.openSync(path, "r"))
  const { mtimeMs, size } = attempt(() => fs.fstatSync(descriptor))
  return {
    path,
    size,
    modified: mtimeMs,
    read: (offset, length) => {
      const bytes = new Uint8Array(length)
      let done = 0
      while (done < length) {
        const got = attempt(() => fs.readSync(descriptor, bytes, done, length - done, offset + done))
        if (got === 0) fail("Unreadable", `it has become shorter than ${size} bytes`)
        done += got
      }
      return bytes
    },
    close: () => fs.closeSync(descriptor)
  }
}

/** The text of a file; undefined when there is none. */
export const readText = (path: string): string | undefined => {
  const fs = nodeFs()
  return fs.existsSync(path) ? attempt(() => fs.readFileSync(path, "utf8")) : undefined
}

/** Whether a path leads to a folder; fails when it leads nowhere. */
export const isFolder = (path: string): boolean => attempt(() => nodeFs().statSync(path)).isDirectory()

/** What a path says, ends of folders joined as this system has them. */
export const join = (folder: string, name: string): string => folder.endsWith("/") ? folder + name : `${folder}/${name}`
