/**
 * What a run meant to do and what came of it: lines that are appended and on the disk before anything follows from them, each
 * with a number and a checksum.
 *
 * @since 0.2.0
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { openAppend } from "./appendFile.js"
import { crc32c, hex } from "./crc32c.js"
import { JournalDamaged, RunStorageError } from "./RunError.js"

/**
 * Any value that JSON can say.
 *
 * @since 0.2.0
 * @category models
 */
export type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json | undefined }

/**
 * A journal that is open for writing.
 *
 * @since 0.2.0
 * @category models
 */
export interface Journal<in Entry> {
  /** Done when the entries are on the disk. Entries of many fibers stand in the order of asking. */
  readonly append: (...entries: ReadonlyArray<Entry>) => Effect.Effect<void, RunStorageError>
  /** Hands an entry in and does not wait. What is appended later stands behind it. */
  readonly note: (entry: Entry) => Effect.Effect<void>
}

/**
 * A journal with what it said when it was opened.
 *
 * @since 0.2.0
 * @category models
 */
export interface Opened<in Entry, out State> extends Journal<Entry> {
  readonly state: State
  /** Bytes of a torn last line that were cut off. */
  readonly cut: number
}

const newline = 10
const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** `["<crc32c of the rest>",<number>,<entry>]`: every line is JSON by itself. */
const lineOf = (number: number, entry: unknown): string => {
  const rest = `${number},${JSON.stringify(entry)}`
  return `["${hex(crc32c(encoder.encode(rest)))}",${rest}]\n`
}

const prefix = `["00000000",`.length

interface Line {
  readonly number: number
  readonly entry: unknown
}

const parse = (bytes: Uint8Array): Line | undefined => {
  const end = bytes.length - 1
  if (end < prefix || bytes[0] !== 0x5b || bytes[1] !== 0x22 || bytes[end] !== 0x5d) return undefined
  if (decoder.decode(bytes.subarray(2, 10)) !== hex(crc32c(bytes, prefix, end))) return undefined
  const [number, entry] = JSON.parse(`[${decoder.decode(bytes.subarray(prefix, end))}]`) as [number, unknown] // as lineOf wrote it
  return { number, entry }
}

interface Reading<State> {
  state: State
  next: number
  line: number
  /** Where the last good line ends. */
  good: number
}

/**
 * Reads a journal without changing it, a piece at a time. A file that is not there has no entries. A last line that was never
 * finished is left out.
 *
 * @since 0.2.0
 * @category constructors
 */
export const read = <Entry, State>(
  file: string,
  initial: State,
  step: (state: State, entry: Entry) => State
): Effect.Effect<
  { readonly state: State; readonly entries: number; readonly good: number; readonly size: number },
  RunStorageError | JournalDamaged,
  FileSystem.FileSystem
> =>
  Effect.scoped(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const reading: Reading<State> = { state: initial, next: 0, line: 0, good: 0 }
    if (!(yield* fs.exists(file))) return { state: initial, entries: 0, good: 0, size: 0 }
    let offset = 0
    const take = (bytes: Uint8Array): JournalDamaged | undefined => {
      const at = offset
      offset += bytes.length + 1
      reading.line++
      const found = parse(bytes)
      // a line that ends was written whole: only the last one can be torn, and then it has no end
      if (found === undefined) return new JournalDamaged({ file, line: reading.line, offset: at, reason: "checksum" })
      if (found.number !== reading.next) {
        return new JournalDamaged({ file, line: reading.line, offset: at, reason: "sequence" })
      }
      // checksummed: it is what was appended as an entry
      reading.state = step(reading.state, found.entry as Entry)
      reading.next++
      reading.good = offset
      return undefined
    }
    const handle = yield* fs.open(file, { flag: "r" })
    const buffer = new Uint8Array(1 << 18)
    let rest = new Uint8Array()
    while (true) {
      const count = Number(yield* handle.read(buffer))
      if (count === 0) break
      const piece = new Uint8Array(rest.length + count)
      piece.set(rest)
      piece.set(buffer.subarray(0, count), rest.length)
      let from = 0
      for (let end = piece.indexOf(newline); end >= 0; end = piece.indexOf(newline, from)) {
        const damage = take(piece.subarray(from, end))
        if (damage !== undefined) return yield* damage
        from = end + 1
      }
      rest = piece.slice(from)
    }
    return { state: reading.state, entries: reading.next, good: reading.good, size: offset + rest.length }
  })).pipe(
    Effect.mapError((cause) =>
      cause._tag === "JournalDamaged" ? cause : new RunStorageError({ doing: "read", file, cause })
    )
  )

/**
 * Opens a journal, or begins one. Its entries are folded into a state. A last line that was torn when a process died is cut
 * off; a line that is damaged anywhere else is an error that names it.
 *
 * @since 0.2.0
 * @category constructors
 */
export const open = <Entry, State>(
  file: string,
  initial: State,
  step: (state: State, entry: Entry) => State
): Effect.Effect<
  Opened<Entry, State>,
  RunStorageError | JournalDamaged,
  FileSystem.FileSystem | Scope.Scope
> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const { entries, good, size, state } = yield* read(file, initial, step)
    if (size > good) {
      yield* Effect.scoped(Effect.gen(function*() {
        const handle = yield* fs.open(file, { flag: "r+" })
        yield* handle.truncate(FileSystem.Size(good))
        yield* handle.sync
      })).pipe(Effect.mapError((cause) => new RunStorageError({ doing: "write", file, cause })))
    }
    const out = yield* openAppend(file, { durable: true })
    let next = entries
    const text = (all: ReadonlyArray<Entry>) => all.map((entry) => lineOf(next++, entry)).join("")
    return {
      state,
      cut: size - good,
      append: (...all) => out.append(() => text(all)),
      note: (entry) => out.offer(() => text([entry]))
    }
  })
