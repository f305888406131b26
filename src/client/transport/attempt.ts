/**
 * One attempt is one effect: admitted, sent, read to its end, and settled once, in a plain function, however it ends. The request
 * runs in a fiber of its own, which the time limit ends, and the caller's interruption unless somebody takes the answer over.
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import type { TelemetryService } from "../../observability/Telemetry.js"
import * as TinkexError from "../../TinkexError.js"
import { failureOf } from "../future/exits.js"
import * as Monotonic from "../monotonic.js"
import type { Admission, Ticket } from "./admission.js"
import { errorOf, type RawError, type Receive } from "./answer.js"
import type { Call } from "./calls.js"
import type { Contact } from "./contact.js"
import type { Credentials } from "./credentials.js"
import type { Deadlines } from "./deadlines.js"
import type { Answer, Left } from "./types.js"

/** Leaves an interruptible region inside an uninterruptible one. */
interface Restore {
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R>
}

export interface Parts {
  readonly http: HttpClient.HttpClient
  readonly clock: Clock.Clock
  readonly telemetry: TelemetryService
  readonly tenant: string
  readonly deadlines: Deadlines
  readonly admission: Admission
  readonly credentials: Credentials
  readonly contact: Contact
  readonly receive: Receive
}

export interface Attempt {
  <A>(
    call: Call<A>,
    trace: Readonly<Record<string, string>> | undefined,
    left: Left<A> | undefined
  ): Effect.Effect<A, TinkexError.TransportError>
}

/** Whether the call will be made again after this error, so that nobody but the log hears of it. */
const isRepeated = ({ attempts, kind, request, times }: Call<unknown>, error: TinkexError.TransportError): boolean => {
  const { retry } = TinkexError.disposition(error, kind)
  if (retry._tag !== "Backoff" && retry._tag !== "Within") return false
  return kind === "poll" || request.unguarded === true || attempts <= times
}

export const make = (parts: Parts): Attempt => {
  const { admission, clock, contact, credentials, deadlines, http, receive, telemetry, tenant } = parts

  const headersOf = (call: Call<unknown>, trace: Readonly<Record<string, string>> | undefined) => {
    const headers: Record<string, string> = {
      ...call.headers,
      "x-stainless-retry-count": String(call.attempts),
      ...trace
    }
    const credential = call.request.credential ?? credentials.current()
    call.credential = credential
    if (credential !== undefined) headers["x-api-key"] = Redacted.value(credential)
    return headers
  }

  const go = <A>(
    call: Call<A>,
    trace: Readonly<Record<string, string>> | undefined,
    left: Left<A> | undefined,
    ticket: Ticket,
    restore: Restore
  ): Effect.Effect<A, TinkexError.TransportError> => {
    const { delivery, request, timeoutMillis, url } = call
    const { method, operation, pool } = request
    const sent: Effect.Effect<Answer, RawError> = Effect.flatMap(
      http.execute(HttpClientRequest.make(method)(url, { headers: headersOf(call, trace), body: call.body })),
      (response) => receive(call, response)
    )
    const fields = { method, route: call.route, operation: pool, tenant, attempt: call.attempts }
    const wallStart = clock.unsafeCurrentTimeMillis()
    const start = Monotonic.millisOf(clock)
    const before = delivery.maybe
    delivery.maybe = true
    call.attempts++

    const told = (status: number | undefined, error: string): Effect.Effect<void> => {
      const durationMs = clock.unsafeCurrentTimeMillis() - wallStart
      return telemetry.emit(
        status === undefined
          ? { _tag: "HttpException", ...fields, error, durationMs }
          : { _tag: "HttpStop", ...fields, status, durationMs }
      )
    }

    /** Settles the attempt, and says what is left to do. */
    const finish = (exit: Exit.Exit<Answer, RawError>): Effect.Effect<A, TinkexError.TransportError> => {
      if (Exit.isSuccess(exit)) {
        admission.leave(call, ticket, "success")
        const news = contact.heard()
        const value = call.read(exit.value)
        const end = news === undefined ? value : Effect.zipRight(news, value)
        return telemetry.enabled ? Effect.zipRight(told(exit.value.status, ""), end) : end
      }
      const raw = failureOf(exit)
      if (raw === undefined) {
        admission.leave(call, ticket, "unknown")
        return Effect.zipRight(told(undefined, "Defect"), Effect.failCause(exit.cause as Cause.Cause<never>)) // no failure in it
      }
      const error = errorOf(raw, operation)
      const { certainlyNotSent } = TinkexError.disposition(error, call.kind)
      if (certainlyNotSent) delivery.maybe = before
      admission.leave(call, ticket, error)
      const news = isRepeated(call, error)
        ? contact.failed(error, start, timeoutMillis)
        : contact.heardIn(error)
      return told("status" in error ? error.status : undefined, error._tag).pipe(
        Effect.zipRight(news),
        Effect.zipRight(Effect.fail(error))
      )
    }

    const timedOut = () =>
      Exit.fail(new TinkexError.RequestTimeout({ operation, timeout: Duration.millis(timeoutMillis), detail: "" }))

    const limited = Effect.flatMap(Effect.forkDaemon(Effect.interruptible(sent)), (fiber) => {
      let open = true
      let listener: ((outcome: Effect.Effect<A, TinkexError.TransportError>) => void) | undefined
      let outcome: Effect.Effect<A, TinkexError.TransportError> | undefined
      const close = (): boolean => {
        deadline.off()
        const was = open
        open = false
        return was
      }
      const settle = (ended: Effect.Effect<A, TinkexError.TransportError>) => {
        outcome = ended
        listener?.(ended)
      }
      const deadline = deadlines.set(timeoutMillis, () => {
        if (close()) settle(Effect.zipRight(Fiber.interrupt(fiber), finish(timedOut())))
      })
      fiber.addObserver((exit) => {
        if (close()) settle(finish(exit))
      })
      const answered = Effect.async<A, TinkexError.TransportError>((resume) => {
        listener = resume
        if (outcome !== undefined) resume(outcome)
      })
      const dropped = Effect.suspend(() => {
        if (!close()) return Effect.void
        admission.leave(call, ticket, "unknown")
        return Effect.zipRight(Fiber.interrupt(fiber), told(undefined, "Interrupted"))
      })
      return Effect.onError(restore(answered), () =>
        open && left !== undefined
          ? left(Effect.onError(Effect.interruptible(answered), () => dropped))
          : dropped)
    })
    return telemetry.enabled ? Effect.zipRight(telemetry.emit({ _tag: "HttpStart", ...fields }), limited) : limited
  }

  return (call, trace, left) =>
    Effect.uninterruptibleMask((restore) => {
      const ticket = admission.tryEnter(call)
      return ticket === undefined
        ? Effect.flatMap(admission.enter(call, restore), (ticket) => go(call, trace, left, ticket, restore))
        : go(call, trace, left, ticket, restore)
    })
}
