/** Waiting out a 402: the account has to be topped up (docs/protocol/futures.md#billing-pauses). */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { TelemetryService } from "../../observability/Telemetry.js"
import type { BillingPaused } from "../../TinkexError.js"
import * as Monotonic from "../monotonic.js"

export interface Billing {
  /** How long an incident is waited out; an hour unless the server says. */
  readonly setLimit: (limit: Duration.Duration) => void
  /** Waits a moment and says `true`, or says `false` when the incident has lasted too long. */
  readonly pause: (error: BillingPaused, delay: Duration.Duration) => Effect.Effect<boolean>
}

/** After so long without a 402, the next one is another incident. */
const forgetAfter = 300_000
const logEvery = 60_000

export const make = (clock: Clock.Clock, telemetry: TelemetryService, tenant: string): Billing => {
  let limit = Duration.hours(1)
  let first: number | undefined
  let last = 0
  let logged: number | undefined
  return {
    setLimit: (given) => {
      limit = given
    },
    pause: (error, delay) =>
      Effect.suspend(() => {
        const now = Monotonic.millisOf(clock)
        if (first === undefined || now - last > forgetAfter) {
          first = now
          logged = undefined
        }
        last = now
        if (now - first >= Duration.toMillis(limit)) {
          return Effect.as(
            Effect.logError(`paused for billing since ${Duration.format(Duration.millis(now - first))}; giving up`),
            false
          )
        }
        const tell = logged === undefined || now - logged >= logEvery
        if (tell) logged = now
        return (tell ? Effect.logWarning(`${error.message}. Waiting`) : Effect.void).pipe(
          Effect.zipRight(
            telemetry.emit({ _tag: "RateLimited", tenant, delayMs: Duration.toMillis(delay), status: error.status })
          ),
          Effect.zipRight(Effect.sleep(delay)),
          Effect.as(true)
        )
      })
  }
}
