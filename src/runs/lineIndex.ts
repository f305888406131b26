/** The lines of a file, found by their number. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Hasher } from "./hash.js"
import { RunStorageError } from "./RunError.js"

export interface Lines {
  readonly count: number
  readonly fingerprint: string
  readonly read: (index: number) => Effect.Effect<string, RunStorageError>
  /** Its number in the file, from 1: empty lines are not counted as examples. */
  readonly numberOf: (index: number) => number
}

const newline = 10
const isBlank = (byte: number) => byte === 32 || byte === 9 || byte === 13

/** Reads the file once, a piece at a time, and keeps where its lines begin and end. */
export const openLines = (
  file: string
): Effect.Effect<Lines, RunStorageError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function*() {
    const reading = <A, R>(effect: Effect.Effect<A, RunStorageError["cause"], R>) =>
      Effect.mapError(effect, (cause) => new RunStorageError({ doing: "read", file, cause }))
    const fs = yield* FileSystem.FileSystem
    let places = new Float64Array(3 * 1024)
    let count = 0
    let offset = 0
    let start = 0
    let number = 1
    let blank = true
    const hasher = new Hasher()
    const end = (at: number) => {
      if (!blank) {
        if (3 * count === places.length) {
          const wider = new Float64Array(2 * places.length)
          wider.set(places)
          places = wider
        }
        places.set([start, at, number], 3 * count++)
      }
      start = at + 1
      number++
      blank = true
    }
    yield* reading(Stream.runForEach(fs.stream(file), (bytes) =>
      Effect.sync(() => {
        for (let i = 0; i < bytes.length; i++) {
          const byte = bytes[i]!
          hasher.word(byte)
          if (byte === newline) end(offset + i)
          else if (!isBlank(byte)) blank = false
        }
        offset += bytes.length
      })))
    end(offset)
    const handle = yield* reading(fs.open(file, { flag: "r" }))
    const mutex = yield* Effect.makeSemaphore(1)
    const read = (index: number) =>
      Effect.gen(function*() {
        const from = places[3 * index]!
        const size = places[3 * index + 1]! - from
        yield* handle.seek(FileSystem.Size(from), "start")
        const bytes = yield* handle.readAlloc(FileSystem.Size(size))
        return new TextDecoder().decode(Option.getOrElse(bytes, () => new Uint8Array()))
      })
    return {
      count,
      fingerprint: hasher.digest(),
      // one position for all who read
      read: (index: number) =>
        Effect.mapError(mutex.withPermits(1)(read(index)), (cause) =>
          new RunStorageError({ doing: "read", file, cause })),
      numberOf: (index: number) =>
        places[3 * index + 2]!
    }
  })
