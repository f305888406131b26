/**
 * The terminal that a command writes to: text on stdout, progress on stderr, colours only on a TTY.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as ConsoleView from "../../observability/ConsoleView.js"
import { plainStyled } from "./plain.js"

export class Terminal extends Context.Tag("tinkex/cli/Terminal")<Terminal, {
  /** Whether progress may be redrawn in place. */
  readonly interactive: boolean
  readonly colors: boolean
  readonly columns: number
  /** Where a view that redraws itself may draw: stderr. */
  readonly screen: ConsoleView.Terminal
  /** A line of output. */
  readonly print: (line: string) => Effect.Effect<void>
  /** Shows a line of progress in place of the last one; on anything but a TTY it shows nothing. */
  readonly progress: (line: string) => Effect.Effect<void>
  /** A line beside the output: on stderr. */
  readonly note: (line: string) => Effect.Effect<void>
}>() {}

const clear = "\r\u001b[2K"

export const layer = Layer.sync(Terminal, () => {
  const interactive = process.stderr.isTTY === true && process.env["TERM"] !== "dumb"
  const colors = process.stdout.isTTY === true && (process.env["NO_COLOR"] ?? "") === ""
  const columns = process.stdout.columns ?? 80
  let shown = false
  // whoever reads has seen enough, or nobody does: what was to be done is done all the same
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined)
  const write = (stream: NodeJS.WriteStream, text: string) =>
    Effect.async<void>((resume) => {
      if (shown && interactive) {
        process.stderr.write(clear)
        shown = false
      }
      if (stream.destroyed || !stream.writable) resume(Effect.void)
      else stream.write(text, () => resume(Effect.void))
    })
  return {
    interactive,
    colors,
    columns,
    screen: process.stderr,
    print: (line) => write(process.stdout, `${plainStyled(line)}\n`),
    note: (line) => write(process.stderr, `${plainStyled(line)}\n`),
    progress: (line) =>
      interactive
        ? Effect.sync(() => {
          shown = line !== ""
          process.stderr.write(`${clear}${plainStyled(line).replaceAll("\n", " ")}`)
        })
        : Effect.void
  }
})

/** Styles text when the terminal shows colours. */
export const style = (terminal: { readonly colors: boolean }, code: 1 | 2 | 31 | 32 | 36, text: string): string =>
  terminal.colors ? `\u001b[${code}m${text}\u001b[0m` : text
