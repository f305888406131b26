/** What a report shows of a run, gathered from its files in bounded memory. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import { InvalidInput } from "../protocol/InvalidInput.js"
import * as Cost from "./Cost.js"
import type { Json } from "./Journal.js"
import { makeFollower } from "./lineFollower.js"
import { type DatumShown, readDatum, readHealth, readSamples, type SampleShown } from "./reportParts.js"
import * as RunDirectory from "./RunDirectory.js"
import type { Entry, Saved } from "./runState.js"
import { type Curve, Series } from "./series.js"

/** A step of the time line. */
export interface StepSpans {
  readonly step: number
  /** Seconds since 1970; absent where another tool wrote the line. */
  readonly start?: number | undefined
  readonly spans: ReadonlyArray<RunDirectory.Span>
}

export interface CheckpointShown {
  readonly name: string
  readonly updates: number
  readonly path: string
  readonly sampler?: string | undefined
  readonly kind: string
  readonly at?: number | undefined
  readonly score?: number | undefined
  readonly removed: boolean
}

export interface RunReport {
  readonly name: string
  readonly directory: string
  readonly config: Readonly<Record<string, Json | undefined>>
  readonly steps: number
  readonly attempts: number
  readonly began: number | undefined
  readonly last: RunDirectory.Row
  readonly series: Readonly<Record<string, Curve>>
  /** Where training began again: at which step, when, and from what. */
  readonly resumes: ReadonlyArray<{ readonly step: number; readonly at: number; readonly from: string | null }>
  readonly checkpoints: ReadonlyArray<CheckpointShown>
  readonly timeline: ReadonlyArray<StepSpans>
  readonly samples: ReadonlyArray<SampleShown>
  readonly datum: DatumShown | undefined
  readonly health: ReadonlyArray<readonly [string, string]>
  readonly note: string | undefined
}

/** Turns token ids into text, where a tokenizer is at hand. */
export type Decode = (tokens: ReadonlyArray<number>) => string

export interface Collector {
  /** Reads what is new; whether there was anything. */
  readonly refresh: Effect.Effect<boolean>
  readonly report: Effect.Effect<RunReport>
}

const points = 1200
const timelineSteps = 60

/** Keeps the newest steps, and of the older ones every so manieth. */
class Timeline {
  private readonly newest: Array<StepSpans> = []
  private older: Array<StepSpans> = []
  private stride = 1

  add(one: StepSpans): void {
    this.newest.push(one)
    if (this.newest.length <= timelineSteps) return
    const old = this.newest.shift()
    if (old !== undefined && old.step % this.stride === 0) this.older.push(old)
    if (this.older.length > timelineSteps) {
      this.stride *= 2
      this.older = this.older.filter(({ step }) => step % this.stride === 0)
    }
  }

  all(): ReadonlyArray<StepSpans> {
    return [...this.older, ...this.newest]
  }
}

const parse = (line: string): unknown => {
  try {
    return JSON.parse(line)
  } catch {
    // not ours to mend: the run does when it is opened
    return undefined
  }
}

const shown = (saved: Saved, removed: boolean): CheckpointShown => ({
  name: saved.name,
  updates: saved.updates,
  path: saved.path,
  sampler: saved.sampler,
  kind: saved.kind,
  at: saved.at,
  score: saved.score,
  removed
})

/** Figures that only count would crowd the page. */
const isShown = (key: string): boolean => key !== "step" && key !== "timestamp"

interface State {
  series: Map<string, Series>
  timeline: Timeline
  last: RunDirectory.Row
  steps: number
  models: Array<Extract<Entry, { readonly t: "model" }>>
  saved: Map<string, CheckpointShown>
  attempts: number
  began: number | undefined
}

const takeRow = (state: State, row: RunDirectory.Row): void => {
  const step = row["step"]
  if (typeof step !== "number") return
  state.steps = Math.max(state.steps, step + 1)
  state.last = row
  for (const [key, value] of Object.entries(row)) {
    if (typeof value !== "number" || !isShown(key)) continue
    let series = state.series.get(key)
    if (series === undefined) state.series.set(key, series = new Series(points))
    series.add(step, value)
  }
  const seconds = row["time/step"] ?? row["time/total"]
  if (typeof row["num_tokens"] === "number" && typeof seconds === "number" && seconds > 0) {
    let series = state.series.get("tokens/s")
    if (series === undefined) state.series.set("tokens/s", series = new Series(points))
    series.add(step, row["num_tokens"] / seconds)
  }
}

