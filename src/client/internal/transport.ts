/** How requests travel. The order is that of design.md 2. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Telemetry } from "../../observability/Telemetry.js"
import type { Operation } from "../../observability/TelemetryEvent.js"
import * as ProtocolJson from "../../protocol/Json.js"
import * as CircuitBreaker from "../../resilience/CircuitBreaker.js"
import * as ConcurrencyGate from "../../resilience/ConcurrencyGate.js"
import * as RateLimiter from "../../resilience/RateLimiter.js"
import * as RetryBudget from "../../resilience/RetryBudget.js"
import * as RetryPolicy from "../../resilience/RetryPolicy.js"
import type { Settings } from "../../TinkexConfig.js"
import type { TransportError } from "../../TinkexError.js"
import * as TinkexError from "../../TinkexError.js"
import type { Answer, Body, Request, Requirements, Transport } from "../HttpTransport.js"
import * as Attempt from "./attempt.js"
import * as Billing from "./billing.js"
import { keyOf } from "./events.js"
import { failureOf } from "./exits.js"
import * as Json from "./json.js"
import * as Redact from "./redact.js"

/** What the rest of the client may do to a transport, besides sending. */
export interface InternalTransport extends Transport {
  /** The credential in force; asked for before every attempt. */
  credential: Effect.Effect<Redacted.Redacted | undefined, TransportError>
  /** The server's words, fit for an error or a log. */
  readonly redact: Redact.Redact
  readonly billing: Billing.Billing
}

/** Kinds of calls that a breaker and the limiter have a say in. */
const guardedPools: Readonly<Record<Operation, boolean>> = {
  training: true,
  sampling: true,
  futures: false,
  session: true,
  service: true,
  telemetry: false
}

const encoder = new TextEncoder()

export const jsonBody = (value: unknown): Body => ({
  bytes: encoder.encode(ProtocolJson.stringify(value)),
  contentType: "application/json"
})

const again: unique symbol = Symbol("the limiter is set: leave the gate and wait")

/** A back-off counts as recent for so long after it ended (wire-protocol 5.5). */
const recentMillis = 10_000

/** What a request weighs at its gate while a back-off is recent, in times of its bytes (wire-protocol 5.5). */
const recentWeight = 20

