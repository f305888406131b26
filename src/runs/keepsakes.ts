/** Small files that a run leaves for its report: the first datum with its mask, and how the service answered. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { MetricNames } from "../observability/MetricNames.js"
import type { Datum } from "../protocol/Datum.js"
import * as TensorData from "../protocol/TensorData.js"
import { datumFile, healthFile } from "./reportParts.js"
import type { RunCore } from "./runCore.js"
import { replaceFile } from "./RunDirectory.js"

/** A report shows so many tokens of it. */
const kept = 2000

const numbers = (datum: Datum, name: string): ReadonlyArray<number> | undefined => {
  const tensor = datum.lossFnInputs[name]
  return tensor === undefined || tensor.shape.length !== 1 || TensorData.isSparse(tensor)
    ? undefined
    : Array.from(tensor.data.slice(0, kept), Number)
}

const write = (run: RunCore, name: string, value: unknown) =>
  Effect.provideService(
    Effect.ignore(replaceFile(run.file(name), `${JSON.stringify(value)}\n`)),
    FileSystem.FileSystem,
    run.fs
  )

/** Targets with their weights; a loss without weights counts where there is an advantage. */
export const keepDatum = (run: RunCore, data: ReadonlyArray<Datum>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const datum = data[0]
    if (datum === undefined) return Effect.void
    const targets = numbers(datum, "target_tokens")
    const weights = numbers(datum, "weights") ?? numbers(datum, "advantages")
    return targets === undefined || weights === undefined ? Effect.void : write(run, datumFile, { targets, weights })
  })

const counters = {
  requests: MetricNames.requestsTotal,
  failures: MetricNames.requestsFailure,
  retries: MetricNames.retries,
  "times asked to slow down": MetricNames.rateLimitBackoffs,
  "times the circuit opened": MetricNames.circuitBreakerOpens,
  "heartbeats without answer": MetricNames.heartbeatFailures,
  "futures timed out": MetricNames.futureTimeouts
}

/** What the client's own metrics say, if there are any. */
export const keepHealth = (run: RunCore): Effect.Effect<void> =>
  Option.match(run.metrics, {
    onNone: () => Effect.void,
    onSome: (service) =>
      Effect.gen(function*() {
        const found: Record<string, number | string> = {}
        for (const [label, name] of Object.entries(counters)) {
          const snapshot = yield* service.snapshot(name)
          found[label] = Option.isSome(snapshot) && snapshot.value.kind === "counter" ? snapshot.value.value : 0
        }
        const duration = yield* service.snapshot(MetricNames.requestDuration)
        if (Option.isSome(duration) && duration.value.kind === "histogram") {
          const { p50, p99 } = duration.value
          found["request, median"] = `${p50.toFixed(1)} ms`
          found["request, 99 of 100 within"] = `${p99.toFixed(1)} ms`
        }
        yield* write(run, healthFile, found)
      })
  })
