/**
 * Two keys in one process: each tenant has a limiter, a breaker and pools of its own; nothing leaks between them.
 *
 *     npx tsx examples/two-tenants.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Redacted } from "effect"
import { ServiceClient, Tokenizer } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const tenant = (name: string) =>
  Effect.gen(function*() {
    const { baseUrl } = yield* LocalTinkex.LocalServer
    const service = yield* ServiceClient.make({ baseUrl, apiKey: Redacted.make(`tml-${name}`) })
    const sampler = yield* service.createSamplingClient({ baseModel: "tinkex/nano" })
    const samples = yield* Effect.forEach(
      Array.from({ length: 20 }, (_, seed) => seed),
      (seed) => sampler.sample({ prompt: Tokenizer.nano.encode("Once"), maxTokens: 8, seed }),
      { concurrency: "unbounded" }
    )
    yield* Effect.log(`${name}: ${samples.length} samples in session ${service.sessionId}`)
  }).pipe(Effect.scoped)

const program = Effect.all([tenant("alice"), tenant("bob")], { concurrency: "unbounded", discard: true })

program.pipe(Effect.provide(LocalTinkex.layerServer()), NodeRuntime.runMain)
