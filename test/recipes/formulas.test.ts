import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc } from "effect"
import { Datum, Message, Tokenizer } from "tinkex"
import * as Advantage from "../../src/recipes/Advantage.js"
import * as Evaluation from "../../src/recipes/Evaluation.js"
import * as Hyperparameters from "../../src/recipes/Hyperparameters.js"
import * as Preference from "../../src/recipes/Preference.js"
import * as Reinforcement from "../../src/recipes/Reinforcement.js"
import * as Supervised from "../../src/recipes/Supervised.js"

const numbers = (tensor: { readonly data: ArrayLike<number | bigint> } | undefined) =>
  Array.from(tensor?.data ?? [], Number)

describe("Hyperparameters", () => {
  it.effect("rates are those that the official cookbook computes", () =>
    Effect.gen(function*() {
      for (
        const [model, rate] of [
          ["meta-llama/Llama-3.1-8B", 2.86e-4],
          ["meta-llama/Llama-3.2-1B", 4.91e-4],
          ["Qwen/Qwen3-8B", 4.73e-4],
          ["Qwen/Qwen3-32B:peft:131072", 4.65e-4]
        ] as const
      ) assert.closeTo((yield* Hyperparameters.learningRate(model)) / rate, 1, 0.003)
      const error = yield* Effect.flip(Hyperparameters.learningRate("openai/gpt-oss-20b"))
      assert.include(error.message, "openai/gpt-oss-20b")
      assert.closeTo(yield* Hyperparameters.learningRate("Qwen/Qwen9-1T", { width: 2000 }), 5e-4, 1e-12)
    }))
})

describe("Advantage", () => {
  it("are what their formulas say, and sum to nothing", () => {
    const rewards = [1, 0, 0, 1]
    assert.deepStrictEqual(Advantage.of("mean", rewards), [0.5, -0.5, -0.5, 0.5])
    assert.deepStrictEqual(Advantage.of("meanStd", rewards), [1, -1, -1, 1])
    Advantage.of("leaveOneOut", rewards).forEach((value, i) =>
      assert.closeTo(value, i % 3 === 0 ? 2 / 3 : -2 / 3, 1e-12)
    )
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -5, max: 5, noNaN: true }), { minLength: 1, maxLength: 9 }),
        fc.constantFrom("mean" as const, "meanStd" as const, "leaveOneOut" as const),
        (rewards, kind) => {
          const sum = Advantage.of(kind, rewards).reduce((total, value) => total + value, 0)
          assert.closeTo(sum, 0, 1e-6)
          // the same for all says nothing
          assert.deepStrictEqual(Advantage.of(kind, rewards.map(() => 2)), rewards.map(() => 0))
        }
      ),
      { seed: 1 }
    )
  })
})

describe("Reinforcement.toData", () => {
  const transition = (observation: ReadonlyArray<number>, tokens: ReadonlyArray<number>, more: object = {}) => ({
    observation,
    tokens,
    logprobs: tokens.map((token) => -token / 10),
    reward: 0,
    masked: false,
    metrics: {},
    ...more
  })

  it("turns that extend each other are one datum, shifted by one, observed tokens without advantage", () => {
    const [datum, ...rest] = Reinforcement.toData({
      transitions: [transition([1, 2], [3, 4]), transition([1, 2, 3, 4, 5], [6])],
      stopped: "done"
    }, 2)
    assert.deepStrictEqual(rest, [])
    assert.deepStrictEqual(numbers(datum!.lossFnInputs["target_tokens"]), [2, 3, 4, 5, 6])
    assert.deepStrictEqual(numbers(datum!.lossFnInputs["advantages"]), [0, 2, 2, 0, 2])
    numbers(datum!.lossFnInputs["logprobs"]).forEach((value, i) =>
      assert.closeTo(value, [0, -0.3, -0.4, 0, -0.6][i]!, 1e-6)
    )
  })

  it("a turn that does not extend the one before begins a datum; a masked one is not learnt", () => {
    const data = Reinforcement.toData({
      transitions: [transition([1, 2], [3]), transition([1, 9], [4]), transition([1, 9, 4], [5], { masked: true })],
      stopped: "done"
    }, -1)
    assert.deepStrictEqual(data.map((one) => numbers(one.lossFnInputs["advantages"])), [[0, -1], [0, -1, 0]])
  })

  it("a penalty moves each token by its distance from the mean, and discounts those that follow", () => {
    const sample = (reference: ReadonlyArray<number>): Reinforcement.Sample => ({
      failed: 0,
      groups: [{
        tags: [],
        rewards: [0],
        trajectories: [{
          transitions: [{ ...transition([1], [2, 3]), logprobs: [-1, -2], reference }],
          stopped: "done"
        }]
      }]
    })
    const plain = Reinforcement.dataOf(sample([-2, -1]), { penalty: { coefficient: 0.5 } })
    // distances are 1 and -1, their mean is 0
    assert.deepStrictEqual(numbers(plain[0]!.lossFnInputs["advantages"]), [-0.5, 0.5])
    const uncentred = Reinforcement.dataOf(sample([-2, -4]), {
      penalty: { coefficient: 1, centred: false, discount: 0.5 }
    })
    // distances 1 and 2: terms -1 and -2, the first with half of what follows
    assert.deepStrictEqual(numbers(uncentred[0]!.lossFnInputs["advantages"]), [-2, -2])
    assert.deepStrictEqual(Reinforcement.dataOf(sample([-1, -2]), { penalty: { coefficient: 1 } }), [])
  })
})

