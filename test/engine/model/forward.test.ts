import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import { makeKernels } from "../../../src/engine/kernels/kernels.js"
import { forward, logits } from "../../../src/engine/model/forward.js"
import { makeModel, type Model } from "../../../src/engine/model/model.js"
import { type ModelConfig, nano } from "../../../src/engine/model/modelConfig.js"
import { weightLayout } from "../../../src/engine/model/weights.js"
import { layMicroBatch } from "../../../src/engine/run/microBatch.js"
import { tiny, tinyModel, tokensOf } from "../models.js"
import { logProbabilities, weightsFromFlat } from "../reference.js"

/** Log-probabilities [row][vocabSize] of packed sequences. */
const run = (model: Model, sequences: ReadonlyArray<Int32Array>, keep: boolean): Array<Float32Array> => {
  const data = sequences.map((tokens) => ({ tokens, targets: tokens, perToken: 1, shape: [tokens.length], inputs: {} }))
  const batch = Either.getOrThrow(layMicroBatch(model, data, 0, data.length))
  const { rows } = batch
  const pass = Either.getOrThrow(forward(model, model.weights, batch, keep))
  const a = pass.activations
  const { vocabSize } = model.config
  const out: Array<Float32Array> = []
  for (let first = 0; first < rows; first += a.headRows) {
    const count = Math.min(a.headRows, rows - first)
    logits(pass, first, count)
    const z = new Float64Array(model.kernels.memory.buffer, a.logitsLse, count)
    for (let r = 0; r < count; r++) {
      out.push(model.kernels.floats(a.logits + r * vocabSize * 4, vocabSize).map((x) => x - z[r]!))
    }
  }
  return out
}

describe("forward", () => {
  it("agrees with double precision for packed sequences of any length", () => {
    const model = tinyModel()
    const weights = weightsFromFlat(tiny, model.kernels.floats(model.flat, model.layout.total))
    const sequences = [1, 5, 64, 96, 67].map((length, i) => tokensOf(length, i))
    const got = run(model, sequences, false)
    let row = 0
    let worst = 0
    for (const sequence of sequences) {
      for (const expected of logProbabilities(tiny, weights, sequence)) {
        const actual = got[row++]!
        for (let i = 0; i < expected.length; i++) worst = Math.max(worst, Math.abs(expected[i]! - actual[i]!))
      }
    }
    assert.strictEqual(row, got.length)
    assert.isBelow(worst, 2e-5)
  })

  it("gives each sequence the same bits alone, in company, and with activations kept", () => {
    const model = tinyModel()
    const sequences = [3, 70, 21].map((length, i) => tokensOf(length, i))
    const together = run(model, sequences, true)
    const apart = sequences.flatMap((sequence) => run(model, [sequence], false))
    assert.deepStrictEqual(together, apart)
  })
})

describe("a model", () => {
  it("is the same from its seed and from its flat weights", () => {
    const make = (source: Parameters<typeof makeModel>[2]) => Either.getOrThrow(makeModel(makeKernels(), tiny, source))
    const seeded = make({ seed: 5n })
    const flat = seeded.kernels.floats(seeded.flat, seeded.layout.total)
    assert.isTrue(flat.every(Number.isFinite))
    const loaded = make({ flat })
    const tokens = [tokensOf(9, 1)]
    assert.deepStrictEqual(run(loaded, tokens, false), run(seeded, tokens, false))
    assert.notDeepEqual(run(make({ seed: 6n }), tokens, false), run(seeded, tokens, false))
  })

  it("nano has the parameters that it is said to have", () => {
    assert.strictEqual(weightLayout(nano).total, 918_912)
  })

  it("of a shape that the kernels cannot run is refused, naming what is wrong", () => {
    const broken: ReadonlyArray<readonly [Partial<ModelConfig>, string]> = [
      [{ layers: 0 }, "layers must be a positive integer"],
      [{ vocabSize: 1.5 }, "vocabSize must be a positive integer"],
      [{ dModel: 18 }, "multiples of 4"],
      [{ headDim: 12 }, "headDim must be a multiple of 8"],
      [{ kvHeads: 3 }, "heads must be a multiple of kvHeads"],
      [{ ropeTheta: 0 }, "ropeTheta must be positive"]
    ]
    for (const [change, message] of broken) {
      const made = makeModel(makeKernels(), { ...tiny, ...change }, { seed: 1n })
      assert.include(Either.getOrThrow(Either.flip(made)).detail, message)
    }
    const short = makeModel(makeKernels(), tiny, { flat: new Float32Array(7) })
    assert.include(Either.getOrThrow(Either.flip(short)).detail, "there are 7 weights")
  })
})
