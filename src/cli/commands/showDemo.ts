/**
 * Shows the demonstration: progress while it trains, then the loss curve and the answers before and after.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as LocalTinkex from "../../LocalTinkex.js"
import { attachConsole } from "../../observability/ConsoleView.js"
import { lossCurve, progressBar } from "../../observability/Plot.js"
import { Failed } from "../terminal/failed.js"
import { style, Terminal } from "../terminal/terminal.js"
import type { Answer, Progress } from "./teach.js"
import { teach } from "./teach.js"

const columns = (answers: ReadonlyArray<Answer>, print: (answer: Answer) => ReadonlyArray<string>) => {
  const rows = answers.map(print)
  const widths = [0, 1, 2].map((column) => Math.max(0, ...rows.map((row) => (row[column] ?? "").length)))
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)))
}

const shorten = (text: string, width: number) => text.length <= width ? text : `${text.slice(0, width - 1)}…`

const progressLine = ({ loss, secondsLeft, step, steps, tokensPerSecond }: Progress, width: number) =>
  `${progressBar({ done: step, total: steps, width: Math.min(30, Math.max(10, width - 60)) })}`
  + `  loss ${loss.toFixed(3)}  ${Math.round(tokensPerSecond)} tokens/s  ${Math.ceil(secondsLeft)} s left`

export const showDemo = (args: {
  readonly model: string
  readonly steps: number
  readonly rank: number
  readonly learningRate: number
  readonly seed: number
  readonly json: boolean
}) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    const started = yield* Clock.currentTimeMillis
    const say = (line: string) => args.json ? Effect.void : terminal.print(line)
    yield* say(`Teaching ${args.model} sixteen questions, over HTTP, on this machine.`)
    const every = Math.max(1, Math.round(args.steps / 6))
    let bar = ""
    const live = terminal.interactive && !args.json
    const view = live
      ? attachConsole(terminal.screen, { header: () => bar, color: terminal.colors })
      : Effect.void
    const report = yield* Effect.zipRight(
      view,
      teach({
        baseModel: args.model,
        rank: args.rank,
        steps: args.steps,
        learningRate: args.learningRate,
        seed: args.seed,
        onProgress: (progress) =>
          args.json
            ? Effect.void
            : live
            ? Effect.sync(() => {
              bar = progressLine(progress, terminal.columns)
            })
            : progress.step % every === 0 || progress.step === progress.steps
            ? terminal.note(progressLine(progress, 80))
            : Effect.void
      })
    ).pipe(Effect.scoped, Effect.provide(LocalTinkex.layer()))
    const elapsedMs = (yield* Clock.currentTimeMillis) - started
    const first = report.losses[0] ?? NaN
    const last = report.losses[report.losses.length - 1] ?? NaN

    if (args.json) {
      yield* terminal.print(JSON.stringify({ ...report, firstLoss: first, lastLoss: last, elapsedMs }, null, 2))
    } else {
      yield* terminal.progress("")
      yield* say("\nLoss of a taught token (nats) by step:")
      yield* say(
        lossCurve(report.losses, { width: Math.min(72, terminal.columns - 2), height: 12, color: terminal.colors })
      )
      const width = Math.max(12, Math.min(28, Math.floor((terminal.columns - 50) / 2)))
      const row = ({ after, before, question }: Answer) => [question, shorten(before, width), shorten(after, width)]
      const taught = report.answers.filter(({ expected }) => expected !== undefined)
      const beyond = report.answers.filter(({ expected }) => expected === undefined)
      yield* say("\nTaught: before -> after")
      for (const [i, [question, before, after]] of columns(taught, row).entries()) {
        const right = taught[i]?.after === taught[i]?.expected
        yield* say(
          `${style(terminal, right ? 32 : 31, right ? "✓" : "✗")} ${question}  ${
            style(terminal, 2, before ?? "")
          } -> ${after}`
            .trimEnd()
        )
      }
      yield* say("\nNot taught, not counted: memory is not quality")
      for (const [question, before, after] of columns(beyond, row)) {
        yield* say(`  ${question}  ${style(terminal, 2, before ?? "")} -> ${after}`.trimEnd())
      }
      yield* say("")
      yield* say(
        `loss ${first.toFixed(2)} -> ${last.toFixed(2)} | ${report.correct}/${report.asked} answers correct | ${
          Math.round(elapsedMs / 1000)
        } s`
      )
    }
    if (report.correct < report.asked) {
      yield* Effect.fail(
        new Failed({ message: `${report.asked - report.correct} of ${report.asked} answers are wrong` })
      )
    }
  })
