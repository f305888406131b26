/**
 * Lines of a file, one after the other: a file of any size passes in constant memory.
 *
 * @internal
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Stream from "effect/Stream"

/**
 * A line of a file that is no conversation. The message names file, line and what is wrong there, and never holds the line.
 *
 * @since 0.2.0
 * @category errors
 */
export class ConversationError extends Data.TaggedError("ConversationError")<{
  readonly path: string
  /** From 1; undefined when the file itself could not be read. */
  readonly line?: number | undefined
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return `${this.path}${this.line === undefined ? "" : `, line ${this.line}`}: ${this.detail}`
  }
}

/**
 * How far a file is read.
 *
 * @since 0.2.0
 * @category models
 */
export interface Progress {
  readonly lines: number
  readonly bytes: number
  /** Of the whole file. */
  readonly total: number
}

/**
 * `chat.jsonl: 12,345 lines, 41 %`, for a line on the terminal (`ConsoleView`'s header, or a log).
 *
 * @since 0.2.0
 * @category formatting
 */
export const progressText = (path: string, { bytes, lines, total }: Progress): string =>
  `${path}: ${lines.toLocaleString("en-US")} lines${total > 0 ? `, ${Math.floor(100 * bytes / total)} %` : ""}`

/**
 * - `onProgress`: told about every 1 MiB, and at the end.
 * - `maxLineBytes`: a longer line is refused instead of held in memory. 64 MiB unless given.
 *
 * @since 0.2.0
 * @category models
 */
export interface ReadOptions {
  readonly onProgress?: ((progress: Progress) => Effect.Effect<void>) | undefined
  readonly maxLineBytes?: number | undefined
}

const chunkSize = 256 * 1024
const progressStep = 1 << 20

const unreadable = (path: string) => (cause: PlatformError): ConversationError =>
  new ConversationError({
    path,
    detail: cause._tag === "SystemError" && cause.reason === "NotFound"
      ? "there is no such file"
      : "the file could not be read",
    cause
  })

/** Lines of a file with their numbers. Nothing is kept but the line that is being read. @internal */
export const lines = (path: string, options: ReadOptions) =>
  Stream.unwrap(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const info = yield* Effect.mapError(fs.stat(path), unreadable(path))
    const total = Number(info.size)
    const limit = options.maxLineBytes ?? 64 * 1024 * 1024
    const onProgress = options.onProgress ?? (() => Effect.void)
    const text = new TextDecoder()
    let rest = ""
    let line = 0
    let bytes = 0
    let told = 0
    const cut = (piece: string): Either.Either<ReadonlyArray<readonly [number, string]>, ConversationError> => {
      const parts = (rest + piece).split("\n")
      rest = parts.pop() ?? ""
      if (rest.length > limit) {
        return Either.left(
          new ConversationError({
            path,
            line: line + parts.length + 1,
            detail: `expected a line of at most ${limit} bytes`
          })
        )
      }
      return Either.right(parts.map((part) => [++line, part] as const))
    }
    const body = fs.stream(path, { chunkSize }).pipe(
      Stream.mapError(unreadable(path)),
      Stream.mapEffect((chunk) => {
        bytes += chunk.length
        const found = cut(text.decode(chunk, { stream: true }))
        if (bytes - told < progressStep) return found
        told = bytes
        return Effect.zipRight(onProgress({ lines: line, bytes, total }), found)
      }),
      Stream.mapConcat((found) => found)
    )
    const last = Stream.unwrap(Effect.sync(() => {
      const left = rest + text.decode()
      const found = left.trim() === "" ? [] : [[++line, left] as const]
      return Stream.concat(
        Stream.fromIterable(found),
        Stream.drain(Stream.fromEffect(onProgress({ lines: line, bytes, total })))
      )
    }))
    return Stream.concat(body, last)
  }))
