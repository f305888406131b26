/** Asking for the result of an accepted request until it is there (wire-protocol 2.7, 5.3; design.md 4). */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type * as Schema from "effect/Schema"
import type { FutureOutcome, Operation } from "../../observability/TelemetryEvent.js"
import * as Futures from "../../protocol/Futures.js"
import type { MalformedMessage } from "../../protocol/MalformedMessage.js"
import type { TinkexError, TransportError } from "../../TinkexError.js"
import * as Errors from "../../TinkexError.js"
import type { Answer } from "../HttpTransport.js"
import * as Reports from "../reporting/reports.js"
import type { Core } from "../service/core.js"
import type { Pending } from "../ServiceClient.js"
import * as Json from "../transport/json.js"
import type { Redactor } from "../transport/redact.js"
import { jsonBody } from "../transport/transport.js"
import { failureOf } from "./exits.js"
import type { QueueObserver } from "./queueObserver.js"

/** A result: from protobuf where there is such a form, from JSON otherwise or from servers that know nothing else. */
export interface ResultType<A> {
  readonly name: Futures.RequestType
  readonly decode?: ((bytes: Uint8Array) => Effect.Effect<A, MalformedMessage>) | undefined
  readonly fromJson: (
    body: unknown,
    operation: string,
    requestId: string,
    redact: Redactor
  ) => Effect.Effect<A, TransportError>
}

export const resultType = <A, I>(
  name: Futures.RequestType,
  schema: Schema.Schema<A, I>,
  decode?: (bytes: Uint8Array) => Effect.Effect<A, MalformedMessage>
): ResultType<A> => ({
  name,
  decode,
  fromJson: (body, operation, id, redact) => Json.decode(body, schema, operation, id, redact)
})

export interface Accepted<A> {
  readonly operation: string
  readonly kind: Operation
  readonly requestId: string
  readonly result: ResultType<A>
  readonly observer: QueueObserver
  /** When the operation began, in milliseconds since 1970. */
  readonly startedAt: number
}

/** What is known of a request while it is polled. */
export interface Polling {
  readonly requestId: string
  readonly operation: string
  readonly acceptedAt: number
  polls: number
  queueState: Futures.QueueState
  reason: string | undefined
  /** When the queue state last changed. */
  changedAt: number
}

export const describe = (self: Polling, now: number): Pending => ({
  requestId: self.requestId,
  operation: self.operation,
  age: Duration.millis(Math.max(0, now - self.acceptedAt)),
  polls: self.polls,
  queueState: self.queueState,
  reason: self.reason
})

export const makePolling = (
  accepted: { readonly requestId: string; readonly operation: string },
  now: number
): Polling => ({
  requestId: accepted.requestId,
  operation: accepted.operation,
  acceptedAt: now,
  polls: 0,
  queueState: "unknown",
  reason: undefined,
  changedAt: now
})

const badRequestRepeats = 3
const quick = 1000
const leastFloor = 100
const longestBackoff = 30_000

/** How the polls of one request went so far. */
interface Loop {
  metadataOnly: boolean
  badRequests: number
  unanswered: number
  /** Answers in a row that came sooner than a server that holds its polls would give them. */
  hurried: number
  missingSince: number | undefined
}

const outcomeOf = (exit: Exit.Exit<unknown, TinkexError>): FutureOutcome => {
  if (Exit.isSuccess(exit)) return "success"
  const error = failureOf(exit)
  if (error === undefined) return Exit.isInterrupted(exit) ? "interrupted" : "failed"
  return error._tag === "FutureExpired"
    ? "expired"
    : error._tag !== "RequestFailed"
    ? "failed"
    : error.category === "user"
    ? "user_error"
    : "server_error"
}

/**
 * Polls until the request has a result, fails, or its queue has not moved for the time that a future has. Fills in `polling` as
 * it goes.
 */
