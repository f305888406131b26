import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { plain, plainJson, plainLine, plainLog, plainStyled } from "../../../src/cli/terminal/plain.js"

/** What moves cursors, sets titles, clears screens, reads the clipboard, turns directions. */
const sequences = [
  "\u001b[2J",
  "\u001b[1;1H",
  "\u001b]0;title\u0007",
  "\u001b]52;c;aGk=\u001b\\",
  "\u001bc",
  "\u009b2J",
  "\u0090q\u009c",
  "\b\b\b",
  "\r",
  "\u0007",
  "\u007f",
  "\u202egpj.exe",
  "\u2066",
  "\u200f"
]

// oxlint-disable-next-line no-control-regex
const active = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/

describe("text from elsewhere", () => {
  it("brings no control sequence to the terminal", () => {
    for (const sequence of sequences) {
      for (const clean of [plain, plainLine, plainStyled, plainLog]) {
        assert.notMatch(clean(`a${sequence}b`), active, JSON.stringify(sequence))
        assert.match(clean(`a${sequence}b`), /^a.*b$/s)
      }
      const json = plainJson(JSON.stringify({ text: sequence }))
      assert.notMatch(json, active)
      assert.deepStrictEqual(JSON.parse(json), { text: sequence })
    }
  })

  it("holds for any text", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
      assert.notMatch(plain(text), active)
      assert.notMatch(plainLine(text), /[\t\n]/)
      assert.deepStrictEqual(JSON.parse(plainJson(JSON.stringify(text))), text)
    }))
  })

  it("keeps lines and tabs where there may be some, and our own styles", () => {
    assert.strictEqual(plain("a\r\nb\tc"), "a\nb\tc")
    assert.strictEqual(plainStyled("\u001b[31merror:\u001b[0m a\u001b[2J"), "\u001b[31merror:\u001b[0m a\uFFFD[2J")
    assert.strictEqual(plainLog("\u001b[1;34mINFO\u001b[0m a\u001b[2J"), "\u001b[1;34mINFO\u001b[0m a\uFFFD[2J")
  })
})
