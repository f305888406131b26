import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc, Redacted } from "effect"
import { make, withoutData, withoutKeys } from "../../src/observability/redaction.js"

const hex = (text: string) => Buffer.from(text).toString("hex")
const utf16 = (character: string) =>
  Array.from({ length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`)
    .join("")

/** Ways in which software repeats a text. */
const spellings: ReadonlyArray<readonly [string, (text: string) => string]> = [
  ["as it is", (text) => text],
  ["in JSON", (text) => JSON.stringify(text)],
  ["in JSON in JSON", (text) => JSON.stringify(JSON.stringify(text))],
  ["with escaped slashes", (text) => JSON.stringify(text).replaceAll("/", "\\/")],
  ["in \\u", (text) => Array.from(text, utf16).join("")],
  ["in \\U", (text) => Array.from(text, (one) => utf16(one).toUpperCase().replaceAll("\\U", "\\u")).join("")],
  ["percent-encoded", encodeURIComponent],
  [
    "percent-encoded whole",
    (text) => Array.from(Buffer.from(text), (byte) => `%${hex(String.fromCharCode(byte))}`).join("")
  ],
  ["percent-encoded twice", (text) => encodeURIComponent(encodeURIComponent(text))],
  ["as a form", (text) => new URLSearchParams({ text }).toString()],
  [
    "in HTML",
    (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("\"", "&quot;").replaceAll("'", "&#39;")
  ],
  ["in HTML by number", (text) => Array.from(text, (one) => `&#x${one.codePointAt(0)!.toString(16)};`).join("")],
  ["in hexadecimal", hex],
  ["in upper case", (text) => text.toUpperCase()],
  ["in base64", (text) => Buffer.from(text).toString("base64")],
  ["in base64 for URLs", (text) => Buffer.from(text).toString("base64url")],
  ["as a password", (text) => `Basic ${Buffer.from(`user:${text}`).toString("base64")}`],
  ["within base64", (text) => Buffer.from(`a ${text} and more`).toString("base64")],
  ["within base64 in JSON", (text) => Buffer.from(`ab ${text}`).toString("base64").replaceAll("/", "\\/")],
  ["cut off", (text) => `${text.slice(0, Math.max(12, Math.ceil(text.length * 0.7)))}...`]
]

const visible = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i))
const secret = fc.array(fc.constantFrom(...visible), { minLength: 16, maxLength: 60 }).map((list) => list.join(""))

describe("redaction", () => {
  for (const [name, spell] of spellings) {
    it(`finds a secret ${name}`, () => {
      fc.assert(
        fc.property(secret, fc.constantFrom("", "the key ", "{\"detail\": \""), (key, before) => {
          fc.pre(new Set(key).size > 6)
          const spelled = spell(key)
          const clean = make([Redacted.make(key)])(`${before}${spelled} is wrong`)
          // no run of the secret's own characters is left: of base64 only what belongs to its neighbours
          for (let at = 0; at + 8 <= spelled.length; at++) {
            const part = spelled.slice(at, at + 8)
            if (name.includes("base64") || name.includes("password")) continue
            if ("the key {\"detail\": \"text= is wrong".includes(part) || /^\W+$/.test(part)) continue
            assert.isFalse(clean.includes(part), `${part} of ${spelled} in ${clean}`)
          }
          assert.include(clean, "<redacted>")
          const decoded = clean.split(/[^A-Za-z0-9+/_=-]+/).map((part) =>
            Buffer.from(part, "base64").toString("latin1")
          )
          assert.isFalse(decoded.some((text) => text.includes(key.slice(2, 12))))
        }),
        { numRuns: 60, seed: 1 }
      )
    })
  }

  it("leaves alone what is no secret", () => {
    const redact = make(["a", "e", "key", "word", "a-long-header-value"])
    const text =
      "401 the key was not accepted: a word of the html-renderer, expected a shape of [2, 3] and 12 of 16 examples"
    assert.strictEqual(redact(text), text)
    assert.strictEqual(withoutData(text), text)
    assert.strictEqual(withoutKeys(text), text)
  })

  it("takes short secrets only where they stand alone", () => {
    const redact = make(["ab-12", "s3cret"])
    assert.strictEqual(redact("ab-12, xab-12, s3cret, s3crets"), "<redacted>, xab-12, <redacted>, s3crets")
  })

  it("learns", () => {
    const redact = make([])
    assert.strictEqual(redact("a LEARNEDsecret"), "a LEARNEDsecret")
    const learned = Redacted.make("LEARNEDsecret")
    redact.learn(learned)
    redact.learn(learned)
    assert.strictEqual(redact("a LEARNEDsecret"), "a <redacted>")
    // and forgets the oldest of very many, never what it was given
    const many = make(["GIVENsecret"])
    for (let i = 0; i < 200; i++) many.learn(Redacted.make(`${i + 1000}LEARNEDsecret`))
    assert.strictEqual(
      many("GIVENsecret 1199LEARNEDsecret 1000LEARNEDsecret"),
      "<redacted> <redacted> 1000LEARNEDsecret"
    )
  })

  it("knows what keys look like", () => {
    for (
      const key of [
        "tml-abcdef0123",
        "tml%2Dabcdef0123",
        "eyJhbGciOiJIUzI1NiJ9.e30.abc",
        "hf_abcdefghijklmno",
        "tml-AAAA\\/BBBB"
      ]
    ) {
      assert.strictEqual(withoutKeys(`key ${key}!`), "key <redacted>!")
    }
    assert.strictEqual(withoutKeys("Authorization: Bearer abcdefgh1234 sent"), "Authorization: Bearer <redacted> sent")
  })

  it("names lists of numbers by their length", () => {
    const cases: ReadonlyArray<readonly [string, string]> = [
      ["tokens [401, 402, 403]", "tokens [<3 numbers>]"],
      ["tokens [401,402", "tokens [401,402"],
      ["{\"tokens\":[401,402,\n   403,404]}", "{\"tokens\":[<4 numbers>]}"],
      ["\"{\\\"tokens\\\":[401,\\n402,403]}\"", "\"{\\\"tokens\\\":[<3 numbers>]}\""],
      ["0.5 -1e-3 2 7", "<4 numbers>"],
      ["('401', '402', '403', '404')", "('<4 numbers>')"],
      ["[[1, 0.5], [2, 0.25]]", "[[<4 numbers>]]"],
      ["2026-11-30 08:50:42.123 at 10.0.0.1", "2026-11-30 08:50:42.123 at 10.0.0.1"]
    ]
    for (const [text, clean] of cases) assert.strictEqual(withoutData(text), clean)
    assert.strictEqual(withoutData(`image ${"QUJ0MTIz".repeat(20)}=`), "image <161 characters>")
  })

  it("takes time in proportion, whatever the text", () => {
    const redact = make(["sk0AbCdEfGh/IjKlMnOp+QrStUvWx==", "ab-12"])
    const worst = ["\\", "%25", "tml-", "[", " ", "1", "1 ", "[ ", "bearer ", "sk0AbCdEfG", "&#0", "\\u00", "c2sw"]
    for (const part of worst) {
      const steps = (size: number) => {
        const text = part.repeat(size)
        const start = performance.now()
        withoutData(redact(text))
        return performance.now() - start
      }
      steps(2_000)
      const small = Math.max(1, steps(10_000))
      // quadratic would be 400 times; the bound is far from both
      assert.isBelow(steps(200_000), small * 150 + 500, part)
    }
  })
})
