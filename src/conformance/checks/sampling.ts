/** Sampling: the law that it follows, and what may narrow it. */
import * as Effect from "effect/Effect"
import * as Datum from "../../protocol/Datum.js"
import type { SampleResponse } from "../../protocol/Sampling.js"
import { topkRows } from "../../protocol/Sampling.js"
import { allClose, type Check, close, inGroup, that } from "../check.js"
import * as Trainer from "../trainer.js"
import { first, inputs, length, targets } from "./data.js"

const check = inGroup("sampling")
const source = "sampling"
const prompt = [8, 5, 12]

const tokensOf = ({ sequences }: SampleResponse): ReadonlyArray<ReadonlyArray<number>> =>
  sequences.map(({ tokens }) => [...tokens])

const same = (a: ReadonlyArray<ReadonlyArray<number>>, b: ReadonlyArray<ReadonlyArray<number>>): boolean =>
  JSON.stringify(a) === JSON.stringify(b)

/** The likeliest tokens after the prompt with their log-probabilities at temperature 1, from a prompt one token longer. */
const likeliest = (sampler: Trainer.Sampler, k: number) =>
  Effect.map(
    sampler.sample([...prompt, 1], { max_tokens: 1 }, {
      prompt_logprobs: true,
      topk_prompt_logprobs: k,
      feature: "topk-prompt-logprobs"
    }),
    (response) => {
      const rows = response.topkPromptLogprobs === undefined ? [] : topkRows(response.topkPromptLogprobs)
      return rows[prompt.length] ?? []
    }
  )

/** Within five standard deviations: one false alarm in a million. */
const frequency = (sequences: SampleResponse["sequences"], token: number, p: number) => {
  const n = sequences.length
  const drawn = sequences.filter(({ tokens }) => tokens[0] === token).length
  return that(
    Math.abs(drawn - n * p) <= 5 * Math.sqrt(n * p * (1 - p)) + 1,
    `a token of probability ${p.toFixed(3)} about ${Math.round(n * p)} times of ${n}`,
    () => `${drawn} times`
  )
}

