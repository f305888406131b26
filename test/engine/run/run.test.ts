import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as fc from "effect/FastCheck"
import type { AdamParams, Datum, LoraConfig, PassRequest, RunState } from "../../../src/engine/Engine.js"
import { makeRun, type Run } from "../../../src/engine/run/run.js"
import { tiny, tinyModel, tokensOf, wave } from "../models.js"

const lora: LoraConfig = { rank: 8, seed: 11, trainAttn: true, trainMlp: true, trainUnembed: true }
const adam: AdamParams = {
  learningRate: 1e-2,
  beta1: 0.9,
  beta2: 0.95,
  eps: 1e-12,
  weightDecay: 0,
  gradClipNorm: 0
}

const runOf = (settings: LoraConfig | null = lora, model = tinyModel()): Run =>
  Either.getOrThrow(makeRun(model, { baseModel: "tiny", lora: settings }))

const datum = (length: number, seed: number, weight = 1): Datum => ({
  tokens: tokensOf(length, seed),
  lossInputs: {
    target_tokens: { data: tokensOf(length, seed + 40), shape: [length] },
    weights: { data: wave(length, seed, 0.5, 0.6).map((w) => w * weight), shape: [length] }
  }
})

const crossEntropy = (data: ReadonlyArray<Datum>, backward = true): PassRequest => ({
  data,
  lossFn: "cross_entropy",
  lossConfig: {},
  backward
})

const pass = (run: Run, data: ReadonlyArray<Datum>, backward = true) =>
  Either.getOrThrow(run.pass(crossEntropy(data, backward)))

const train = (run: Run, steps: number, params: AdamParams = adam): void => {
  for (let i = 0; i < steps; i++) {
    pass(run, [datum(9, i), datum(17, i + 1)])
    Either.getOrThrow(run.optimStep(params))
  }
}

const weightsOf = (run: Run): Array<Float32Array> =>
  run.exportState({ optimizer: false }).weights.map(({ data }) => data)

/** Largest difference, against the largest entry of `b`. */
const distance = (a: Float32Array, b: Float32Array): number => {
  assert.strictEqual(a.length, b.length)
  let worst = 0
  let largest = 0
  for (let i = 0; i < a.length; i++) {
    worst = Math.max(worst, Math.abs(a[i]! - b[i]!))
    largest = Math.max(largest, Math.abs(b[i]!))
  }
  assert.isAbove(largest, 0)
  return worst / largest
}

