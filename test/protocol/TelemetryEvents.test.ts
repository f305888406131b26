import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { formatDuration, TelemetryEvent } from "../../src/protocol/TelemetryEvents.js"

describe("TelemetryEvent", () => {
  it("is told apart by its event; unknown ones are kept", () => {
    const common = { event_id: "e", event_session_index: 0, severity: "INFO", timestamp: "2026-11-21T07:44:45.811985Z" }
    const decode = Schema.decodeUnknownSync(TelemetryEvent)
    const generic = decode({ ...common, event: "GENERIC_EVENT", event_name: "n", event_data: { a: [1] }, more: 1 })
    assert.deepStrictEqual(generic.event === "GENERIC_EVENT" && generic.eventData, { a: [1] })
    assert.deepStrictEqual(decode({ ...common, event: "NEW" }), { event: "unknown", wire: "NEW" })
  })
})

describe("formatDuration", () => {
  it("writes what the official SDK writes", () => {
    assert.strictEqual(formatDuration(644.135), "0:00:00.644135")
    assert.strictEqual(formatDuration(0), "0:00:00")
    assert.strictEqual(formatDuration(61_000), "0:01:01")
    assert.strictEqual(formatDuration(3_600_000 * 23 + 59_999), "23:00:59.999000")
    assert.strictEqual(formatDuration(86_400_000 + 1), "1 day, 0:00:00.001000")
    assert.strictEqual(formatDuration(86_400_000 * 2), "2 days, 0:00:00")
    assert.strictEqual(formatDuration(999.9999), "0:00:01")
  })
})
