/**
 * What a session's operations did and when: the newest of them, as a trace that Perfetto (ui.perfetto.dev) and Chrome's
 * chrome://tracing draw. Times and numbers only; nothing of what was trained on or sampled.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { monotonic } from "../time.js"

/**
 * An operation that has ended. Times are milliseconds of the server's monotonic clock.
 *
 * @since 0.2.0
 * @category models
 */
export interface Traced {
  readonly name: string
  /** The run or the sampler. */
  readonly lane: string
  readonly requestId: string
  readonly queuedAt: number
  readonly beganAt: number
  readonly endedAt: number
  readonly outcome: "success" | "failure"
}

/**
 * @since 0.2.0
 * @category models
 */
export interface Trace {
  readonly record: (operation: Traced) => void
  /** The trace so far, in the Trace Event Format (JSON). */
  readonly json: () => string
}

/** The newest operations that are kept. */
const kept = 10_000

/**
 * The trace of a session that began at `origin` on the monotonic clock.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (sessionId: string, origin: number): Trace => {
  const operations: Array<Traced> = []
  let count = 0
  return {
    record: (operation) => {
      operations[count++ % kept] = operation
    },
    json: () => {
      const lanes = new Map<string, number>()
      const lane = (name: string): number => {
        const found = lanes.get(name)
        if (found !== undefined) return found
        lanes.set(name, lanes.size + 1)
        return lanes.size
      }
      const micros = (millis: number): number => Math.round(millis * 1000)
      const events = operations.flatMap((operation) => {
        const at = {
          cat: "operation",
          pid: 1,
          tid: lane(operation.lane),
          id: operation.requestId
        }
        const begin = (name: string, ts: number, args?: object) => ({
          ...at,
          ph: "b",
          name,
          ts: micros(ts - origin),
          ...(args === undefined ? {} : { args })
        })
        const end = (name: string, ts: number) => ({ ...at, ph: "e", name, ts: micros(ts - origin) })
        const { beganAt, endedAt, name, outcome, queuedAt, requestId } = operation
        // asynchronous events: samples of one sampler overlap
        return [
          begin(name, queuedAt, { request_id: requestId, outcome }),
          begin("waiting", queuedAt),
          end("waiting", beganAt),
          end(name, endedAt)
        ]
      })
      const names = [...lanes].map(([name, tid]) => ({ ph: "M", pid: 1, tid, name: "thread_name", args: { name } }))
      const process = { ph: "M", pid: 1, name: "process_name", args: { name: `session ${sessionId}` } }
      return JSON.stringify({ displayTimeUnit: "ms", traceEvents: [process, ...names, ...events] })
    }
  }
}

/**
 * Work whose beginning and end go into a trace, on the lane of its run or sampler.
 *
 * @since 0.2.0
 * @category combinators
 */
export const traced = (
  trace: Trace,
  lane: string,
  { endpoint: name, queuedAt, requestId }: {
    readonly endpoint: string
    readonly requestId: string
    readonly queuedAt: number
  }
) =>
<A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(monotonic, (beganAt) =>
    Effect.onExit(work, (exit) =>
      Effect.map(monotonic, (endedAt) => {
        const outcome = Exit.isSuccess(exit) ? "success" : "failure"
        trace.record({ name, lane, requestId, queuedAt, beganAt, endedAt, outcome })
      })))
