/**
 * The runs of an engine: each with the queue of its operations, from the one that makes it to the one that releases it.
 */
import * as Either from "effect/Either"
import type { RunState } from "../Engine.js"
import { makeRun } from "../run/run.js"
import type { SamplerModel } from "../sampler/jobs.js"
import type { Outcome } from "./messages.js"
import { makeRunLane, type OpenRun, quote, refuse, type Result, type RunLane, type Task } from "./runLane.js"
import type { Scheduler } from "./scheduler.js"

export interface Runs {
  /** Queues an operation of a run, whether it exists yet or not. */
  readonly enqueue: (runId: string, task: Task, done: (outcome: Outcome) => void) => void
  readonly withRun: (runId: string) => <A>(body: (open: OpenRun) => Result<A>) => Result<A>
  readonly open: (runId: string, make: () => Result<OpenRun>) => Result<void>
  /** Makes a run of an exported state, without a place among the others. */
  readonly restore: (state: RunState, options: { readonly optimizer: boolean }) => Result<OpenRun>
  /** Frees a run; one that is not there is no error. */
  readonly release: (runId: string) => Result<void>
}

export interface RunsOptions {
  /** Most runs at a time. */
  readonly limit: number
  readonly scheduler: Scheduler
  readonly modelOf: (name: string) => Result<SamplerModel>
  /** What was made, or, if it takes too much memory, a refusal after `undo`. */
  readonly within: <A>(what: string, made: A, undo: () => void) => Result<A>
}

export const makeRuns = ({ limit, modelOf, scheduler, within }: RunsOptions): Runs => {
  const lanes = new Map<string, RunLane>()
  let runs = 0

  const laneOf = (runId: string): RunLane => {
    const present = lanes.get(runId)
    if (present !== undefined) return present
    const lane = makeRunLane((lane) => {
      lanes.delete(runId)
      scheduler.remove(lane)
    })
    lanes.set(runId, lane)
    scheduler.add(lane)
    return lane
  }

  const withRun: Runs["withRun"] = (runId) => (body) => {
    const current = lanes.get(runId)?.current
    return current === undefined ? refuse("UnknownRun", `there is no run ${quote(runId)}`) : body(current)
  }

  const open: Runs["open"] = (runId, make) => {
    const lane = laneOf(runId)
    if (lane.current !== undefined) return refuse("InvalidInput", `there is a run ${quote(runId)} already`)
    if (runs >= limit) return refuse("LimitReached", `the engine holds ${runs} runs, its limit: release one`)
    return Either.map(
      Either.flatMap(make(), (open) => within(`run ${quote(runId)}`, open, open.run.release)),
      (open) => {
        lane.current = open
        runs++
      }
    )
  }

  const restore: Runs["restore"] = (state, options) =>
    Either.gen(function*() {
      const { baseModel, lora } = state
      const of = yield* modelOf(baseModel)
      const run = yield* makeRun(of.model, { baseModel, lora })
      const imported = run.importState(state, options)
      if (Either.isLeft(imported)) run.release()
      yield* imported
      return { run, of }
    })

  const release: Runs["release"] = (runId) => {
    const lane = lanes.get(runId)
    if (lane?.current !== undefined) {
      lane.current.run.release()
      lane.current = undefined
      runs--
    }
    return Either.void
  }

  return {
    enqueue: (runId, task, done) => {
      const lane = laneOf(runId)
      scheduler.wake(lane)
      lane.push(task, done)
    },
    withRun,
    open,
    restore,
    release
  }
}
