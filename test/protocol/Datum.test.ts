import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Datum from "../../src/protocol/Datum.js"
import { InvalidInput } from "../../src/protocol/InvalidInput.js"
import * as ModelInput from "../../src/protocol/ModelInput.js"
import * as TensorData from "../../src/protocol/TensorData.js"

const refusal = (evaluate: () => unknown): InvalidInput => {
  try {
    evaluate()
  } catch (cause) {
    assert.instanceOf(cause, InvalidInput)
    return cause
  }
  return assert.fail("nothing was refused")
}

const tokens = (min: number) => fc.array(fc.nat(500), { minLength: min, maxLength: 8 })

const numbers = (datum: Datum.Datum, name: string): ReadonlyArray<number> =>
  TensorData.toArray(datum.lossFnInputs[name]!)

describe("make", () => {
  it("gives lists the dtype of their name and leaves tensors and typed arrays alone", () => {
    const given = TensorData.make([1, 2], { dtype: "int64" })
    const made = Datum.make({
      modelInput: [1, 2],
      lossFnInputs: {
        target_tokens: [3, 4],
        weights: [0, 1],
        logprobs: Float32Array.of(-1, -2),
        advantages: given,
        custom: Int32Array.of(1, 2)
      }
    })
    assert.deepStrictEqual(made.lossFnInputs["target_tokens"], {
      dtype: "int64",
      data: Int32Array.of(3, 4),
      shape: [2]
    })
    assert.strictEqual(made.lossFnInputs["weights"]!.dtype, "float32")
    assert.strictEqual(made.lossFnInputs["advantages"], given)
    assert.strictEqual(made.lossFnInputs["custom"]!.dtype, "int64")
    assert.deepStrictEqual(ModelInput.tokens(made.modelInput), Int32Array.of(1, 2))
    assert.deepStrictEqual(Datum.make({ modelInput: ModelInput.empty }).lossFnInputs, {})
  })

  it("takes a row of targets per token", () => {
    const made = Datum.make({ modelInput: [1, 2], lossFnInputs: { target_tokens: [[1, 2, 3], [4, 5, 6]] } })
    assert.deepStrictEqual(made.lossFnInputs["target_tokens"]!.shape, [2, 3])
  })

  it("refuses a list whose dtype is not known and inputs that do not align, naming field and lengths", () => {
    const unknown = refusal(() => Datum.make({ modelInput: [1], lossFnInputs: { other: [1] } }))
    assert.strictEqual(unknown.field, "lossFnInputs.other")
    assert.include(unknown.expected, "target_tokens")
    refusal(() => Datum.make({ modelInput: [1], lossFnInputs: { constructor: [1] } as never }))
    const short = refusal(() => Datum.make({ modelInput: [1, 2, 3], lossFnInputs: { weights: [1, 1] } }))
    assert.strictEqual(
      short.message,
      "lossFnInputs.weights: expected a first dimension of 3, the length of modelInput, got shape [2]"
    )
    assert.strictEqual(
      refusal(() => Datum.make({ modelInput: [1], lossFnInputs: { weights: [Number.NaN, 1] } })).field,
      "lossFnInputs.weights"
    )
    const ragged = refusal(() => Datum.make({ modelInput: [1, 2], lossFnInputs: { weights: [[1], [1, 2]] } }))
    assert.include(ragged.message, "lossFnInputs.weights")
  })

  it("takes inputs whose length is not known as they are", () => {
    const image = { type: "image" as const, data: new Uint8Array(3), format: "png" }
    const made = Datum.make({ modelInput: { chunks: [image] }, lossFnInputs: { weights: [1, 2, 3] } })
    assert.deepStrictEqual(made.lossFnInputs["weights"]!.shape, [3])
    refusal(() =>
      Datum.make({ modelInput: { chunks: [{ ...image, expectedTokens: 2 }] }, lossFnInputs: { weights: [1] } })
    )
  })
})

describe("fromCompletion", () => {
  it("shifts, and weighs the completion only", () => {
    const made = Datum.fromCompletion([10, 11, 12], [20, 21])
    assert.deepStrictEqual(ModelInput.tokens(made.modelInput), Int32Array.of(10, 11, 12, 20))
    assert.deepStrictEqual(numbers(made, "target_tokens"), [11, 12, 20, 21])
    assert.deepStrictEqual(numbers(made, "weights"), [0, 0, 1, 1])
  })

  it("for every prompt and completion: targets are the next tokens, and the weights sum to the targets in the completion", () => {
    fc.assert(fc.property(tokens(0), tokens(1), (prompt, completion) => {
      fc.pre(prompt.length + completion.length >= 2)
      const made = Datum.fromCompletion(prompt, Int32Array.from(completion))
      const all = [...prompt, ...completion]
      assert.deepStrictEqual(Array.from(ModelInput.tokens(made.modelInput)), all.slice(0, -1))
      assert.deepStrictEqual(numbers(made, "target_tokens"), all.slice(1))
      const weights = numbers(made, "weights")
      weights.forEach((weight, t) => assert.strictEqual(weight, t + 1 >= prompt.length ? 1 : 0))
      assert.strictEqual(Datum.validate(made), made)
    }))
  })

  it("refuses an empty completion and a single token", () => {
    assert.strictEqual(refusal(() => Datum.fromCompletion([1, 2], [])).field, "completion")
    assert.match(refusal(() => Datum.fromCompletion([], [1])).message, /at least 2 tokens/)
  })
})

