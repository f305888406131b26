/** One queue, one fiber that empties it. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Predicate from "effect/Predicate"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import {
  formatDuration,
  type Severity,
  type TelemetryEvent,
  TelemetrySendRequest
} from "../../protocol/TelemetryEvents.js"
import { disposition, type TransportError } from "../../TinkexError.js"
import type { Options, Reporter } from "../TelemetryReporter.js"
import { sdkVersion } from "../transport/headers.js"
import { jsonBody } from "../transport/json.js"
import { platformOf } from "../transport/platform.js"
import type { Request } from "../transport/types.js"
import { processUuid, uuid } from "../transport/uuid.js"
import { describe, sanitizer, userErrorOf } from "./report.js"

// docs/protocol/sessions.md#reports
const batchSize = 100
const capacity = 10_000
const flushEvery = Duration.seconds(10)
const flushTimeout = Duration.seconds(30)
const requestTimeout = Duration.seconds(5)
const repeats = 3
const firstWait = 1000
/** Statuses of a service that has no such endpoint. */
const absent: ReadonlySet<number> = new Set([404, 405, 501])

const encode = Schema.encodeSync(TelemetrySendRequest)

/** The system as Python's `platform.system` calls it. */
const system = (): string => {
  const { os } = platformOf(globalThis)
  return os === "MacOS" ? "Darwin" : os
}

export const disabled: Reporter = {
  enabled: false,
  log: () => Effect.succeed(false),
  exception: () => Effect.succeed(false),
  capture: (self) => self,
  flush: Effect.succeed(true),
  stats: Effect.succeed({ queued: 0, sent: 0, dropped: 0, lost: 0 })
}

export const make = (options: Options): Effect.Effect<Reporter, never, Scope.Scope> =>
  options.transport.settings.telemetry ? start(options) : Effect.succeed(disabled)

