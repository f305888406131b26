import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import type { Datum, PassRequest, Tensor } from "../../../src/engine/Engine.js"
import { makeRun } from "../../../src/engine/run/run.js"
import { tiny, tinyModel, tokensOf } from "../models.js"

const run = Either.getOrThrow(makeRun(tinyModel(), {
  baseModel: "tiny",
  lora: { rank: 2, seed: 1, trainAttn: true, trainMlp: true, trainUnembed: true }
}))

const ints = (...values: ReadonlyArray<number>): Tensor => ({ data: Int32Array.from(values), shape: [values.length] })
const floats = (...values: ReadonlyArray<number>): Tensor => ({
  data: Float32Array.from(values),
  shape: [values.length]
})
const matrix = (columns: number, tensor: Tensor): Tensor => ({
  ...tensor,
  shape: [tensor.data.length / columns, columns]
})

const good: Datum = { tokens: Int32Array.of(1, 2, 3), lossInputs: { target_tokens: ints(2, 3, 4) } }
const inputs = (lossInputs: Datum["lossInputs"]): Datum => ({
  ...good,
  lossInputs: { ...good.lossInputs, ...lossInputs }
})
const policy = { logprobs: floats(-1, -2, -3), advantages: floats(1, 0, -1) }
const request = (data: ReadonlyArray<Datum>, change: Partial<PassRequest> = {}): PassRequest => ({
  data,
  lossFn: "cross_entropy",
  lossConfig: {},
  backward: true,
  ...change
})
const ppo = (lossInputs: Datum["lossInputs"], lossConfig: Record<string, number> = {}): PassRequest =>
  request([inputs({ ...policy, ...lossInputs })], { lossFn: "ppo", lossConfig })

const sparse = (values: Tensor, crow: ReadonlyArray<number>, col: ReadonlyArray<number>): Tensor => ({
  data: values.data,
  shape: [3, 2],
  crow: Int32Array.from(crow),
  col: Int32Array.from(col)
})
const dense = matrix(2, ints(5, 6, 0, 7, 8, 9))
const csr = sparse(ints(5, 6, 7, 8, 9), [0, 2, 3, 5], [0, 1, 1, 0, 1])
const weights = matrix(2, floats(0.5, 0.5, 0, 1, -0.25, 0))
const csrWeights = sparse(floats(0.5, 0.5, 1, -0.25), [0, 2, 3, 4], [0, 1, 1, 0])

