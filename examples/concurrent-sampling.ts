/**
 * Two hundred samples at once. The client keeps to the limits of the service; the server decodes them as one batch.
 *
 *     npx tsx examples/concurrent-sampling.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Duration, Effect } from "effect"
import { ConsoleView, ServiceClient, Tokenizer } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const { encode } = Tokenizer.nano
const prompts = Array.from({ length: 200 }, (_, i) => `${i % 10} + ${(i * 7) % 10} =`)

const program = Effect.gen(function*() {
  const view = yield* ConsoleView.attachConsole(process.stderr)
  const service = yield* ServiceClient.ServiceClient
  const sampler = yield* service.createSamplingClient({ baseModel: "tinkex/nano" })
  const [elapsed, results] = yield* Effect.forEach(
    prompts,
    (prompt, seed) => sampler.sample({ prompt: encode(prompt), maxTokens: 4, seed }),
    { concurrency: "unbounded" }
  ).pipe(Effect.timed)
  const tokens = results.reduce((sum, { sequences }) => sum + (sequences[0]?.tokens.length ?? 0), 0)
  yield* view.print(`${results.length} samples, ${tokens} tokens in ${Duration.format(elapsed)}`)
}).pipe(Effect.scoped)

program.pipe(Effect.provide(LocalTinkex.layer()), NodeRuntime.runMain)