describe("fromRollout", () => {
  it("puts zeros on the prompt part", () => {
    const made = Datum.fromRollout({ prompt: [1, 2, 3], completion: [4, 5], logprobs: [-1, -2], advantages: [0.5, 1] })
    assert.deepStrictEqual(numbers(made, "target_tokens"), [2, 3, 4, 5])
    assert.deepStrictEqual(numbers(made, "logprobs"), [0, 0, -1, -2])
    assert.deepStrictEqual(numbers(made, "advantages"), [0, 0, 0.5, 1])
  })

  it("marks the completion for the ratio of gspo when asked", () => {
    const rollout = { prompt: [1, 2], completion: [4, 5], logprobs: [-1, -2], advantages: 2 }
    assert.notProperty(Datum.fromRollout(rollout).lossFnInputs, "sequence_ratio_mask")
    const made = Datum.fromRollout({ ...rollout, sequenceRatioMask: true })
    assert.deepStrictEqual(numbers(made, "sequence_ratio_mask"), [0, 1, 1])
  })

  it("takes one advantage for the whole completion", () => {
    const made = Datum.fromRollout({
      prompt: [1],
      completion: [4, 5],
      logprobs: Float32Array.of(-1, -2),
      advantages: 2
    })
    assert.deepStrictEqual(numbers(made, "advantages"), [2, 2])
  })

  it("leaves out the first token of a completion without prompt, which nothing predicts", () => {
    const made = Datum.fromRollout({ prompt: [], completion: [4, 5, 6], logprobs: [-1, -2, -3], advantages: [1, 2, 3] })
    assert.deepStrictEqual(numbers(made, "target_tokens"), [5, 6])
    assert.deepStrictEqual(numbers(made, "logprobs"), [-2, -3])
    assert.deepStrictEqual(numbers(made, "advantages"), [2, 3])
  })

  it("refuses lengths that differ, and an empty completion", () => {
    const rollout = { prompt: [1], completion: [4, 5], logprobs: [-1, -2], advantages: 1 }
    const short = refusal(() => Datum.fromRollout({ ...rollout, logprobs: [-1] }))
    assert.strictEqual(short.message, "logprobs: expected 2 values, one per token of completion, got 1")
    assert.strictEqual(refusal(() => Datum.fromRollout({ ...rollout, advantages: [1, 2, 3] })).field, "advantages")
    assert.strictEqual(refusal(() => Datum.fromRollout({ ...rollout, completion: [] })).field, "completion")
  })
})

describe("sizes", () => {
  it("are those of the chunker: 10 tokens with an int64 and a float32 tensor are 160 bytes", () => {
    const ten = Array.from({ length: 10 }, (_, i) => i)
    const made = Datum.make({ modelInput: ten, lossFnInputs: { target_tokens: ten, weights: ten } })
    assert.strictEqual(Datum.byteSize(made), 160)
    assert.strictEqual(Datum.numberCount(made), 30)
  })

  it("count raw bytes of images and audio, and the address of a pointer", () => {
    const made: Datum.Datum = {
      modelInput: {
        chunks: [
          { type: "image", data: new Uint8Array(7), format: "png" },
          { type: "dmel", dmel: new Uint8Array(5) },
          { type: "image_asset_pointer", location: "abc", format: "png" }
        ]
      },
      lossFnInputs: {}
    }
    assert.strictEqual(Datum.byteSize(made), 15)
    assert.strictEqual(Datum.numberCount(made), 0)
  })
})

describe("withProvenance", () => {
  const datum = Datum.fromCompletion([1, 2], [3, 4])
  const span = (length: number, sequenceId = "s", offset = 0): Datum.ProvenanceSpan => ({
    type: "sampled_tokens",
    sequenceId,
    offset,
    length
  })

  it("attaches runs that tile both fields", () => {
    const made = Datum.withProvenance(datum, { modelInput: [span(1), span(2)], lossFnInputs: [span(3)] })
    assert.strictEqual(made.modelInputSpans!.length, 2)
    assert.strictEqual(made.lossFnInputSpans!.length, 1)
    assert.strictEqual(made.lossFnInputs, datum.lossFnInputs)
  })

  it("refuses runs that do not", () => {
    const short = refusal(() => Datum.withProvenance(datum, { modelInput: [span(2)], lossFnInputs: [span(3)] }))
    assert.strictEqual(short.message, "modelInputSpans: expected runs that cover 3 positions, got 2")
    assert.strictEqual(
      refusal(() => Datum.withProvenance(datum, { modelInput: [span(3)], lossFnInputs: [span(4)] })).field,
      "lossFnInputSpans"
    )
    for (const bad of [span(3, ""), span(-1), span(3, "s", -1), span(Number.NaN)]) {
      assert.strictEqual(refusal(() => Datum.withProvenance(datum, { modelInput: [bad], lossFnInputs: [] })).index, 0)
    }
  })

  it("does not check what has no length here", () => {
    const without = { ...datum, lossFnInputs: {} }
    assert.doesNotThrow(() => Datum.withProvenance(without, { modelInput: [span(3)], lossFnInputs: [span(99)] }))
  })
})
