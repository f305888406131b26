/** Rows as comma-separated values (RFC 4180). */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import { openAppend } from "./appendFile.js"
import type { MetricSink } from "./MetricSink.js"
import { replaceFile, type Row } from "./RunDirectory.js"
import { type RunStorageError, SinkError } from "./RunError.js"

const cell = (value: Row[string]): string => {
  if (value === null || value === undefined) return ""
  const text = typeof value === "object" ? JSON.stringify(value) : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll("\"", "\"\"")}"` : text
}

const line = (columns: ReadonlyArray<string>, row: Row): string =>
  `${columns.map((column) => cell(row[column])).join(",")}\n`

export const make = (options: { readonly file?: string | undefined } = {}): MetricSink => ({
  name: "csv",
  open: ({ directory }) =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const given = options.file ?? "metrics.csv"
      const file = path.isAbsolute(given) ? given : path.join(directory, given)
      const failing = Effect.mapError((cause: RunStorageError) =>
        new SinkError({ sink: "csv", detail: cause.message, cause })
      )
      const withFiles = Effect.provideService(FileSystem.FileSystem, fs)
      // made anew from the rows: they are what the run says of itself
      yield* failing(replaceFile(file, ""))
      let columns: ReadonlyArray<string> = ["step"]
      let size = 0
      const append = (text: string) =>
        Effect.scoped(Effect.flatMap(openAppend(file, { durable: false }), ({ append }) => append(() => text)))
      /** Figures that come up later get a column of their own: the table is written again with it. */
      const widen = (rows: ReadonlyArray<Row>) =>
        Effect.gen(function*() {
          const known = new Set(columns)
          const more = [...new Set(rows.flatMap((row) => Object.keys(row).filter((key) => !known.has(key))))]
          if (more.length === 0 && size > 0) return
          const before = columns.length
          columns = [...columns, ...more]
          const head = `${columns.map(cell).join(",")}\n`
          if (size === 0) {
            yield* replaceFile(file, head)
          } else {
            const text = yield* Effect.orDie(fs.readFileString(file))
            const body = text.slice(text.indexOf("\n") + 1)
            const pad = ",".repeat(columns.length - before)
            // no cell of a row holds a line break: rows are figures and short texts
            yield* replaceFile(file, head + body.replaceAll("\n", `${pad}\n`))
          }
          size = 1
        })
      return {
        from: 0,
        take: (rows) =>
          failing(withFiles(Effect.gen(function*() {
            const flat = rows.map((row) =>
              Object.fromEntries(
                Object.entries(row).map(([key, value]) => [
                  key,
                  typeof value === "string" ? value.replaceAll(/[\r\n]+/g, " ") : value
                ])
              )
            )
            yield* widen(flat)
            yield* append(flat.map((row) => line(columns, row)).join(""))
          })))
      }
    })
})