for (const [kind, settings] of [["adapters", lora], ["every parameter", null]] as const) {
  describe(`a run that trains ${kind}`, () => {
    it("adds up: one datum twice gives twice the gradient, and so do doubled weights", () => {
      const run = runOf(settings)
      pass(run, [datum(13, 1)])
      const once = run.accumulated()
      pass(run, [datum(13, 1)])
      assert.deepStrictEqual(run.accumulated(), once.map((x) => 2 * x))
      run.clearGradients()
      pass(run, [datum(13, 1, 2)])
      assert.deepStrictEqual(run.accumulated(), once.map((x) => 2 * x))
    })

    it("does not care how a batch is cut", () => {
      const run = runOf(settings)
      const data = [datum(13, 1), datum(30, 2), datum(1, 3)]
      const together = pass(run, data)
      const gradients = run.accumulated()
      run.clearGradients()
      const apart = data.map((one) => pass(run, [one]))
      assert.isBelow(distance(run.accumulated(), gradients), 1e-6)
      assert.deepStrictEqual(apart.flatMap(({ outputs }) => outputs), together.outputs)
      assert.approximately(
        apart.reduce((sum, { loss }) => sum + loss, 0),
        together.loss,
        1e-9 * Math.abs(together.loss)
      )
    })

    it("splits more tokens than a micro-batch holds without a difference", () => {
      const run = runOf(settings)
      const data = Array.from({ length: 30 }, (_, i) => datum(50 + i, i))
      const together = pass(run, data)
      const gradients = run.accumulated()
      run.clearGradients()
      let loss = 0
      data.forEach((one, i) => {
        const alone = pass(run, [one])
        loss += alone.loss
        assert.deepStrictEqual(alone.outputs[0], together.outputs[i])
      })
      assert.isBelow(distance(run.accumulated(), gradients), 1e-6)
      assert.approximately(loss, together.loss, 1e-9 * Math.abs(loss))
    })

    it("leaves the accumulator alone without backward", () => {
      const run = runOf(settings)
      pass(run, [datum(13, 1)])
      const before = run.accumulated()
      const forward = pass(run, [datum(20, 2)], false)
      assert.deepStrictEqual(run.accumulated(), before)
      assert.deepStrictEqual(forward, pass(run, [datum(20, 2)]))
    })

    it("repeats itself bit for bit", () => {
      const [a, b] = [runOf(settings), runOf(settings)]
      train(a, 4)
      train(b, 4)
      assert.deepStrictEqual(weightsOf(a), weightsOf(b))
      assert.deepStrictEqual(pass(a, [datum(21, 9)]), pass(b, [datum(21, 9)]))
    })

    it("saves, loads and goes on bit for bit", () => {
      const run = runOf(settings)
      train(run, 3)
      const state = run.exportState({ optimizer: true })
      train(run, 3)
      const other = runOf(settings)
      train(other, 2)
      pass(other, [datum(8, 3)])
      Either.getOrThrow(other.importState(state, { optimizer: true }))
      train(other, 3)
      assert.deepStrictEqual(other.exportState({ optimizer: true }), run.exportState({ optimizer: true }))
    })

    it("starts the optimiser afresh when only weights are loaded", () => {
      const run = runOf(settings)
      train(run, 3)
      Either.getOrThrow(run.importState(run.exportState({ optimizer: true }), { optimizer: false }))
      const { optimizer } = run.exportState({ optimizer: true })
      assert.strictEqual(optimizer?.step, 0)
      assert.isTrue(optimizer?.m.every(({ data }) => data.every((x) => x === 0)))
      assert.isTrue(optimizer?.v.every(({ data }) => data.every((x) => x === 0)))
    })

    it("gives workers that share a batch one and the same result", () => {
      const data = [datum(13, 1), datum(30, 2), datum(7, 3), datum(11, 4)]
      const runs = [runOf(settings), runOf(settings)]
      for (let step = 0; step < 2; step++) {
        const parts = [data.slice(0, 2), data.slice(2)]
        const shares = runs.map((run, i) => {
          Either.getOrThrow(run.evaluate(crossEntropy(parts[i]!)))
          return run.gradients()
        })
        for (const run of runs) {
          Either.getOrThrow(run.accumulate(shares))
          Either.getOrThrow(run.optimStep(adam))
        }
      }
      assert.deepStrictEqual(weightsOf(runs[0]!), weightsOf(runs[1]!))
      const alone = runOf(settings)
      for (let step = 0; step < 2; step++) {
        pass(alone, data)
        Either.getOrThrow(alone.optimStep({ ...adam, eps: 1e-3 }))
      }
      const close = [runOf(settings), runOf(settings)]
      for (let step = 0; step < 2; step++) {
        const shares = close.map((run, i) => {
          Either.getOrThrow(run.evaluate(crossEntropy(i === 0 ? data.slice(0, 2) : data.slice(2))))
          return run.gradients()
        })
        for (const run of close) {
          Either.getOrThrow(run.accumulate(shares))
          Either.getOrThrow(run.optimStep({ ...adam, eps: 1e-3 }))
        }
      }
      weightsOf(close[0]!).forEach((tensor, i) => {
        const whole = weightsOf(alone)[i]!
        if (whole.some((x) => x !== 0)) assert.isBelow(distance(tensor, whole), 1e-4)
      })
    })

    it("does a pass in slices, and a part of one", () => {
      const run = runOf(settings)
      const data = Array.from({ length: 9 }, (_, i) => datum(90 - i, i))
      const whole = Either.getOrThrow(run.evaluate(crossEntropy(data)))
      const gradients = run.gradients()
      const { finish, step } = Either.getOrThrow(run.begin(crossEntropy(data)))
      let slices = 1
      while (Either.getOrThrow(step())) slices++
      assert.isAbove(slices, 1)
      assert.deepStrictEqual(Either.getOrThrow(finish()), whole)
      assert.deepStrictEqual(run.gradients(), gradients)
      const part = Either.getOrThrow(run.begin(crossEntropy(data), { from: 2, to: 4 }))
      while (Either.getOrThrow(part.step()));
      assert.deepStrictEqual(Either.getOrThrow(part.finish()).outputs, whole.outputs.slice(2, 4))
      const nothing = Either.getOrThrow(run.begin(crossEntropy(data), { from: 4, to: 4 }))
      assert.isFalse(Either.getOrThrow(nothing.step()))
      assert.deepStrictEqual(Either.getOrThrow(nothing.finish()), { outputs: [], loss: 0 })
      assert.isTrue(run.gradients().every((x) => x === 0))
    })

    it("lowers the loss of what it is trained on", () => {
      const run = runOf(settings)
      const before = pass(run, [datum(9, 0)], false).loss
      for (let i = 0; i < 20; i++) {
        pass(run, [datum(9, 0)])
        Either.getOrThrow(run.optimStep(adam))
      }
      assert.isBelow(pass(run, [datum(9, 0)], false).loss, before / 4)
    })
  })
}

