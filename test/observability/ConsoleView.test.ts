import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as TestClock from "effect/TestClock"
import * as ConsoleView from "../../src/observability/ConsoleView.js"
import * as Metrics from "../../src/observability/Metrics.js"
import * as Telemetry from "../../src/observability/Telemetry.js"
import { allEvents, httpStop, oneOfEach } from "./events.js"

fc.configureGlobal({ seed: 20250 })

/** A terminal that does what the escape codes say: cursor up, clear to the end, new line. Colours are dropped. */
const terminal = (options: { readonly isTTY?: boolean; readonly columns?: number } = {}) => {
  const lines: Array<string> = [""]
  let row = 0
  let writes = 0
  return {
    ...options,
    write: (text: string) => {
      writes++
      // oxlint-disable-next-line no-control-regex -- escape codes are what is looked for
      for (const part of text.split(/(\u001b\[[0-9;]*[A-Za-z]|\n)/)) {
        // oxlint-disable-next-line no-control-regex -- as above
        const code = /^\u001b\[(\d*)([A-Za-z])$/.exec(part)
        if (code?.[2] === "A") row -= Number(code[1])
        else if (code?.[2] === "J") {
          lines.length = row
          lines.push("")
        } else if (code !== null || part.startsWith("\u001b")) continue
        else if (part === "\n") {
          row++
          lines[row] ??= ""
        } else lines[row] += part
      }
      assert.isAtLeast(row, 0)
    },
    screen: () => lines.slice(0, -1),
    writes: () => writes
  }
}

const run = <A, E>(
  body: Effect.Effect<A, E, Metrics.Metrics | Effect.Effect.Context<ReturnType<typeof ConsoleView.attachConsole>>>
) => Effect.provide(Effect.scoped(body), Metrics.layer())

const emit = Telemetry.emit
const pass = (loss: number) => emit({ ...oneOfEach.TrainingPass, loss, weight: 1 })

describe("ConsoleView", () => {
  it.effect("with a line of the program's own on top, cut to the width", () =>
    run(Effect.gen(function*() {
      const screen = terminal({ isTTY: true, columns: 20 })
      let header = ""
      yield* ConsoleView.attachConsole(screen, { header: () => header })
      yield* TestClock.adjust(0)
      assert.strictEqual(screen.screen().length, 4)
      header = "[=======>       ] 50 %"
      yield* TestClock.adjust("250 millis")
      assert.strictEqual(screen.screen().length, 5)
      assert.strictEqual(screen.screen()[0], "[=======>       ] 5")
      header = ""
      yield* TestClock.adjust("250 millis")
      assert.strictEqual(screen.screen().length, 4)
    })))

  it.effect("on a terminal, a block that is redrawn in place", () =>
    run(Effect.gen(function*() {
      const screen = terminal({ isTTY: true, columns: 100 })
      yield* ConsoleView.attachConsole(screen)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(screen.screen(), [
        "step 0  loss –  trained 0 tok/s  sampled 0 tok/s",
        "in flight 0  ok 0  failed 0  retried 0",
        "latency –",
        "queue active  breaker closed"
      ])
      for (let step = 1; step <= 8; step++) {
        yield* pass(9 - step)
        yield* emit({ ...oneOfEach.TrainingStep, step })
      }
      yield* emit({ ...oneOfEach.Sampled, tokens: 500 })
      yield* emit(oneOfEach.HttpStart)
      yield* emit(oneOfEach.HttpStart)
      yield* emit({ ...oneOfEach.HttpStart, operation: "sampling" })
      yield* emit(httpStop({ durationMs: 10 }))
      yield* emit(httpStop({ status: 500, operation: "session", durationMs: 10 }))
      yield* emit(oneOfEach.Retry)
      yield* emit(oneOfEach.RateLimited)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(screen.screen(), [
        "step 8  loss 1 █▇▆▅▄▃▂▁  trained 4,000 tok/s  sampled 250 tok/s",
        "in flight 2 (training 1, sampling 1)  ok 1  failed 1  retried 1",
        "p50 10 ms  p95 10 ms  p99 10 ms",
        "queue active  breaker closed  back-off 3000 ms"
      ])
    })))

  it.effect("paused queues and open breakers are said at once, above the block, and shown until they are over", () =>
    run(Effect.gen(function*() {
      const screen = terminal({ isTTY: true, columns: 100 })
      const view = yield* ConsoleView.attachConsole(screen)
      const change = oneOfEach.BreakerTransition
      yield* emit(oneOfEach.QueueState)
      yield* emit({ ...oneOfEach.QueueState, state: "paused_rate_limit" })
      yield* emit(change)
      yield* emit({ ...change, from: "open", to: "half_open" })
      yield* view.print("a line of the program's own")
      assert.deepStrictEqual(screen.screen(), [
        "Training for model-1 is paused. Reason: no more room.",
        "circuit of training: open",
        "a line of the program's own",
        "step 0  loss –  trained 0 tok/s  sampled 0 tok/s",
        "in flight 0  ok 0  failed 0  retried 0",
        "latency –",
        "queue training model-1 paused_rate_limit  breaker training half_open"
      ])
      yield* emit({ ...oneOfEach.QueueState, state: "active" })
      yield* emit({ ...change, from: "half_open", to: "closed" })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(screen.screen().slice(3), [
        "circuit of training: closed",
        "step 0  loss –  trained 0 tok/s  sampled 0 tok/s",
        "in flight 0  ok 0  failed 0  retried 0",
        "latency –",
        "queue active  breaker closed"
      ])
    })))

  it.effect("the block stays when the scope closes, with the last figures, and is drawn no more", () =>
    run(Effect.gen(function*() {
      const screen = terminal({ isTTY: true })
      yield* Effect.scoped(Effect.gen(function*() {
        yield* ConsoleView.attachConsole(screen, { redraw: "1 hour" })
        yield* TestClock.adjust(0)
        yield* emit({ ...oneOfEach.TrainingStep, step: 40 })
      }))
      assert.match(screen.screen()[0] ?? "", /^step 40 /)
      const writes = screen.writes()
      yield* emit({ ...oneOfEach.TrainingStep, step: 41 })
      yield* emit(oneOfEach.QueueState)
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(screen.writes(), writes)
    })))

  it.effect("elsewhere plain lines, and none where nothing changed", () =>
    run(Effect.gen(function*() {
      const written: Array<string> = []
      yield* Effect.scoped(Effect.gen(function*() {
        const view = yield* ConsoleView.attachConsole({ write: (text) => written.push(text) })
        yield* TestClock.adjust("30 seconds")
        yield* pass(0.5)
        yield* emit({ ...oneOfEach.TrainingStep, step: 1 })
        yield* emit(oneOfEach.QueueState)
        yield* view.print("hello")
        yield* TestClock.adjust("1 minute")
        yield* emit({ ...oneOfEach.TrainingStep, step: 2 })
      }))
      const line = (step: number, loss: string, rate: number, queue: string) =>
        `step ${step} · loss ${loss} · trained ${rate} tok/s · sampled 0 tok/s · in flight 0 · ok 0 · failed 0 · retried 0 · ` +
        `latency – · queue ${queue} · breaker closed\n`
      assert.deepStrictEqual(written, [
        line(0, "–", 0, "active"),
        "Training for model-1 is paused. Reason: no more room.\n",
        "hello\n",
        line(1, "0.5", 100, "training model-1 paused_capacity"),
        line(1, "0.5", 0, "training model-1 paused_capacity"),
        line(2, "0.5", 0, "training model-1 paused_capacity")
      ])
    })))

  it.effect("no line is longer than the terminal is wide, at any width, with any text from the server", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 200 }),
          fc.string({ unit: "binary", maxLength: 60 }),
          (columns, text) =>
            Effect.runPromise(run(Effect.gen(function*() {
              const screen = terminal({ isTTY: true, columns })
              yield* Effect.scoped(Effect.gen(function*() {
                yield* ConsoleView.attachConsole(screen)
                yield* Effect.forEach(allEvents, emit)
                yield* emit({ ...oneOfEach.QueueState, id: text, state: "unknown" })
                for (let i = 0; i < 300; i++) yield* pass(i)
              }))
              // What is printed above the block may wrap; the block may not.
              for (const line of screen.screen().slice(-4)) assert.isAtMost(line.length, Math.max(1, columns - 1))
            })))
        ),
        { numRuns: 50 }
      )
    ))

  it.effect("a broken pipe ends the view, not the program", () =>
    run(Effect.gen(function*() {
      let writes = 0
      yield* ConsoleView.attachConsole({
        isTTY: true,
        write: () => {
          writes++
          throw new Error("EPIPE")
        }
      })
      yield* TestClock.adjust("10 seconds")
      yield* emit(oneOfEach.QueueState)
      assert.strictEqual(writes, 1)
    })))

  it.effect("colours on a terminal unless told otherwise; resets and long waits are read right", () =>
    run(Effect.gen(function*() {
      const seen: Array<string> = []
      const metrics = yield* Metrics.Metrics
      yield* Effect.scoped(Effect.gen(function*() {
        yield* ConsoleView.attachConsole({ isTTY: true, columns: 200, write: (text) => seen.push(text) }, {
          redraw: "1 second"
        })
        yield* emit(httpStop({ status: 500, durationMs: 45_000 }))
        yield* pass(1)
        yield* TestClock.adjust("1 second")
        assert.include(seen.at(-1), "\u001b[33m1\u001b[0m")
        assert.include(seen.at(-1), "45.0 s")
        yield* metrics.reset
        yield* TestClock.adjust("2 seconds")
        assert.notInclude(seen.at(-1), "-")
      }))
      const plain: Array<string> = []
      yield* ConsoleView.attachConsole({ isTTY: true, write: (text) => plain.push(text) }, { color: false })
      yield* TestClock.adjust(0)
      assert.notInclude(plain.join(""), "\u001b[1m")
    })))
})