export const poll = <A>(core: Core, accepted: Accepted<A>, polling: Polling): Effect.Effect<A, TinkexError> => {
  const { reporter, telemetry, transport } = core
  const { kind, observer, operation, requestId, result } = accepted
  const { settings } = transport
  const patience = Duration.toMillis(settings.timeouts.future)
  const state: Loop = { metadataOnly: true, badRequests: 0, unanswered: 0, hurried: 0, missingSince: undefined }
  const path = "retrieve_future"

  const ask = (left: number): Effect.Effect<Answer, TransportError> => {
    const headers: Record<string, string> = {
      "x-tinker-request-iteration": String(polling.polls),
      "x-tinker-request-type": result.name
    }
    if (result.decode !== undefined) headers["accept"] = "application/x-protobuf"
    if (polling.polls === 0) {
      headers["x-tinker-create-promise-roundtrip-time"] = String((polling.acceptedAt - accepted.startedAt) / 1000)
    }
    polling.polls++
    return transport.send({
      operation,
      method: "POST",
      path,
      pool: "futures",
      times: 0,
      timeout: Duration.min(settings.timeouts.poll, Duration.millis(Math.max(1, left))),
      headers,
      body: jsonBody({ request_id: requestId, allow_metadata_only: state.metadataOnly })
    })
  }

  const moved = (queueState: Futures.QueueState, reason: string | undefined, now: number): Effect.Effect<void> => {
    if (queueState !== polling.queueState) {
      polling.queueState = queueState
      polling.changedAt = now
    }
    polling.reason = reason === undefined ? undefined : transport.redact(reason)
    return observer.notify(queueState, polling.reason, requestId)
  }

  const timeout = (now: number) =>
    new Errors.FutureTimeout({
      operation,
      requestId,
      age: Duration.millis(now - polling.acceptedAt),
      polls: polling.polls,
      lastQueueState: polling.queueState,
      reason: polling.reason
    })

  /** Waits, but not beyond the deadline, and asks again. */
  const after = (millis: number): Effect.Effect<A, TinkexError> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const wait = Math.min(millis, Math.max(0, polling.changedAt + patience - now))
      return wait > 0 ? Effect.zipRight(Effect.sleep(Math.ceil(wait)), once) : once
    })

  /** Not yet: at once if the server held the poll, otherwise not sooner than the floor, which grows to a second. */
  const notYet = (body: unknown, took: number, now: number): Effect.Effect<A, TinkexError> => {
    const { queueState, queueStateReason } = Futures.pending(body)
    state.unanswered = 0
    state.badRequests = 0
    state.missingSince = undefined
    state.hurried = took < quick ? state.hurried + 1 : 0
    const floor = state.hurried === 0 ? 0 : Math.min(quick, leastFloor * 2 ** (state.hurried - 1)) - took
    return moved(queueState, queueStateReason, now).pipe(
      Effect.zipRight(telemetry.emit({
        _tag: "FuturePoll",
        requestId,
        operation: kind,
        iteration: polling.polls,
        ageMs: now - polling.acceptedAt
      })),
      Effect.zipRight(after(Math.max(0, floor)))
    )
  }

  const malformed = (detail: string) => new Errors.MalformedResponse({ operation, detail, requestId })

  const complete = (answer: Answer, took: number, now: number): Effect.Effect<A, TinkexError> => {
    const { body } = answer
    if (body._tag === "Bytes") {
      return result.decode === undefined
        ? Effect.fail(malformed("it is binary, which this operation has no form for"))
        : Effect.mapError(
          result.decode(body.bytes),
          (error) => Errors.fromMalformedMessage(error, operation, requestId)
        )
    }
    if (answer.status === 408) return Effect.flatMap(lenient(body.text), (json) => notYet(json, took, now))
    return Effect.flatMap(Json.parse(body.text, operation, requestId), (json): Effect.Effect<A, TinkexError> => {
      const told = Futures.classify(json)
      switch (told._tag) {
        case "Pending":
          return notYet(json, took, now)
        case "Failed":
          return Effect.fail(
            new Errors.RequestFailed({
              operation,
              requestId,
              category: told.category,
              detail: transport.redact(told.error)
            })
          )
        case "CompleteMetadata": {
          if (!state.metadataOnly) return Effect.fail(malformed("it is a size again where the result was asked for"))
          state.metadataOnly = false
          // held until the result is here, so that large ones do not all arrive at once
          return Effect.catchTag(
            core.responses.withPermit(once, { bytes: told.responsePayloadSize }),
            "GateFull",
            Effect.die // the gate does not limit its waiters
          )
        }
        case "Completed":
          return result.fromJson(told.value, operation, requestId, transport.redact)
      }
    })
  }

  const backoff = (error: TransportError): Effect.Effect<A, TinkexError> =>
    Effect.flatMap(Random.nextRange(0.75, 1), (u) => {
      const { retry } = Errors.disposition(error, "poll")
      if (retry._tag === "After") return after(Math.max(leastFloor, Duration.toMillis(retry.delay)))
      return after(u * Math.min(longestBackoff, 1000 * 2 ** state.unanswered++))
    })

  const report = (error: TinkexError, now: number, last: boolean) =>
    Reports.poll(reporter, error, last, {
      requestId,
      requestType: result.name,
      iteration: polling.polls - 1,
      ageMs: now - polling.acceptedAt
    })

  const failed = (error: TransportError, now: number): Effect.Effect<A, TinkexError> =>
    Effect.zipRight(report(error, now, false), decide(error, now))

  const decide = (error: TransportError, now: number): Effect.Effect<A, TinkexError> => {
    const { retry } = Errors.disposition(error, "poll")
    switch (retry._tag) {
      case "Backoff":
      case "After":
        return backoff(error)
      case "Pending":
        return after(quick)
      case "Pause":
        if (error._tag !== "BillingPaused") return Effect.fail(error)
        return Effect.flatMap(transport.billing.pause(error, retry.delay), (waited) => {
          if (!waited) return Effect.fail(error)
          polling.changedAt += Duration.toMillis(retry.delay)
          return once
        })
      case "Within": {
        state.missingSince ??= now
        return now - state.missingSince >= Duration.toMillis(retry.window) ? Effect.fail(error) : after(quick / 2)
      }
      case "Resubmit":
        return Effect.fail(
          new Errors.FutureExpired({
            operation,
            requestId,
            detail: "detail" in error ? error.detail : "",
            status: "status" in error ? error.status : undefined
          })
        )
      case "No": {
        const again = error._tag === "BadRequest" && error.status === 400 && error.shouldRetry !== false &&
          state.badRequests < badRequestRepeats
        if (!again) return Effect.fail(error)
        state.badRequests++
        return after(quick / 2)
      }
    }
  }

  const once: Effect.Effect<A, TinkexError> = Effect.flatMap(Clock.currentTimeMillis, (start) => {
    const left = polling.changedAt + patience - start
    if (left <= 0) return Effect.fail(timeout(start))
    return Effect.matchEffect(ask(left), {
      onFailure: (error) => Effect.flatMap(Clock.currentTimeMillis, (now) => failed(error, now)),
      onSuccess: (answer) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          if (answer.status !== 408) state.unanswered = 0
          return complete(answer, now - start, now)
        })
    })
  })

  return telemetry.emit({ _tag: "FutureStart", requestId, operation: kind }).pipe(
    // the service has the request, whatever became of the last poll
    Effect.zipRight(Effect.mapError(once, Errors.mayHaveArrived)),
    Effect.onExit((exit) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const ageMs = now - polling.acceptedAt
        const iterations = polling.polls
        const error = failureOf(exit)
        return Effect.all([
          error === undefined ? Effect.void : report(error, now, true),
          Exit.isInterrupted(exit) ? Effect.void : observer.notify("active", undefined, requestId),
          error?._tag === "FutureTimeout"
            ? telemetry.emit({ _tag: "FutureTimeout", requestId, operation: kind, iterations, ageMs })
            : telemetry.emit({
              _tag: "FutureDone",
              requestId,
              operation: kind,
              outcome: outcomeOf(exit),
              iterations,
              ageMs
            })
        ], { discard: true })
      })
    )
  )
}

/** The body of a 408 may be anything. */
const lenient = (text: string): Effect.Effect<unknown> =>
  Effect.sync(() => {
    try {
      return JSON.parse(text)
    } catch {
      return undefined
    }
  })