describe("LoRA", () => {
  it("starts as the base model, bit for bit, and repeats its seed", () => {
    const model = tinyModel()
    const base = runOf(null, model)
    const expected = pass(base, [datum(40, 1)], false)
    for (const seed of [0, -5, 2 ** 40 + 1]) {
      const run = runOf({ ...lora, seed }, model)
      assert.deepStrictEqual(pass(run, [datum(40, 1)], false), expected)
      assert.deepStrictEqual(weightsOf(run), weightsOf(runOf({ ...lora, seed })))
      assert.notDeepEqual(weightsOf(run), weightsOf(runOf({ ...lora, seed: seed + 1 })))
    }
  })

  it("draws A within 1 / sqrt(in) and leaves B zero", () => {
    for (const { data, name, shape } of runOf().exportState({ optimizer: false }).weights) {
      if (name.endsWith("lora_B.weight")) assert.isTrue(data.every((x) => x === 0))
      else {
        const bound = 1 / Math.sqrt(shape[1]!)
        assert.isTrue(data.every((x) => Math.abs(x) <= bound))
        const square = data.reduce((sum, x) => sum + x * x, 0) / data.length
        assert.approximately(square, bound * bound / 3, bound * bound / 10)
      }
    }
  })

  it("keeps the runs on one model apart", () => {
    const model = tinyModel()
    const [a, b] = [runOf(lora, model), runOf(lora, model)]
    const before = pass(b, [datum(12, 1)], false)
    train(a, 2)
    assert.deepStrictEqual(pass(b, [datum(12, 1)], false), before)
    assert.notDeepEqual(pass(a, [datum(12, 1)], false), before)
  })

  it("names tensors as PEFT does and trains only what its flags say", () => {
    const names = (settings: Partial<LoraConfig>) =>
      runOf({ ...lora, trainAttn: false, trainMlp: false, trainUnembed: false, ...settings })
        .exportState({ optimizer: false }).weights.map(({ name }) => name)
    assert.deepStrictEqual(names({ trainUnembed: true }), [
      "base_model.model.lm_head.lora_A.weight",
      "base_model.model.lm_head.lora_B.weight"
    ])
    assert.strictEqual(names({ trainAttn: true }).length, tiny.layers * 4 * 2)
    assert.strictEqual(names({ trainMlp: true }).length, tiny.layers * 3 * 2)
    assert.include(names({ trainMlp: true }), "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight")
    assert.include(names({ trainAttn: true }), "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight")
  })

  it("hands out merged weights that give the bits of the trainer", () => {
    const model = tinyModel()
    const run = runOf(lora, model)
    train(run, 3)
    const { embedding } = Either.getOrThrow(run.weights(1))
    const merged = model.kernels.floats(embedding.at, model.layout.total).slice()
    const copy = runOf(null, model)
    const state = copy.exportState({ optimizer: false })
    let offset = 0
    const weights = state.weights.map((tensor) => {
      const data = merged.slice(offset, offset + tensor.data.length)
      offset += data.length
      return { ...tensor, data }
    })
    Either.getOrThrow(copy.importState({ ...state, weights }, { optimizer: false }))
    assert.deepStrictEqual(pass(copy, [datum(33, 2)], false), pass(run, [datum(33, 2)], false))
  })
})

