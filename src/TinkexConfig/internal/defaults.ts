/** The values that stand where nothing else is said. */
import * as Duration from "effect/Duration"
import type { Operation } from "../../observability/TelemetryEvent.js"
import type { ChunkLimits, Retry, SamplingLimits, Timeouts } from "../../TinkexConfig.js"

export const hostedBaseUrl = "https://tinker.thinkingmachines.dev/services/tinker-prod"

export const defaults = {
  timeouts: {
    request: Duration.seconds(60),
    poll: Duration.seconds(45),
    heartbeat: Duration.seconds(10),
    call: Duration.minutes(5),
    future: Duration.minutes(30),
    silence: Duration.minutes(2),
    finish: Duration.seconds(3)
  },
  pools: { training: 64, sampling: 400, futures: 1000, session: 8, service: 32, telemetry: 2 },
  chunks: { examples: 128, numbers: 500_000 },
  sampling: { throttled: 10, dispatchBytes: 10_485_760 },
  retry: { times: 10, base: Duration.millis(500), cap: Duration.seconds(10) },
  progressTimeout: Duration.hours(2)
} as const satisfies {
  readonly timeouts: Timeouts
  readonly pools: Readonly<Record<Operation, number>>
  readonly chunks: ChunkLimits
  readonly sampling: SamplingLimits
  readonly retry: Retry
  readonly progressTimeout: Duration.Duration
}
