/**
 * Everything that a sampler tells: samples with their log-probabilities and alternatives, and what it thinks of a prompt.
 *
 *     npx tsx examples/sampling-in-full.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect } from "effect"
import { Sampling, ServiceClient } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const sampler = yield* service.createSamplingClient({ baseModel: "tinkex/nano" })
  // of the base model that the service names
  const { decode, encode } = yield* sampler.tokenizer
  const { baseModel } = yield* sampler.getInfo
  const prompt = encode("Once upon a time")

  const result = yield* sampler.sample({
    prompt,
    numSamples: 2,
    maxTokens: 12,
    temperature: 0.8,
    topK: 40,
    topP: 0.95,
    seed: 11,
    stop: ["\n", "."],
    promptLogprobs: true,
    topkPromptLogprobs: 3
  })
  yield* Effect.log(`${baseModel}, from ${prompt.length} tokens`)
  for (const { logprobs, stopReason, tokens } of result.sequences) {
    yield* Effect.log(`${JSON.stringify(decode(tokens))}, ended by ${stopReason}`)
    yield* Effect.log(`  ${Array.from(logprobs ?? [], (value) => value.toFixed(2)).join(" ")}`)
  }
  yield* Effect.log(`prompt: ${Array.from(result.promptLogprobs ?? [], (value) => value?.toFixed(2)).join(" ")}`)
  const { topkPromptLogprobs } = result
  for (const [i, row] of (topkPromptLogprobs === undefined ? [] : Sampling.topkRows(topkPromptLogprobs)).entries()) {
    const likeliest = (row ?? []).map(([token, logprob]) => `${JSON.stringify(decode([token]))} ${logprob.toFixed(2)}`)
    yield* Effect.log(`  at ${i}: ${likeliest.join(", ")}`)
  }

  // the same as promptLogprobs, without a sample: null where there is nothing before
  const whole = yield* sampler.computeLogprobs(prompt)
  const end = yield* sampler.computeLogprobs(prompt, { lastN: 2 })
  yield* Effect.log(
    `scored ${whole.filter((value) => value !== null).length} tokens, then the last ${
      end.filter((value) => value !== null).length
    }`
  )
}).pipe(Effect.scoped)

program.pipe(Effect.provide(LocalTinkex.layer()), NodeRuntime.runMain)
