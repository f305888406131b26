/** How requests travel. The order is that of docs/architecture.md#the-way-of-a-call. */
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpTraceContext from "@effect/platform/HttpTraceContext"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
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
import type { OperationClass, TransportError } from "../../TinkexError.js"
import * as TinkexError from "../../TinkexError.js"
import { failureOf } from "../future/exits.js"
import type { Answer, Body, Delivery, Request, Requirements, Transport } from "../HttpTransport.js"
import * as Billing from "./billing.js"
import * as AnswerBody from "./body.js"
import * as Deadlines from "./deadlines.js"
import { keyOf } from "./events.js"
import { commonHeaders } from "./headers.js"
import * as Json from "./json.js"
import * as Redact from "./redact.js"
import { unfollowed } from "./redirects.js"

/** What the rest of the client may do to a transport, besides sending. */
export interface InternalTransport extends Transport {
  /** The credential in force; asked for before every attempt. */
  credential: Effect.Effect<Redacted.Redacted | undefined, TransportError>
  readonly billing: Billing.Billing
}

const operationClasses: Readonly<Record<Operation, OperationClass>> = {
  training: "training",
  sampling: "sampling",
  futures: "poll",
  session: "session",
  service: "service",
  telemetry: "telemetry"
}

/** Kinds of calls that a breaker and the limiter have a say in. */
const guarded: Readonly<Record<Operation, boolean>> = {
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

const isBinary = (contentType: string | undefined): boolean =>
  contentType !== undefined &&
  (contentType.includes("application/x-protobuf") || contentType.includes("application/octet-stream"))

const queryOf = (query: Request["query"]): string => {
  if (query === undefined) return ""
  const params = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") params.append(name, String(value))
  }
  const text = params.toString()
  return text === "" ? "" : `?${text}`
}

/** A different one in every process and for every transport; the calls of one are numbered. */
const newIdempotencyPrefix = (): string => {
  const random = crypto.getRandomValues(new Uint8Array(12))
  return `tinkex-retry-${Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("")}`
}

const again = Symbol("the limiter is set: leave the gate and wait")

