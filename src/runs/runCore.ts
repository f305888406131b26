/** What the parts of an open run share. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Metrics } from "../observability/Metrics.js"
import { type AppendFile, openAppend } from "./appendFile.js"
import type { BudgetExceeded, Ledger } from "./Budget.js"
import * as Cost from "./Cost.js"
import type { Followers } from "./followers.js"
import type { Journal, Json } from "./Journal.js"
import type { RunEvent } from "./Run.js"
import * as RunDirectory from "./RunDirectory.js"
import type { RunStorageError } from "./RunError.js"
import { apply, type Entry, type State } from "./runState.js"

export interface RunCore {
  readonly directory: string
  readonly seed: number
  readonly state: State
  /** Takes entries into the journal and, when they are on the disk, into the state. */
  readonly record: (...entries: ReadonlyArray<Entry>) => Effect.Effect<void, RunStorageError>
  /** Takes an entry into the state and hands it to the journal; does not wait for the disk. */
  readonly note: (entry: Entry) => Effect.Effect<void>
  readonly emit: (event: RunEvent) => Effect.Effect<void>
  readonly events: Effect.Effect<Stream.Stream<RunEvent>, never, Scope.Scope>
  readonly checkpoints: AppendFile
  readonly rates: Cost.Rates | undefined
  readonly budget: Ledger | undefined
  /** How the service answers, for the report. */
  readonly metrics: Option.Option<Metrics["Type"]>
  /** Sinks that follow the rows from a step on. */
  readonly follow: (start: number) => Effect.Effect<Followers, never, Scope.Scope>
  /** A file of the run by its parts. */
  readonly file: (...parts: ReadonlyArray<string>) => string
  readonly fs: FileSystem.FileSystem
}

export const makeCore = (options: {
  readonly directory: string
  readonly seed: number
  readonly state: State
  readonly journal: Journal<Entry>
  readonly hub: PubSub.PubSub<RunEvent>
  readonly rates: Cost.Rates | undefined
  readonly budget: Ledger | undefined
  readonly follow: RunCore["follow"]
  readonly metrics: RunCore["metrics"]
}): Effect.Effect<RunCore, RunStorageError, FileSystem.FileSystem | Path.Path | Scope.Scope> =>
  Effect.gen(function*() {
    const { journal, state } = options
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const file = (...parts: ReadonlyArray<string>) => path.join(options.directory, ...parts)
    return {
      directory: options.directory,
      seed: options.seed,
      state,
      record: (...entries) =>
        Effect.zipRight(
          journal.append(...entries),
          Effect.sync(() => {
            for (const entry of entries) apply(state, entry)
          })
        ),
      note: (entry) =>
        Effect.suspend(() => {
          apply(state, entry)
          return journal.note(entry)
        }),
      emit: (event) => Effect.asVoid(PubSub.publish(options.hub, event)),
      events: Effect.map(PubSub.subscribe(options.hub), (queue) => Stream.fromQueue(queue, { shutdown: false })),
      checkpoints: yield* openAppend(file(RunDirectory.files.checkpoints), { durable: true }),
      rates: options.rates,
      budget: options.budget,
      follow: options.follow,
      metrics: options.metrics,
      file,
      fs
    }
  })

/**
 * Claims what is about to be spent, and gives how to say what it came to. Without a budget there is nothing to claim.
 */
export const claim = (
  run: RunCore,
  usage: Cost.Usage
): Effect.Effect<(actual: Cost.Usage) => Effect.Effect<void, RunStorageError>, BudgetExceeded | RunStorageError> => {
  const amount = (usage: Cost.Usage) => ({
    tokens: Cost.total(usage),
    usd: run.rates === undefined ? 0 : Cost.usd(run.rates, usage)
  })
  return run.budget === undefined
    ? Effect.succeed(() => Effect.void)
    : Effect.map(run.budget.claim(amount(usage)), ({ settle }) => (actual: Cost.Usage) => settle(amount(actual)))
}

/** Seconds on a clock that only goes forward, for spans, and where its zero is in seconds since 1970. */
export const stopwatch = Effect.map(
  Effect.all([Clock.currentTimeNanos, Clock.currentTimeMillis]),
  ([nanos, millis]) => ({
    zero: millis / 1000,
    now: Effect.map(Clock.currentTimeNanos, (later) => Number(later - nanos) / 1e9)
  })
)

export const jsonLine = (value: Readonly<Record<string, Json | undefined>>) => (): string =>
  `${JSON.stringify(value)}\n`
