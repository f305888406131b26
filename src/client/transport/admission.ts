/**
 * What a call passes before each attempt, in this order: breaker, limiter, gate, breaker again. When nothing is in the way that is a
 * plain function; when something is, an effect waits for it and tries anew. Nothing is held while it waits.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { TelemetryService } from "../../observability/Telemetry.js"
import type { Operation } from "../../observability/TelemetryEvent.js"
import * as CircuitBreaker from "../../resilience/CircuitBreaker.js"
import type * as ConcurrencyGate from "../../resilience/ConcurrencyGate.js"
import * as RateLimiter from "../../resilience/RateLimiter.js"
import type { Settings } from "../../TinkexConfig.js"
import * as TinkexError from "../../TinkexError.js"
import * as Monotonic from "../monotonic.js"
import { type Call, guardedPools, pools } from "./calls.js"
import type { Credentials } from "./credentials.js"
import { keyOf } from "./events.js"
import type { Pools } from "./pools.js"

/** Everything that one attempt holds. It is given back by `leave`, once. */
export interface Ticket {
  readonly lease: ConcurrencyGate.Lease
  readonly throttleLease: ConcurrencyGate.Lease | undefined
  readonly permit: CircuitBreaker.Permit | undefined
  readonly epoch: RateLimiter.Epoch
}

export interface Admission {
  readonly limiter: RateLimiter.RateLimiter
  readonly breaker: (pool: Operation) => CircuitBreaker.CircuitBreaker | undefined
  /** A ticket if nothing is in the way. */
  readonly tryEnter: (call: Call<unknown>) => Ticket | undefined
  /** Waits for a ticket. Runs uninterruptibly but for its waits, which run under `restore`. */
  readonly enter: (
    call: Call<unknown>,
    restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  ) => Effect.Effect<Ticket, TinkexError.TransportError>
  /** Tells breaker and limiter how it went, without an error that it was neither well nor badly, and lets the next one in. */
  readonly leave: (
    call: Call<unknown>,
    ticket: Ticket,
    outcome: "success" | "unknown" | TinkexError.TransportError
  ) => void
}

/** A back-off counts as recent for so long after it ended, and then a sample weighs so much more at its gate (docs/protocol/sampling.md#load). */
const recentMillis = 10_000
const recentWeight = 20

/** A half-open breaker is looked at so often by those who wait for its probe. */
const probeWait = 1000

