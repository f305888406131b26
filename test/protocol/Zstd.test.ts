import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Zstd from "../../src/protocol/Zstd.js"
import { fromHex } from "./support.js"

const repeating = (n: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => (i * i) % 251)

const header = "28b52ffd"

/** A raw block, the last unless said otherwise. */
const raw = (content: string, last = true): string => block(content.length / 2, 0, last) + content

const block = (size: number, type: number, last = true): string => {
  const word = (size << 3) | (type << 1) | (last ? 1 : 0)
  return [word, word >> 8, word >> 16].map((byte) => (byte & 255).toString(16).padStart(2, "0")).join("")
}

const refusal = (hex: string, maxBytes?: number) => Effect.flip(Zstd.decompress(fromHex(hex), { maxBytes }))

describe("compress", () => {
  it.effect("comes back as it was, for sizes at every border of the header", () =>
    Effect.gen(function*() {
      for (const n of [0, 1, 255, 256, 65_791, 65_792, 131_072, 131_073, 300_000]) {
        const bytes = repeating(n)
        const frame = yield* Zstd.compress(bytes)
        assert.deepStrictEqual(yield* Zstd.decompress(frame, { maxBytes: n }), bytes)
        if (n > 0) {
          const error = yield* Effect.flip(Zstd.decompress(frame, { maxBytes: n - 1 }))
          assert.strictEqual(error.reason, "TooLarge")
        }
      }
    }))
})

describe("decompress", () => {
  it.effect("reads frames that do not announce their size", () =>
    Effect.gen(function*() {
      const bytes = yield* Zstd.decompress(fromHex(`${header}0058${raw("0102", false)}${block(5, 1)}07`))
      assert.deepStrictEqual(bytes, Uint8Array.of(1, 2, 7, 7, 7, 7, 7))
      assert.deepStrictEqual(yield* Zstd.decompress(fromHex(`${header}0058${block(0, 0)}`)), new Uint8Array(0))
    }))

  it.effect("refuses a bomb that announces its size, and one that does not, within the memory allowed", () =>
    Effect.gen(function*() {
      const announced = `${header}a0${"00000001"}${`${block(2 ** 21 - 1, 1, false)}00`.repeat(9)}${block(0, 0)}`
      assert.strictEqual((yield* refusal(announced, 2 ** 24 - 1)).reason, "TooLarge")
      const boasting = `${header}e0${"ffffffffff000000"}${raw("01")}`
      assert.match((yield* refusal(boasting)).message, /larger than its blocks/)
      const runs = `${block(2 ** 21 - 1, 1, false)}00`.repeat(64)
      const error = yield* refusal(`${header}0058${runs}${block(0, 0)}`, 1000)
      assert.strictEqual(error.reason, "TooLarge")
      assert.strictEqual(error.message, "zstd: the body is more than 1000 bytes once inflated")
    }))

  it.effect("refuses what is no whole frame, saying what is wrong", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [string, RegExp]> = [
        ["28b52f", /too short/],
        ["504b03040000000000", /does not start a frame/],
        [`${header}0858${raw("01")}`, /newer kind/],
        [`${header}0158ff${raw("01")}`, /dictionary/],
        [`${header}c058`, /inside the frame's header/],
        [`${header}0058`, /ends inside the frame/],
        [`${header}0058${block(9, 0)}01`, /ends inside the frame/],
        [`${header}0058${block(1, 3)}01`, /block of an unknown kind/],
        [`${header}0058${raw("01")}00`, /more behind the frame/],
        [`${header}0458${raw("01")}0000`, /ends inside the frame/],
        [`${header}2009${raw("01")}`, /larger than its blocks/],
        [`${header}0058${block(3, 2)}ffffff`, /does not decode/]
      ]
      for (const [hex, message] of cases) {
        const error = yield* refusal(hex)
        assert.strictEqual(error.reason, "Malformed", hex)
        assert.match(error.message, message)
      }
    }))

  it.effect("checks the checksum when there is one", () =>
    Effect.gen(function*() {
      assert.match((yield* refusal(`${header}0458${raw("01")}00000000`)).message, /does not decode/)
    }))
})
