import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { Datum, InvalidInput, ModelInput, TensorData } from "tinkex"

/** What is no token id, each with the words that say what came. */
const badTokens: ReadonlyArray<readonly [string, unknown, RegExp]> = [
  ["undefined", undefined, /nothing/],
  ["null", null, /null/],
  ["NaN", Number.NaN, /NaN/],
  ["infinity", Number.POSITIVE_INFINITY, /infinity/],
  ["a fraction", 2.7, /not an integer/],
  ["beyond 32 bits", 4294967301, /a larger one/],
  ["2^31", 2 ** 31, /a larger one/],
  ["beyond 2^53", 1e300, /a larger one/],
  ["negative", -2, /a negative number/],
  ["text", "7", /text/],
  ["empty text", "", /text/],
  ["a bigint", 7n, /a bigint/],
  ["true", true, /a boolean/],
  ["an object", {}, /an object/],
  ["a list", [7], /a list/],
  ["a function", () => 7, /a function/],
  ["a symbol", Symbol.for("7"), /a symbol/]
]

const hole: Array<number> = [1, 2, 3]
delete hole[1]

const lists: ReadonlyArray<readonly [string, unknown, RegExp]> = [
  ...badTokens.map(([name, bad, said]) => [`a list with ${name}`, [1, bad, 3], said] as const),
  ["a list with a hole", hole, /nothing/],
  ["text", "Hello", /encode the text first/],
  ["a list of texts", ["Hel", "lo"], /encode the text first/],
  ["a Float32Array of fractions", Float32Array.of(1, 2.5), /not an integer/],
  ["a Uint32Array beyond 31 bits", Uint32Array.of(1, 4294967295), /a larger one/],
  ["a BigInt64Array", BigInt64Array.of(1n, 2n), /a bigint/],
  ["a DataView", new DataView(new ArrayBuffer(8)), /an object/],
  ["an ArrayBuffer", new ArrayBuffer(8), /an object/],
  ["an array-like", { length: 2, 0: 1, 1: 2 }, /an object/],
  ["a Set", new Set([1, 2]), /an object/],
  ["null", null, /null/],
  ["undefined", undefined, /nothing/],
  ["a number", 7, /a number/]
]

/** Every constructor that takes tokens. */
const takers: Readonly<Record<string, (tokens: never) => unknown>> = {
  "ModelInput.fromTokens": ModelInput.fromTokens,
  "ModelInput.from": (tokens) => ModelInput.from(tokens),
  "ModelInput.from a model input": (tokens) => ModelInput.from({ chunks: [{ type: "encoded_text", tokens }] }),
  "ModelInput.append": (tokens) => ModelInput.append(ModelInput.empty, tokens),
  "ModelInput.append a chunk": (tokens) => ModelInput.append(ModelInput.empty, { type: "encoded_text", tokens }),
  "ModelInput.fromChunks": (tokens) => ModelInput.fromChunks({ type: "encoded_text", tokens }),
  "Datum.make": (tokens) => Datum.make({ modelInput: tokens }),
  "Datum.make of a model input": (tokens) => Datum.make({ modelInput: { chunks: [{ type: "encoded_text", tokens }] } }),
  "Datum.fromCompletion, prompt": (tokens) => Datum.fromCompletion(tokens, [1]),
  "Datum.fromCompletion, completion": (tokens) => Datum.fromCompletion([1], tokens),
  "Datum.fromSegments": (tokens) => Datum.fromSegments([{ tokens, weight: 1 }, { tokens: [1], weight: 0 }]),
  "Datum.fromRollout, prompt": (tokens) =>
    Datum.fromRollout({ prompt: tokens, completion: [1], logprobs: [-1], advantages: 1 }),
  "Datum.fromRollout, completion": (tokens) =>
    Datum.fromRollout({ prompt: [1], completion: tokens, logprobs: [-1, -1, -1], advantages: 1 })
}

const refused = (evaluate: () => unknown): InvalidInput.InvalidInput => {
  try {
    evaluate()
  } catch (cause) {
    assert.instanceOf(cause, InvalidInput.InvalidInput)
    return cause as InvalidInput.InvalidInput // asserted in the line above
  }
  return assert.fail("it was accepted")
}

describe("token lists are checked before they become typed arrays", () => {
  for (const [taker, take] of Object.entries(takers)) {
    it(taker, () => {
      for (const [name, list, said] of lists) {
        const { message } = refused(() => take(list as never))
        assert.match(message, said, name)
        // never the value
        assert.notMatch(message, /Hello|4294967|2\.7|"7"/, name)
      }
      take([1, 2, 3] as never)
      take(Int32Array.of(1, 2, 3) as never)
    })
  }

  it("ModelInput.tokens", () => {
    const take = (tokens: unknown) =>
      ModelInput.tokens({
        chunks: [{ type: "encoded_text", tokens: tokens as never }, { type: "encoded_text", tokens: [1] }]
      })
    for (const [name, list] of lists) if (name !== "a list with negative") refused(() => take(list))
    assert.deepStrictEqual(take([7, 8]), Int32Array.of(7, 8, 1))
  })

  it("says where", () => {
    assert.strictEqual(refused(() => Datum.fromCompletion([1, 2], [3, undefined as never])).index, 1)
    assert.strictEqual(
      refused(() => Datum.fromCompletion("Hello" as never, [1])).message,
      "prompt: expected a list of token ids; encode the text first, with the tokenizer of the model, got text"
    )
  })

  it("accepts what is a token, of whichever kind of list, and nothing else", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.integer(), fc.double(), fc.constantFrom(null, undefined, "1", 1n))), (list) => {
        const fine = list.every((one) =>
          typeof one === "number" && Number.isInteger(one) && one >= 0 && one <= 0x7fffffff
        )
        if (fine) assert.strictEqual(ModelInput.length(ModelInput.fromTokens(list as Array<number>)), list.length)
        else refused(() => ModelInput.fromTokens(list as Array<number>))
      })
    )
  })
})

