/**
 * What can go wrong with a run, beside the errors of the clients.
 *
 * @since 0.2.0
 */
import type { PlatformError } from "@effect/platform/Error"
import * as Data from "effect/Data"
import { TypeId } from "../protocol/InvalidInput.js"

/**
 * A file of a run could not be read or written.
 *
 * @since 0.2.0
 * @category errors
 */
export class RunStorageError extends Data.TaggedError("RunStorageError")<{
  readonly doing: "read" | "write" | "remove"
  readonly file: string
  readonly cause: PlatformError
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return `could not ${this.doing} ${this.file}: ${this.cause.message}`
  }
}

/**
 * The journal of a run is damaged where it was already complete: nothing in it can be relied on. It is not mended by itself.
 *
 * @since 0.2.0
 * @category errors
 */
export class JournalDamaged extends Data.TaggedError("JournalDamaged")<{
  readonly file: string
  /** From 1. */
  readonly line: number
  /** Of the line's first byte. */
  readonly offset: number
  readonly reason: "checksum" | "sequence"
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    const what = this.reason === "checksum"
      ? "does not agree with its checksum"
      : "does not follow the line before it"
    return `${this.file}: line ${this.line} (byte ${this.offset}) ${what}. Restore the file from a copy; or`
      + " start a new directory from the last checkpoint in checkpoints.jsonl"
  }
}

/**
 * A setting that differs from that under which the run was begun.
 *
 * @since 0.2.0
 * @category models
 */
export interface Difference {
  /** Dotted path. */
  readonly setting: string
  readonly before: string
  readonly now: string
}

/**
 * The run was begun with other settings or other data, so that to go on would not be the same run.
 *
 * @since 0.2.0
 * @category errors
 */
export class RunMismatch extends Data.TaggedError("RunMismatch")<{
  readonly directory: string
  readonly differences: ReadonlyArray<Difference>
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    const lines = this.differences.map(({ before, now, setting }) => `  ${setting}: was ${before}, is ${now}`)
    return `the run in ${this.directory} was begun otherwise:\n${lines.join("\n")}\n`
      + "Open it as it was, take another directory, or name the settings in `accept` to go on with the new ones"
  }
}

/**
 * Another process, or another part of this one, has the run open.
 *
 * @since 0.2.0
 * @category errors
 */
export class RunInUse extends Data.TaggedError("RunInUse")<{
  readonly directory: string
  readonly holder: string
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return `the run in ${this.directory} is open elsewhere (${this.holder}); a run has one writer at a time. End that one first`
  }
}

/**
 * A sink did not take rows.
 *
 * @since 0.2.0
 * @category errors
 */
export class SinkError extends Data.TaggedError("SinkError")<{
  readonly sink: string
  readonly detail: string
  readonly cause?: unknown
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return `${this.sink}: ${this.detail}`
  }
}

/**
 * @since 0.2.0
 * @category errors
 */
export type RunError = RunStorageError | JournalDamaged | RunMismatch | RunInUse
