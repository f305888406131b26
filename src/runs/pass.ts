/** What the parts of one pass of training share: from where the weights of a client are, to the end. */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type * as Future from "../client/Future.js"
import type { Datum } from "../protocol/Datum.js"
import type { AdamParams, OptimStepResponse } from "../protocol/Training.js"
import type { TinkexError } from "../TinkexError.js"
import type { Incarnation } from "../training/Recovery.js"
import { type AppendFile, openAppend } from "./appendFile.js"
import type { BatchFacts } from "./batchFacts.js"
import type { BudgetExceeded } from "./Budget.js"
import type * as Cost from "./Cost.js"
import type { Followers } from "./followers.js"
import { seedOf } from "./hash.js"
import type { Round } from "./Rollouts.js"
import { makeRounds, type Rounds } from "./rounds.js"
import type { PassOutput, StepContext } from "./Run.js"
import { type RunCore, stopwatch } from "./runCore.js"
import type { Row, Span } from "./RunDirectory.js"
import * as RunDirectory from "./RunDirectory.js"
import type { RunMismatch, RunStorageError } from "./RunError.js"
import { position, type Save } from "./saver.js"
import type { Plan } from "./trainPlan.js"

export type PassError = TinkexError | RunStorageError | RunMismatch | BudgetExceeded

/** A step that was handed in. */
export interface Handed {
  readonly step: number
  readonly data: ReadonlyArray<Datum>
  readonly facts: BatchFacts
  readonly adam: AdamParams
  readonly output: Future.Future<PassOutput>
  readonly update: Future.Future<OptimStepResponse>
  readonly round: Round<unknown, unknown> | undefined
  readonly evaluation: Readonly<Record<string, number>>
  readonly usage: Cost.Usage
  /** What the run had used with this step. */
  readonly cumulative: Cost.Usage
  readonly settle: Effect.Effect<void, RunStorageError>
  readonly row: Deferred.Deferred<Row>
  readonly spans: Array<Span>
  readonly began: number
  /** When it began to be handed in. */
  readonly submitted: number
}

export interface Pass<E, R> {
  readonly run: RunCore
  readonly plan: Plan<E, R>
  readonly incarnation: Incarnation
  /** Updates that the client's weights hold at the beginning. */
  readonly start: number
  readonly scope: Scope.Scope
  readonly clock: { readonly zero: number; readonly now: Effect.Effect<number> }
  readonly rounds: Rounds<E, R> | undefined
  /** Updates from one round of sampling. */
  readonly updatesPerRound: number
  readonly rows: AppendFile
  readonly spans: AppendFile
  readonly followers: Followers
  /** One is taken before a step is handed in, and given back when it is done. */
  readonly permits: Queue.Queue<void>
  readonly handed: Queue.Queue<Handed | undefined>
  readonly saves: Queue.Queue<Save | undefined>
  readonly context: (step: number) => StepContext
  readonly timed: <A, E2, R2>(
    spans: Array<Span>,
    name: string,
    effect: Effect.Effect<A, E2, R2>
  ) => Effect.Effect<A, E2, R2>
}

export const makePass = <E, R>(
  run: RunCore,
  plan: Plan<E, R>,
  incarnation: Incarnation,
  start: number
): Effect.Effect<Pass<E, R>, RunStorageError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* stopwatch
    /** Rows of steps that are done again are taken out first. */
    const rowsOf = (name: string) =>
      Effect.zipRight(
        RunDirectory.truncateRows(run.file(name), start),
        openAppend(run.file(name), { durable: false })
      )
    const permits = yield* Queue.bounded<void>(plan.depth)
    yield* Queue.offerAll(permits, Array.from({ length: plan.depth }, () => undefined))
    const rows = yield* rowsOf(RunDirectory.files.metrics)
    return {
      run,
      plan,
      incarnation,
      start,
      scope: yield* Effect.scope,
      clock,
      rounds: plan.source._tag === "Rollouts"
        ? yield* makeRounds(run, plan.source.rollouts, { start, total: plan.total })
        : undefined,
      updatesPerRound: plan.source._tag === "Rollouts" ? plan.source.rollouts.updates : 1,
      rows,
      followers: yield* run.follow(start),
      spans: yield* rowsOf(RunDirectory.files.spans),
      permits,
      handed: yield* Queue.unbounded<Handed | undefined>(),
      saves: yield* Queue.unbounded<Save | undefined>(),
      context: (step) => ({
        step,
        ...position(step, plan.batchesPerEpoch),
        seed: seedOf(run.seed, step),
        client: incarnation.client,
        service: incarnation.service
      }),
      timed: (spans, name, effect) =>
        Effect.gen(function*() {
          const wall_start = yield* clock.now
          const value = yield* effect
          const wall_end = yield* clock.now
          spans.push({ name, duration: wall_end - wall_start, wall_start, wall_end })
          return value
        })
    }
  })
