import { assert, describe, it } from "@effect/vitest"
import * as Datum from "../../src/protocol/Datum.js"
import * as Tokenizer from "../../src/tokenizer/Tokenizer.js"
import * as Preview from "../../src/training/Preview.js"

const { decode, encode } = Tokenizer.nano

describe("Preview", () => {
  it("shows what is learnt in brackets, and the rest plainly", () => {
    const datum = Datum.fromCompletion(encode("2 + 2 =\n"), encode(" 4"))
    assert.strictEqual(Preview.toText(datum, decode), "2 + 2 =⏎[ 4]")
    assert.strictEqual(
      Preview.toText(datum, decode, { color: true }),
      "\u001b[2m2 + 2 =⏎\u001b[0m\u001b[32m 4\u001b[0m"
    )
  })

  it("shows examples by role, with weights that are not 1", () => {
    const segments: ReadonlyArray<Datum.Segment> = [
      { tokens: encode("Q\n"), weight: 0, label: "user" },
      { tokens: encode("A: "), weight: 0, label: "assistant" },
      { tokens: encode("no"), weight: 1, label: "assistant" },
      { tokens: encode("xy"), weight: [0.25, -1], label: "assistant" },
      { chunk: { type: "image", data: new Uint8Array(1), format: "png" } }
    ]
    assert.strictEqual(
      Preview.fromSegments(segments, decode),
      "user       Q⏎\nassistant  A: [no][x]×0.25[-y]\n           <image>"
    )
    assert.include(Preview.fromSegments(segments, decode, { color: true }), "\u001b[32mno\u001b[0m")
  })

  it("rollouts show the sign of the advantage", () => {
    const completion = [97, 98]
    const datum = Datum.fromRollout({
      prompt: encode("Q:"),
      completion,
      logprobs: Array.from(completion, () => -1),
      advantages: Array.from(completion, (_, i) => i === 0 ? 1 : -1)
    })
    const text = Preview.toText(datum, decode)
    assert.isTrue(text.endsWith("[a][-b]"), text)
    assert.include(Preview.toText(datum, decode, { color: true }), "\u001b[31mb")
  })

  it("of several alternatives the first is shown, sparse or dense; without weights everything counts", () => {
    const soft = Datum.make({
      modelInput: encode("x"),
      lossFnInputs: { target_tokens: [[97, 98]], weights: [[0.7, 0.3]] }
    })
    assert.deepStrictEqual(Preview.targets(soft, decode).map(({ text }) => text), ["a"])
    assert.closeTo(Preview.targets(soft, decode)[0].weight, 0.7, 1e-6)
    const bare = Datum.make({ modelInput: encode("x"), lossFnInputs: { target_tokens: [97] } })
    assert.strictEqual(Preview.toText(bare, decode), "x[a]")
    assert.deepStrictEqual(Preview.targets({ ...bare, lossFnInputs: {} }, decode), [])
  })
})