describe("a pass is refused when", () => {
  const refused: ReadonlyArray<readonly [string, PassRequest, string]> = [
    ["there is no data", request([]), "data is empty"],
    [
      "the loss is unknown",
      request([good], { lossFn: "constructor" }),
      "loss_fn \"constructor\" is unknown: use one of cross_entropy"
    ],
    [
      "a setting is unknown",
      request([good], { lossConfig: { beta: 1 } }),
      "loss_fn_config.\"beta\" is not a setting of cross_entropy: it takes none"
    ],
    [
      "a setting is not finite",
      ppo({}, { clip_low_threshold: NaN }),
      "loss_fn_config.clip_low_threshold must be a finite number"
    ],
    ["clip bounds cross", ppo({}, { clip_low_threshold: 2 }), "clip_low_threshold must not exceed"],
    [
      "beta is negative",
      request([inputs(policy)], { lossFn: "dro", lossConfig: { beta: -1 } }),
      "beta must not be negative"
    ],
    [
      "a datum has no tokens",
      request([good, { tokens: new Int32Array(0), lossInputs: {} }]),
      "data[1].model_input is empty"
    ],
    [
      "a datum is too long",
      request([{ tokens: tokensOf(97, 1), lossInputs: { target_tokens: ints(...tokensOf(97, 1)) } }]),
      "data[0].model_input has 97 tokens, more than the 96"
    ],
    [
      "a token is negative",
      request([{ ...good, tokens: Int32Array.of(1, -7, 3) }]),
      "data[0].model_input token 1 is not in the vocabulary (0 to 36)"
    ],
    [
      "a token is too large",
      request([good, { ...good, tokens: Int32Array.of(1, 2, 37) }]),
      "data[1].model_input token 2 is not"
    ],
    ["targets are missing", request([{ ...good, lossInputs: {} }]), "data[0].loss_fn_inputs.target_tokens is missing"],
    [
      "targets have the wrong length",
      request([inputs({ target_tokens: ints(1, 2) })]),
      "target_tokens has shape [2], not [3] or [3, K]"
    ],
    [
      "targets have no shape",
      request([inputs({ target_tokens: { data: Int32Array.of(1), shape: [] } })]),
      "target_tokens has shape []"
    ],
    [
      "targets have three dimensions",
      request([inputs({ target_tokens: { data: new Int32Array(3), shape: [3, 1, 1] } })]),
      "target_tokens has shape [3, 1, 1]"
    ],
    [
      "targets are too many a token",
      request([inputs({ target_tokens: { data: new Int32Array(0), shape: [3, 38] } })]),
      "target_tokens has 38 targets a token"
    ],
    [
      "targets are none a token",
      request([inputs({ target_tokens: { data: new Int32Array(0), shape: [3, 0] } })]),
      "target_tokens has 0 targets a token"
    ],
    [
      "targets are not integers",
      request([inputs({ target_tokens: floats(1, 2, 3) })]),
      "target_tokens must hold integers"
    ],
    [
      "targets and shape disagree",
      request([inputs({ target_tokens: { data: new Int32Array(2), shape: [3] } })]),
      "target_tokens has 2 numbers, not 3"
    ],
    [
      "a target is out of range",
      request([inputs({ target_tokens: ints(1, 37, 3) })]),
      "target_tokens[1] is not in the vocabulary"
    ],
    [
      "a target among many is out of range",
      request([inputs({ target_tokens: matrix(2, ints(1, 2, 3, 4, -1, 6)) })]),
      "target_tokens[2, 0] is not in the vocabulary"
    ],
    [
      "a weight is not finite",
      request([inputs({ weights: floats(1, Infinity, 0) })]),
      "data[0].loss_fn_inputs.weights[1] is not finite"
    ],
    [
      "weights have the wrong length",
      request([inputs({ weights: floats(1, 2) })]),
      "weights has shape [2], not the targets' [3]"
    ],
    [
      "weights have another shape",
      request([inputs({ weights: matrix(1, floats(1, 2, 3)) })]),
      "weights has shape [3, 1], not the targets' [3]"
    ],
    [
      "an input is unknown",
      request([inputs({ advantages: policy.advantages })]),
      "loss_fn_inputs.\"advantages\" is not an input of cross_entropy"
    ],
    [
      "advantages are missing",
      request([inputs({ logprobs: policy.logprobs })], { lossFn: "ppo" }),
      "loss_fn_inputs.advantages is missing: ppo needs it"
    ],
    [
      "an RL loss gets many targets",
      ppo({ target_tokens: matrix(1, ints(1, 2, 3)) }),
      "target_tokens has shape [3, 1], not [3]"
    ],
    ["a log-probability is not finite", ppo({ logprobs: floats(-1, NaN, -1) }), "logprobs[1] is not finite"],
    [
      "bounds per token go to a loss without",
      request([inputs({ ...policy, clip_low_threshold: floats(0, 0, 0) })], { lossFn: "dro" }),
      "not an input of dro"
    ],
    [
      "a mask of the ratio is missing",
      request([inputs(policy)], { lossFn: "gspo" }),
      "loss_fn_inputs.sequence_ratio_mask is missing: gspo needs it"
    ],
    [
      "a mask of the ratio is negative",
      request([inputs({ ...policy, sequence_ratio_mask: floats(1, -1, 1) })], { lossFn: "gspo" }),
      "sequence_ratio_mask[1] is negative"
    ],
    ["bounds per token cross", ppo({ clip_low_threshold: floats(0.5, 0.5, 1.3) }), "clip_low_threshold[2] exceeds"],
    [
      "a sparse tensor has no columns",
      request([inputs({ target_tokens: { ...csr, col: undefined } })]),
      "target_tokens is sparse: it needs both"
    ],
    [
      "a sparse tensor has one dimension",
      request([inputs({ target_tokens: { ...csr, shape: [3] } })]),
      "target_tokens is sparse: its shape must be"
    ],
    [
      "row pointers are too few",
      request([inputs({ target_tokens: sparse(csr, [0, 5], [0, 1, 1, 0, 1]) })]),
      "crow has 2 entries, not 4"
    ],
    [
      "row pointers start late",
      request([inputs({ target_tokens: sparse(csr, [1, 2, 3, 5], [0, 1, 1, 0, 1]) })]),
      "crow[0] must be 0"
    ],
    [
      "row pointers end early",
      request([inputs({ target_tokens: sparse(csr, [0, 2, 3, 4], [0, 1, 1, 0, 1]) })]),
      "crow[3] must be 5"
    ],
    [
      "row pointers go back",
      request([inputs({ target_tokens: sparse(csr, [0, 3, 2, 5], [0, 1, 1, 0, 1]) })]),
      "is out of order"
    ],
    [
      "row pointers leave the data",
      request([inputs({ target_tokens: sparse(csr, [0, 9, 9, 5], [0, 1, 1, 0, 1]) })]),
      "crow[1] is out of order"
    ],
    [
      "columns are too few",
      request([inputs({ target_tokens: sparse(csr, [0, 2, 3, 5], [0, 1]) })]),
      "col has 2 entries for 5 numbers"
    ],
    [
      "a column is out of range",
      request([inputs({ target_tokens: sparse(csr, [0, 2, 3, 5], [0, 2, 1, 0, 1]) })]),
      "col[1] is not in 0 to 1"
    ],
    [
      "a column comes twice",
      request([inputs({ target_tokens: sparse(csr, [0, 2, 3, 5], [0, 0, 1, 0, 1]) })]),
      "col[1] is out of order"
    ]
  ]
  for (const [name, bad, message] of refused) {
    it(name, () => {
      Either.getOrThrow(run.pass(request([good])))
      const before = run.accumulated()
      for (const result of [run.validate(bad), run.pass(bad), run.pass({ ...bad, backward: false })]) {
        const error = Either.getOrThrow(
          Either.flip<unknown, { readonly reason: string; readonly detail: string }>(result)
        )
        assert.strictEqual(error.reason, "InvalidInput")
        assert.include(error.detail, message)
      }
      assert.deepStrictEqual(run.accumulated(), before)
    })
  }

  it("a long name is not repeated whole", () => {
    const error = Either.getOrThrow(Either.flip(run.validate(request([good], { lossFn: "x".repeat(1000) }))))
    assert.isBelow(error.detail.length, 200)
  })
})

