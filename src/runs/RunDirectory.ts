/**
 * The files of a run, as the official cookbook lays them out: what either of the two has written, the other can read.
 *
 * @since 0.2.0
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Json } from "./Journal.js"
import { RunStorageError } from "./RunError.js"

/**
 * Names of the files in a run's directory.
 *
 * @since 0.2.0
 * @category constants
 */
export const files = {
  config: "config.json",
  metrics: "metrics.jsonl",
  checkpoints: "checkpoints.jsonl",
  spans: "timing_spans.jsonl",
  journal: "journal.jsonl",
  budget: "budget.jsonl",
  lock: "run.lock"
} as const

/**
 * Figures of a step; texts are kept as they are.
 *
 * @since 0.2.0
 * @category models
 */
export type Row = Readonly<Record<string, Json | undefined>>

/**
 * A line of `checkpoints.jsonl`. `batch` is the next batch of its epoch, from 0. Keys of other tools stay.
 *
 * @since 0.2.0
 * @category models
 */
export interface CheckpointRecord {
  readonly name: string
  readonly batch?: number | undefined
  readonly epoch?: number | undefined
  readonly final?: boolean | undefined
  readonly state_path?: string | undefined
  readonly sampler_path?: string | undefined
  readonly [key: string]: Json | undefined
}

/**
 * What took how long in a step, in seconds since its first span began.
 *
 * @since 0.2.0
 * @category models
 */
export interface Span {
  readonly name: string
  readonly duration: number
  readonly wall_start: number
  readonly wall_end: number
}

/**
 * The directory of what belongs to one step or batch: `iteration_000012`.
 *
 * @since 0.2.0
 * @category getters
 */
export const iteration = (index: number): string => `iteration_${String(index).padStart(6, "0")}`

const isRecord = (value: unknown): value is Readonly<Record<string, Json>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const parsed = (line: string): Readonly<Record<string, Json>> | undefined => {
  if (line.trim() === "") return undefined
  try {
    const value: unknown = JSON.parse(line)
    return isRecord(value) ? value : undefined
  } catch {
    // a line that another writer has not finished, or that died with it
    return undefined
  }
}

const reading = (file: string) =>
  Effect.mapError((cause: RunStorageError["cause"]) => new RunStorageError({ doing: "read", file, cause }))
const writing = (file: string) =>
  Effect.mapError((cause: RunStorageError["cause"]) => new RunStorageError({ doing: "write", file, cause }))

/**
 * The objects of a JSON Lines file, in order; lines that are none are passed over. A file that is not there has none.
 *
 * @since 0.2.0
 * @category getters
 */
export const lines = (
  file: string
): Stream.Stream<Readonly<Record<string, Json>>, RunStorageError, FileSystem.FileSystem> =>
  Stream.unwrap(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    if (!(yield* reading(file)(fs.exists(file)))) return Stream.empty
    return fs.stream(file).pipe(
      Stream.decodeText(),
      Stream.splitLines,
      Stream.mapError((cause) => new RunStorageError({ doing: "read", file, cause })),
      Stream.filterMap((line) => Option.fromNullable(parsed(line)))
    )
  }))

/**
 * `config.json`, or `undefined`.
 *
 * @since 0.2.0
 * @category getters
 */
export const config = (directory: string) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const file = (yield* Path.Path).join(directory, files.config)
    if (!(yield* reading(file)(fs.exists(file)))) return undefined
    return parsed(yield* reading(file)(fs.readFileString(file)))
  })

/**
 * The rows of `metrics.jsonl`.
 *
 * @since 0.2.0
 * @category getters
 */
export const metrics = (
  directory: string
): Stream.Stream<Row, RunStorageError, FileSystem.FileSystem | Path.Path> =>
  Stream.unwrap(Effect.map(Path.Path, (path) => lines(path.join(directory, files.metrics))))

/**
 * The records of `checkpoints.jsonl`.
 *
 * @since 0.2.0
 * @category getters
 */
export const checkpoints = (
  directory: string
): Effect.Effect<ReadonlyArray<CheckpointRecord>, RunStorageError, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function*() {
    const path = yield* Path.Path
    const all = yield* Stream.runCollect(lines(path.join(directory, files.checkpoints)))
    // other keys are what the tool that wrote the line put there
    return Array.from(all).filter((record) => typeof record["name"] === "string") as unknown as Array<CheckpointRecord>
  })

/**
 * Replaces a file by another content at once: who reads it finds the old or the new.
 *
 * @internal
 */
export const replaceFile = (file: string, text: string): Effect.Effect<void, RunStorageError, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const draft = `${file}.draft`
    yield* Effect.scoped(Effect.gen(function*() {
      const handle = yield* fs.open(draft, { flag: "w" })
      if (text !== "") yield* handle.writeAll(new TextEncoder().encode(text))
      yield* handle.sync
    }))
    yield* fs.rename(draft, file)
  }).pipe(writing(file))

/** Whether the last byte of a file is a newline; an empty file ends well. */
const endsWell = (file: string) =>
  Effect.scoped(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const { size } = yield* fs.stat(file)
    if (size === FileSystem.Size(0)) return true
    const handle = yield* fs.open(file, { flag: "r" })
    yield* handle.seek(FileSystem.Size(size - 1n), "start")
    const last = new Uint8Array(1)
    yield* handle.read(last)
    return last[0] === 10
  }))

/**
 * Drops the rows of a file with `step` from `step` on, and a last line that was torn. The file as it was is kept beside it, as
 * `metrics.jsonl.pre_resume_NNNNNN`, if rows were dropped. Gives their number.
 *
 * @internal
 */
export const truncateRows = (
  file: string,
  step: number
): Effect.Effect<number, RunStorageError, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    if (!(yield* fs.exists(file))) return 0
    const kept: Array<string> = []
    let dropped = 0
    let torn = 0
    yield* fs.stream(file).pipe(
      Stream.decodeText(),
      Stream.splitLines,
      Stream.runForEach((line) =>
        Effect.sync(() => {
          const row = parsed(line)
          const at = row?.["step"]
          if (row === undefined) torn++
          else if (typeof at === "number" && at >= step) dropped++
          else kept.push(line)
        })
      )
    )
    if (dropped === 0 && torn === 0 && (yield* endsWell(file))) return 0
    if (dropped > 0) yield* fs.copyFile(file, `${file}.pre_resume_${String(step).padStart(6, "0")}`)
    yield* replaceFile(file, kept.map((line) => `${line}\n`).join(""))
    return dropped
  }).pipe(Effect.mapError((cause) =>
    cause._tag === "RunStorageError" ? cause : new RunStorageError({ doing: "write", file, cause })
  ))
