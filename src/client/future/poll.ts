/** Asking for the result of an accepted request until it is there (docs/protocol/futures.md). */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type { FutureOutcome } from "../../observability/TelemetryEvent.js"
import * as Futures from "../../protocol/Futures.js"
import type { TinkexError, TransportError } from "../../TinkexError.js"
import * as Errors from "../../TinkexError.js"
import * as Monotonic from "../monotonic.js"
import * as Reports from "../reporting/reports.js"
import type { Core } from "../service/core.js"
import { isSilence } from "../transport/contact.js"
import * as Json from "../transport/json.js"
import type { Answer } from "../transport/types.js"
import { failureOf } from "./exits.js"
import { type Accepted, isLast, type Polling } from "./polling.js"

const quick = 1000
const leastFloor = 100
const longestBackoff = 30_000
const refusedWait = 500

/** How the polls of one request went so far. */
interface Progress {
  metadataOnly: boolean
  /** Refusals in a row that may be accidents. */
  refusals: number
  unanswered: number
  /** Answers in a row that came sooner than a server that holds its polls would give them. */
  hurried: number
  missingSince: number | undefined
}

/** What follows from one poll. */
type Next<A> =
  | { readonly _tag: "Done"; readonly value: A }
  | { readonly _tag: "Wait"; readonly millis: number }
  /** The result is there, and so many bytes long. */
  | { readonly _tag: "Fetch"; readonly bytes: number }

const wait = (millis: number): Next<never> => ({ _tag: "Wait", millis })

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
 * it goes; it can be polled again after an error that says nothing about the request itself.
 */