export const make = (settings: Settings): Effect.Effect<InternalTransport, never, Requirements | Scope.Scope> =>
  Effect.gen(function*() {
    const telemetry = yield* Telemetry
    const clock = yield* Effect.clock
    const { tenant } = settings
    const redact = Redact.make(settings)
    const attempts = yield* Attempt.make(settings, redact)
    const limiter = yield* RateLimiter.forKey(tenant.id)
    const breakers: { [K in Operation]?: CircuitBreaker.CircuitBreaker } = {}
    const gates: { [K in Operation]?: ConcurrencyGate.ConcurrencyGate } = {}
    for (const pool of Object.keys(guardedPools) as ReadonlyArray<Operation>) { // the keys of a total record
      if (guardedPools[pool]) breakers[pool] = yield* CircuitBreaker.forKey(keyOf(tenant.id, pool))
      const gate = yield* ConcurrencyGate.forKey(keyOf(tenant.id, pool))
      yield* Effect.orDie(gate.resize({ permits: settings.pools[pool] })) // the settings were checked
      gates[pool] = gate
    }
    const gateOf = (pool: Operation): ConcurrencyGate.ConcurrencyGate => gates[pool]! // made above for every pool
    const throttle = yield* ConcurrencyGate.forKey(`${tenant.id}/sampling/throttled`)
    yield* Effect.orDie(throttle.resize({ permits: settings.sampling.throttled }))
    const budget = yield* RetryBudget.forKey(tenant.id)
    const policy = yield* Effect.orDie(RetryPolicy.make(tenant.id, {
      maxAttempts: settings.retry.times + 1,
      base: settings.retry.base,
      cap: settings.retry.cap,
      deadline: settings.timeouts.call
    }))
    const billing = Billing.make(Duration.hours(1), telemetry, tenant.label)
    const monotonic = (): number => Number(clock.unsafeCurrentTimeNanos()) / 1e6
    /** Until when, in monotonic milliseconds, a back-off counts as recent. */
    let recentUntil = 0
    const isRecent = (): boolean => recentUntil > 0 && monotonic() < recentUntil

    const attempt = (
      prepared: Attempt.Prepared,
      n: number,
      onError: (error: TransportError) => Effect.Effect<void>
    ): Effect.Effect<Answer, TransportError> =>
      prepared.request.credential === undefined
        ? Effect.flatMap(self.credential, (credential) => attempts.run(prepared, n, credential, onError))
        : attempts.run(prepared, n, prepared.request.credential, onError)

    const refuse = (
      { request }: Attempt.Prepared,
      reopensIn: Duration.Duration
    ): Effect.Effect<never, TransportError> =>
      Effect.zipRight(
        telemetry.emit({ _tag: "BreakerRejected", tenant: tenant.label, operation: request.pool }),
        Effect.fail(new TinkexError.CircuitOpen({ operation: request.operation, circuit: request.pool, reopensIn }))
      )

    const refuseIfOpen = (
      prepared: Attempt.Prepared,
      breaker: CircuitBreaker.CircuitBreaker
    ): Effect.Effect<void, TransportError> =>
      Effect.flatMap(breaker.state, (state) =>
        state._tag === "Open"
          ? refuse(prepared, state.reopensIn)
          : state._tag === "Isolated"
          ? refuse(prepared, Duration.infinity)
          : Effect.void)

    const waitOut = (prepared: Attempt.Prepared, deadline: number): Effect.Effect<void, TransportError> =>
      Effect.flatMap(limiter.remaining, (remaining) => {
        const millis = Duration.toMillis(remaining)
        if (millis === 0) return Effect.void
        recentUntil = Math.max(recentUntil, monotonic() + millis + recentMillis)
        return Effect.mapError(
          limiter.waitUpTo(Math.max(0, deadline - clock.unsafeCurrentTimeMillis())),
          (error) =>
            new TinkexError.RateLimited({
              operation: prepared.request.operation,
              status: 429,
              detail: "the service asks everybody with this key to wait",
              retryAfter: error.remaining
            })
        )
      })

    const inGate = <A>(
      gate: ConcurrencyGate.ConcurrencyGate,
      inside: Effect.Effect<A, TransportError>,
      bytes: number | undefined
    ): Effect.Effect<A, TransportError> => gate.withPermit(inside, { bytes }) as Effect.Effect<A, TransportError> // no gate here limits its waiters

    /** One attempt and all that it has to pass, as often as the limiter sends it back from the gate. */
    const pass = (
      prepared: Attempt.Prepared,
      n: number,
      deadline: () => number
    ): Effect.Effect<Answer, TransportError> => {
      const { request } = prepared
      const { pool } = request
      const gate = gateOf(pool)
      const breaker = breakers[pool]
      if (breaker === undefined || request.unguarded === true) {
        return inGate(gate, attempt(prepared, n, noticeNothing), undefined)
      }
      const operationClass = Attempt.operationClasses[pool]
      // set before the gate lets the next one in. Nothing starts while it is set, so no success can end it before its time
      const notice = (error: TransportError): Effect.Effect<void> => {
        const { limiter: wait } = TinkexError.disposition(error, operationClass)
        return Option.isNone(wait) ? Effect.void : limiter.setBackoff(wait.value)
      }
      const judged = Effect.catchAll(
        breaker.checkAndCall(attempt(prepared, n, notice), (exit): CircuitBreaker.Outcome => {
          if (Exit.isSuccess(exit)) return "success"
          const error = failureOf(exit)
          return error === undefined ? "ignore" : TinkexError.disposition(error, operationClass).breaker
        }),
        (error) => CircuitBreaker.isCircuitOpen(error) ? refuse(prepared, error.reopensIn) : Effect.fail(error)
      )
      const inside: Effect.Effect<Answer | typeof again, TransportError> = Effect.flatMap(
        limiter.shouldBackoff,
        (wait): Effect.Effect<Answer | typeof again, TransportError> => wait ? Effect.succeed(again) : judged
      )
      const bytes = request.weight ?? prepared.bytes
      const once: Effect.Effect<Answer, TransportError> = refuseIfOpen(prepared, breaker).pipe(
        Effect.zipRight(waitOut(prepared, deadline())),
        Effect.zipRight(Effect.suspend(() =>
          pool === "sampling" && isRecent()
            ? inGate(gate, inGate(throttle, inside, undefined), bytes * recentWeight)
            : inGate(gate, inside, bytes)
        )),
        Effect.flatMap((answer): Effect.Effect<Answer, TransportError> =>
          answer === again ? once : Effect.succeed(answer)
        )
      )
      return once
    }

    const call = (request: Request, times: number): Effect.Effect<Answer, TransportError> => {
      const prepared = attempts.prepare(request)
      const operationClass = Attempt.operationClasses[request.pool]
      let deadline = clock.unsafeCurrentTimeMillis() + Duration.toMillis(settings.timeouts.call)

      const repeat = (
        error: TransportError,
        n: number,
        asked: Duration.Duration | undefined
      ): Effect.Effect<Answer, TransportError> =>
        Effect.flatMap(policy.delay(n + 1, asked), (delay) => {
          const delayMs = Math.ceil(Duration.toMillis(delay))
          if (clock.unsafeCurrentTimeMillis() + delayMs >= deadline) return Effect.fail(error)
          return budget.withdraw.pipe(
            Effect.mapError(() => error),
            Effect.zipRight(telemetry.emit({
              _tag: "Retry",
              route: prepared.route,
              operation: request.pool,
              tenant: tenant.label,
              attempt: n,
              delayMs,
              reason: "status" in error && error.status !== undefined ? `${error.status}` : error._tag
            })),
            Effect.zipRight(Effect.sleep(delayMs)),
            Effect.zipRight(loop(n + 1))
          )
        })

      const fail = (error: TransportError, n: number): Effect.Effect<Answer, TransportError> => {
        const { retry } = TinkexError.disposition(error, operationClass)
        switch (retry._tag) {
          case "Pause":
            if (error._tag !== "BillingPaused" || operationClass === "poll" || operationClass === "telemetry") {
              return Effect.fail(error)
            }
            return Effect.flatMap(billing.pause(error, retry.delay), (waited) => {
              if (!waited) return Effect.fail(error)
              deadline += Duration.toMillis(retry.delay)
              return loop(n)
            })
          case "Backoff":
            return n >= times ? Effect.fail(error) : repeat(error, n, undefined)
          case "After":
            return n >= times ? Effect.fail(error) : repeat(error, n, retry.delay)
          default:
            return Effect.fail(error)
        }
      }

      const loop = (n: number): Effect.Effect<Answer, TransportError> =>
        Effect.catchAll(pass(prepared, n, () => deadline), (error) => fail(error, n))

      const all = times > 0 ? Effect.zipRight(budget.deposit, loop(0)) : loop(0)
      return settings.tracing
        ? Effect.withSpan(all, `tinkex ${request.method} ${prepared.route}`, {
          kind: "client",
          captureStackTrace: false,
          attributes: { "tinkex.operation": request.pool, "tinkex.tenant": tenant.label }
        })
        : all
    }

    const send: Transport["send"] = (request) =>
      Effect.suspend(() => call(request, request.times ?? settings.retry.times))

    const self: InternalTransport = {
      settings,
      limiter,
      breaker: (pool) => breakers[pool],
      gate: gateOf,
      send,
      json: (request, schema) =>
        Effect.flatMap(send(request), (answer) => decodeAnswer(answer, schema, request.operation)),
      credential: Effect.succeed(settings.apiKey),
      redact,
      billing
    }
    return self
  })

const noticeNothing = (): Effect.Effect<void> => Effect.void

export const decodeAnswer = <A, I>(
  answer: Answer,
  schema: Schema.Schema<A, I>,
  operation: string
): Effect.Effect<A, TransportError> => {
  const requestId = TinkexError.requestIdOf(answer.headers)
  return answer.body._tag === "Bytes"
    ? Effect.fail(
      new TinkexError.MalformedResponse({ operation, detail: "it is binary", status: answer.status, requestId })
    )
    : Effect.flatMap(
      Json.parse(answer.body.text, operation, requestId),
      (body) => Json.decode(body, schema, operation, requestId)
    )
}
