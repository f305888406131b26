/** The batches of a pass, made while the ones before them are on their way. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Datum } from "../protocol/Datum.js"
import { type BatchFacts, factsOf } from "./batchFacts.js"
import type { Pass, PassError } from "./pass.js"
import type { Round } from "./Rollouts.js"
import type { Span } from "./RunDirectory.js"
import { RunMismatch } from "./RunError.js"

export interface Prepared {
  readonly data: ReadonlyArray<Datum>
  readonly facts: BatchFacts
  readonly round: Round<unknown, unknown> | undefined
  readonly spans: ReadonlyArray<Span>
}

const dataOf = <E, R>({ context, plan, rounds, run }: Pass<E, R>, step: number) =>
  Effect.gen(function*() {
    const { source } = plan
    if (source._tag === "Dataset") return { data: yield* source.dataset.batch(step, run.seed), round: undefined }
    if (source._tag === "Function" || rounds === undefined) {
      return { data: source._tag === "Function" ? yield* source.batches(context(step)) : [], round: undefined }
    }
    const index = Math.floor(step / source.rollouts.updates)
    const round = yield* rounds.round(index)
    return { data: yield* round.data({ step, index, part: step % source.rollouts.updates }), round }
  })

/** Makes a batch, and holds it against what was handed in at this step before. */
const prepare = <E, R>(pass: Pass<E, R>, step: number): Effect.Effect<Prepared, E | PassError, R> =>
  Effect.gen(function*() {
    const { run, timed } = pass
    const spans: Array<Span> = []
    const made = yield* timed(spans, "prepare", dataOf(pass, step))
    const facts = factsOf(made.data)
    const before = run.state.batches.get(step)
    if (before !== undefined && before !== facts.digest) {
      return yield* new RunMismatch({
        directory: run.directory,
        differences: [{ setting: `batch of step ${step}`, before, now: facts.digest }]
      })
    }
    return { ...made, facts, spans }
  })

/** Gives the batch of a step; asked for one step after the other. */
export const makePrepare = <E, R>(pass: Pass<E, R>) => {
  const { plan, scope } = pass
  const ahead = new Map<number, Fiber.RuntimeFiber<Prepared, E | PassError>>()
  return (step: number): Effect.Effect<Prepared, E | PassError, R> =>
    plan.prefetch === 0 ? prepare(pass, step) : Effect.gen(function*() {
      for (let next = step; next <= Math.min(step + plan.prefetch, plan.total - 1); next++) {
        if (!ahead.has(next)) ahead.set(next, yield* Effect.forkIn(prepare(pass, next), scope))
      }
      const fiber = ahead.get(step)
      ahead.delete(step)
      return fiber === undefined ? yield* prepare(pass, step) : yield* Fiber.join(fiber)
    })
}
