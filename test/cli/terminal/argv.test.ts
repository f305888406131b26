import { assert, describe, it } from "@effect/vitest"
import { DateTime } from "effect"
import { optionsFirst } from "../../../src/cli/terminal/argv.js"
import { helpText } from "../../../src/cli/terminal/help.js"
import * as Show from "../../../src/cli/terminal/show.js"

const groups = new Set(["checkpoint"])
const moved = (text: string) => optionsFirst(text.split(" ").filter((word) => word !== ""), groups).join(" ")

describe("optionsFirst", () => {
  it("moves options before arguments, each with its value", () => {
    assert.strictEqual(moved("checkpoint delete a b --yes"), "checkpoint delete --yes a b")
    assert.strictEqual(moved("checkpoint download a -o dir --force b"), "checkpoint download -o dir --force a b")
    assert.strictEqual(moved("checkpoint list --limit=5 x"), "checkpoint list --limit=5 x")
    assert.strictEqual(moved("sample --top-k -1 x"), "sample --top-k -1 x")
    assert.strictEqual(moved("sample x --prompt-file -"), "sample --prompt-file - x")
  })
  it("leaves the rest alone", () => {
    assert.strictEqual(moved(""), "")
    assert.strictEqual(moved("--help"), "--help")
    assert.strictEqual(moved("checkpoint"), "checkpoint")
    assert.strictEqual(moved("checkpoint --help"), "checkpoint --help")
    assert.strictEqual(moved("checkpoint info -- --odd"), "checkpoint info --odd")
    assert.strictEqual(moved("demo --limit"), "demo --limit")
  })
})

describe("what is shown", () => {
  it("sizes and times", () => {
    assert.deepStrictEqual([0, 5, 1023, 1024, 10_240, 123_456_789, 5 * 1024 ** 4].map(Show.size), [
      "0 B",
      "5 B",
      "1023 B",
      "1.0 KB",
      "10.0 KB",
      "117.7 MB",
      "5.0 TB"
    ])
    assert.strictEqual(Show.size(undefined), "—")
    const now = 1_750_000_000_000
    const at = (seconds: number) => Show.time(DateTime.unsafeMake(now - seconds * 1000), now)
    assert.deepStrictEqual([0, 60, 61, 3600, 3601, 86_401, 8 * 86_400, 31 * 86_400, -7200, -90_000].map(at), [
      "just now",
      "just now",
      "1 minute ago",
      "60 minutes ago",
      "1 hour ago",
      "1 day ago",
      "1 week ago",
      "2025-05-15",
      "in 2 hours",
      "in 1 day"
    ])
  })
  it("help without colours, commands by name", () => {
    const text = "\u001b[1mCOMMANDS\u001b[0m\n\n  - a list [--x text] <p>   Lists\n\n  - b                       Does"
    assert.strictEqual(helpText(text, false), "COMMANDS\n\n  a list  Lists\n  b       Does")
    assert.include(helpText(text, true), "\u001b[1m")
  })
})
