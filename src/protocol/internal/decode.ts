/**
 * Runs a decoder that throws `MalformedMessage` or `InvalidInput` as an Effect.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { InvalidInput } from "../InvalidInput.js"
import { MalformedMessage } from "../MalformedMessage.js"

/** @internal */
export const decoding = <A>(messageType: string, run: () => A): Effect.Effect<A, MalformedMessage> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(run())
    } catch (cause) {
      if (cause instanceof MalformedMessage) return Effect.fail(cause)
      if (cause instanceof InvalidInput) {
        return Effect.fail(new MalformedMessage({ messageType, detail: cause.message }))
      }
      return Effect.die(cause)
    }
  })
