/** When a completion ends. */
import * as Effect from "effect/Effect"
import { type Check, inGroup, that } from "../check.js"
import * as Trainer from "../trainer.js"

const check = inGroup("stops")
const source = "sampling"
const prompt = [8, 5, 12]

/** What the base model says greedily when nothing stops it. */
const greedy = (sampler: Trainer.Sampler) =>
  Effect.map(
    sampler.sample(prompt, { max_tokens: 6, temperature: 0, stop: [] }),
    ({ sequences }) => [...(sequences[0]?.tokens ?? [])]
  )

export const stops: ReadonlyArray<Check> = [
  check(
    "token",
    "a stop token ends the completion and is its last token",
    { source, sampled: 30 },
    (peer) =>
      Effect.gen(function*() {
        const sampler = yield* Trainer.ofBase(peer)
        const free = yield* greedy(sampler)
        const stop = free[2] ?? 0
        const until = free.slice(0, free.indexOf(stop) + 1)
        const { sequences: [one] } = yield* sampler.sample(prompt, { max_tokens: 6, temperature: 0, stop: [stop] })
        const said = [...(one?.tokens ?? [])]
        yield* that(said.join() === until.join(), until.join(), () => said.join())
        yield* that(one?.stopReason === "stop", "stop_reason stop", () => String(one?.stopReason))
      })
  ),
  check(
    "token-not-met",
    "a stop token that does not come stops nothing",
    { source, sampled: 30 },
    (peer) =>
      Effect.gen(function*() {
        const sampler = yield* Trainer.ofBase(peer)
        const free = yield* greedy(sampler)
        const absent = Array.from({ length: 40 }, (_, i) => i + 1).find((token) => !free.includes(token)) ?? 0
        const { sequences: [one] } = yield* sampler.sample(prompt, { max_tokens: 6, temperature: 0, stop: [absent] })
        yield* that(one?.stopReason === "length", "stop_reason length", () => String(one?.stopReason))
      })
  ),
  check("empty-list", "an empty list of stops means that nothing stops, not even the end of text", {
    source,
    feature: "stop:empty-list",
    sampled: 130
  }, (peer) =>
    Effect.gen(function*() {
      const { sequences } = yield* (yield* Trainer.ofBase(peer)).sample(
        prompt,
        { max_tokens: 16, stop: [], seed: 1 },
        { num_samples: 8, feature: "stop:empty-list" }
      )
      for (const { tokens } of sequences) yield* that(tokens.length === 16, "16 tokens", () => String(tokens.length))
    })),
  check("text", "a stop may be one text", { source, sampled: 8 }, (peer) =>
    Effect.gen(function*() {
      const { sequences: [one] } = yield* (yield* Trainer.ofBase(peer)).sample(prompt, {
        max_tokens: 4,
        temperature: 0,
        stop: "a text that does not come"
      })
      yield* that((one?.tokens.length ?? 0) > 0, "tokens", () => "none")
    })),
  check("texts", "a stop may be several texts", { source, sampled: 8 }, (peer) =>
    Effect.gen(function*() {
      const { sequences: [one] } = yield* (yield* Trainer.ofBase(peer)).sample(prompt, {
        max_tokens: 4,
        temperature: 0,
        stop: ["a text that does not come", "nor does this"]
      })
      yield* that((one?.tokens.length ?? 0) > 0, "tokens", () => "none")
    })),
  check(
    "several-tokens",
    "of several stop tokens the first to come ends it",
    { source, sampled: 30 },
    (peer) =>
      Effect.gen(function*() {
        const sampler = yield* Trainer.ofBase(peer)
        const free = yield* greedy(sampler)
        const [early = 0, late = 0] = [free[1], free[4]]
        const end = Math.min(free.indexOf(early), free.indexOf(late))
        const { sequences: [one] } = yield* sampler.sample(prompt, {
          max_tokens: 6,
          temperature: 0,
          stop: [late, early]
        })
        yield* that(one?.tokens.length === end + 1, `${end + 1} tokens`, () => String(one?.tokens.length))
      })
  )
]
