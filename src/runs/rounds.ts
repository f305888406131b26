/** Rounds of sampling within one pass of the training loop: drawn once, kept, and found again. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import type * as SamplingClient from "../client/SamplingClient.js"
import type { TinkexError } from "../TinkexError.js"
import type { BudgetExceeded } from "./Budget.js"
import type * as Cost from "./Cost.js"
import { crc32c, hex } from "./crc32c.js"
import { seedOf } from "./hash.js"
import type { Rollouts, Round, Usage } from "./Rollouts.js"
import { claim, type RunCore } from "./runCore.js"
import * as RunDirectory from "./RunDirectory.js"
import { RunStorageError } from "./RunError.js"

/** Beside what the cookbook has in the directory of an iteration. */
const roundFile = "rollouts.json"
const summaryFile = "train_rollout_summaries.jsonl"

type RoundError = TinkexError | RunStorageError | BudgetExceeded

export interface Rounds<out E, out R> {
  /** Whether the weights after so many updates are to be sampled from. */
  readonly wants: (updates: number) => boolean
  /** Samples the rounds that wait for these weights. */
  readonly draw: (
    updates: number,
    sampler: Effect.Effect<SamplingClient.Client, TinkexError, Scope.Scope>
  ) => Effect.Effect<void, never, R>
  readonly round: (index: number) => Effect.Effect<Round<E, R>, E | RoundError>
  /** Done when everything that weights before so many updates were sampled for is on the disk. */
  readonly settled: (updates: number) => Effect.Effect<void, E | RoundError>
}

/** How a round's tokens are charged. */
export const charged = (usage: Usage): Cost.Usage => {
  const cached = usage.prefillCached ?? 0
  return { trained: 0, sampled: usage.sampled, prefillCached: cached, prefillUncached: (usage.prefill ?? 0) - cached }
}

const failing = (doing: "read" | "write", file: string) =>
  Effect.mapError((cause: RunStorageError["cause"]) => new RunStorageError({ doing, file, cause }))

/** Writes a round down, and then that it is. */
const keepRound = <E, R>(run: RunCore, index: number, round: Round<E, R>) =>
  Effect.gen(function*() {
    const directory = run.file(RunDirectory.iteration(index))
    const replace = (name: string, text: string) =>
      Effect.provideService(
        RunDirectory.replaceFile(run.file(RunDirectory.iteration(index), name), text),
        FileSystem.FileSystem,
        run.fs
      )
    yield* failing("write", directory)(run.fs.makeDirectory(directory, { recursive: true }))
    yield* replace(roundFile, round.text)
    if (round.summaries.length > 0) {
      const lines = round.summaries.map((summary, i) =>
        JSON.stringify({ schema_version: 1, split: "train", iteration: index, group_idx: 0, traj_idx: i, ...summary })
      )
      yield* replace(summaryFile, `${lines.join("\n")}\n`)
    }
    const bytes = new TextEncoder().encode(round.text)
    yield* run.record({ t: "sampled", index, crc: hex(crc32c(bytes)), usage: charged(round.usage) })
  })

export const makeRounds = <E, R>(
  run: RunCore,
  rollouts: Rollouts<E, R>,
  range: { readonly start: number; readonly total: number }
): Effect.Effect<Rounds<E, R>, RunStorageError> =>
  Effect.gen(function*() {
    const { ahead, updates: each } = rollouts
    const count = Math.ceil(range.total / each)
    const first = Math.floor(range.start / each)
    const slots = new Map<number, Deferred.Deferred<Round<E, R>, E | RoundError>>()
    const path = (index: number, name: string) => run.file(RunDirectory.iteration(index), name)

    /** Updates that the weights hold which a round samples with, as far as they are still to be had. */
    const weightsOf = (index: number): number => Math.max(range.start, Math.max(0, index - ahead) * each)

    const slot = (index: number) => {
      let found = slots.get(index)
      if (found === undefined) slots.set(index, found = Deferred.unsafeMake(FiberId.none))
      return found
    }

    /** A round as it was kept, if it is whole. */
    const recall = (index: number) =>
      Effect.gen(function*() {
        const known = run.state.samples.get(index)
        const file = path(index, roundFile)
        if (known === undefined || !(yield* failing("read", file)(run.fs.exists(file)))) return undefined
        const bytes = yield* failing("read", file)(run.fs.readFile(file))
        if (hex(crc32c(bytes)) !== known.crc) return undefined
        return yield* Effect.orElseSucceed(rollouts.recall(new TextDecoder().decode(bytes)), () => undefined)
      })

    // what was sampled before and may be needed again; a file that is lost or damaged is sampled anew
    const kept = new Set<number>()
    for (const index of run.state.samples.keys()) {
      if (index < first || index >= count) continue
      const round = yield* recall(index)
      if (round === undefined) {
        yield* Effect.logWarning(`${path(index, roundFile)} is damaged; the round is sampled again`)
      } else kept.add(index)
    }

    const waiting = (updates: number): ReadonlyArray<number> => {
      const found: Array<number> = []
      for (let index = first; index < Math.min(count, Math.floor(updates / each) + ahead + 1); index++) {
        if (weightsOf(index) === updates && !kept.has(index)) found.push(index)
      }
      return found
    }

    const drawOne = (index: number, updates: number, sampler: SamplingClient.Client) =>
      Effect.gen(function*() {
        const claimed = yield* claim(run, charged(rollouts.most ?? { sampled: 0 }))
        const round = yield* rollouts.sample({ sampler, index, updates, seed: seedOf(run.seed, index) })
        yield* claimed(charged(round.usage))
        yield* keepRound(run, index, round)
        kept.add(index)
        yield* run.emit({ _tag: "Sampled", index, updates })
        return round
      })

    return {
      wants: (updates) => waiting(updates).length > 0,
      draw: (updates, sampler) => {
        const indices = waiting(updates)
        return Effect.scoped(
          Effect.flatMap(Effect.exit(sampler), (exit) =>
            Effect.forEach(
              indices,
              (index) =>
                Effect.intoDeferred(
                  Effect.flatMap(exit, (sampler) => drawOne(index, updates, sampler)),
                  slot(index)
                ),
              { concurrency: "unbounded", discard: true }
            ))
        )
      },
      round: (index) =>
        Effect.suspend(() => {
          for (const past of slots.keys()) if (past < index && kept.has(past)) slots.delete(past)
          // a round that is not kept yet is being drawn
          if (!kept.has(index) || slots.has(index)) return Deferred.await(slot(index))
          return Effect.flatMap(
            recall(index),
            (round) => round === undefined ? Deferred.await(slot(index)) : Effect.succeed(round)
          )
        }),
      settled: (updates) =>
        Effect.suspend(() => {
          const open: Array<Effect.Effect<unknown, E | RoundError>> = []
          for (let index = first; index < Math.min(count, Math.ceil(updates / each) + ahead); index++) {
            if (Math.max(0, index - ahead) * each < updates && !kept.has(index)) open.push(Deferred.await(slot(index)))
          }
          return Effect.all(open, { discard: true })
        })
    }
  })