describe("chunks are what their type says", () => {
  const bad: ReadonlyArray<readonly [unknown, RegExp]> = [
    [null, /chunks\[0\]: expected a chunk, got null/],
    [{ type: "text", tokens: [1] }, /chunks\[0\]\.type/],
    [{ tokens: [1] }, /chunks\[0\]\.type/],
    [{ type: "image", data: "AAAA", format: "png" }, /chunks\[0\]\.data: expected a Uint8Array, got text/],
    [{ type: "image", data: new Uint8Array(2) }, /chunks\[0\]\.format/],
    [{ type: "image", data: new Uint8Array(2), format: "png", expectedTokens: 1.5 }, /expectedTokens/],
    [{ type: "image", data: new Uint8Array(2), format: "png", expectedTokens: "4" }, /expectedTokens/],
    [{ type: "image_asset_pointer", location: 4, format: "png" }, /location/],
    [{ type: "dmel", dmel: [1, 2] }, /dmel/]
  ]
  for (const [chunk, said] of bad) {
    it(said.source, () => {
      assert.match(refused(() => ModelInput.fromChunks(chunk as never)).message, said)
      assert.match(refused(() => ModelInput.from({ chunks: [chunk as never] })).message, said)
      assert.match(refused(() => Datum.make({ modelInput: { chunks: [chunk as never] } })).message, said)
    })
  }
})

describe("numbers of a loss are checked before they become floats", () => {
  const notNumbers: ReadonlyArray<readonly [string, unknown]> = badTokens.filter(([, value]) =>
    typeof value !== "number"
  )
    .map(([name, value]) => [name, value])

  it("logprobs and advantages of a rollout", () => {
    for (
      const [name, bad] of [...notNumbers, ["NaN", Number.NaN], ["infinity", Number.NEGATIVE_INFINITY], [
        "1e39",
        1e39
      ]] as const
    ) {
      const rollout = { prompt: [1], completion: [2, 3], logprobs: [-1, -1], advantages: [1, 1] }
      assert.strictEqual(
        refused(() => Datum.fromRollout({ ...rollout, logprobs: [-1, bad as never] })).field,
        "logprobs",
        name
      )
      assert.strictEqual(
        refused(() => Datum.fromRollout({ ...rollout, advantages: [bad as never, 1] })).field,
        "advantages",
        name
      )
      assert.strictEqual(
        refused(() => Datum.fromSegments([{ tokens: [1, 2], weight: [1, bad as never] }])).field,
        "segments[0].weight",
        name
      )
      if (!Array.isArray(bad)) {
        assert.strictEqual(
          refused(() => Datum.fromRollout({ ...rollout, advantages: bad as never })).field,
          "advantages",
          name
        )
      }
    }
  })

  it("tensors from lists, nested lists and typed arrays", () => {
    for (const [name, bad] of [...notNumbers, ["1e39", 1e39]] as const) {
      for (const input of [[1, bad], [[1], [bad]]]) {
        if (Array.isArray(bad)) continue // a ragged list, which has words of its own
        assert.strictEqual(refused(() => TensorData.make(input as never)).field, "tensor", name)
        if (name === "a bigint") continue // an integer as good as any
        assert.strictEqual(refused(() => TensorData.make(input as never, { dtype: "int64" })).field, "tensor", name)
      }
      assert.strictEqual(
        refused(() => Datum.make({ modelInput: [1, 2], lossFnInputs: { weights: [1, bad] as never } })).field,
        "lossFnInputs.weights",
        name
      )
    }
    for (
      const input of [undefined, null, "1, 2", 7, {}, new DataView(new ArrayBuffer(4)), new Set([1]), Uint8Array.of(1)]
    ) {
      refused(() => TensorData.make(input as never))
    }
    refused(() => TensorData.make(Float64Array.of(1, 1e39)))
    assert.deepStrictEqual(TensorData.make([1n, 2n] as never, { dtype: "int64" }).data, Int32Array.of(1, 2))
    // results hold numbers that are not finite
    assert.isNaN(TensorData.make([Number.NaN]).data[0])
  })

  it("tensors that somebody made by hand", () => {
    const good = { dtype: "float32", data: Float32Array.of(1, 2), shape: [2] }
    for (
      const change of [
        { dtype: "float64" },
        { dtype: undefined },
        { data: [1, 2] },
        { data: Int32Array.of(1, 2) },
        { data: undefined },
        { dtype: "int64" },
        { shape: undefined },
        { shape: 2 },
        { shape: ["2"] },
        { shape: [2.5] },
        { crow: [0, 1], col: [0] }
      ]
    ) {
      refused(() => TensorData.validate({ ...good, ...change } as never))
    }
    TensorData.validate(good as never)
  })

  it("indices of sparse tensors", () => {
    const input = { dtype: "float32", data: [1], shape: [1, 2], crow: [0, 1], col: [1] } as const
    for (const [name, bad] of badTokens) {
      if (name === "negative") continue // the order says what is wrong with those
      assert.strictEqual(refused(() => TensorData.sparse({ ...input, col: [bad as never] })).field, "tensor.col", name)
      assert.strictEqual(
        refused(() => TensorData.sparse({ ...input, crow: [0, bad as never] })).field,
        "tensor.crow",
        name
      )
    }
    TensorData.sparse(input)
  })
})
