/** Events as log lines. */
import type * as LogLevel from "effect/LogLevel"
import { nameOf, queueMessage, type Stamped } from "../TelemetryEvent.js"
import { scrub } from "./scrub.js"

export type Level = Exclude<LogLevel.Literal, "All" | "None">

/** How much an event matters. Heartbeats that fail for two minutes are worth a warning (docs/protocol/sessions.md#heartbeats). */
export const levelOf = (event: Stamped): Level => {
  switch (event._tag) {
    case "FutureTimeout":
      return "Error"
    case "RateLimited":
    case "QueueState":
      return "Warning"
    case "HttpException":
      return event.error === "Interrupted" ? "Debug" : "Warning"
    case "BreakerTransition":
      return event.to === "open" ? "Warning" : "Info"
    case "BatchStop":
      return event.failed > 0 ? "Warning" : "Info"
    case "SessionHeartbeatFailed":
      return event.sinceSuccessMs > 120_000 ? "Warning" : "Info"
    case "FutureDone":
      return event.outcome === "success" || event.outcome === "interrupted" ? "Debug" : "Warning"
    case "HttpStop":
      return event.status < 400 ? "Debug" : "Info"
    case "Retry":
    case "SessionStart":
    case "SessionRecovered":
    case "SessionEnd":
    case "TrainingStep":
      return "Info"
    default:
      return "Debug"
  }
}

const ms = (millis: number): string => millis < 10_000 ? `${Math.round(millis)} ms` : `${(millis / 1000).toFixed(1)} s`

const say = (event: Stamped): string => {
  switch (event._tag) {
    case "HttpStart":
      return `${event.method} ${event.route} attempt ${event.attempt + 1}`
    case "HttpStop":
      return `${event.method} ${event.route} answered ${event.status} in ${ms(event.durationMs)}`
    case "HttpException":
      return `${event.method} ${event.route} ended with ${event.error} after ${ms(event.durationMs)}`
    case "Retry":
      return `${event.route} is repeated in ${ms(event.delayMs)} after ${event.reason} (attempt ${event.attempt + 1})`
    case "RateLimited":
      return `told to wait (${event.status}): nothing is sent for ${ms(event.delayMs)}`
    case "RateLimitCleared":
      return "back-off cleared"
    case "QueueState":
      return queueMessage(event)
    case "BreakerTransition":
      return `circuit of ${event.operation} went from ${event.from} to ${event.to}` +
        (event.opensForMs === undefined ? "" : ` for ${ms(event.opensForMs)}`)
    case "BreakerRejected":
      return `circuit of ${event.operation} is open: call refused`
    case "BatchStart":
      return `batch of ${event.items}`
    case "BatchStop":
      return `batch of ${event.items} in ${event.requests} requests took ${
        ms(event.durationMs)
      }, ${event.failed} failed`
    case "SessionStart":
      return `session ${event.sessionId} started`
    case "SessionHeartbeat":
      return `session ${event.sessionId} is alive`
    case "SessionHeartbeatFailed":
      return `heartbeat of session ${event.sessionId} failed ${event.failures} times in a row (${event.error}); ` +
        `the last was answered ${ms(event.sinceSuccessMs)} ago`
    case "SessionRecovered":
      return event.replacedSessionId === undefined
        ? `session ${event.sessionId} is alive again after ${event.failures} failed heartbeats`
        : `session ${event.sessionId} replaces ${event.replacedSessionId}`
    case "SessionEnd":
      return `session ${event.sessionId} ended after ${ms(event.durationMs)}`
    case "FutureStart":
      return `request ${event.requestId} accepted`
    case "FuturePoll":
      return `request ${event.requestId} is not done after ${ms(event.ageMs)} (poll ${event.iteration})`
    case "FutureDone":
      return `request ${event.requestId} done: ${event.outcome} after ${ms(event.ageMs)} and ${event.iterations} polls`
    case "FutureTimeout":
      return `request ${event.requestId} given up after ${ms(event.ageMs)} and ${event.iterations} polls`
    case "TrainingPass":
      return `${event.examples} examples, ${event.tokens} tokens` +
        (event.loss === undefined ? "" : `, loss ${event.loss}`)
    case "TrainingStep":
      return `step ${event.step} of ${event.modelId} took ${ms(event.durationMs)}`
    case "CustomLoss":
      return `custom loss ${event.loss} computed in ${ms(event.durationMs)}`
    case "Sampled":
      return `${event.sequences} sequences, ${event.tokens} tokens in ${ms(event.durationMs)}`
    case "MetricsReading":
      return `${Object.keys(event.metrics.counters).length} counters, ${
        Object.keys(event.metrics.histograms).length
      } histograms`
  }
}

export const lineOf = (event: Stamped): string => {
  const line = scrub(say(event), 512)
  // In the words of the official SDK, which users know and search for.
  return event._tag === "QueueState" ? line : `${nameOf(event)}: ${line}`
}

/** The plain fields of an event, for log annotations. */
export const fieldsOf = (event: Stamped): Record<string, unknown> => {
  const fields: Record<string, unknown> = { package: "tinkex" }
  for (const [name, value] of Object.entries(event)) {
    if (typeof value === "number" && name !== "timestamp") fields[name] = value
    else if (typeof value === "string") fields[name === "_tag" ? "event" : name] = scrub(value, 256)
  }
  return fields
}