const takeEntry = (state: State, entry: Entry): void => {
  switch (entry.t) {
    case "opened":
      state.attempts = entry.attempt
      state.began ??= entry.at
      break
    case "model":
      state.models.push(entry)
      break
    case "saved":
      state.saved.set(entry.path, shown(entry, false))
      break
    case "removed": {
      const saved = state.saved.get(entry.path)
      if (saved !== undefined) state.saved.set(entry.path, { ...saved, removed: true })
    }
  }
}

const fresh = (): State => ({
  series: new Map(),
  timeline: new Timeline(),
  last: {},
  steps: 0,
  models: [],
  saved: new Map(),
  attempts: 0,
  began: undefined
})

/** Records of another tool's run, which has no journal. */
const recorded = (records: ReadonlyArray<RunDirectory.CheckpointRecord>): ReadonlyArray<CheckpointShown> =>
  records.flatMap(({ batch, final, name, rolling, sampler_path, state_path, updates }) =>
    state_path === undefined ? [] : [{
      name,
      updates: typeof updates === "number" ? updates : batch ?? 0,
      path: state_path,
      sampler: sampler_path,
      kind: final === true ? "final" : rolling === true ? "rolling" : "periodic",
      removed: false
    }]
  )

const collect = (
  directory: string,
  options: { readonly decode?: Decode | undefined; readonly note?: ((model: string) => string) | undefined } = {}
): Effect.Effect<Collector, never, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function*() {
    const path = yield* Path.Path
    const context = yield* Effect.context<FileSystem.FileSystem | Path.Path>()
    const follower = (name: string) => makeFollower(path.join(directory, name))
    const metrics = yield* follower(RunDirectory.files.metrics)
    const spans = yield* follower(RunDirectory.files.spans)
    const journal = yield* follower(RunDirectory.files.journal)
    let state = fresh()
    const refresh = Effect.gen(function*() {
      const rows = yield* metrics.read(
        (line) => {
          const row = parse(line)
          if (typeof row === "object" && row !== null) takeRow(state, row as RunDirectory.Row)
        },
        () => {
          state = { ...state, series: new Map(), last: {}, steps: 0 }
        }
      )
      const times = yield* spans.read(
        (line) => {
          const one = parse(line)
          if (typeof one === "object" && one !== null && "spans" in one) state.timeline.add(one as StepSpans)
        },
        () => {
          state = { ...state, timeline: new Timeline() }
        }
      )
      const entries = yield* journal.read(
        (line) => {
          const entry = parse(line)
          if (Array.isArray(entry)) takeEntry(state, entry[2] as Entry)
        },
        () => {
          state = { ...state, models: [], saved: new Map(), attempts: 0, began: undefined }
        }
      )
      return rows || times || entries
    })
    const report = Effect.gen(function*() {
      const config = (yield* Effect.orElseSucceed(RunDirectory.config(directory), () => undefined)) ?? {}
      const records = yield* Effect.orElseSucceed(RunDirectory.checkpoints(directory), () => [])
      const model = config["model_name"]
      return {
        name: path.basename(directory),
        directory,
        config,
        steps: state.steps,
        attempts: state.attempts,
        began: state.began,
        last: state.last,
        series: Object.fromEntries([...state.series].map(([key, series]) => [key, series.curve()])),
        resumes: state.models.slice(1).map(({ at, from, updates }) => ({ step: updates, at, from })),
        checkpoints: state.saved.size > 0 ? [...state.saved.values()] : recorded(records),
        timeline: state.timeline.all(),
        samples: yield* readSamples(directory, options.decode),
        datum: yield* readDatum(directory, options.decode),
        health: yield* readHealth(directory),
        note: typeof model === "string" ? options.note?.(model) : undefined
      }
    })
    return { refresh, report: Effect.provide(report, context) }
  })

/** Collectors of runs that are there. */
export const collectors = (directories: ReadonlyArray<string>, options: { readonly decode?: Decode | undefined }) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const prices = yield* Cost.Prices
    const note = (model: string) => Cost.noteOf(prices, model)
    return yield* Effect.forEach(directories, (directory) =>
      Effect.gen(function*() {
        const there = yield* Effect.orElseSucceed(fs.exists(directory), () => false)
        if (there) return yield* collect(directory, { decode: options.decode, note })
        return yield* new InvalidInput({ field: "directory", expected: "the directory of a run", actual: directory })
      }))
  })

export const readAll = (all: ReadonlyArray<Collector>) =>
  Effect.forEach(all, ({ refresh, report }) => Effect.zipRight(refresh, report))
