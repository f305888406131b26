/**
 * Counters, gauges, histograms and summaries that the library keeps of itself, and that you may keep of your own.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { InvalidInput } from "../protocol/InvalidInput.js"
import { derive } from "./internal/derive.js"
import { mirror } from "./internal/effectMetric.js"
import { type Refusal, Registry } from "./internal/registry.js"
import { checkedDuration } from "./internal/slices.js"
import type { MetricDefinition } from "./MetricNames.js"
import type { Labels, MetricSnapshot, MetricsSnapshot } from "./MetricSnapshot.js"
import * as QuantileSketch from "./QuantileSketch.js"
import * as Telemetry from "./Telemetry.js"

/**
 * Metrics by dotted name. Writing never fails and never waits: an update that makes no sense (not a finite number, a counter
 * made smaller, a name that is of another kind) is left out, counted in `tinkex.metrics.rejected` and, once for a name and reason,
 * logged.
 *
 * Names, kinds and units of the built-in metrics are in `MetricNames`; a name that is not there takes the kind of its first
 * use. Labels must be few-valued: past `maxSeries` label sets of a name, further ones share the series `overflow="true"`.
 * A label shaped like an API key is redacted; give tenants as the short hash of `TenantKey`.
 *
 * @since 0.1.0
 * @category services
 */
export class Metrics extends Context.Tag("tinkex/Metrics")<Metrics, {
  /** Adds to a counter: 1 unless given. */
  readonly increment: (name: string, value?: number, labels?: Labels) => Effect.Effect<void>
  /** Sets a gauge; the last write wins. */
  readonly setGauge: (name: string, value: number, labels?: Labels) => Effect.Effect<void>
  /** Adds a gauge that is computed whenever metrics are read, until the scope closes. */
  readonly observeGauge: (name: string, read: () => number, labels?: Labels) => Effect.Effect<void, never, Scope.Scope>
  /** Adds a value to a distribution, of which quantiles are read. */
  readonly recordHistogram: (name: string, value: number, labels?: Labels) => Effect.Effect<void>
  /** Adds a value to a windowed mean and standard deviation. Beyond `1e150` it is left out. */
  readonly recordSummary: (name: string, value: number, labels?: Labels) => Effect.Effect<void>
  /** One metric; `None` if nothing was written to it. */
  readonly snapshot: (name: string) => Effect.Effect<Option.Option<MetricSnapshot>>
  /** All metrics that were written to. Plain data: `JSON.stringify` loses nothing. */
  readonly all: Effect.Effect<MetricsSnapshot>
  /** The sketch behind a histogram, over all its series, to merge with those of other processes. A copy. */
  readonly sketch: (name: string) => Effect.Effect<Option.Option<QuantileSketch.QuantileSketch>>
  /** Starts everything anew. Gauges of what is current (requests in flight, open sessions, breakers) stay as they are. */
  readonly reset: Effect.Effect<void>
  /** Starts one metric anew. */
  readonly resetName: (name: string) => Effect.Effect<void>
  /** Subscribes, until the scope closes, to the reading of all metrics every `snapshotInterval`. */
  readonly changes: Effect.Effect<Stream.Stream<MetricsSnapshot>, never, Scope.Scope>
}>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How often all metrics are read, for `changes` and the event `MetricsReading`. 60 s unless given; `"off"` runs nothing. */
  readonly snapshotInterval?: Duration.DurationInput | "off" | undefined
  /** What `recent` means for histograms. 10 minutes unless given. */
  readonly histogramWindow?: Duration.DurationInput | undefined
  /** The window of summaries. 5 minutes unless given. */
  readonly summaryWindow?: Duration.DurationInput | undefined
  /** Largest relative error of quantiles. 0.01 unless given. */
  readonly relativeAccuracy?: number | undefined
  /** Most bins of a histogram for each sign (`QuantileSketch`). 2,048 unless given. */
  readonly maxBins?: number | undefined
  /** Most label sets of one name. 2,000 unless given, as OpenTelemetry has it. */
  readonly maxSeries?: number | undefined
  /** Metrics of the application: kind, unit and help, beside the built-in ones. */
  readonly definitions?: ReadonlyArray<MetricDefinition> | undefined
  /**
   * Repeat every update to Effect's own `Metric` registry, from where `@effect/opentelemetry` exports. Counters and gauges
   * keep kind and name; a histogram becomes one with boundaries 1, 2, 4 … 2^22, a summary a gauge of its newest value. Effect's
   * registry is one for the process, and a reset does not reach it. `false` unless given.
   */
  readonly effectMetrics?: boolean | undefined
}

