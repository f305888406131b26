/**
 * `npm run bench [-- --json] [-- topic …]`: runs the topics of this folder one after the other, each in a process of its
 * own so that none warms or litters another, and prints one table.
 */
import { spawnSync } from "node:child_process"
import { readdirSync } from "node:fs"
import { fileURLToPath, pathToFileURL } from "node:url"
import type { Row } from "./Row.js"

interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly target: number | null
  readonly holds: boolean | null
}

const here = fileURLToPath(new URL(".", import.meta.url))
const marker = "@@rows "
const args = process.argv.slice(2)
const json = args.includes("--json")
const topics = readdirSync(here)
  .filter((name) => name.endsWith(".ts") && name !== "main.ts" && name !== "Row.ts")
  .map((name) => name.slice(0, -3))
  .sort()

const holds = ({ better, target, value }: Row): boolean | null =>
  target === null ? null : better === "higher" ? value >= target : value <= target

const number = (value: number): string =>
  Math.abs(value) >= 1000 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toPrecision(3)

const child = async (topic: string): Promise<void> => {
  const module: { readonly rows: () => Promise<ReadonlyArray<Row>> } = await import(
    pathToFileURL(`${here}/${topic}.ts`).href
  )
  const rows = await module.rows()
  process.stdout.write(`\n${marker}${JSON.stringify(rows)}\n`, () => process.exit(0))
}

const parent = (): void => {
  const wanted = args.filter((arg) => !arg.startsWith("--"))
  const unknown = wanted.filter((topic) => !topics.includes(topic))
  if (unknown.length > 0) {
    console.error(`no such topic: ${unknown.join(", ")}; there are: ${topics.join(", ")}`)
    process.exit(2)
  }
  const figures: Array<Figure> = []
  let failed = 0
  for (const topic of wanted.length > 0 ? wanted : topics) {
    if (!json) process.stderr.write(`${topic} …\n`)
    const done = spawnSync(
      process.execPath,
      [...process.execArgv, fileURLToPath(import.meta.url), `--child=${topic}`],
      {
        encoding: "utf8",
        maxBuffer: 1 << 28,
        timeout: 240_000
      }
    )
    const line = done.stdout.split("\n").find((text) => text.startsWith(marker))
    if (done.status !== 0 || line === undefined) {
      failed++
      console.error(`${topic} failed: ${done.error?.message ?? done.stderr.trim()}`)
      continue
    }
    const rows: ReadonlyArray<Row> = JSON.parse(line.slice(marker.length))
    for (const row of rows) {
      figures.push({ name: row.name, value: row.value, unit: row.unit, target: row.target, holds: holds(row) })
    }
  }
  if (json) {
    console.log(JSON.stringify(figures, null, 2))
  } else {
    const cells = figures.map(({ holds, name, target, unit, value }) => [
      name,
      number(value),
      unit,
      target === null ? "-" : number(target),
      holds === null ? "-" : holds ? "yes" : "NO"
    ])
    const all = [["figure", "value", "unit", "target", "holds"], ...cells]
    const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...all.map((row) => (row[column] ?? "").length)))
    for (const row of all) {
      console.log(
        row.map((cell, column) =>
          column === 0 || column === 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)
        ).join("  ")
      )
    }
  }
  if (failed > 0) process.exit(1)
}

const topic = args.find((arg) => arg.startsWith("--child="))?.slice("--child=".length)
if (topic !== undefined) await child(topic)
else parent()
