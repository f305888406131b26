/** Whether the service is heard of at all, and telling when it is not: once, at once, with what will be done. */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { TinkexError, TransportError } from "../../TinkexError.js"
import * as Monotonic from "../monotonic.js"

export interface Contact {
  /** There was an answer, of whatever kind. What has to be said about it, if anything. */
  readonly heard: () => Effect.Effect<void> | undefined
  /** A call that is repeated, a poll or a heartbeat failed. `start` and `planned` say when the attempt began and how long it may take. */
  readonly failed: (error: TransportError, start: number, planned: number) => Effect.Effect<void>
  /** The same for an error, if it is an answer. */
  readonly heardIn: (error: TransportError) => Effect.Effect<void>
  /** For how many milliseconds nothing has been heard, though the service was asked. */
  readonly silentFor: () => number
}

/** In a longer time without any attempt we were away ourselves (suspended, blocked), or had nothing to ask. */
const longestGap = 90_000
const slack = 1000
const logEvery = 10_000

/** Whether nothing came back at all. */
export const isSilence = (error: TinkexError): boolean =>
  error._tag === "ConnectionError"
    ? error.reason !== "edge" && error.reason !== "request"
    : error._tag === "RequestTimeout" && error.status === undefined

export const make = (clock: Clock.Clock, limit: Duration.Duration): Contact => {
  let silentSince: number | undefined
  let lastTry = 0
  let loggedAt: number | undefined
  /** What was told since all was well. */
  let told: "nothing" | "failure" | "silence" = "nothing"
  const now = () => Monotonic.millisOf(clock)
  const heard = (): Effect.Effect<void> | undefined => {
    const since = silentSince
    silentSince = undefined
    const before = told
    told = "nothing"
    if (before !== "silence" || since === undefined) return undefined
    return Effect.logInfo(
      `the service answers again, after ${Duration.format(Duration.millis(Math.round(now() - since)))}`
    )
  }
  return {
    heard,
    heardIn: (error) => isSilence(error) ? Effect.void : heard() ?? Effect.void,
    failed: (error, start, planned) =>
      Effect.suspend(() => {
        const at = now()
        const silence = isSilence(error)
        if (silence) {
          // an attempt that took longer than it may ran into a time in which we were away
          const began = at - start > planned + slack ? at : start
          if (silentSince === undefined || at - lastTry > longestGap) silentSince = began
          lastTry = at
        } else {
          silentSince = undefined
        }
        if (told === "silence" || (told === "failure" && !silence)) return Effect.void
        // what comes and goes is not told every time
        if (told === "nothing" && loggedAt !== undefined && at - loggedAt < logEvery) return Effect.void
        loggedAt = at
        told = silence ? "silence" : "failure"
        return Effect.logWarning(
          silence
            ? `the server does not answer; asking again, for ${Duration.format(limit)} at most. ${error.message}`
            : `the service failed; asking again. ${error.message}`
        )
      }),
    silentFor: () => silentSince === undefined ? 0 : now() - silentSince
  }
}