/**
 * The service, and the listener that turns events of the telemetry in force into the built-in metrics. Lives until the scope
 * closes. Options out of range die with `InvalidInput`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Context.Tag.Service<Metrics>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { snapshotInterval = "60 seconds" } = options
    const maxSeries = options.maxSeries ?? 2000
    if (!(Number.isInteger(maxSeries) && maxSeries >= 1)) {
      return yield* Effect.die(
        new InvalidInput({ field: "maxSeries", expected: "an integer of at least 1", actual: `${maxSeries}` })
      )
    }
    const settings = yield* Effect.sync(() => {
      const { maxBins, relativeAccuracy } = QuantileSketch.make(options)
      return {
        relativeAccuracy,
        maxBins,
        histogramWindow: checkedDuration(options.histogramWindow ?? "10 minutes", "histogramWindow"),
        summaryWindow: checkedDuration(options.summaryWindow ?? "5 minutes", "summaryWindow"),
        maxSeries,
        mirror: options.effectMetrics === true ? mirror : undefined,
        interval: snapshotInterval === "off" ? undefined : checkedDuration(snapshotInterval, "snapshotInterval")
      }
    })
    const clock = yield* Effect.clock
    const now = (): number => clock.unsafeCurrentTimeMillis()
    const telemetry = yield* Telemetry.Telemetry
    const registry = new Registry(settings, options.definitions ?? [])

    const complained = new Set<string>()
    const settle = (refusal: Refusal | undefined): Effect.Effect<void> => {
      if (refusal === undefined || complained.size >= maxSeries) return Effect.void
      const about = `${refusal.name} ${refusal.reason}`
      if (complained.has(about)) return Effect.void
      complained.add(about)
      return Effect.logWarning(refusal.message)
    }

    yield* telemetry.listen(derive(registry))

    const readings = yield* Effect.acquireRelease(
      PubSub.sliding<MetricsSnapshot>(16),
      (pubsub) => PubSub.shutdown(pubsub)
    )
    const all = Effect.sync(() => registry.readAll(now()))
    const publish = Effect.flatMap(
      all,
      (metrics) =>
        Effect.zipRight(PubSub.publish(readings, metrics), telemetry.emit({ _tag: "MetricsReading", metrics }))
    )
    if (settings.interval !== undefined) {
      yield* Effect.forkScoped(Effect.interruptible(Effect.forever(Effect.delay(publish, settings.interval))))
    }
    if (settings.mirror !== undefined) {
      const repeat = Effect.sync(() => registry.mirrorObserved(now()))
      yield* Effect.addFinalizer(() => repeat)
      yield* Effect.forkScoped(Effect.interruptible(Effect.forever(Effect.zipRight(repeat, Effect.sleep("5 seconds")))))
    }

    return Metrics.of({
      increment: (name, value = 1, labels) => Effect.suspend(() => settle(registry.increment(name, value, labels))),
      setGauge: (name, value, labels) => Effect.suspend(() => settle(registry.setGauge(name, value, labels))),
      observeGauge: (name, read, labels = {}) =>
        Effect.flatMap(
          Effect.acquireRelease(
            Effect.sync(() => registry.observe(name, () => [{ labels, value: read() }])),
            (observed) => Effect.sync(() => typeof observed === "function" ? observed() : undefined)
          ),
          (observed) => settle(typeof observed === "function" ? undefined : observed)
        ),
      recordHistogram: (name, value, labels) =>
        Effect.suspend(() => settle(registry.recordHistogram(name, value, now(), labels))),
      recordSummary: (name, value, labels) =>
        Effect.suspend(() => settle(registry.recordSummary(name, value, now(), labels))),
      snapshot: (name) => Effect.sync(() => Option.fromNullable(registry.read(name, now()))),
      all,
      sketch: (name) => Effect.sync(() => Option.fromNullable(registry.sketch(name, now()))),
      reset: Effect.sync(() => registry.resetAll()),
      resetName: (name) => Effect.sync(() => registry.reset(name)),
      changes: Stream.fromPubSub(readings, { scoped: true })
    })
  })

/**
 * Metrics, and telemetry to feed them: whatever is provided from this layer emits into it. If telemetry is already on below
 * this layer (`Telemetry.layer`), that is used, otherwise it is made.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Metrics | Telemetry.Telemetry> =>
  Layer.scopedContext(Effect.gen(function*() {
    const outer = yield* Telemetry.Telemetry
    const telemetry = outer.enabled ? outer : yield* Telemetry.make()
    const metrics = yield* Effect.provideService(make(options), Telemetry.Telemetry, telemetry)
    return Context.make(Metrics, metrics).pipe(Context.add(Telemetry.Telemetry, telemetry))
  }))

/**
 * Metrics that keep nothing and cost nothing.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerDisabled: Layer.Layer<Metrics> = Layer.sync(Metrics, () => {
  const nothing = () => Effect.void
  return {
    increment: nothing,
    setGauge: nothing,
    observeGauge: nothing,
    recordHistogram: nothing,
    recordSummary: nothing,
    snapshot: () => Effect.succeedNone,
    all: Effect.map(Effect.clock, (clock) => ({
      timestamp: clock.unsafeCurrentTimeMillis(),
      counters: {},
      gauges: {},
      histograms: {},
      summaries: {}
    })),
    sketch: () => Effect.succeedNone,
    reset: Effect.void,
    resetName: nothing,
    changes: Effect.succeed(Stream.empty)
  }
})
