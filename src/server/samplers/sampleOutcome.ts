/**
 * What becomes of a sample request.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { SampleResult } from "../../engine/Engine.js"
import type { SampleRequest, SampleResponse } from "../../protocol/Sampling.js"
import type { Failure, Result } from "../futures/Futures.js"
import { userFailure } from "../futures/results.js"

/** @internal */
export const outcomeOf = (exit: Exit.Exit<Result, Failure>): Effect.Effect<Either.Either<Result, Failure>> => {
  if (Exit.isSuccess(exit)) return Effect.succeed(Either.right(exit.value))
  const failure = Cause.failureOption(exit.cause)
  if (Option.isSome(failure)) return Effect.succeed(Either.left(failure.value))
  return Cause.isInterruptedOnly(exit.cause)
    ? Effect.succeed(Either.left(userFailure("The sample request was stopped: it was cancelled or its session ended")))
    : Effect.as(
      Effect.logError("a sample request failed unexpectedly", exit.cause),
      Either.left({ error: "The sample request failed inside the server", category: "server" })
    )
}

/**
 * The response to a request. Only the last N prompt positions are told when it says so (docs/protocol-notes.md#what-newer-sdks-changed-and-what-tinkex-does).
 *
 * @internal
 */
export const responseOf = (
  { promptLogprobs, sequences, topkPromptLogprobs }: SampleResult,
  { promptLogprobsLastN }: SampleRequest
): SampleResponse => {
  const hidden = promptLogprobsLastN === undefined || promptLogprobs === undefined
    ? 0
    : promptLogprobs.length - promptLogprobsLastN
  return {
    sequences: sequences.map(({ logprobs, stopReason, tokens, topk }) => ({
      stopReason,
      tokens,
      logprobs,
      topkLogprobs: topk
    })),
    promptLogprobs: hidden === 0 ? promptLogprobs : promptLogprobs?.slice().fill(Number.NaN, 0, hidden),
    topkPromptLogprobs: hidden === 0 || topkPromptLogprobs === undefined ? topkPromptLogprobs : {
      ...topkPromptLogprobs,
      tokens: topkPromptLogprobs.tokens.slice().fill(0, 0, hidden * topkPromptLogprobs.k),
      logprobs: topkPromptLogprobs.logprobs.slice().fill(-99999, 0, hidden * topkPromptLogprobs.k)
    },
    promptCacheHitTokens: 0
  }
}
