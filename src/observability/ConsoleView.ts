/**
 * A live view of a run in the terminal.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as View from "./internal/consoleView.js"
import { MetricNames as names } from "./MetricNames.js"
import { Metrics } from "./Metrics.js"
import * as Telemetry from "./Telemetry.js"

/**
 * Where to draw: `process.stderr` fits. Without `isTTY` lines are printed one after the other and nothing is redrawn.
 *
 * @since 0.1.0
 * @category models
 */
export interface Terminal {
  readonly write: (text: string) => unknown
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How often a terminal is redrawn. 250 ms unless given. */
  readonly redraw?: Duration.DurationInput | undefined
  /** How often a line is printed where there is no terminal, if anything changed. 10 s unless given. */
  readonly interval?: Duration.DurationInput | undefined
  /** Colour (ANSI). As `isTTY` unless given. */
  readonly color?: boolean | undefined
  /** A line of your own on top of the block, as a progress bar: read at each drawing, cut to the width, left out if empty. */
  readonly header?: (() => string) | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ConsoleView {
  /** Prints a line above the block. Whatever else writes to the same terminal should go through here. */
  readonly print: (line: string) => Effect.Effect<void>
}

/**
 * Shows, until the scope closes, the loss with its curve, tokens per second, requests in flight, p50, p95 and p99 of recent
 * requests, queue states and circuit breakers. On a terminal it is a block that is redrawn in place and stays when the scope
 * closes; elsewhere a line now and then, and one at once for each paused queue and each breaker that opens or closes.
 *
 * Needs telemetry that is on, which `Metrics.layer` brings along.
 *
 * @since 0.1.0
 * @category combinators
 */
export const attachConsole = (
  terminal: Terminal,
  options: Options = {}
): Effect.Effect<ConsoleView, never, Metrics | Scope.Scope> =>
  Effect.gen(function*() {
    const metrics = yield* Metrics
    const telemetry = yield* Telemetry.Telemetry
    const live = terminal.isTTY === true
    const color = options.color ?? live
    const state = View.make()
    let drawn = 0
    let broken = false
    let shown = ""

    const write = (text: string): void => {
      if (broken) return
      try {
        terminal.write(text)
      } catch {
        // A closed pipe: there is nobody left to tell.
        broken = true
      }
    }
    /** Moves the cursor to the first line of the block, and clears from there on. */
    const erase = (): string => drawn === 0 ? "" : `\u001b[${drawn}A\u001b[0J`

    const read = Effect.gen(function*() {
      const number = (name: string) =>
        Effect.map(metrics.snapshot(name), (found) =>
          Option.isSome(found) && (found.value.kind === "counter" || found.value.kind === "gauge")
            ? found.value.value
            : 0)
      const duration = yield* metrics.snapshot(names.requestDuration)
      const inFlight = yield* metrics.snapshot(names.requestsInFlight)
      return {
        trained: yield* number(names.tokensTrained),
        sampled: yield* number(names.tokensSampled),
        success: yield* number(names.requestsSuccess),
        failure: yield* number(names.requestsFailure),
        retries: yield* number(names.retries),
        backoffMs: yield* number(names.rateLimitBackoff),
        latency: Option.isSome(duration) && duration.value.kind === "histogram" ? duration.value.recent : null,
        inFlight: Option.isSome(inFlight) && inFlight.value.kind === "gauge" ? inFlight.value.series : []
      }
    })
    const clock = yield* Effect.clock
    const draw = Effect.map(read, (figures) => {
      const now = clock.unsafeCurrentTimeMillis()
      View.advance(state, figures, now)
      if (live) {
        const columns = terminal.columns ?? 80
        const header = (options.header?.() ?? "").slice(0, Math.max(1, columns - 1))
        const block = View.block(state, figures, { columns, color })
        const lines = header === "" ? block : [header, ...block]
        write(`${erase()}${lines.join("\n")}\n`)
        drawn = lines.length
      } else {
        const line = View.line(state, figures)
        if (line !== shown) {
          write(`${line}\n`)
        }
        shown = line
      }
    })
    const print = (text: string): void => {
      write(`${live ? erase() : ""}${text}\n`)
      drawn = 0
    }

    yield* Effect.addFinalizer(() =>
      draw
    )
    yield* telemetry.listen((event) => {
      const notice = View.observe(state, event)
      if (notice !== undefined) print(notice)
    })
    const every = Duration.decode(live ? options.redraw ?? "250 millis" : options.interval ?? "10 seconds")
    yield* Effect.forkScoped(Effect.interruptible(Effect.forever(Effect.zipRight(
      live ? draw : Effect.sleep(every),
      live ? Effect.sleep(every) : draw
    ))))
    return {
      print: (line) => Effect.zipRight(Effect.sync(() => print(line)), live ? draw : Effect.void)
    }
  })