describe("AdamW", () => {
  it("follows double precision over 100 steps with clipping and weight decay", () => {
    for (
      const params of [
        { ...adam, learningRate: 1e-3, weightDecay: 0.1, gradClipNorm: 0.5 },
        { ...adam, learningRate: 1e-3, beta1: 0.8, beta2: 0.999, eps: 1e-8 }
      ]
    ) {
      const run = runOf({ ...lora, trainMlp: false, trainUnembed: false })
      const size = run.size
      const p = Float64Array.from(weightsOf(run).flatMap((data) => [...data]))
      const m = new Float64Array(size)
      const v = new Float64Array(size)
      for (let t = 1; t <= 100; t++) {
        const g = wave(size, t, 0.01 + 0.001 * t)
        Either.getOrThrow(run.accumulate([g]))
        const { gradNorm } = Either.getOrThrow(run.optimStep(params))
        const norm = Math.sqrt(g.reduce((sum, x) => sum + x * x, 0))
        assert.approximately(gradNorm, norm, 1e-9 * norm)
        const clip = params.gradClipNorm > 0 && norm > params.gradClipNorm ? params.gradClipNorm / norm : 1
        for (let i = 0; i < size; i++) {
          const gi = g[i]! * clip
          p[i]! -= params.learningRate * params.weightDecay * p[i]!
          m[i] = params.beta1 * m[i]! + (1 - params.beta1) * gi
          v[i] = params.beta2 * v[i]! + (1 - params.beta2) * gi * gi
          p[i]! -= params.learningRate * (m[i]! / (1 - params.beta1 ** t)) /
            (Math.sqrt(v[i]! / (1 - params.beta2 ** t)) + params.eps)
        }
      }
      const actual = Float32Array.from(weightsOf(run).flatMap((data) => [...data]))
      assert.isBelow(distance(actual, Float32Array.from(p)), 1e-5)
      assert.strictEqual(run.exportState({ optimizer: true }).optimizer?.step, 100)
    }
  })

  it("steps without gradients: moments decay, momentum still moves the weights", () => {
    const run = runOf()
    assert.deepStrictEqual(Either.getOrThrow(run.optimStep(adam)), { gradNorm: 0 })
    train(run, 1)
    const before = weightsOf(run)
    assert.deepStrictEqual(Either.getOrThrow(run.optimStep(adam)), { gradNorm: 0 })
    assert.notDeepEqual(weightsOf(run), before)
    assert.strictEqual(run.exportState({ optimizer: true }).optimizer?.step, 3)
  })

  it("clears the gradients it has used and clips by the norm before clipping", () => {
    const [a, b] = [runOf(), runOf()]
    pass(a, [datum(9, 1)])
    pass(b, [datum(9, 1)])
    const norm = Math.sqrt(a.accumulated().reduce((sum, x) => sum + x * x, 0))
    const clipped = Either.getOrThrow(a.optimStep({ ...adam, gradClipNorm: norm / 10 }))
    assert.approximately(clipped.gradNorm, norm, 1e-6 * norm)
    Either.getOrThrow(b.optimStep({ ...adam, gradClipNorm: norm * 2 }))
    assert.isTrue(a.accumulated().every((x) => x === 0))
    const first = (run: Run) =>
      run.exportState({ optimizer: true }).optimizer!.m.find(({ name }) => name.endsWith("q_proj.lora_B.weight"))!.data
    assert.isBelow(distance(first(a).map((x) => x * 10), first(b)), 1e-5)
  })

  it("refuses settings out of range, naming them", () => {
    const run = runOf()
    pass(run, [datum(9, 1)])
    const before = run.exportState({ optimizer: true })
    const gradients = run.accumulated()
    const wrong: ReadonlyArray<readonly [Partial<AdamParams>, string]> = [
      [{ learningRate: NaN }, "learning_rate"],
      [{ learningRate: -1 }, "learning_rate"],
      [{ beta1: 1 }, "beta1"],
      [{ beta2: -0.1 }, "beta2"],
      [{ eps: Infinity }, "eps"],
      [{ weightDecay: -1 }, "weight_decay"],
      [{ gradClipNorm: NaN }, "grad_clip_norm"]
    ]
    for (const [change, name] of wrong) {
      const refused = Either.getOrThrow(Either.flip(run.optimStep({ ...adam, ...change })))
      assert.strictEqual(refused.reason, "InvalidInput")
      assert.include(refused.detail, name)
    }
    assert.deepStrictEqual(run.exportState({ optimizer: true }), before)
    assert.deepStrictEqual(run.accumulated(), gradients)
  })
})

