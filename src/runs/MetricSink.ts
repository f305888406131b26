/**
 * Where the figures of a run go beside its own files: a table, TensorBoard, trackio.
 *
 * A sink follows `metrics.jsonl` at its own pace. It never slows the training, and nothing is lost when it is slow or out of
 * reach: what it has not taken it takes the next time.
 *
 * @since 0.2.0
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Csv from "./csvSink.js"
import type { Row } from "./RunDirectory.js"
import type { SinkError } from "./RunError.js"
import * as TensorBoard from "./tensorBoardSink.js"
import * as Trackio from "./trackioSink.js"

/**
 * What a sink is told when training begins, for the first time or again.
 *
 * @since 0.2.0
 * @category models
 */
export interface Opening {
  readonly directory: string
  /** The last part of the directory. */
  readonly name: string
  /** The first step that is trained now. Steps from there on that were told before are told again. */
  readonly start: number
  /** What is in `config.json`. */
  readonly config: Readonly<Record<string, unknown>>
}

/**
 * A sink that is open.
 *
 * @since 0.2.0
 * @category models
 */
export interface Opened {
  /** The first step that it wants. */
  readonly from: number
  /** Takes rows in the order of their steps; what it fails to take it is given again the next time. */
  readonly take: (rows: ReadonlyArray<Row>) => Effect.Effect<void, SinkError>
}

/**
 * Something that takes rows.
 *
 * @since 0.2.0
 * @category models
 */
export interface MetricSink {
  readonly name: string
  readonly open: (
    opening: Opening
  ) => Effect.Effect<Opened, SinkError, FileSystem.FileSystem | Path.Path | HttpClient.HttpClient | Scope.Scope>
}

/**
 * A table `metrics.csv` with a row for every step, first column `step`; `trackio.import_csv` reads it.
 *
 * @since 0.2.0
 * @category constructors
 */
export const csv: (options?: {
  /** In the directory of the run unless it is an absolute path. `metrics.csv` unless given. */
  readonly file?: string | undefined
}) => MetricSink = Csv.make

/**
 * Event files as TensorBoard reads them, a scalar for every figure. When a run goes on from an earlier step, TensorBoard drops
 * what it had of the steps after it.
 *
 * @since 0.2.0
 * @category constructors
 */
export const tensorBoard: (options?: {
  /** Folder of the event files, in the directory of the run unless it is absolute. `tensorboard` unless given. */
  readonly folder?: string | undefined
}) => MetricSink = TensorBoard.make

/**
 * A trackio server, over its REST API. Each row has an id of its own, so that one that is sent twice is counted once.
 *
 * @since 0.2.0
 * @category constructors
 */
export const trackio: (options: {
  readonly url: string
  readonly project: string
  /** The last part of the directory unless given. */
  readonly run?: string | undefined
  /** The server's write token, if it wants one. */
  readonly writeToken?: Redacted.Redacted | undefined
  /** Of Hugging Face, for a server in a Space. */
  readonly hfToken?: Redacted.Redacted | undefined
}) => MetricSink = Trackio.make