export const sampling: ReadonlyArray<Check> = [
  check("count", "as many sequences come as were asked for, each with a logprob for every token", {
    source,
    sampled: 20
  }, (peer) =>
    Effect.gen(function*() {
      const { sequences } = yield* (yield* Trainer.ofBase(peer)).sample(prompt, { max_tokens: 4, stop: [] }, {
        num_samples: 4
      })
      yield* that(sequences.length === 4, "4 sequences", () => String(sequences.length))
      for (const { logprobs, tokens } of sequences) {
        yield* that(tokens.length === 4, "4 tokens", () => String(tokens.length))
        yield* that(
          logprobs?.length === tokens.length,
          "as many logprobs as tokens",
          () => String(logprobs?.length ?? 0)
        )
        yield* that((logprobs ?? []).every((value) => value <= 1e-6), "logprobs of 0 or below", () => String(logprobs))
      }
    })),
  check(
    "greedy",
    "temperature 0 takes the likeliest token, every time",
    { source, sampled: 30 },
    (peer) =>
      Effect.gen(function*() {
        const sampler = yield* Trainer.ofBase(peer)
        const ask = sampler.sample(prompt, { max_tokens: 6, temperature: 0, stop: [] })
        const [one, two] = [tokensOf(yield* ask), tokensOf(yield* ask)]
        yield* that(same(one, two), "the same tokens twice", () => `${one.join()} and ${two.join()}`)
        const best = (yield* likeliest(sampler, 1))[0]?.[0]
        yield* that(best === undefined || one[0]?.[0] === best, `the token ${best} first`, () => String(one[0]?.[0]))
      })
  ),
  check(
    "seed-repeats",
    "the same seed draws the same tokens",
    { source, feature: "seed", sampled: 60 },
    (peer) =>
      Effect.gen(function*() {
        const sampler = yield* Trainer.ofBase(peer)
        const ask = sampler.sample(prompt, { max_tokens: 8, seed: 11, stop: [] }, { num_samples: 3 })
        yield* that(same(tokensOf(yield* ask), tokensOf(yield* ask)), "the same sequences twice", () => "others")
      })
  ),
  check(
    "seed-differs",
    "the samples of one request differ, and so do two seeds",
    { source, sampled: 120 },
    (peer) =>
      Effect.gen(function*() {
        const sampler = yield* Trainer.ofBase(peer)
        const draw = (seed: number) =>
          Effect.map(sampler.sample(prompt, { max_tokens: 16, seed, stop: [] }, { num_samples: 3 }), tokensOf)
        const [a, b] = [yield* draw(1), yield* draw(2)]
        const distinct = new Set(a.map((tokens) => tokens.join())).size
        yield* that(distinct > 1, "sequences that differ", () => "one sequence three times")
        yield* that(!same(a, b), "other sequences at another seed", () => "the same ones")
      })
  ),
  check(
    "law",
    "tokens come as often as their probability says",
    { source, sampled: 600 },
    (peer) =>
      Effect.gen(function*() {
        const sampler = yield* Trainer.ofBase(peer)
        const top = yield* likeliest(sampler, 3)
        const n = 512
        const { sequences } = yield* sampler.sample(prompt, { max_tokens: 1, seed: 3, stop: [] }, { num_samples: n })
        for (const [token, logprob] of top) yield* frequency(sequences, token, Math.exp(logprob))
      })
  ),
  check(
    "temperature",
    "at temperature 0.3 tokens come as often as the sharpened law says",
    { source, feature: "top-k", sampled: 560 },
    (peer) =>
      Effect.gen(function*() {
        const sampler = yield* Trainer.ofBase(peer)
        const top = yield* likeliest(sampler, 8)
        const params = { max_tokens: 1, seed: 5, temperature: 0.3, top_k: 8, stop: [] }
        const { sequences } = yield* sampler.sample(prompt, params, { num_samples: 512 })
        const total = top.reduce((sum, [, logprob]) => sum + Math.exp(logprob / 0.3), 0)
        for (const [token, logprob] of top) {
          yield* frequency(sequences, token, Math.exp(logprob / 0.3) / total)
        }
      })
  ),
  check(
    "top-k-one",
    "top_k 1 is greedy at any temperature",
    { source, feature: "top-k", sampled: 20 },
    (peer) =>
      Effect.gen(function*() {
        const sampler = yield* Trainer.ofBase(peer)
        const greedy = tokensOf(yield* sampler.sample(prompt, { max_tokens: 6, temperature: 0, stop: [] }))
        const narrow = tokensOf(
          yield* sampler.sample(prompt, { max_tokens: 6, temperature: 1.5, top_k: 1, seed: 9, stop: [] })
        )
        yield* that(same(greedy, narrow), `${greedy.join()}`, () => narrow.join())
      })
  ),
  check(
    "top-k",
    "top_k 2 draws nothing but the two likeliest",
    { source, feature: "top-k", sampled: 80 },
    (peer) =>
      Effect.gen(function*() {
        const sampler = yield* Trainer.ofBase(peer)
        const allowed = (yield* likeliest(sampler, 2)).map(([token]) => token)
        const { sequences } = yield* sampler.sample(prompt, { max_tokens: 1, top_k: 2, seed: 4, stop: [] }, {
          num_samples: 64
        })
        for (const { tokens } of sequences) {
          yield* that(allowed.includes(tokens[0] ?? -1), `one of ${allowed.join(", ")}`, () => String(tokens[0]))
        }
      })
  ),
  check(
    "top-p",
    "top_p of almost nothing is greedy",
    { source, feature: "top-p", sampled: 20 },
    (peer) =>
      Effect.gen(function*() {
        const sampler = yield* Trainer.ofBase(peer)
        const greedy = tokensOf(yield* sampler.sample(prompt, { max_tokens: 6, temperature: 0, stop: [] }))
        const narrow = tokensOf(yield* sampler.sample(prompt, { max_tokens: 6, top_p: 1e-6, seed: 9, stop: [] }))
        yield* that(same(greedy, narrow), `${greedy.join()}`, () => narrow.join())
      })
  ),
  check(
    "fresh-adapter",
    "a fresh model samples as its base",
    { source, sampled: 40 },
    (peer) =>
      Effect.gen(function*() {
        const fresh = yield* (yield* Trainer.make(peer)).sampler
        const base = yield* Trainer.ofBase(peer)
        const ask = (sampler: Trainer.Sampler) =>
          sampler.sample([...inputs], { max_tokens: 4, temperature: 0, stop: [] }, { prompt_logprobs: true })
        const [a, b] = [yield* ask(fresh), yield* ask(base)]
        yield* allClose("prompt logprobs", (a.promptLogprobs ?? []).slice(1), (b.promptLogprobs ?? []).slice(1), 1e-4)
        yield* that(same(tokensOf(a), tokensOf(b)), tokensOf(b).join(), () => tokensOf(a).join())
      })
  ),
  check("sampler-is-trainer", "logprobs of sampled tokens are those that training gives them", {
    source,
    trained: 10,
    sampled: 10
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      yield* model.pass([first()])
      yield* model.step()
      const { sequences: [drawn] } = yield* (yield* model.sampler).sample(prompt, { max_tokens: 4, seed: 6, stop: [] })
      const all = [...prompt, ...(drawn?.tokens ?? [])]
      const datumOf = all.slice(0, -1)
      const { logprobs } = yield* model.pass([scored(datumOf, all.slice(1))], { forwardOnly: true })
      yield* allClose("logprobs", drawn?.logprobs ?? [], (logprobs[0] ?? []).slice(prompt.length - 1), 1e-3)
    })),
  check(
    "trained-answer",
    "what a model was taught is what it says",
    { source, trained: 60 * length, sampled: 10 },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        for (let i = 0; i < 30; i++) {
          yield* model.submitPass([first()])
          yield* model.step({ learning_rate: 0.005 })
        }
        const { sequences } = yield* (yield* model.sampler).sample(inputs.slice(0, 3), {
          max_tokens: 3,
          temperature: 0,
          stop: []
        })
        const said = [...(sequences[0]?.tokens ?? [])].join()
        yield* that(said === targets.slice(2, 5).join(), targets.slice(2, 5).join(), () => said)
      })
  ),
  check(
    "max-tokens",
    "a length is exact, and its end is told as length",
    { source, sampled: 12 },
    (peer) =>
      Effect.gen(function*() {
        const { sequences: [one] } = yield* (yield* Trainer.ofBase(peer)).sample(prompt, { max_tokens: 5, stop: [] })
        yield* close("the number of tokens", one?.tokens.length, 5)
        yield* that(one?.stopReason === "length", "stop_reason length", () => String(one?.stopReason))
      })
  )
]

const scored = (tokens: ReadonlyArray<number>, next: ReadonlyArray<number>) =>
  Datum.make({ modelInput: [...tokens], lossFnInputs: { target_tokens: [...next], weights: next.map(() => 1) } })
