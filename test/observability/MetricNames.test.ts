import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import * as MetricNames from "../../src/observability/MetricNames.js"
import { names as eventNames } from "../../src/observability/TelemetryEvent.js"

const doc = (name: string) => readFileSync(new URL(`../../docs/${name}`, import.meta.url), "utf8")

describe("MetricNames", () => {
  it("every name is defined once, and every definition has a name", () => {
    const defined = MetricNames.definitions.map(({ name }) => name)
    assert.strictEqual(new Set(defined).size, defined.length)
    assert.deepStrictEqual([...defined].sort(), Object.values(MetricNames.MetricNames).sort())
  })

  it("names are dotted and say their unit", () => {
    for (const { name, unit } of MetricNames.definitions) {
      assert.match(name, /^tinkex(\.[a-z][a-z_]*)+$/)
      assert.strictEqual(name.endsWith("_ms"), unit === "ms", name)
      assert.strictEqual(name.endsWith("_bytes"), unit === "bytes", name)
    }
  })

  it("the guide's table is the catalogue (npx tsx scripts/metric-table.ts writes it)", () => {
    assert.include(doc("metrics.md"), MetricNames.toMarkdown())
  })

  it("the guide to events names every one of them", () => {
    const text = doc("telemetry.md")
    for (const [tag, name] of Object.entries(eventNames)) {
      assert.include(text, `\`${tag}\``)
      assert.include(text, name)
    }
  })
})