export const make = (
  settings: Settings,
  parts: {
    readonly clock: Clock.Clock
    readonly telemetry: TelemetryService
    readonly credentials: Credentials
    readonly pools: Pools
    readonly silentFor: () => number
  }
): Effect.Effect<Admission, never, RateLimiter.RateLimiters | CircuitBreaker.CircuitBreakers> =>
  Effect.gen(function*() {
    const { clock, credentials, telemetry } = parts
    const { gate: gateOf, throttle } = parts.pools
    const { tenant } = settings
    const random = yield* Effect.random
    const silence = Duration.toMillis(settings.timeouts.silence)
    const limiter = yield* RateLimiter.forKey(tenant.id)
    const breakers: { [K in Operation]?: CircuitBreaker.CircuitBreaker } = {}
    for (const pool of pools) {
      if (guardedPools[pool]) breakers[pool] = yield* CircuitBreaker.forKey(keyOf(tenant.id, pool))
    }
    /** Until when, in monotonic milliseconds, a back-off counts as recent. */
    let recentUntil = 0
    const isRecent = (): boolean => recentUntil > 0 && Monotonic.millisOf(clock) < recentUntil
    const leftOf = (call: Call<unknown>): number => call.deadline - Monotonic.millisOf(clock)

    const release = (
      lease: ConcurrencyGate.Lease,
      throttleLease: ConcurrencyGate.Lease | undefined,
      pool: Operation
    ) => {
      if (throttleLease !== undefined) throttle.unsafeRelease(clock, throttleLease, "ignore")
      gateOf(pool).unsafeRelease(clock, lease, "ignore")
    }

    /** The last step: nobody else runs between it and the attempt. */
    const admit = (
      call: Call<unknown>,
      lease: ConcurrencyGate.Lease,
      throttleLease: ConcurrencyGate.Lease | undefined
    ): Ticket | undefined => {
      const { guarded, request: { pool } } = call
      if (!guarded) return { lease, throttleLease, permit: undefined, epoch: 0 }
      const permit = limiter.unsafeRemaining(clock) > 0 ? 0 : breakers[pool]?.unsafeAcquire(clock)
      if (typeof permit !== "number") return { lease, throttleLease, permit, epoch: limiter.unsafeStarted() }
      release(lease, throttleLease, pool)
      return undefined
    }

    const tryEnter: Admission["tryEnter"] = (call) => {
      const { guarded, request: { credential, pool }, weight } = call
      if (credential === undefined && credentials.isStale()) return undefined
      if (guarded && (limiter.unsafeRemaining(clock) > 0 || (pool === "sampling" && isRecent()))) return undefined
      const lease = gateOf(pool).unsafeTryAcquire(clock, guarded ? weight : 0)
      return lease === undefined ? undefined : admit(call, lease, undefined)
    }

    const refusal = (
      { delivery, request: { operation, pool } }: Call<unknown>,
      reopensIn: Duration.Duration,
      cause: unknown
    ) =>
      Effect.zipRight(
        telemetry.emit({ _tag: "BreakerRejected", tenant: tenant.label, operation: pool }),
        Effect.fail(
          new TinkexError.CircuitOpen({
            operation,
            circuit: pool,
            reopensIn,
            certainlyNotSent: !delivery.maybe,
            ...(TinkexError.isTinkexError(cause) ? { cause } : {})
          })
        )
      )

    /** Passes an open breaker when its next probe is due; only calls that do not repeat fail at once. */
    const passBreaker = (call: Call<unknown>): Effect.Effect<void, TinkexError.TransportError> => {
      const breaker = breakers[call.request.pool]
      if (breaker === undefined) return Effect.void
      return Effect.flatMap(breaker.state, (state) => {
        if (state._tag === "Closed" || (state._tag === "HalfOpen" && call.times === 0)) return Effect.void
        const cause = breaker.unsafeLastFailure()
        if (state._tag === "Isolated") return refusal(call, Duration.infinity, undefined)
        if (state._tag === "HalfOpen") return Effect.void
        const millis = Math.ceil(Duration.toMillis(state.reopensIn))
        return call.times === 0 || millis >= leftOf(call) || parts.silentFor() >= silence
          ? refusal(call, state.reopensIn, cause)
          : Effect.zipRight(Effect.sleep(millis), passBreaker(call))
      })
    }

    const passLimiter = (call: Call<unknown>): Effect.Effect<void, TinkexError.TransportError> =>
      Effect.suspend(() => {
        const millis = limiter.unsafeRemaining(clock)
        if (millis === 0) return Effect.void
        recentUntil = Math.max(recentUntil, Monotonic.millisOf(clock) + millis + recentMillis)
        return Effect.mapError(limiter.waitUpTo(Math.max(0, leftOf(call))), (error) =>
          new TinkexError.RateLimited({
            operation: call.request.operation,
            status: 429,
            detail: "the service asks everybody with this key to wait",
            retryAfter: error.remaining
          }))
      })

    const enter: Admission["enter"] = (call, restore) => {
      const { guarded, request: { credential, pool }, weight } = call
      const gate = gateOf(pool)
      const breaker = guarded ? breakers[pool] : undefined
      const through = (gate: ConcurrencyGate.ConcurrencyGate, bytes: number) =>
        Effect.catchTag(gate.acquireRestoring(restore, bytes), "GateFull", Effect.die) // no gate here limits its waiters
      const refresh = credential === undefined
        ? Effect.suspend(() => credentials.isStale() ? credentials.renew : Effect.void)
        : Effect.void
      const once: Effect.Effect<Ticket, TinkexError.TransportError> = Effect.suspend(() => {
        const before = guarded ? Effect.zipRight(passBreaker(call), passLimiter(call)) : Effect.void
        return Effect.zipRight(
          restore(before),
          Effect.suspend(() => {
            const recent = guarded && pool === "sampling" && isRecent()
            const leases = Effect.flatMap(
              through(gate, guarded ? weight * (recent ? recentWeight : 1) : 0),
              (lease): Effect.Effect<readonly [ConcurrencyGate.Lease, ConcurrencyGate.Lease | undefined]> =>
                recent
                  ? through(throttle, 0).pipe(
                    Effect.map((second) => [lease, second] as const),
                    Effect.onError(() => Effect.sync(() => release(lease, undefined, pool)))
                  )
                  : Effect.succeed([lease, undefined])
            )
            return Effect.flatMap(leases, ([lease, second]) => {
              const ticket = admit(call, lease, second)
              return ticket === undefined ? refusedInside : Effect.succeed(ticket)
            })
          })
        )
      })
      /** Something came up while it waited at the gate: the limiter, or a breaker whose probe is under way. */
      const refusedInside: Effect.Effect<Ticket, TinkexError.TransportError> = Effect.suspend(() => {
        if (breaker === undefined || limiter.unsafeRemaining(clock) > 0) return once
        return Effect.flatMap(breaker.state, (state) => {
          if (state._tag !== "HalfOpen") return once
          return call.times === 0 || leftOf(call) <= probeWait || parts.silentFor() >= silence
            ? refusal(call, Duration.millis(probeWait), breaker.unsafeLastFailure())
            : Effect.zipRight(restore(Effect.sleep(probeWait)), once)
        })
      })
      return Effect.zipRight(restore(refresh), once)
    }

    const leave: Admission["leave"] = (call, ticket, outcome) => {
      const { kind, request: { pool } } = call
      if (ticket.permit !== undefined || call.guarded) {
        const disposition = typeof outcome === "string" ? undefined : TinkexError.disposition(outcome, kind)
        if (ticket.permit !== undefined) {
          breakers[pool]?.unsafeSettle(
            clock,
            ticket.permit,
            outcome === "success" ? "success" : disposition?.breaker ?? "ignore",
            disposition?.breaker === "failure" ? Effect.runSync(random.next) : 0,
            outcome
          )
        }
        // set before the gate lets the next one in
        if (outcome === "success") {
          if (limiter.unsafeRemaining(clock) > 0) limiter.unsafeSucceeded(clock, ticket.epoch)
        } else if (disposition !== undefined && Option.isSome(disposition.limiter)) {
          limiter.unsafeSetBackoff(clock, disposition.limiter.value)
        }
      }
      release(ticket.lease, ticket.throttleLease, pool)
    }

    return { limiter, breaker: (pool) => breakers[pool], tryEnter, enter, leave }
  })
