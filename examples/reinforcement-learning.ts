/**
 * Reinforcement learning in a minute: the model is rewarded for going on with a word that starts with a vowel. Each round
 * samples groups from the weights as they are, scores them, and trains on how much better than its group each sample was.
 *
 *     npx tsx examples/reinforcement-learning.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect } from "effect"
import { Datum, Future, ServiceClient, Tokenizer, TrainingLoop } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const { decode, encode } = Tokenizer.nano
const prompts = ["It was a", "She said that the", "He went to the", "They had never seen such"].map((text) =>
  encode(text)
)
const groupSize = 32
const rounds = 30

/** 1 if the next word starts with a vowel. */
const reward = (tokens: ArrayLike<number>): number => /^ ?[aeiou]/.test(decode(tokens)) ? 1 : 0

const mean = (values: ReadonlyArray<number>): number => values.reduce((a, b) => a + b, 0) / values.length

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 16 })
  let last = 0
  for (let round = 0; round <= rounds; round++) {
    // A sampler of the weights as they are now, closed at the end of the round
    const groups = yield* Effect.scoped(
      Effect.flatMap(training.saveWeightsAndGetSamplingClient, (sampler) =>
        Effect.forEach(
          prompts,
          (prompt, i) => sampler.sample({ prompt, numSamples: groupSize, maxTokens: 3, seed: round * 100 + i }),
          { concurrency: "unbounded" }
        ))
    )
    const rewards = groups.map(({ sequences }) => sequences.map(({ tokens }) => reward(tokens)))
    last = mean(rewards.flat())
    if (round % 5 === 0) yield* Effect.log(`round ${round}: mean reward ${last.toFixed(2)}`)
    const data = groups.flatMap(({ sequences }, g) =>
      sequences.flatMap(({ logprobs, tokens }, i) => {
        const group = rewards[g] ?? []
        const advantage = (group[i] ?? 0) - mean(group)
        // Where a whole group agrees there is nothing to learn
        return advantage === 0 || logprobs === undefined || logprobs === null ? [] : [
          Datum.fromRollout({
            prompt: prompts[g] ?? [],
            completion: tokens,
            logprobs,
            advantages: Float32Array.from(tokens, () => advantage)
          })
        ]
      })
    )
    if (round < rounds && data.length > 0) {
      yield* Effect.flatMap(
        TrainingLoop.trainStep(training, data, { loss: "importance_sampling", adam: { learningRate: 1e-3 } }),
        Future.await
      )
    }
  }
  yield* Effect.log(`mean reward at the end: ${last.toFixed(2)}`)
}).pipe(Effect.scoped)

program.pipe(Effect.provide(LocalTinkex.layer()), NodeRuntime.runMain)
