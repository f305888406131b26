import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { makeStopRules, makeStopWatch } from "../../../src/engine/sampler/stop.js"

const bytes = (text: string) => new TextEncoder().encode(text)

/** The number of tokens of the completion: up to and with the one that ends it. */
const run = (vocabulary: ReadonlyArray<Uint8Array>, completion: ReadonlyArray<number>, stop: {
  readonly tokens?: ReadonlyArray<number>
  readonly strings?: ReadonlyArray<string>
}): number => {
  const watch = makeStopWatch(
    makeStopRules({ tokens: stop.tokens ?? [], strings: stop.strings ?? [], tokenBytes: vocabulary })
  )
  for (let i = 0; i < completion.length; i++) if (watch(completion[i]!)) return i + 1
  return -1
}

describe("stop rules", () => {
  // "é" is two bytes, in two tokens.
  const vocabulary = [
    bytes("a"),
    bytes("b"),
    bytes("\n"),
    bytes("User"),
    bytes(":"),
    bytes("r: x"),
    Uint8Array.of(0xc3),
    Uint8Array.of(0xa9),
    bytes("Use"),
    new Uint8Array(0)
  ]
  const table: ReadonlyArray<
    readonly [name: string, completion: ReadonlyArray<number>, stop: Parameters<typeof run>[2], length: number]
  > = [
    ["nothing stops", [0, 1, 2, 3], {}, -1],
    ["a token stops and is counted", [0, 1, 2], { tokens: [1] }, 2],
    ["the first of several tokens", [0, 2, 1], { tokens: [1, 2] }, 2],
    ["a string in one token", [0, 3, 1], { strings: ["User"] }, 2],
    ["a string over tokens: the token that completes it is kept whole", [0, 2, 8, 5, 1], { strings: ["\nUser:"] }, 4],
    ["a string inside a token", [0, 5, 1], { strings: [":"] }, 2],
    ["a false start that overlaps the real one", [0, 0, 0, 1], { strings: ["aab"] }, 4],
    ["a string that begins again inside itself", [0, 1, 0, 0, 1, 0, 1], { strings: ["abab"] }, 7],
    ["a character split over tokens", [0, 6, 7], { strings: ["é"] }, 3],
    ["half a character is no match", [0, 6, 0], { strings: ["é"] }, -1],
    ["tokens without text do not break a match", [3, 9, 4], { strings: ["User:"] }, 3],
    ["the earliest of several strings", [0, 1, 3], { strings: ["User", "b"] }, 2],
    ["token and string, whichever is first", [0, 3, 1], { tokens: [1], strings: ["User"] }, 2]
  ]
  for (const [name, completion, stop, length] of table) {
    it(name, () => assert.strictEqual(run(vocabulary, completion, stop), length))
  }

  it("agrees with a search of the decoded text, however it is cut into tokens", () => {
    const letters = ["a", "b", "ab", "ba", "aa", "é"].map(bytes)
    fc.assert(fc.property(
      fc.array(fc.integer({ min: 0, max: letters.length - 1 }), { maxLength: 30 }),
      fc.array(fc.stringMatching(/^[abé]{1,5}$/), { minLength: 1, maxLength: 3 }),
      (completion, strings) => {
        let expected = -1
        const text: Array<number> = []
        for (let i = 0; i < completion.length && expected < 0; i++) {
          text.push(...letters[completion[i]!]!)
          const decoded = new TextDecoder().decode(Uint8Array.from(text))
          if (strings.some((stop) => decoded.includes(stop))) expected = i + 1
        }
        assert.strictEqual(run(letters, completion, { strings }), expected)
      }
    ))
  })

  it("keeps no state between completions", () => {
    const rules = makeStopRules({ tokens: [], strings: ["ab"], tokenBytes: vocabulary })
    assert.isFalse(makeStopWatch(rules)(0))
    assert.isFalse(makeStopWatch(rules)(1))
  })
})
