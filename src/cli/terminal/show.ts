/**
 * What commands print: tables of text for people, values as JSON for programs.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { plainJson, plainLine } from "./plain.js"
import { style, Terminal } from "./terminal.js"

/** Stands for what is not there. */
export const none = "—"

const units = ["B", "KB", "MB", "GB", "TB"]

/** `5 B`, `10.0 KB`, in steps of 1,024 (docs/protocol/checkpoints.md#sizes). */
export const size = (bytes: number | undefined): string => {
  if (bytes === undefined || bytes < 0) return none
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit] ?? ""}`
}

const spans: ReadonlyArray<readonly [limit: number, seconds: number, name: string]> = [
  [3600, 60, "minute"],
  [86_400, 3600, "hour"],
  [7 * 86_400, 86_400, "day"],
  [30 * 86_400, 7 * 86_400, "week"]
]

/** `3 hours ago`, `in 2 days`; a date beyond a month. */
export const time = (at: DateTime.Utc | undefined, nowMillis: number): string => {
  if (at === undefined) return none
  const seconds = (nowMillis - at.epochMillis) / 1000
  const distance = Math.abs(seconds)
  if (distance <= 60) return "just now"
  for (const [limit, length, name] of spans) {
    if (distance > limit) continue
    const count = Math.floor(distance / length)
    const text = `${count} ${name}${count === 1 ? "" : "s"}`
    return seconds > 0 ? `${text} ago` : `in ${text}`
  }
  return DateTime.formatIsoDateUtc(at)
}

export const yesNo = (value: boolean | undefined): string => value === undefined ? none : value ? "Yes" : "No"

/** Columns under their headings. */
export const table = (headings: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    const safe = rows.map((row) => row.map(plainLine))
    const widths = headings.map((heading, i) => Math.max(heading.length, ...safe.map((row) => row[i]?.length ?? 0)))
    const line = (cells: ReadonlyArray<string>) =>
      cells.map((cell, i) => i === cells.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)).join("  ").trimEnd()
    yield* terminal.print(style(terminal, 1, line(headings)))
    for (const row of safe) yield* terminal.print(line(row))
  })

/** Names and values, one below the other. */
export const properties = (rows: ReadonlyArray<readonly [string, string]>) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    const width = Math.max(...rows.map(([name]) => name.length))
    for (const [name, value] of rows) {
      yield* terminal.print(`${style(terminal, 1, name.padEnd(width))}  ${plainLine(value)}`)
    }
  })

export const json = (value: unknown) =>
  Effect.flatMap(Terminal, (terminal) => terminal.print(plainJson(JSON.stringify(value, null, 2))))

/** Whether a command was asked for JSON. */
export const wantsJson = (args: { readonly json: boolean; readonly format: string }): boolean =>
  args.json || args.format === "json"
