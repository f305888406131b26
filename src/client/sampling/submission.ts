/** Handing samples in, and telling the service of those that nobody waits for any more. */
import * as Effect from "effect/Effect"
import type * as Futures from "../../protocol/Futures.js"
import type { TransportError } from "../../TinkexError.js"
import type { Core } from "../service/core.js"
import { jsonBody } from "../transport/json.js"
import { submit } from "../transport/submit.js"
import type { Delivery, Left } from "../transport/types.js"
import type { Prepared } from "./sampleRequest.js"

export interface Submission {
  readonly handIn: (
    prepared: Prepared,
    seq: number,
    delivery: Delivery
  ) => Effect.Effect<Futures.UntypedFuture, TransportError>
  /** Tells the service, where it wants to know, that nobody waits for the result. */
  readonly cancel: (requestId: string) => Effect.Effect<void>
}

const headers = { "x-tinker-sampling-backpressure": "1" }

export const make = (core: Core, samplingSessionId: string, operation: string): Submission => {
  const { config, dynamic, scope, transport } = core
  const times = !config.sampleNoRetries && transport.settings.samplingRetry.policy === "standard" ? undefined : 0

  const cancel: Submission["cancel"] = (requestId) =>
    dynamic.current.sampleCancelEnabled
      ? transport.send({
        operation: `cancel_future (request ${requestId})`,
        method: "POST",
        path: "cancel_future",
        pool: "futures",
        times: 0,
        body: jsonBody({ request_id: requestId })
      }).pipe(Effect.ignore, Effect.interruptible, Effect.forkIn(scope), Effect.asVoid)
      : Effect.void

  /**
   * Who goes away while a sample is handed in that may have arrived leaves its acknowledgement to a fiber, which cancels it. Where
   * none comes any more, the sample is handed in once more: under its number it is the same request, whose id is then known.
   */
  const handIn: Submission["handIn"] = (prepared, seq, delivery) => {
    const send = (left?: Left<Futures.UntypedFuture>) =>
      submit(transport, {
        operation,
        path: "asample",
        pool: "sampling",
        times,
        weight: prepared.weight,
        headers,
        delivery,
        body: jsonBody(prepared.toJson(samplingSessionId, seq))
      }, left)
    if (!dynamic.current.sampleCancelEnabled) return send()
    let isLeft = false
    const cancelled = (accepted: Effect.Effect<Futures.UntypedFuture, TransportError>) => {
      isLeft = true
      return accepted.pipe(
        Effect.flatMap(({ requestId }) => cancel(requestId)),
        Effect.ignore,
        Effect.forkIn(scope),
        Effect.asVoid
      )
    }
    const again = Effect.interruptible(Effect.suspend(() => send()))
    return Effect.onInterrupt(
      send((answer) => cancelled(Effect.orElse(answer, () => again))),
      () => delivery.maybe && !isLeft ? cancelled(again) : Effect.void
    )
  }
  return { handIn, cancel }
}