describe("Supervised.lossOf", () => {
  it("counts tokens by weight and bytes by text", () => {
    const { encode } = Tokenizer.nano
    const completion = encode("é!")
    const data = [Datum.fromCompletion(encode("ab"), completion)]
    const n = data[0]!.lossFnInputs["target_tokens"]!.data.length
    const outputs = [{ logprobs: { dtype: "float32" as const, shape: [n], data: new Float32Array(n).fill(-Math.LN2) } }]
    const loss = Supervised.lossOf(data, outputs, Tokenizer.nano)
    assert.closeTo(loss.nll, Math.LN2, 1e-6)
    // as many bits as tokens, over three bytes
    assert.closeTo(loss.bpb!, completion.length / 3, 1e-6)
    assert.strictEqual(loss.tokens, completion.length)
    const half = Supervised.lossOf([{
      ...data[0]!,
      lossFnInputs: { ...data[0]!.lossFnInputs, weights: { dtype: "float32", shape: [n], data: new Float32Array(n) } }
    }], outputs)
    assert.deepStrictEqual([half.nll, half.tokens, half.bpb], [0, 0, undefined])
  })
})

describe("Preference.tournament", () => {
  it.effect("a judge who likes the first answer better favours nobody; a fair one ranks", () =>
    Effect.gen(function*() {
      const answers = ["bad", "good", "best"].map((text) => [Message.assistant(text)])
      const biased = yield* Preference.tournament([Message.user("?")], answers, () => Effect.succeed(-1))
      assert.deepStrictEqual(biased, [0, 0, 0])
      const rank = (messages: ReadonlyArray<Message.Message>) =>
        ["bad", "good", "best"].indexOf(Message.text(messages[0]!))
      const fair = yield* Preference.tournament(
        [Message.user("?")],
        answers,
        ({ a, b }) => Effect.succeed(Math.sign(rank(b) - rank(a)))
      )
      assert.deepStrictEqual(fair, [-1, 0, 1])
    }))
})

describe("Evaluation", () => {
  const scores = (values: ReadonlyArray<number>) => ({
    scores: values,
    mean: values.reduce((a, b) => a + b, 0) / values.length
  })
  const compared = (seed: number, shift: number): Evaluation.Comparison => {
    // examples differ far more from one another than the models do
    const random = (i: number) => Math.abs(Math.sin((seed * 1000 + i) * 12.9898) * 43758.5453) % 1
    const before = Array.from({ length: 100 }, (_, i) => random(i))
    const after = before.map((value, i) => value + shift + (random(i + 500) - 0.5) * 0.2)
    return {
      before: scores(before),
      after: scores(after),
      difference: Evaluation.bootstrap(after.map((value, i) => value - before[i]!), { seed })
    }
  }

  it.effect("a planted regression is found 20 times of 20, a null change at most twice", () =>
    Effect.gen(function*() {
      let [found, alarms] = [0, 0]
      for (let seed = 1; seed <= 20; seed++) {
        const worse = yield* Effect.either(Evaluation.gate(compared(seed, -0.05)))
        const same = yield* Effect.either(Evaluation.gate(compared(seed, 0)))
        if (worse._tag === "Left") {
          found++
          assert.include(worse.left.message, "the score fell from")
        }
        if (same._tag === "Left") alarms++
      }
      assert.strictEqual(found, 20)
      assert.isAtMost(alarms, 2)
    }))

  it("an interval holds the true mean as often as it says", () => {
    let held = 0
    for (let trial = 0; trial < 200; trial++) {
      const values = Array.from(
        { length: 60 },
        (_, i) => Math.abs(Math.sin((trial * 77 + i) * 78.233) * 43758.5453) % 1
      )
      const { high, low } = Evaluation.bootstrap(values, { seed: trial, resamples: 500 })
      if (low <= 0.5 && 0.5 <= high) held++
    }
    assert.isAtLeast(held / 200, 0.88)
  })
})
