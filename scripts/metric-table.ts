/** Writes the table of built-in metrics into docs/metrics.md, between its two marks: `npx tsx scripts/metric-table.ts`. */
import { readFileSync, writeFileSync } from "node:fs"
import { toMarkdown } from "../src/observability/MetricNames.js"

const path = new URL("../docs/metrics.md", import.meta.url)
const [open, close] = ["<!-- metrics: table -->", "<!-- metrics: end -->"] as const
const text = readFileSync(path, "utf8")
const from = text.indexOf(open)
const to = text.indexOf(close)
if (from < 0 || to < from) throw new Error(`docs/metrics.md has no place for the table: ${open} … ${close}`)
writeFileSync(path, `${text.slice(0, from + open.length)}\n${toMarkdown()}\n${text.slice(to)}`)
