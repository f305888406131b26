/**
 * Help as the terminal can show it: without colours where there are none, and with commands by name instead of with all that
 * they take, which their own help tells.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { plainLog } from "./plain.js"
import { Terminal } from "./terminal.js"

// oxlint-disable-next-line no-control-regex
const escapes = /\u001b\[[0-9;]*m/g

const command = /^ {2}- (.+?) {2,}(\S.*)$/

/** The words before the first option or argument. */
const nameOf = (usage: string): string => {
  const words = usage.replaceAll(escapes, "").split(" ")
  const end = words.findIndex((word) => /^[[(<-]/.test(word))
  return (end < 0 ? words : words.slice(0, end)).join(" ")
}

export const helpText = (text: string, colors: boolean): string => {
  const lines = text.split("\n")
  const names = lines.map((line) => command.exec(line))
  const width = Math.max(0, ...names.map((match) => match === null ? 0 : nameOf(match[1] ?? "").length))
  const short = lines.flatMap((line, i) => {
    const match = names[i]
    if (match !== null && match !== undefined) return [`  ${nameOf(match[1] ?? "").padEnd(width)}  ${match[2] ?? ""}`]
    // the empty lines between commands
    return line === "" && names[i - 1] && names[i + 1] ? [] : [line]
  }).join("\n")
  return colors ? short : short.replaceAll(escapes, "")
}

export const withHelp = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Terminal> =>
  Effect.flatMap(Terminal, ({ colors }) =>
    Console.consoleWith((console) => {
      const shown = (args: ReadonlyArray<unknown>) =>
        args.map((arg) => typeof arg === "string" ? helpText(arg, colors) : arg)
      const cleaned = (args: ReadonlyArray<unknown>) => args.map((arg) => typeof arg === "string" ? plainLog(arg) : arg)
      const { unsafe } = console
      return Effect.withConsole(self, {
        ...console,
        // loggers write here, and say what servers said
        unsafe: {
          ...unsafe,
          log: (...args) => unsafe.log(...cleaned(args)),
          info: (...args) => unsafe.info(...cleaned(args)),
          warn: (...args) => unsafe.warn(...cleaned(args)),
          error: (...args) => unsafe.error(...cleaned(args)),
          group: (...args) => unsafe.group(...cleaned(args)),
          groupCollapsed: (...args) => unsafe.groupCollapsed(...cleaned(args))
        },
        log: (...args) => console.log(...shown(args)),
        error: (...args) => console.error(...shown(args))
      })
    }))
