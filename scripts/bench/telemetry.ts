/**
 * What telemetry costs: the rate of samples with metrics, listeners and reporter on, as a share of the rate without; and what
 * spans cost beside that. The service answers at once, so that nothing but the client is measured.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import * as NodeTinkex from "../../src/NodeTinkex.js"
import * as Telemetry from "../../src/observability/Telemetry.js"
import { startServer } from "./fake/service.js"
import type { Row } from "./Row.js"

const concurrency = 64
const count = 1000
const rounds = 9
const prompt = Array.from({ length: 128 }, (_, i) => i)

const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

interface Contender {
  /** Metrics, a listener, a logger of warnings and the reporter. */
  readonly on: boolean
  /** Besides, a stream of every event that is read in a fiber of its own. */
  readonly stream?: boolean
  readonly tracing?: boolean
}

/**
 * Gives the measurement of a client: samples per second of processor time of this process, which is what limits the rate, and
 * which other work on the machine disturbs less than the clock.
 */
const contender = (baseUrl: string, { on, stream = false, tracing = false }: Contender) =>
  Effect.flatMap(
    Layer.build(NodeTinkex.layerShared({ metrics: on ? {} : false })),
    (context) =>
      Effect.gen(function*() {
        if (on) {
          const telemetry = yield* Telemetry.Telemetry
          let seen = 0
          yield* telemetry.listen(() => seen++)
          yield* Telemetry.attachLogger({ level: "Warning" })
          if (stream) yield* Effect.forkScoped(Stream.runDrain(yield* telemetry.events))
        }
        const service = yield* ServiceClient.make({ baseUrl, apiKey: "tml-bench", tracing, telemetry: on })
        const sampler = yield* service.createSamplingClient({ baseModel: "m" })
        const sample = sampler.sample({ prompt, maxTokens: 64 })
        return Effect.suspend(() => {
          const start = process.cpuUsage()
          return Effect.map(
            Effect.forEach(Array.from({ length: count }), () => sample, { concurrency, discard: true }),
            () => {
              const { system, user } = process.cpuUsage(start)
              return count / ((system + user) / 1e6)
            }
          )
        })
      }).pipe(Effect.provide(context))
  )

const measure = Effect.gen(function*() {
  const { baseUrl } = yield* startServer
  const contenders = yield* Effect.all([
    contender(baseUrl, { on: false }),
    contender(baseUrl, { on: true }),
    contender(baseUrl, { on: true, stream: true }),
    contender(baseUrl, { on: false, tracing: true })
  ])
  const rates: Array<ReadonlyArray<number>> = []
  // taken in turns and compared within a round
  for (let round = -2; round < rounds; round++) {
    const measured = yield* Effect.all(contenders)
    if (round >= 0) rates.push(measured)
  }
  const share = (i: number) => median(rates.map((round) => round[i]! / round[0]!))
  const row = (name: string, value: number, target: number | null): Row => ({
    name,
    value,
    unit: "ratio",
    target,
    better: "higher"
  })
  return [
    row("telemetry: samples with metrics, events and reporter on, against off", share(1), 0.9),
    row("telemetry: the same with a stream of all events", share(2), null),
    row("telemetry: samples with spans, against without", share(3), null)
  ]
})

export const rows = (): Promise<ReadonlyArray<Row>> => Effect.runPromise(Effect.scoped(measure))
