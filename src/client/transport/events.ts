/** What the shared parts go through, as events: once for all clients, not once for each. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Telemetry } from "../../observability/Telemetry.js"
import type { BreakerStateName, Operation, TelemetryEvent } from "../../observability/TelemetryEvent.js"
import * as CircuitBreaker from "../../resilience/CircuitBreaker.js"
import * as RateLimiter from "../../resilience/RateLimiter.js"
import { labelOfTenant } from "../../TinkexConfig.js"
import type { TinkexError } from "../../TinkexError.js"

/** The key of a part that belongs to one kind of call of a tenant. */
export const keyOf = (tenantId: string, pool: Operation): string => `${tenantId}/${pool}`

const names: Readonly<Record<CircuitBreaker.State["_tag"], BreakerStateName>> = {
  Closed: "closed",
  Open: "open",
  HalfOpen: "half_open",
  Isolated: "open"
}

const ofBreaker = (change: CircuitBreaker.Change): TelemetryEvent => {
  const at = change.key.lastIndexOf("/")
  return {
    _tag: "BreakerTransition",
    tenant: labelOfTenant(change.key.slice(0, at)),
    operation: change.key.slice(at + 1) as Operation, // keys are made by `keyOf`
    from: names[change.from],
    to: names[change.to],
    ...(change.openFor === undefined ? {} : { opensForMs: Duration.toMillis(change.openFor) })
  }
}

const ofLimiter = (change: RateLimiter.Change): TelemetryEvent =>
  change._tag === "BackoffSet"
    ? {
      _tag: "RateLimited",
      tenant: labelOfTenant(change.key),
      delayMs: Duration.toMillis(change.duration),
      status: 429
    }
    : { _tag: "RateLimitCleared", tenant: labelOfTenant(change.key) }

export const forward: Effect.Effect<
  void,
  never,
  CircuitBreaker.CircuitBreakers | RateLimiter.RateLimiters | Scope.Scope
> = Effect.gen(function*() {
  const telemetry = yield* Telemetry
  if (!telemetry.enabled) return
  const breakers = yield* Effect.flatMap(CircuitBreaker.CircuitBreakers, (all) => all.changes)
  const limiters = yield* Effect.flatMap(RateLimiter.RateLimiters, (all) => all.changes)
  yield* Effect.forkScoped(Stream.runForEach(breakers, (change) => telemetry.emit(ofBreaker(change))))
  yield* Effect.forkScoped(Stream.runForEach(limiters, (change) => telemetry.emit(ofLimiter(change))))
})

/** Why a call is made again, in a word: a status or the tag of an error. */
export const reasonOf = (error: TinkexError): string =>
  "status" in error && error.status !== undefined ? `${error.status}` : error._tag
