/**
 * A training loop: forward, backward and optimiser step, both submitted before either is awaited.
 *
 *     npx tsx examples/training-loop.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect } from "effect"
import { ConsoleView, Datum, Future, ServiceClient } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const lessons = [
  ["The sky is", " blue"],
  ["Grass is", " green"],
  ["Snow is", " white"]
] as const

const program = Effect.gen(function*() {
  const view = yield* ConsoleView.attachConsole(process.stderr) // loss, tokens/s, latency, queue: a live block on a terminal
  const service = yield* ServiceClient.ServiceClient
  const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 16 })
  const { decode, encode } = yield* training.tokenizer
  const data = lessons.map(([prompt, completion]) =>
    Datum.fromCompletion(encode(prompt), encode(`${completion}<|endoftext|>`))
  )
  for (let step = 1; step <= 30; step++) {
    const gradients = yield* training.forwardBackward(data, "cross_entropy")
    const update = yield* training.optimStep({ learningRate: 1e-2 })
    const [{ metrics }] = yield* Effect.all([Future.await(gradients), Future.await(update)])
    if (step % 10 === 0) yield* view.print(`step ${step}: loss ${metrics["loss:sum"]?.toFixed(3)}`)
  }
  const sampler = yield* training.saveWeightsAndGetSamplingClient
  for (const [prompt] of lessons) {
    const { sequences } = yield* sampler.sample({ prompt: encode(prompt), maxTokens: 8, temperature: 0 })
    yield* view.print(`${prompt}${sequences.map(({ tokens }) => decode(tokens, { skipSpecialTokens: true })).join()}`)
  }
}).pipe(Effect.scoped)

program.pipe(Effect.provide(LocalTinkex.layer()), NodeRuntime.runMain)
