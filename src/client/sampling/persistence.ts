/** Samples that are asked for again and again while others of the client succeed now and then (docs/protocol/sampling.md#load). */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { TelemetryService } from "../../observability/Telemetry.js"
import type { SampleResponse } from "../../protocol/Sampling.js"
import type { TenantKey } from "../../TinkexConfig.js"
import * as Errors from "../../TinkexError.js"
import * as Monotonic from "../monotonic.js"
import { reasonOf } from "../transport/events.js"

type Sample = Effect.Effect<SampleResponse, Errors.TinkexError>

const base = 500
const longest = 10_000

/** `patience`: for how many milliseconds no sample of the client may succeed until one of them fails. */
export const make = (telemetry: TelemetryService, tenant: TenantKey, patience: number): (self: Sample) => Sample => {
  /** When a sample of this client last succeeded, or the first of those that wait now began to. */
  let progressAt = 0
  let waiting = 0

  const loop = (self: Sample, n: number): Sample =>
    Effect.matchEffect(self, {
      onSuccess: (response) =>
        Effect.map(Monotonic.millis, (now) => {
          progressAt = now
          return response
        }),
      onFailure: (error) => {
        const { retry } = Errors.disposition(error, "sampling")
        if (retry._tag === "No" && error._tag !== "CircuitOpen") return Effect.fail(error)
        return Effect.flatMap(Effect.zip(Random.nextRange(0.75, 1.25), Monotonic.millis), ([u, now]) => {
          const drawn = Math.min(longest, u * Math.min(longest, base * 2 ** n))
          const asked = retry._tag === "After" ? Duration.toMillis(retry.delay) : 0
          const delayMs = Math.ceil(Math.max(drawn, asked))
          if (now + delayMs - progressAt >= patience) return Effect.fail(error)
          return telemetry.emit({
            _tag: "Retry",
            route: "/api/v1/asample",
            operation: "sampling",
            tenant: tenant.label,
            attempt: n,
            delayMs,
            reason: reasonOf(error)
          }).pipe(Effect.zipRight(Effect.sleep(delayMs)), Effect.zipRight(loop(self, n + 1)))
        })
      }
    })

  return (self) =>
    Effect.flatMap(Monotonic.millis, (now) => {
      if (waiting++ === 0) progressAt = now
      return Effect.ensuring(
        loop(self, 0),
        Effect.sync(() => {
          waiting--
        })
      )
    })
}
