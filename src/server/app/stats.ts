/**
 * @internal
 */
import * as Effect from "effect/Effect"
import { Futures } from "../futures/Futures.js"
import { Runs } from "../runs/Runs.js"
import { Samplers } from "../samplers/Samplers.js"
import { Sessions } from "../sessions/Sessions.js"

/**
 * What the server holds at the moment.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stats {
  readonly sessions: number
  readonly runs: number
  readonly queuedOperations: number
  readonly samplers: number
  readonly sampleRequests: number
  readonly pendingFutures: number
  /** Polls that are being held. */
  readonly heldPolls: number
  readonly keptResults: number
  readonly keptResultBytes: number
}

/**
 * Asks all who hold something.
 *
 * @internal
 */
export const make = Effect.gen(function*() {
  const sessions = yield* Sessions
  const runs = yield* Runs
  const samplers = yield* Samplers
  const futures = yield* Futures
  return Effect.gen(function*(): Effect.fn.Return<Stats> {
    const run = yield* runs.stats
    const sampler = yield* samplers.stats
    const future = yield* futures.stats
    return {
      sessions: (yield* sessions.list).filter((session) => !session.expired).length,
      runs: run.loaded,
      queuedOperations: run.queued,
      samplers: sampler.samplers,
      sampleRequests: sampler.requests,
      pendingFutures: future.pending,
      heldPolls: future.held,
      keptResults: future.kept,
      keptResultBytes: future.bytes
    }
  })
})
