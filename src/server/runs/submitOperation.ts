/**
 * What all operations on a run have in common.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { note } from "../http/http.js"
import { badRequest } from "../http/refusal.js"
import { agreed } from "../time.js"
import type { Prepared } from "./OperationQueue.js"
import { type Run, Runs } from "./Runs.js"

/** @internal */
export interface OperationRequest {
  readonly modelId: string
  /** Place in the run's order, from 1, or absent; 0 is the making of the run. */
  readonly seqId?: number | undefined
  readonly endpoint: string
  readonly fingerprint: string
  readonly prepare: (run: Run, now: number) => Prepared
}

/**
 * Puts an operation into its run's queue and answers with the promise of its result.
 *
 * @internal
 */
export const submitOperation = Effect.map(
  Runs,
  (runs) =>
    Effect.fnUntraced(function*({ endpoint, fingerprint, modelId, prepare, seqId }: OperationRequest) {
      yield* note({ modelId, seqId })
      if (seqId !== undefined && seqId < 1) {
        return yield* badRequest(`seq_id: expected a whole number from 1, got ${seqId}`)
      }
      const run = yield* runs.active(modelId)
      const now = yield* agreed
      const requestId = yield* run.queue.submit({ seqId, endpoint, fingerprint, prepare: () => prepare(run, now) })
      yield* note({ requestId })
      return { requestId, modelId }
    })
)