describe("loading a state", () => {
  const change = (state: RunState, index: number, change: Partial<RunState["weights"][number]>): RunState => ({
    ...state,
    weights: state.weights.map((tensor, i) => i === index ? { ...tensor, ...change } : tensor)
  })

  it("refuses what does not fit, naming it, and changes nothing", () => {
    const run = runOf()
    train(run, 1)
    pass(run, [datum(9, 1)])
    const before = run.exportState({ optimizer: true })
    const gradients = run.accumulated()
    const [first] = before.weights
    const optimizer = before.optimizer!
    const broken: ReadonlyArray<readonly [RunState, string]> = [
      [{ ...before, baseModel: "other" }, "another base model"],
      [{ ...before, lora: null }, "no adapters"],
      [{ ...before, lora: { ...lora, rank: 4 } }, "rank is 4"],
      [{ ...before, weights: before.weights.slice(1) }, `${first!.name} is missing`],
      [
        { ...before, weights: [...before.weights, first!] },
        `${first!.name} is not a tensor of this run, or is there twice`
      ],
      [change(before, 0, { shape: [1, 2] }), `${first!.name} has shape [1, 2]`],
      [change(before, 0, { data: first!.data.slice(1) }), `${first!.name} has ${first!.data.length - 1} numbers`],
      [change(before, 0, { data: first!.data.map((x, i) => i === 3 ? NaN : x) }), `${first!.name}[3] is not finite`],
      [{ ...before, optimizer: null }, "no optimiser state"],
      [{ ...before, optimizer: { ...optimizer, step: 1.5 } }, "step count"],
      [{ ...before, optimizer: { ...optimizer, m: optimizer.m.slice(1) } }, "first moments"],
      [
        {
          ...before,
          optimizer: { ...optimizer, v: optimizer.v.map((t) => ({ ...t, data: t.data.map(() => -1) })) }
        },
        "second moments"
      ]
    ]
    for (const [state, message] of broken) {
      const refused = Either.getOrThrow(Either.flip(run.importState(state, { optimizer: true })))
      assert.strictEqual(refused.reason, "InvalidInput")
      assert.include(refused.detail, message)
    }
    assert.deepStrictEqual(run.exportState({ optimizer: true }), before)
    assert.deepStrictEqual(run.accumulated(), gradients)
  })

  it("refuses gradients of another size", () => {
    const run = runOf()
    const refused = Either.getOrThrow(Either.flip(run.accumulate([run.gradients(), new Float32Array(3)])))
    assert.include(refused.detail, "gradients[1] has 3 numbers")
    assert.isTrue(run.accumulated().every((x) => x === 0))
  })

  it("refuses settings that make no run", () => {
    for (
      const settings of [
        { ...lora, rank: 0 },
        { ...lora, rank: 1.5 },
        { ...lora, seed: NaN },
        { ...lora, trainAttn: false, trainMlp: false, trainUnembed: false }
      ]
    ) {
      const made = makeRun(tinyModel(), { baseModel: "tiny", lora: settings })
      assert.strictEqual(Either.getOrThrow(Either.flip(made)).reason, "InvalidInput")
    }
  })

  it("gives its memory back", () => {
    const model = tinyModel()
    pass(runOf(lora, model), [datum(50, 1)])
    const before = model.kernels.allocated()
    for (let i = 0; i < 5; i++) {
      const run = runOf(lora, model)
      pass(run, [datum(50, 1)])
      assert.isAbove(model.kernels.allocated(), before)
      run.release()
      assert.strictEqual(model.kernels.allocated(), before)
    }
  })
})

