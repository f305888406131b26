/** Repeats of a call, as the truth table (`TinkexError.disposition`) and the settings say. */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { TelemetryService } from "../../observability/Telemetry.js"
import * as RetryBudget from "../../resilience/RetryBudget.js"
import * as RetryPolicy from "../../resilience/RetryPolicy.js"
import type { Settings } from "../../TinkexConfig.js"
import * as TinkexError from "../../TinkexError.js"
import * as Monotonic from "../monotonic.js"
import type { Billing } from "./billing.js"
import type { Call } from "./calls.js"
import { isSilence } from "./contact.js"
import type { Credentials } from "./credentials.js"
import { reasonOf } from "./events.js"

export interface Repeat {
  <A>(
    call: Call<A>,
    attempt: Effect.Effect<A, TinkexError.TransportError>
  ): Effect.Effect<A, TinkexError.TransportError>
}

/** As many connections may have been closed, one after the other. */
const mostResent = 3

export const make = (
  settings: Settings,
  parts: {
    readonly clock: Clock.Clock
    readonly telemetry: TelemetryService
    readonly billing: Billing
    readonly credentials: Credentials
    readonly silentFor: () => number
  }
): Effect.Effect<Repeat, never, RetryBudget.RetryBudgets> =>
  Effect.gen(function*() {
    const { billing, clock, credentials, telemetry } = parts
    const tenant = settings.tenant
    const silence = Duration.toMillis(settings.timeouts.silence)
    const budget = yield* RetryBudget.forKey(tenant.id)
    const policy = yield* Effect.orDie(RetryPolicy.make<TinkexError.TransportError>(tenant.id, { // the settings were checked
      maxAttempts: settings.retry.times + 1,
      base: settings.retry.base,
      cap: settings.retry.cap
    }))

    /**
     * What is put right without counting as a repeat: an account without credit, a token that expired while we were away, a pooled
     * connection that the other side closed while it was idle. A number that is sent again is taken once.
     */
    const patiently = <A>(
      call: Call<A>,
      attempt: Effect.Effect<A, TinkexError.TransportError>
    ): Effect.Effect<A, TinkexError.TransportError> =>
      Effect.catchAll(attempt, (error): Effect.Effect<A, TinkexError.TransportError> => {
        if (error._tag === "Unauthorized" && call.request.credential === undefined && !call.renewed) {
          call.renewed = true
          if (credentials.refused(call.credential)) return patiently(call, attempt)
        }
        if (error._tag === "ConnectionError" && error.wasIdle === true && call.resent < mostResent) {
          call.resent++
          return patiently(call, attempt)
        }
        const { retry } = TinkexError.disposition(error, call.kind)
        // polls pause by themselves
        if (retry._tag !== "Pause" || error._tag !== "BillingPaused" || !call.guarded) return Effect.fail(error)
        return Effect.flatMap(billing.pause(error, retry.delay), (waited) => {
          if (!waited) return Effect.fail(error)
          call.deadline += Duration.toMillis(retry.delay)
          return patiently(call, attempt)
        })
      })

    return (call, attempt) => {
      const tried = patiently(call, attempt)
      let refusals = 0
      const repeated = call.times === 0 ? tried : RetryPolicy.retry(tried, policy, {
        maxAttempts: call.times + 1,
        left: () => call.deadline - Monotonic.millisOf(clock),
        while: (error) => {
          const { retry } = TinkexError.disposition(error, call.kind)
          if (isSilence(error) && parts.silentFor() >= silence) return false
          return retry._tag === "After" ||
            (retry._tag === "Backoff" && (retry.atMost === undefined || refusals++ < retry.atMost))
        },
        retryAfter: (error) => {
          const { retry } = TinkexError.disposition(error, call.kind)
          return retry._tag === "After" ? Option.some(retry.delay) : Option.none()
        },
        withdraw: budget.withdraw,
        onRetry: ({ attempt, delay, error }) =>
          telemetry.emit({
            _tag: "Retry",
            route: call.route,
            operation: call.request.pool,
            tenant: tenant.label,
            attempt: attempt - 1,
            delayMs: Duration.toMillis(delay),
            reason: reasonOf(error)
          })
      })
      // the last attempt may not have arrived, an earlier one may have
      const counted = call.guarded ? Effect.zipRight(budget.deposit, repeated) : repeated
      return Effect.mapError(counted, (error) => call.delivery.maybe ? TinkexError.mayHaveArrived(error) : error)
    }
  })
