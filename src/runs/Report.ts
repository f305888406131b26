/**
 * A run on one page: its curves, its time, its samples, its checkpoints, its cost. One HTML file that needs no network.
 *
 * @since 0.2.0
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import type { InvalidInput } from "../protocol/InvalidInput.js"
import { collectors, readAll, type RunReport } from "./reportData.js"
import { page } from "./reportHtml.js"

/**
 * How a report is made.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** Turns token ids into text. Without it ids are shown. */
  readonly decode?: ((tokens: ReadonlyArray<number>) => string) | undefined
}

/**
 * What a report shows of a run, as plain data: settings, curves in at most 1,200 points each, time line, samples, checkpoints.
 *
 * @since 0.2.0
 * @category models
 */
export interface Shown extends RunReport {}

/**
 * What a report shows of runs.
 *
 * @since 0.2.0
 * @category constructors
 */
export const data = (
  directories: ReadonlyArray<string>,
  options: Options = {}
): Effect.Effect<ReadonlyArray<Shown>, InvalidInput, FileSystem.FileSystem | Path.Path> =>
  Effect.flatMap(collectors(directories, options), readAll)

/**
 * The report of one run, or of several with their curves over each other, as the text of one HTML file.
 *
 * @since 0.2.0
 * @category constructors
 */
export const html = (
  directories: ReadonlyArray<string>,
  options: Options = {}
): Effect.Effect<string, InvalidInput, FileSystem.FileSystem | Path.Path> =>
  Effect.map(data(directories, options), (runs) => page(runs, { live: false }))