describe("the loss", () => {
  it("of cross_entropy is linear in its weights and counts missing ones as 1", () => {
    const run = runOf()
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: -2, max: 2, noNaN: true }), { minLength: 5, maxLength: 5 }),
        (weights) => {
          const one = datum(5, 1)
          const target = one.lossInputs["target_tokens"]!
          const weighted = (w: ReadonlyArray<number>) => ({
            ...one,
            lossInputs: { target_tokens: target, weights: { data: Float32Array.from(w), shape: [5] } }
          })
          const { loss, outputs } = pass(run, [weighted(weights)], false)
          const sum = weights.reduce((total, w, i) => total - Math.fround(w) * outputs[0]!.logprobs[i]!, 0)
          assert.strictEqual(loss, sum)
          const plain = pass(run, [{ ...one, lossInputs: { target_tokens: target } }], false)
          assert.strictEqual(plain.loss, pass(run, [weighted([1, 1, 1, 1, 1])], false).loss)
        }
      ),
      { numRuns: 20 }
    )
  })

  it("refuses a pass whose loss overflows, and adds nothing", () => {
    const run = runOf()
    pass(run, [datum(9, 1)])
    const before = run.accumulated()
    const overflow: PassRequest = {
      lossFn: "importance_sampling",
      lossConfig: {},
      backward: true,
      data: [datum(4, 1), datum(4, 2)].map(({ lossInputs, tokens }, i) => ({
        tokens,
        lossInputs: {
          target_tokens: lossInputs["target_tokens"]!,
          logprobs: { data: new Float32Array(4).fill(i === 0 ? -1 : -1e6), shape: [4] },
          advantages: { data: new Float32Array(4).fill(1), shape: [4] }
        }
      }))
    }
    const refused = Either.getOrThrow(Either.flip(run.pass(overflow)))
    assert.include(refused.detail, "not finite")
    assert.deepStrictEqual(run.accumulated(), before)
  })

  it("of a whole datum is the same when its logits are computed in pieces", () => {
    // So many tokens of vocabulary that 16 rows of logits are held at once.
    const model = tinyModel(1n, { ...tiny, vocabSize: 70_001, dModel: 8, layers: 1 })
    const lengths = [40, 9]
    const data = lengths.map((length, i) => ({
      tokens: tokensOf(length, i, 70_001),
      lossInputs: {
        target_tokens: { data: tokensOf(length, i + 9, 70_001), shape: [length] },
        logprobs: { data: wave(length, i, 1, -11), shape: [length] },
        advantages: { data: wave(length, i + 1, 1), shape: [length] },
        sequence_ratio_mask: { data: Float32Array.from({ length }, (_, t) => t < 3 ? 0 : 1), shape: [length] }
      }
    }))
    const run = runOf(lora, model)
    const bounds = { clip_low_threshold: 0, clip_high_threshold: 1e6 }
    const { loss, outputs } = Either.getOrThrow(
      run.evaluate({ lossFn: "gspo", lossConfig: bounds, backward: true, data })
    )
    const gradients = run.gradients()
    const ratios = outputs.map(({ logprobs }, d) => {
      const drifts = Array.from(logprobs, (lp, t) => lp - data[d]!.lossInputs.logprobs.data[t]!).slice(3)
      return Math.exp(drifts.reduce((sum, drift) => sum + drift, 0) / drifts.length)
    })
    const expected = data.map(({ lossInputs: { advantages } }, d) =>
      ratios[d]! * advantages.data.reduce((sum, a) => sum + a, 0)
    )
    assert.approximately(loss, -expected[0]! - expected[1]!, 1e-4)
    // Unclipped, its gradient is that of cross-entropy weighted by ratio and advantage.
    Either.getOrThrow(run.evaluate(crossEntropy(data.map(({ lossInputs, tokens }, d) => ({
      tokens,
      lossInputs: {
        target_tokens: lossInputs.target_tokens,
        weights: { data: lossInputs.advantages.data.map((a) => a * ratios[d]!), shape: [tokens.length] }
      }
    })))))
    const same = run.gradients()
    const largest = same.reduce((top, x) => Math.max(top, Math.abs(x)), 0)
    assert.isAbove(largest, 0)
    gradients.forEach((g, i) => assert.approximately(g, same[i]!, 1e-4 * largest))
    const forwardOnly = Either.getOrThrow(
      run.evaluate({ lossFn: "gspo", lossConfig: bounds, backward: false, data })
    )
    assert.deepStrictEqual(forwardOnly, { loss, outputs })
  })

  it("of a token without advantage is 0 however far its ratio", () => {
    const run = runOf()
    for (const lossFn of ["importance_sampling", "ppo", "cispo", "gspo"]) {
      const mask = { sequence_ratio_mask: { data: new Float32Array(3).fill(1), shape: [3] } }
      const { loss } = Either.getOrThrow(run.pass({
        lossFn,
        lossConfig: {},
        backward: true,
        data: [{
          tokens: tokensOf(3, 1),
          lossInputs: {
            target_tokens: { data: tokensOf(3, 2), shape: [3] },
            logprobs: { data: new Float32Array(3).fill(-1e6), shape: [3] },
            advantages: { data: new Float32Array(3), shape: [3] },
            ...(lossFn === "gspo" ? mask : {})
          }
        }]
      }))
      assert.isTrue(loss === 0)
      assert.isTrue(run.accumulated().every((x) => x === 0))
    }
  })
})
