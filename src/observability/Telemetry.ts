/**
 * Events of everything that happens, for whoever wants to listen: metrics, logs, a console, your own code.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { remember } from "./internal/bounded.js"
import { fieldsOf, levelOf, lineOf } from "./internal/describe.js"
import type { Stamped, TelemetryEvent } from "./TelemetryEvent.js"

/**
 * Where events go.
 *
 * @since 0.1.0
 * @category models
 */
export interface TelemetryService {
  /** Whether events go anywhere: `false` without `Telemetry.layer` or `Metrics.layer`. */
  readonly enabled: boolean
  /**
   * Hands an event to all listeners and streams. Never fails and never waits: a slow reader of a stream loses old events, a
   * listener that throws is passed over. With nobody listening it looks at two numbers and returns.
   */
  readonly emit: (event: TelemetryEvent) => Effect.Effect<void>
  /**
   * Calls a function with every event, synchronously, in the emitting fiber, until the scope closes. It sees every event and
   * must be quick. What it throws is logged once and otherwise ignored.
   */
  readonly listen: (listener: (event: Stamped) => void) => Effect.Effect<void, never, Scope.Scope>
  /**
   * Subscribes until the scope closes. The subscription exists when this returns, so nothing emitted later is missed; a reader
   * that falls behind by more than the capacity loses the oldest events. The stream ends with the scope.
   */
  readonly events: Effect.Effect<Stream.Stream<Stamped>, never, Scope.Scope>
}

const disabled: TelemetryService = {
  enabled: false,
  emit: () => Effect.void,
  listen: () => Effect.void,
  events: Effect.succeed(Stream.empty)
}

/**
 * The telemetry in force. A reference with a default (off), so that requiring it adds nothing to anybody's type.
 *
 * @since 0.1.0
 * @category services
 */
export class Telemetry extends Context.Reference<Telemetry>()("tinkex/Telemetry", {
  defaultValue: (): TelemetryService => disabled
}) {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How many events a stream may be behind before it loses the oldest. 4,096 unless given. */
  readonly capacity?: number | undefined
}

/**
 * Telemetry of its own, until the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<TelemetryService, never, Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    const pubsub = yield* Effect.acquireRelease(
      PubSub.sliding<Stamped>(options.capacity ?? 4096),
      (pubsub) => PubSub.shutdown(pubsub)
    )
    // Replaced, never changed, so that a listener may come or go while an event is being handed out.
    let listeners: ReadonlyArray<{ readonly call: (event: Stamped) => void; failed: boolean }> = []
    let subscribers = 0

    const emit = (event: TelemetryEvent): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (listeners.length === 0 && subscribers === 0) return Effect.void
        const stamped: Stamped = Object.assign({ timestamp: clock.unsafeCurrentTimeMillis() }, event)
        let failure: unknown
        let failed = false
        for (const listener of listeners) {
          try {
            listener.call(stamped)
          } catch (cause) {
            if (!listener.failed) {
              failed = listener.failed = true
              failure = cause
            }
          }
        }
        const publish = subscribers === 0 ? Effect.void : PubSub.publish(pubsub, stamped)
        return failed
          ? Effect.zipRight(
            Effect.logWarning("a telemetry listener failed; it will not be reported again", failure),
            publish
          )
          : publish
      })

    const listen = (call: (event: Stamped) => void) =>
      Effect.asVoid(Effect.acquireRelease(
        Effect.sync(() => {
          const listener = { call, failed: false }
          listeners = [...listeners, listener]
          return listener
        }),
        (listener) =>
          Effect.sync(() => {
            listeners = listeners.filter((other) => other !== listener)
          })
      ))

    const events = Effect.zipRight(
      Effect.acquireRelease(
        Effect.sync(() => {
          subscribers++
        }),
        () =>
          Effect.sync(() => {
            subscribers--
          })
      ),
      Stream.fromPubSub(pubsub, { scoped: true })
    )

    return { enabled: true, emit, listen, events }
  })

/**
 * Emits an event to the telemetry in force: `Telemetry.emit({ _tag: "SessionStart", tenant, sessionId })`. Where events are
 * frequent, take the service once instead and call its `emit`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const emit = (event: TelemetryEvent): Effect.Effect<void> =>
  Effect.flatMap(Telemetry, (telemetry) => telemetry.emit(event))

/**
 * Telemetry that is on. `Metrics.layer` brings it along, so this is for events without metrics.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Telemetry> => Layer.scoped(Telemetry, make(options))

/**
 * Telemetry that is off, as by default.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerDisabled: Layer.Layer<Telemetry> = Layer.succeed(Telemetry, disabled)

/**
 * @since 0.1.0
 * @category models
 */
export interface LoggerOptions {
  /** The least level to log. `Info` unless given; `Debug` shows every request and poll. */
  readonly level?: LogLevel.Literal | undefined
  /** Which events to log, beside the level. All unless given. */
  readonly filter?: ((event: Stamped) => boolean) | undefined
  /** At most one line about a paused queue in this time, for each model or sampler. 60 s unless given (docs/protocol/futures.md#queues). */
  readonly queueInterval?: Duration.DurationInput | undefined
}

/**
 * Logs events, until the scope closes; then what is still waiting is logged too. Each line carries the plain fields of its event
 * as annotations and `package: "tinkex"`. It writes in a fiber of its own, so a slow logger delays nobody: past 4,096 waiting
 * lines new ones are dropped, and how many is logged. A queue that becomes active again is not logged.
 *
 * @since 0.1.0
 * @category combinators
 */
export const attachLogger = (options: LoggerOptions = {}): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const telemetry = yield* Telemetry
    if (!telemetry.enabled) return
    const least = LogLevel.fromLiteral(options.level ?? "Info")
    const interval = Duration.toMillis(options.queueInterval ?? "60 seconds")
    const capacity = 4096
    const waiting = yield* Queue.unbounded<Stamped>()
    let length = 0
    let dropped = 0
    const said = new Map<string, number>()
    const isDue = (event: Stamped): boolean => {
      if (event._tag !== "QueueState") return true
      if (event.state === "active") return false
      const key = `${event.source} ${event.id}`
      const last = said.get(key)
      if (last !== undefined && event.timestamp - last < interval) return false
      remember(said, key, event.timestamp)
      return true
    }
    const log = (event: Stamped): Effect.Effect<void> =>
      Effect.suspend(() => {
        length--
        const line = Effect.logWithLevel(LogLevel.fromLiteral(levelOf(event)), lineOf(event)).pipe(
          Effect.annotateLogs(fieldsOf(event))
        )
        if (dropped === 0) return line
        const lost = Effect.logWarning(`${dropped} telemetry events were not logged: the logger is too slow`)
        dropped = 0
        return Effect.zipRight(line, lost)
      })
    const minimum = Logger.withMinimumLogLevel(least)
    yield* Effect.addFinalizer(() =>
      Effect.flatMap(Queue.takeAll(waiting), (events) => minimum(Effect.forEach(events, log, { discard: true })))
    )
    yield* telemetry.listen((event) => {
      if (LogLevel.lessThan(LogLevel.fromLiteral(levelOf(event)), least)) return
      if (options.filter !== undefined && !options.filter(event)) return
      if (!isDue(event)) return
      if (length >= capacity) {
        dropped++
        return
      }
      length++
      Queue.unsafeOffer(waiting, event)
    })
    yield* Effect.uninterruptibleMask((restore) => Effect.flatMap(restore(Queue.take(waiting)), log)).pipe(
      minimum,
      Effect.forever,
      Effect.interruptible,
      Effect.forkScoped
    )
  })