describe("a pass is taken with", () => {
  const taken = (data: ReadonlyArray<Datum>, change: Partial<PassRequest> = {}) =>
    Either.getOrThrow(run.pass(request(data, { backward: false, ...change })))

  it("sparse targets and weights, as their dense forms", () => {
    const expected = taken([inputs({ target_tokens: dense, weights })])
    assert.deepStrictEqual(expected.outputs[0]!.shape, [3, 2])
    assert.strictEqual(expected.outputs[0]!.logprobs.length, 6)
    assert.deepStrictEqual(taken([inputs({ target_tokens: csr, weights: csrWeights })]), expected)
    assert.deepStrictEqual(taken([inputs({ target_tokens: dense, weights: csrWeights })]), expected)
  })

  it("one target a token in two dimensions, as in one", () => {
    const flat = taken([good])
    const column = taken([inputs({ target_tokens: matrix(1, ints(2, 3, 4)) })])
    assert.deepStrictEqual(column.outputs[0], { logprobs: flat.outputs[0]!.logprobs, shape: [3, 1] })
    assert.strictEqual(column.loss, flat.loss)
  })

  it("data of different lengths and numbers of targets", () => {
    const data = [good, inputs({ target_tokens: dense, weights }), { ...good, tokens: Int32Array.of(9, 9, 9) }]
    const together = taken(data)
    assert.deepStrictEqual(together.outputs, data.flatMap((one) => taken([one]).outputs))
  })

  it("integer weights, a mask that is ignored, and the longest sequence", () => {
    assert.strictEqual(
      taken([inputs({ weights: ints(1, 0, 2), mask: floats(NaN) })]).loss,
      taken([inputs({ weights: floats(1, 0, 2) })]).loss
    )
    const tokens = tokensOf(tiny.maxContext, 1)
    const { outputs } = taken([{ tokens, lossInputs: { target_tokens: ints(...tokens) } }])
    assert.strictEqual(outputs[0]!.logprobs.length, tiny.maxContext)
  })

  it("bounds per token in place of the loss's own", () => {
    const bounds = (low: number, high: number) => ({
      clip_low_threshold: floats(low, low, low),
      clip_high_threshold: floats(high, high, high)
    })
    for (const [lossFn, low, high] of [["ppo", 0.8, 1.2], ["cispo", 0, 4]] as const) {
      const plain = taken([inputs(policy)], { lossFn })
      assert.deepStrictEqual(taken([inputs({ ...policy, ...bounds(low, high) })], { lossFn }), plain)
      const wide = { clip_low_threshold: 0.01, clip_high_threshold: 0.02 }
      const narrow = taken([inputs({ ...policy, ...bounds(0.01, 0.02) })], { lossFn })
      assert.deepStrictEqual(taken([inputs(policy)], { lossFn, lossConfig: wide }), narrow)
      assert.notStrictEqual(narrow.loss, plain.loss)
    }
  })

  it("the documented default of dro", () => {
    const plain = taken([inputs(policy)], { lossFn: "dro" })
    assert.deepStrictEqual(taken([inputs(policy)], { lossFn: "dro", lossConfig: { beta: 0.05 } }), plain)
    assert.notStrictEqual(taken([inputs(policy)], { lossFn: "dro", lossConfig: { beta: 0.1 } }).loss, plain.loss)
  })
})
