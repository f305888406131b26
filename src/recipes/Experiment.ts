/**
 * Scripted experiments: every combination of settings under several seeds, some at one time, each found again if it is done.
 *
 * @since 0.2.0
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { bootstrap, type Interval } from "./Evaluation.js"

/**
 * Values of a setting.
 *
 * @since 0.2.0
 * @category models
 */
export type Value = string | number | boolean

/**
 * One combination of settings under one seed.
 *
 * @since 0.2.0
 * @category models
 */
export interface Trial<out S> {
  readonly settings: S
  readonly seed: number
  /** A folder of its own, for its run. */
  readonly directory: string
}

/**
 * What a trial found: figures by name.
 *
 * @since 0.2.0
 * @category models
 */
export type Figures = Readonly<Record<string, number>>

/**
 * A combination of settings and its figures over all seeds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Row<out S> {
  readonly settings: S
  readonly seeds: ReadonlyArray<number>
  readonly figures: Readonly<Record<string, Interval>>
}

/**
 * The result of a trial could not be kept or read.
 *
 * @since 0.2.0
 * @category errors
 */
export class ExperimentError extends Data.TaggedError("ExperimentError")<{
  readonly file: string
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return `experiment, ${this.file}: ${this.detail}`
  }
}

type Choices = Readonly<Record<string, ReadonlyArray<Value>>>
type Chosen<C extends Choices> = { readonly [K in keyof C]: C[K][number] }

/**
 * Every combination of the values of settings, the last setting changing fastest.
 *
 * @since 0.2.0
 * @category constructors
 */
export const combinations = <const C extends Choices>(choices: C): ReadonlyArray<Chosen<C>> =>
  Object.entries(choices).reduce<ReadonlyArray<Record<string, Value>>>(
    (all, [name, values]) => all.flatMap((one) => values.map((value) => ({ ...one, [name]: value }))),
    [{}]
  ) as ReadonlyArray<Chosen<C>> // each has a value of every setting

const nameOf = (settings: Readonly<Record<string, Value>>, seed: number): string =>
  [...Object.entries(settings).map(([name, value]) => `${name}=${String(value)}`), `seed=${seed}`].join(",")
    .replaceAll(/[^A-Za-z0-9=,._-]/g, "_").slice(0, 200)

const Kept = Schema.parseJson(Schema.Struct({
  settings: Schema.Record({ key: Schema.String, value: Schema.Union(Schema.String, Schema.Number, Schema.Boolean) }),
  seed: Schema.Int,
  figures: Schema.Record({ key: Schema.String, value: Schema.Number })
}))

const failed = (file: string) => (cause: unknown) =>
  new ExperimentError({ file, detail: cause instanceof Error ? cause.message : String(cause), cause })

/**
 * Runs a trial for every combination and seed. Each result is written when it is there, so that an experiment that was cut off
 * goes on with what is missing; a trial that keeps its own run in `directory` goes on within it. Rows come in the order of the
 * combinations, figures with the interval in which their mean over the seeds lies.
 *
 * @since 0.2.0
 * @category running
 */
export const grid = <const C extends Choices, E, R>(options: {
  /** Where results and folders of trials are kept. */
  readonly directory: string
  readonly choices: C
  readonly seeds: ReadonlyArray<number>
  readonly trial: (trial: Trial<Chosen<C>>) => Effect.Effect<Figures, E, R>
  /** Trials at one time; 1 unless given. */
  readonly concurrency?: number | undefined
  readonly onResult?:
    | ((trial: Trial<Chosen<C>>, figures: Figures, found: boolean) => Effect.Effect<void>)
    | undefined
}): Effect.Effect<ReadonlyArray<Row<Chosen<C>>>, E | ExperimentError, R | FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    yield* Effect.mapError(fs.makeDirectory(options.directory, { recursive: true }), failed(options.directory))
    const all = combinations(options.choices)
    const trials = all.flatMap((settings) => options.seeds.map((seed) => ({ settings, seed })))
    const done = yield* Effect.forEach(trials, ({ seed, settings }) =>
      Effect.gen(function*() {
        const name = nameOf(settings, seed)
        const directory = paths.join(options.directory, name)
        const file = paths.join(options.directory, `${name}.json`)
        const trial = { settings, seed, directory }
        const kept = yield* Effect.either(Effect.flatMap(fs.readFileString(file), Schema.decode(Kept)))
        if (Either.isRight(kept)) {
          yield* options.onResult?.(trial, kept.right.figures, true) ?? Effect.void
          return kept.right.figures
        }
        const figures = yield* options.trial(trial)
        const text = yield* Effect.orDie(Schema.encode(Kept)({ settings: { ...settings }, seed, figures })) // numbers
        // whole or not at all
        yield* Effect.mapError(
          Effect.zipRight(fs.writeFileString(`${file}.part`, text), fs.rename(`${file}.part`, file)),
          failed(file)
        )
        yield* options.onResult?.(trial, figures, false) ?? Effect.void
        return figures
      }), { concurrency: options.concurrency ?? 1 })
    return all.map((settings, i) => {
      const own = done.slice(i * options.seeds.length, (i + 1) * options.seeds.length)
      const names = new Set(own.flatMap((figures) => Object.keys(figures)))
      return {
        settings,
        seeds: options.seeds,
        figures: Object.fromEntries(
          [...names].map((name) => [name, bootstrap(own.flatMap((figures) => figures[name] ?? []))])
        )
      }
    })
  })

const short = (value: number): string =>
  value === 0 ? "0" : Math.abs(value) >= 1000 || Math.abs(value) < 0.001 ? value.toExponential(2) : value.toFixed(3)

/**
 * Rows as a table of text: settings, then the mean of each figure with half of its interval.
 *
 * @since 0.2.0
 * @category formatting
 */
export const toTable = <S extends Readonly<Record<string, Value>>>(rows: ReadonlyArray<Row<S>>): string => {
  const settings = Object.keys(rows[0]?.settings ?? {})
  const figures = [...new Set(rows.flatMap((row) => Object.keys(row.figures)))]
  const cells = rows.map((row) => [
    ...settings.map((name) => String(row.settings[name])),
    ...figures.map((name) => {
      const figure = row.figures[name]
      return figure === undefined ? "—" : `${short(figure.mean)} ± ${short((figure.high - figure.low) / 2)}`
    })
  ])
  const table = [[...settings, ...figures], ...cells]
  const widths = [...settings, ...figures].map((_, i) => Math.max(...table.map((row) => row[i]?.length ?? 0)))
  return table.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ").trimEnd()).join("\n")
}