export const make = (settings: Settings): Effect.Effect<InternalTransport, never, Requirements | Scope.Scope> =>
  Effect.gen(function*() {
    const http = unfollowed(HttpClient.withTracerDisabledWhen(yield* HttpClient.HttpClient, () => true))
    const telemetry = yield* Telemetry
    const deadlines = yield* Deadlines.make
    const { tenant } = settings
    const limiter = yield* RateLimiter.forKey(tenant.id)
    const breakers: { [K in Operation]?: CircuitBreaker.CircuitBreaker } = {}
    const gates: { [K in Operation]?: ConcurrencyGate.ConcurrencyGate } = {}
    for (const pool of Object.keys(operationClasses) as ReadonlyArray<Operation>) { // the keys of a total record
      if (guarded[pool]) breakers[pool] = yield* CircuitBreaker.forKey(keyOf(tenant.id, pool))
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
    const common = commonHeaders(settings)
    const redact = Redact.make(settings)
    const prefix = newIdempotencyPrefix()
    const root = `${settings.baseUrl}/api/v1/`
    const { origin } = new URL(settings.baseUrl)
    let calls = 0
    /** Until when, in monotonic milliseconds, a back-off counts as recent. */
    let throttledUntil = 0

    interface Prepared<A> {
      readonly request: Request
      readonly route: string
      readonly url: string
      readonly headers: Readonly<Record<string, string>>
      readonly body: HttpBody.HttpBody
      readonly bytes: number
      readonly timeout: Duration.Duration
      readonly guarded: boolean
      readonly delivery: Delivery
      readonly read: (answer: Answer) => Effect.Effect<A, TransportError>
    }

    const prepare = <A>(
      request: Request,
      read: (answer: Answer) => Effect.Effect<A, TransportError>
    ): Prepared<A> => {
      const timeout = request.timeout ?? settings.timeouts.request
      const { body } = request
      const headers: Record<string, string> = {
        ...common,
        "x-stainless-read-timeout": String(Duration.toSeconds(timeout)),
        ...request.headers
      }
      if (request.method !== "GET") {
        headers["content-type"] = body?.contentType ?? "application/json"
        headers["x-idempotency-key"] ??= `${prefix}-${calls++}`
        if (body?.contentEncoding !== undefined) headers["content-encoding"] = body.contentEncoding
      }
      return {
        request,
        route: `/api/v1/${request.route ?? request.path}`,
        url: `${root}${request.path}${queryOf(request.query)}`,
        headers,
        body: body === undefined ? HttpBody.empty : HttpBody.uint8Array(body.bytes, body.contentType),
        bytes: body?.bytes.length ?? 0,
        timeout,
        guarded: guarded[request.pool] && request.unguarded !== true,
        delivery: request.delivery ?? { maybe: false },
        read
      }
    }

    const receive = (
      { bytes, request: { operation, pool, redirects } }: Prepared<unknown>,
      response: HttpClientResponse.HttpClientResponse
    ): Effect.Effect<Answer, HttpClientError.HttpClientError | TransportError> => {
      const { headers, status } = response
      // a 408 on a poll is an answer, its body tells the state of the queue
      const success = status >= 200 && (status < 300 || (redirects === true && status < 400))
      if (success || (status === 408 && pool === "futures")) {
        const whole = (cut: boolean, body: Answer["body"]): Effect.Effect<Answer, TransportError> =>
          cut
            ? Effect.fail(
              new TinkexError.MalformedResponse({
                operation,
                status,
                detail: `it is larger than ${AnswerBody.longestAnswer / 2 ** 20} MiB`,
                requestId: TinkexError.requestIdOf(headers, redact)
              })
            )
            : Effect.succeed({ status, headers, body })
        return isBinary(headers["content-type"])
          ? Effect.flatMap(
            AnswerBody.bytesWithin(response, AnswerBody.longestAnswer),
            ({ bytes, cut }) => whole(cut, { _tag: "Bytes", bytes })
          )
          : Effect.flatMap(
            AnswerBody.textWithin(response, AnswerBody.longestAnswer),
            ({ cut, text }) => whole(cut, { _tag: "Text", text })
          )
      }
      return Effect.flatMap(
        Effect.zip(AnswerBody.textWithin(response, AnswerBody.longestError), Clock.currentTimeMillis),
        ([{ text }, nowMillis]) => {
          return Effect.fail(
            TinkexError.fromStatus({
              operation,
              origin,
              status,
              headers,
              body: text,
              redact,
              nowMillis,
              requestBytes: bytes
            })
          )
        }
      )
    }

    const mapped = (error: HttpClientError.HttpClientError | TransportError, operation: string): TransportError =>
      error._tag === "RequestError" || error._tag === "ResponseError"
        ? TinkexError.fromHttpClientError(error, operation)
        : error

    const attempt = (prepared: Prepared<unknown>, n: number): Effect.Effect<Answer, TransportError> => {
      const { request, timeout } = prepared
      const go = (credential: Redacted.Redacted | undefined, trace: Readonly<Record<string, string>> | undefined) => {
        const headers: Record<string, string> = { ...prepared.headers, "x-stainless-retry-count": String(n), ...trace }
        if (credential !== undefined) {
          redact.learn(credential)
          headers["x-api-key"] = Redacted.value(credential)
        }
        return Effect.mapError(
          deadlines.limit<Answer, HttpClientError.HttpClientError | TransportError>(
            Effect.flatMap(
              http.execute(HttpClientRequest.make(request.method)(prepared.url, { headers, body: prepared.body })),
              (response) => receive(prepared, response)
            ),
            Duration.toMillis(timeout),
            () => new TinkexError.RequestTimeout({ operation: request.operation, timeout, detail: "" })
          ),
          (error) => mapped(error, request.operation)
        )
      }
      const credential = request.credential === undefined ? self.credential : Effect.succeed(request.credential)
      return Effect.flatMap(
        credential,
        settings.propagation
          ? (key) =>
            Effect.flatMap(
              Effect.option(Effect.currentSpan),
              (span) => go(key, Option.getOrUndefined(Option.map(span, HttpTraceContext.toHeaders)))
            )
          : (key) => go(key, undefined)
      )
    }

    /** The events of an attempt; nothing of it without a listener. */
    const observed = (prepared: Prepared<unknown>, n: number): Effect.Effect<Answer, TransportError> => {
      if (!telemetry.enabled) return attempt(prepared, n)
      const fields = {
        method: prepared.request.method,
        route: prepared.route,
        operation: prepared.request.pool,
        tenant: tenant.label,
        attempt: n
      }
      return Effect.flatMap(Clock.currentTimeMillis, (start) =>
        telemetry.emit({ _tag: "HttpStart", ...fields }).pipe(
          Effect.zipRight(attempt(prepared, n)),
          Effect.onExit((exit) =>
            Effect.flatMap(Clock.currentTimeMillis, (end) => {
              const durationMs = end - start
              const status = statusOf(exit)
              return status === undefined
                ? telemetry.emit({ _tag: "HttpException", ...fields, error: tagOf(exit), durationMs })
                : telemetry.emit({ _tag: "HttpStop", ...fields, status, durationMs })
            })
          )
        ))
    }

    /** An attempt whose answer can be read. Remembers whether the request may have arrived. */
    const delivered = <A>(prepared: Prepared<A>, n: number): Effect.Effect<A, TransportError> => {
      const { delivery, request: { pool } } = prepared
      return Effect.suspend(() => {
        const before = delivery.maybe
        delivery.maybe = true
        return Effect.tapError(Effect.flatMap(observed(prepared, n), prepared.read), (error) =>
          Effect.sync(() => {
            if (TinkexError.disposition(error, operationClasses[pool]).certainlyNotSent) delivery.maybe = before
          }))
      })
    }

    const refusal = (prepared: Prepared<unknown>, reopensIn: Duration.Duration): Effect.Effect<never, TransportError> =>
      Effect.zipRight(
        telemetry.emit({ _tag: "BreakerRejected", tenant: tenant.label, operation: prepared.request.pool }),
        Effect.fail(
          new TinkexError.CircuitOpen({
            operation: prepared.request.operation,
            circuit: prepared.request.pool,
            reopensIn,
            certainlyNotSent: true
          })
        )
      )

    /** Breaker permit and attempt; the outcome goes to breaker and limiter, once. */
    const judged = <A>(prepared: Prepared<A>, n: number): Effect.Effect<A, TransportError> => {
      const { pool } = prepared.request
      const breaker = breakers[pool]
      const run = Effect.flatMap(limiter.started, (epoch) =>
        Effect.tapBoth(delivered(prepared, n), {
          onSuccess: () => limiter.succeeded(epoch),
          onFailure: (error) => {
            const { limiter: wait } = TinkexError.disposition(error, operationClasses[pool])
            return Option.isNone(wait) ? Effect.void : limiter.setBackoff(wait.value)
          }
        }))
      if (breaker === undefined) return run
      return Effect.catchTag(
        breaker.checkAndCall(run, (exit) => outcomeOf(exit, operationClasses[pool])),
        "CircuitOpen",
        (error) => TinkexError.isTinkexError(error) ? Effect.fail(error) : refusal(prepared, error.reopensIn)
      )
    }

    const refuseIfOpen = (prepared: Prepared<unknown>): Effect.Effect<void, TransportError> => {
      const breaker = breakers[prepared.request.pool]
      return breaker === undefined
        ? Effect.void
        : Effect.flatMap(breaker.state, (state) =>
          state._tag === "Open"
            ? refusal(prepared, state.reopensIn)
            : state._tag === "Isolated"
            ? refusal(prepared, Duration.infinity)
            : Effect.void)
    }

    const waitOut = (prepared: Prepared<unknown>, left: number): Effect.Effect<void, TransportError> =>
      Effect.flatMap(limiter.remaining, (remaining) => {
        const millis = Duration.toMillis(remaining)
        if (millis === 0) return Effect.void
        return Effect.zipRight(
          Effect.map(Clock.currentTimeNanos, (now) => {
            throttledUntil = Math.max(throttledUntil, Number(now / 1_000_000n) + millis + recentMillis)
          }),
          Effect.mapError(limiter.waitUpTo(Math.max(0, left)), (error) =>
            new TinkexError.RateLimited({
              operation: prepared.request.operation,
              status: 429,
              detail: "the service asks everybody with this key to wait",
              retryAfter: error.remaining
            }))
        )
      })

    const recently = Effect.map(Clock.currentTimeNanos, (now) => Number(now / 1_000_000n) < throttledUntil)

    const throttled = <A>(inside: Effect.Effect<A, TransportError>) =>
      Effect.flatMap(recently, (recent) => recent ? inGate(throttle, inside, undefined) : inside)

    const inGate = <A>(
      gate: ConcurrencyGate.ConcurrencyGate,
      inside: Effect.Effect<A, TransportError>,
      bytes: number | undefined
    ): Effect.Effect<A, TransportError> => Effect.catchTag(gate.withPermit(inside, { bytes }), "GateFull", Effect.die) // no gate here limits its waiters

    /** One attempt and all that it has to pass. `left` is the time that remains, in milliseconds. */
    const pass = <A>(prepared: Prepared<A>, n: number, left: number): Effect.Effect<A, TransportError> => {
      const { pool, weight } = prepared.request
      const gate = gateOf(pool)
      if (!prepared.guarded) return inGate(gate, delivered(prepared, n), undefined)
      const last = Effect.flatMap(
        limiter.shouldBackoff,
        (wait): Effect.Effect<A | typeof again, TransportError> => wait ? Effect.succeed(again) : judged(prepared, n)
      )
      const inside = pool === "sampling" ? throttled(last) : last
      const once: Effect.Effect<A, TransportError> = refuseIfOpen(prepared).pipe(
        Effect.zipRight(waitOut(prepared, left)),
        Effect.zipRight(
          pool === "sampling"
            // what was refused for load lately weighs more (docs/protocol/sampling.md#load)
            ? Effect.flatMap(recently, (recent) => inGate(gate, inside, (weight ?? prepared.bytes) * (recent ? 20 : 1)))
            : inGate(gate, inside, weight ?? prepared.bytes)
        ),
        Effect.flatMap((answer) => answer === again ? once : Effect.succeed(answer as A)) // the one mark or an answer
      )
      return once
    }

    const call = <A>(
      request: Request,
      read: (answer: Answer) => Effect.Effect<A, TransportError>
    ): Effect.Effect<A, TransportError> =>
      Effect.flatMap(Clock.currentTimeMillis, (start) => {
        const prepared = prepare(request, read)
        const times = request.times ?? settings.retry.times
        const operationClass = operationClasses[request.pool]
        let refusals = 0
        let deadline = start + Duration.toMillis(settings.timeouts.call)

        const fail = (error: TransportError, n: number): Effect.Effect<A, TransportError> => {
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
            case "After":
              return n >= times ||
                  (retry._tag === "Backoff" && retry.atMost !== undefined && refusals++ >= retry.atMost) ?
                Effect.fail(error) :
                repeat(
                  error,
                  n,
                  policy.delay(n + 1, retry._tag === "After" ? retry.delay : undefined)
                )
            default:
              return Effect.fail(error)
          }
        }

        const repeat = (
          error: TransportError,
          n: number,
          wait: Effect.Effect<Duration.Duration>
        ): Effect.Effect<A, TransportError> =>
          Effect.flatMap(Effect.zip(wait, Clock.currentTimeMillis), ([delay, now]) => {
            const delayMs = Math.ceil(Duration.toMillis(delay))
            if (now + delayMs >= deadline) return Effect.fail(error)
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

        const loop = (n: number): Effect.Effect<A, TransportError> =>
          Effect.flatMap(
            Clock.currentTimeMillis,
            (now) => Effect.catchAll(pass(prepared, n, deadline - now), (error) => fail(error, n))
          )

        const tried = prepared.guarded ? Effect.zipRight(budget.deposit, loop(0)) : loop(0)
        // the last attempt may not have arrived, an earlier one may have
        const all = Effect.mapError(
          tried,
          (error) => prepared.delivery.maybe ? TinkexError.mayHaveArrived(error) : error
        )
        return settings.tracing
          ? Effect.withSpan(all, `tinkex ${request.method} ${prepared.route}`, {
            kind: "client",
            captureStackTrace: false,
            attributes: { "tinkex.operation": request.pool, "tinkex.tenant": tenant.label }
          })
          : all
      })

    const send: Transport["send"] = (request) => call(request, Effect.succeed)

    const json: Transport["json"] = (request, schema) =>
      call(request, (answer) => decodeAnswer(answer, schema, request.operation, redact))

    const self: InternalTransport = {
      settings,
      limiter,
      breaker: (pool) => breakers[pool],
      gate: gateOf,
      send,
      json,
      credential: Effect.succeed(settings.apiKey),
      redact,
      billing
    }
    return self
  })

/** A back-off counts as recent for so long after it ended (docs/protocol/sampling.md#load). */
const recentMillis = 10_000

const statusOf = (exit: Exit.Exit<Answer, TransportError>): number | undefined => {
  if (Exit.isSuccess(exit)) return exit.value.status
  const error = failureOf(exit)
  return error !== undefined && "status" in error ? error.status : undefined
}

const tagOf = (exit: Exit.Exit<Answer, TransportError>): string =>
  failureOf(exit)?._tag ?? (Exit.isInterrupted(exit) ? "Interrupted" : "Defect")

const outcomeOf = (
  exit: Exit.Exit<unknown, TransportError>,
  operationClass: OperationClass
): CircuitBreaker.Outcome => {
  if (Exit.isSuccess(exit)) return "success"
  const error = failureOf(exit)
  return error === undefined ? "ignore" : TinkexError.disposition(error, operationClass).breaker
}

export const decodeAnswer = <A, I>(
  answer: Answer,
  schema: Schema.Schema<A, I>,
  operation: string,
  redact: Redact.Redactor
): Effect.Effect<A, TransportError> => {
  const requestId = TinkexError.requestIdOf(answer.headers, redact)
  return answer.body._tag === "Bytes"
    ? Effect.fail(
      new TinkexError.MalformedResponse({ operation, detail: "it is binary", status: answer.status, requestId })
    )
    : Effect.flatMap(
      Json.parse(answer.body.text, operation, requestId),
      (body) => Json.decode(body, schema, operation, requestId, redact)
    )
}