export const poll = <A>(core: Core, accepted: Accepted<A>, polling: Polling): Effect.Effect<A, TinkexError> => {
  const { reporter, telemetry, transport } = core
  const { kind, observer, operation, requestId, result } = accepted
  const { settings } = transport
  const patience = Duration.toMillis(settings.timeouts.future)
  const silence = Duration.toMillis(settings.timeouts.silence)
  const pollMillis = Duration.toMillis(settings.timeouts.poll)
  const progress: Progress = {
    metadataOnly: true,
    refusals: 0,
    unanswered: 0,
    hurried: 0,
    missingSince: undefined
  }

  const ask = (millis: number): Effect.Effect<Answer, TransportError> => {
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
      path: "retrieve_future",
      pool: "futures",
      times: 0,
      timeout: Duration.millis(millis),
      headers,
      body: Json.jsonBody({ request_id: requestId, allow_metadata_only: progress.metadataOnly })
    })
  }

  /** Not yet: at once if the server held the poll, otherwise not sooner than the floor, which grows to a second. */
  const notYet = (body: unknown, took: number, now: number): Effect.Effect<Next<A>> => {
    const ageMs = now - polling.acceptedAt
    const { queueState, queueStateReason } = Futures.pending(body)
    progress.unanswered = 0
    progress.refusals = 0
    progress.missingSince = undefined
    progress.hurried = took < quick ? progress.hurried + 1 : 0
    const floor = progress.hurried === 0 ? 0 : Math.min(quick, leastFloor * 2 ** (progress.hurried - 1)) - took
    if (queueState !== polling.queueState) {
      polling.queueState = queueState
      polling.unmoved = 0
    }
    polling.reason = queueStateReason === undefined ? undefined : transport.redact(queueStateReason)
    const told = observer.notify(queueState, polling.reason, requestId)
    return Effect.as(
      telemetry.enabled
        ? Effect.zipRight(
          told,
          telemetry.emit({ _tag: "FuturePoll", requestId, operation: kind, iteration: polling.polls, ageMs })
        )
        : told,
      wait(floor)
    )
  }

  const malformed = (detail: string) => Effect.fail(new Errors.MalformedResponse({ operation, detail, requestId }))
  const done = (value: A): Next<A> => ({ _tag: "Done", value })

  const read = (answer: Answer, took: number, now: number): Effect.Effect<Next<A>, TinkexError> => {
    const { body } = answer
    if (body._tag === "Bytes") {
      return result.decode === undefined
        ? malformed("it is binary, which this operation has no form for")
        : Effect.mapBoth(result.decode(body.bytes), {
          onFailure: (error) => Errors.fromMalformedMessage(error, operation, requestId),
          onSuccess: done
        })
    }
    if (answer.status === 408) return Effect.flatMap(lenient(body.text), (json) => notYet(json, took, now))
    return Effect.flatMap(Json.parse(body.text, operation, requestId), (json): Effect.Effect<Next<A>, TinkexError> => {
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
          if (!progress.metadataOnly) return malformed("it is a size again where the result was asked for")
          progress.metadataOnly = false
          return Effect.succeed({ _tag: "Fetch", bytes: told.responsePayloadSize })
        }
        case "Completed":
          return Effect.map(result.fromJson(told.value, operation, requestId, transport.redact), done)
      }
    })
  }

  const report = (error: TinkexError, now: number, last: boolean) =>
    Reports.poll(reporter, error, last, {
      requestId,
      requestType: result.name,
      iteration: polling.polls - 1,
      ageMs: now - polling.acceptedAt
    })

  /** The longer no poll is answered, the longer the wait; a wish to wait less than a second does not shorten it. */
  const backoff = (asked: number): Effect.Effect<Next<A>> =>
    Effect.map(Random.nextRange(0.75, 1), (u) => {
      const drawn = u * Math.min(longestBackoff, quick * 2 ** progress.unanswered++)
      return wait(asked >= quick ? asked : Math.max(asked, drawn))
    })

  /** The server may have died: whoever waits has to know, and may await the future again. */
  const unheard = (error: TinkexError): TinkexError => {
    if (error._tag !== "ConnectionError" && error._tag !== "RequestTimeout") return error
    const words = `nothing has been heard of the server for ${Duration.format(settings.timeouts.silence)}`
    const detail = error.detail === "" ? words : `${error.detail}; ${words}`
    return error._tag === "ConnectionError"
      ? new Errors.ConnectionError({ ...error, detail })
      : new Errors.RequestTimeout({ ...error, detail })
  }

  /** What a poll that failed means: the result is still there, unless the service says that it is not. */
  const failed = (error: TinkexError, now: number): Effect.Effect<Next<A>, TinkexError> => {
    const { retry } = Errors.disposition(error, "poll")
    switch (retry._tag) {
      case "Backoff":
        if (isSilence(error) && transport.silentFor() >= silence) return Effect.fail(unheard(error))
        if (retry.atMost === undefined) return backoff(0)
        return progress.refusals++ < retry.atMost ? Effect.succeed(wait(refusedWait)) : Effect.fail(error)
      case "After":
        return backoff(Duration.toMillis(retry.delay))
      case "Pending":
        return Effect.succeed(wait(quick))
      case "Pause":
        if (error._tag !== "BillingPaused") return Effect.fail(error)
        return Effect.flatMap(
          transport.pauseForBilling(error, retry.delay),
          (waited) => waited ? Effect.succeed(wait(0)) : Effect.fail(error)
        )
      case "Within": {
        progress.missingSince ??= now
        return now - progress.missingSince >= Duration.toMillis(retry.window)
          ? Effect.fail(error)
          : Effect.succeed(wait(refusedWait))
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
      case "No":
        return Effect.fail(error)
    }
  }

  /** One poll, if there is time left for it. */
  const once = Effect.flatMap(Monotonic.millis, (start): Effect.Effect<Next<A>, TinkexError> => {
    const left = patience - polling.unmoved
    if (left <= 0) {
      return Effect.fail(
        new Errors.FutureTimeout({
          operation,
          requestId,
          age: Duration.millis(start - polling.acceptedAt),
          polls: polling.polls,
          lastQueueState: polling.queueState,
          reason: polling.reason
        })
      )
    }
    const planned = Math.min(pollMillis, left)
    const watched = Effect.map(Monotonic.millis, (now) => {
      // what goes beyond the plan was our own absence, or a wait for our own turn
      polling.unmoved += Math.min(planned, now - start)
      return now
    })
    const unread = (error: TinkexError, now: number): Effect.Effect<Next<A>, TinkexError> =>
      isLast(error) ? Effect.fail(error) : Effect.zipRight(report(error, now, false), failed(error, now))
    return Effect.matchEffect(ask(planned), {
      onFailure: (error) => Effect.flatMap(watched, (now) => unread(error, now)),
      onSuccess: (answer) =>
        Effect.flatMap(watched, (now) => {
          if (answer.status !== 408) progress.unanswered = 0
          return Effect.catchAll(read(answer, now - start, now), (error) => unread(error, now))
        })
    })
  })

  const loop: Effect.Effect<A, TinkexError> = Effect.flatMap(once, (next) => {
    switch (next._tag) {
      case "Done":
        return Effect.succeed(next.value)
      case "Fetch":
        // held until the result is here, so that large ones do not all arrive at once
        return Effect.catchTag(core.responses.withPermit(loop, { bytes: next.bytes }), "GateFull", Effect.die) // it does not limit its waiters
      case "Wait": {
        const millis = Math.min(Math.ceil(next.millis), Math.ceil(Math.max(0, patience - polling.unmoved)))
        if (millis <= 0) return loop
        polling.unmoved += millis
        return Effect.zipRight(Effect.sleep(millis), loop)
      }
    }
  })

  return Effect.onExit(
    Effect.suspend(() => {
      polling.unmoved = 0
      // the service has the request, whatever became of the last poll
      const all = Effect.mapError(loop, Errors.mayHaveArrived)
      return telemetry.enabled
        ? Effect.zipRight(telemetry.emit({ _tag: "FutureStart", requestId, operation: kind }), all)
        : all
    }),
    (exit) =>
      Effect.flatMap(Monotonic.millis, (now) => {
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
