/**
 * Sampling from a base model: temperature, seeds, stops, and the log-probabilities of what was sampled.
 *
 *     npx tsx examples/sampling.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect } from "effect"
import { ServiceClient, Tokenizer } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const { decode, encode } = Tokenizer.nano

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const sampler = yield* service.createSamplingClient({ baseModel: "tinkex/nano" })
  const prompt = encode("It was a dark and")
  const { sequences } = yield* sampler.sample({
    prompt,
    numSamples: 3,
    maxTokens: 32,
    temperature: 0.7,
    topP: 0.95,
    seed: 7,
    stop: ["\n"]
  })
  for (const { logprobs, stopReason, tokens } of sequences) {
    const mean = Array.from(logprobs ?? []).reduce((sum, value) => sum + value, 0) / tokens.length
    yield* Effect.log(`${JSON.stringify(decode(tokens))} (${stopReason}, mean log-probability ${mean.toFixed(2)})`)
  }
  const logprobs = yield* sampler.computeLogprobs(prompt)
  yield* Effect.log(`the prompt itself: ${logprobs.map((value) => value === null ? "-" : value.toFixed(2)).join(" ")}`)
}).pipe(Effect.scoped)

program.pipe(Effect.provide(LocalTinkex.layer()), NodeRuntime.runMain)
