/**
 * @internal
 */
import * as Effect from "effect/Effect"
import { badRequest, type Refusal } from "./refusal.js"

/**
 * The place of an operation in its run: from 1, or absent. 0 is the making of the run.
 *
 * @internal
 */
export const seqIdOf = (seqId: number | undefined): Effect.Effect<number | undefined, Refusal> =>
  seqId === undefined || seqId >= 1
    ? Effect.succeed(seqId)
    : Effect.fail(badRequest("seq_id: expected a whole number from 1, got a smaller one"))
