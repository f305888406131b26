/** One pass of training: steps are handed in ahead and seen through in order, checkpoints are seen through beside them. */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Future from "../client/Future.js"
import type { Incarnation } from "../training/Recovery.js"
import { BudgetExceeded } from "./Budget.js"
import { makeHandIn } from "./handIn.js"
import { keepHealth } from "./keepsakes.js"
import { makePass, type Pass, type PassError } from "./pass.js"
import { jsonLine, type RunCore } from "./runCore.js"
import * as Saver from "./saver.js"
import { rowOf } from "./stepRow.js"
import type { Plan } from "./trainPlan.js"

/** Hands everything in. Gives the refusal of the budget, if that is what ended it: what was handed in is seen through. */
const handInAll = <E, R>(
  pass: Pass<E, R>
): Effect.Effect<BudgetExceeded | undefined, E | PassError, R> =>
  Effect.gen(function*() {
    const { client } = pass.incarnation
    const { policy, total } = pass.plan
    const handIn = yield* makeHandIn(pass)
    if (pass.start < total) yield* handIn.draw(pass.start, client.snapshot)
    for (let step = pass.start; step < total; step++) {
      const submit = yield* handIn.ready(step)
      yield* Queue.take(pass.permits)
      yield* submit
    }
    if (pass.start === total && policy.final) yield* handIn.save("final", total)
    return undefined
  }).pipe(
    Effect.catchIf((error): error is BudgetExceeded => error instanceof BudgetExceeded, Effect.succeed),
    Effect.zipLeft(Queue.offer(pass.handed, undefined))
  )

/** Sees the steps through in the order in which they were handed in. */
const seeThrough = <E, R>(pass: Pass<E, R>): Effect.Effect<void, PassError> =>
  Effect.gen(function*() {
    const { clock, handed, permits, run, saves, timed } = pass
    while (true) {
      const one = yield* Queue.take(handed)
      if (one === undefined) break
      const { began, spans, step } = one
      const [output, update] = yield* timed(
        spans,
        "wait",
        Effect.zip(Future.await(one.output), Future.await(one.update))
      )
      yield* Queue.offer(permits, undefined)
      yield* one.settle
      yield* run.note({ t: "applied", step })
      const row = yield* rowOf(pass, one, output, update, (yield* clock.now) - one.submitted)
      yield* pass.rows.offer(jsonLine(row))
      yield* pass.spans.offer(() =>
        `${
          JSON.stringify({
            step,
            start: clock.zero + began,
            spans: spans.map((span) => ({
              ...span,
              wall_start: span.wall_start - began,
              wall_end: span.wall_end - began
            }))
          })
        }\n`
      )
      yield* pass.followers.wake
      yield* Deferred.succeed(one.row, row)
      yield* run.emit({ _tag: "Step", step, row })
    }
    yield* Queue.offer(saves, undefined)
  })

const seeSavesThrough = <E, R>(
  { incarnation, plan, rounds, rows, run, saves, spans }: Pass<E, R>
): Effect.Effect<void, E | PassError> =>
  Effect.gen(function*() {
    const flush = Effect.zipRight(rows.flush, spans.flush)
    const settled = (updates: number) => rounds === undefined ? Effect.void : rounds.settled(updates)
    while (true) {
      const save = yield* Queue.take(saves)
      if (save === undefined) return
      yield* Saver.finish(run, incarnation.rest, plan.policy, plan.batchesPerEpoch, settled, flush, save)
    }
  })

/** Trains a client on from the updates that its weights hold. */
export const trainLoop = <E, R>(
  run: RunCore,
  plan: Plan<E, R>,
  incarnation: Incarnation,
  start: number
): Effect.Effect<void, E | PassError, R | FileSystem.FileSystem> =>
  Effect.scoped(Effect.gen(function*() {
    const pass = yield* makePass(run, plan, incarnation, start)
    yield* Effect.forkScoped(Effect.interruptible(
      Effect.forever(Effect.zipRight(Effect.sleep("1 minute"), keepHealth(run)))
    ))
    const [refused] = yield* Effect.all([handInAll(pass), seeThrough(pass), seeSavesThrough(pass)], {
      concurrency: "unbounded"
    })
    yield* pass.rows.flush
    yield* pass.spans.flush
    yield* pass.followers.finish
    yield* keepHealth(run)
    if (refused !== undefined) return yield* refused
  }))