const start = ({ sessionId: id, transport }: Options): Effect.Effect<Reporter, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { settings } = transport
    const sessionId = id ?? `sessionless-${uuid()}`
    const clean = sanitizer(transport.redact)
    const begun = yield* Clock.currentTimeMillis
    const events: Array<TelemetryEvent> = []
    const reported = new WeakSet<object>()
    /** Something waits; it shall not wait longer; the scope is closing. */
    const waiting = yield* Queue.dropping<void>(1)
    const urgent = yield* Queue.dropping<void>(1)
    const closing = yield* Deferred.make<void>()
    let waiters: ReadonlyArray<{ readonly until: number; readonly done: Deferred.Deferred<void> }> = []
    let index = 0
    let queued = 0
    let sent = 0
    let dropped = 0
    let lost = 0
    /** The service has no such endpoint, or everything is over. */
    let off = false
    /** The last batch was given up. */
    let failing = false
    let closed = false

    type Fields =
      | { readonly event: "SESSION_START" }
      | { readonly event: "SESSION_END"; readonly duration: string }
      | { readonly event: "UNHANDLED_EXCEPTION"; readonly errorMessage: string; readonly errorType: string }
      | { readonly event: "GENERIC_EVENT"; readonly eventName: string; readonly eventData: Record<string, unknown> }

    const push = (fields: Fields, severity: Severity, now: boolean): Effect.Effect<boolean> =>
      Effect.flatMap(Clock.currentTimeMillis, (millis) => {
        if (off) return Effect.succeed(false)
        // the number is used up also where the event is dropped: a hole tells the service
        const eventSessionIndex = index++
        if (events.length >= capacity) {
          return Effect.as(
            dropped++ > 0
              ? Effect.void
              : Effect.logDebug(`session ${sessionId}: too many events wait to be reported; more are dropped`),
            false
          )
        }
        events.push({
          ...fields,
          eventId: uuid(),
          eventSessionIndex,
          severity,
          timestamp: DateTime.unsafeMake(millis)
        })
        queued++
        Queue.unsafeOffer(waiting, undefined)
        if (now || events.length >= batchSize) Queue.unsafeOffer(urgent, undefined)
        return Effect.succeed(true)
      })

    const settled = (): Effect.Effect<void> => {
      const done = sent + lost
      const ready = waiters.filter(({ until }) => until <= done)
      if (ready.length > 0) waiters = waiters.filter(({ until }) => until > done)
      return Effect.forEach(ready, (waiter) => Deferred.succeed(waiter.done, undefined), { discard: true })
    }

    const attempt = (request: Request, n: number): Effect.Effect<boolean> =>
      Effect.matchEffect(transport.send(request), {
        onSuccess: () => Effect.succeed(true),
        onFailure: (error: TransportError) => {
          if ("status" in error && error.status !== undefined && absent.has(error.status)) {
            off = true
            return Effect.succeed(false)
          }
          const { retry } = disposition(error, "telemetry")
          if (closed || n >= repeats || (retry._tag !== "Backoff" && retry._tag !== "After")) {
            return Effect.as(Effect.logDebug(`reports were given up: ${error.message}`), false)
          }
          const asked = retry._tag === "After" ? Duration.toMillis(retry.delay) : 0
          return Effect.raceFirst(Effect.sleep(Math.max(asked, firstWait * 2 ** n)), Deferred.await(closing)).pipe(
            Effect.zipRight(Effect.suspend(() => closed ? Effect.succeed(false) : attempt(request, n + 1)))
          )
        }
      })

    const drain: Effect.Effect<void> = Effect.suspend(() => {
      const batch = events.splice(0, batchSize)
      if (batch.length === 0) return Effect.void
      const request: Request = {
        operation: `telemetry (session ${sessionId})`,
        method: "POST",
        path: "telemetry",
        pool: "telemetry",
        times: 0,
        timeout: requestTimeout,
        headers: { "x-idempotency-key": uuid() },
        body: jsonBody(encode({ events: batch, platform: system(), sdkVersion, sessionId, processUuid }))
      }
      return Effect.flatMap(off ? Effect.succeed(false) : attempt(request, 0), (arrived) => {
        failing = !arrived
        if (arrived) sent += batch.length
        else lost += batch.length
        return Effect.zipRight(settled(), drain)
      })
    })

    /** Waits until what is queued now is sent or given up. */
    const drained = Effect.suspend(() => {
      if (sent + lost >= queued) return Effect.void
      const waiter = { until: queued, done: Deferred.unsafeMake<void>(FiberId.none) }
      waiters = [...waiters, waiter]
      Queue.unsafeOffer(waiting, undefined)
      Queue.unsafeOffer(urgent, undefined)
      return Deferred.await(waiter.done)
    })

    const exception = (error: unknown, severity: Severity = "ERROR"): Effect.Effect<boolean> =>
      Effect.suspend(() => {
        if (Predicate.isObject(error)) {
          if (reported.has(error)) return Effect.succeed(false)
          reported.add(error)
        }
        const { message, type } = describe(error)
        const mistake = userErrorOf(error)
        if (mistake === undefined) {
          return push(
            { event: "UNHANDLED_EXCEPTION", errorType: String(clean(type)), errorMessage: String(clean(message)) },
            severity,
            true
          )
        }
        const { requestId, status } = describe(mistake)
        return push(
          {
            event: "GENERIC_EVENT",
            eventName: "user_error",
            eventData: dataOf({
              error_type: type,
              message,
              ...(status === undefined ? {} : { status_code: status }),
              ...(requestId === undefined ? {} : { request_id: requestId })
            })
          },
          "WARNING",
          true
        )
      })

    const dataOf = (data: Readonly<Record<string, unknown>>): Record<string, unknown> =>
      clean(data) as Record<string, unknown> // a record stays one

    const ofCause = (cause: Cause.Cause<unknown>) =>
      Cause.isInterruptedOnly(cause) ? Effect.succeed(false) : exception(Cause.squash(cause))

    if (id !== undefined) yield* push({ event: "SESSION_START" }, "INFO", false)
    yield* Queue.take(waiting).pipe(
      Effect.zipRight(Effect.raceFirst(Effect.sleep(flushEvery), Queue.take(urgent))),
      Effect.zipRight(drain),
      Effect.forever,
      Effect.withTracerEnabled(false),
      Effect.interruptible,
      Effect.forkScoped
    )
    yield* Effect.addFinalizer((exit) =>
      Effect.gen(function*() {
        if (Exit.isFailure(exit)) yield* ofCause(exit.cause)
        if (id !== undefined) {
          const now = yield* Clock.currentTimeMillis
          yield* push({ event: "SESSION_END", duration: formatDuration(now - begun) }, "INFO", true)
        }
        closed = true
        yield* Deferred.succeed(closing, undefined)
        if (!failing && !off) {
          // in a fiber of its own: this one may have been interrupted, and cannot be while it closes
          const rest = Effect.interruptible(Effect.timeoutOption(drained, settings.timeouts.finish))
          yield* Effect.flatMap(Effect.forkDaemon(rest), Fiber.await)
        }
        off = true
      })
    )

    return {
      enabled: true,
      log: (eventName, eventData = {}, severity = "INFO") =>
        Effect.suspend(() =>
          push(
            { event: "GENERIC_EVENT", eventName: String(clean(eventName)), eventData: dataOf(eventData) },
            severity,
            false
          )
        ),
      exception,
      capture: (self) => Effect.tapErrorCause(self, ofCause),
      flush: Effect.map(Effect.timeoutOption(drained, flushTimeout), (done) => done._tag === "Some"),
      stats: Effect.sync(() => ({ queued: events.length, sent, dropped, lost }))
    }
  })
