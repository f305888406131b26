/** Tells the user, now and then, that the service lets work wait (docs/protocol/futures.md#queues). */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { TelemetryService } from "../../observability/Telemetry.js"
import type { QueueSource } from "../../observability/TelemetryEvent.js"
import type { QueueState } from "../../protocol/Futures.js"

export interface QueueObserver {
  readonly notify: (state: QueueState, reason: string | undefined, requestId: string) => Effect.Effect<void>
}

const logEvery = 60_000

const reasonOf = (source: QueueSource, state: QueueState): string =>
  state === "paused_rate_limit"
    ? `concurrent ${source === "sampling" ? "sampler weights" : "training clients"} limit hit`
    : state === "paused_capacity"
    ? "the service is running short on capacity, please wait"
    : "unknown"

const subject = (source: QueueSource, id: string): string =>
  source === "model_creation"
    ? `Model creation for ${id}`
    : source === "training"
    ? `Training for ${id}`
    : `Sampling for ${id}`

export const make = (telemetry: TelemetryService, source: QueueSource, id: string): QueueObserver => {
  let previous: QueueState = "active"
  let logged: number | undefined
  return {
    notify: (state, reason, requestId) =>
      Effect.suspend(() => {
        if (state === "active" && previous === "active") return Effect.void
        if (state === "unknown" && reason === undefined) return Effect.void
        const changed = state !== previous
        const emit = changed
          ? telemetry.emit({ _tag: "QueueState", source, id, state, previous, reason, requestId })
          : Effect.void
        previous = state
        if (state === "active") return emit
        return Effect.zipRight(
          emit,
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            if (logged !== undefined && now - logged < logEvery) return Effect.void
            logged = now
            return Effect.logWarning(`${subject(source, id)} is paused. Reason: ${reason ?? reasonOf(source, state)}`)
          })
        )
      })
  }
}
