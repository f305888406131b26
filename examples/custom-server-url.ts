/**
 * Any server that speaks Tinker: only the layer changes.
 *
 *     npx tinkex serve --port 8787 &
 *     TINKER_BASE_URL=http://127.0.0.1:8787 npx tsx examples/custom-server-url.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect } from "effect"
import { ServiceClient } from "tinkex"
import * as NodeTinkex from "tinkex/NodeTinkex"

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const { supportedModels } = yield* service.serverCapabilities
  yield* Effect.log(`this server offers ${supportedModels.map(({ modelName }) => modelName).join(", ")}`)
}).pipe(Effect.scoped)

// TINKER_BASE_URL, TINKER_API_KEY and the others come from the environment; without a URL it is the hosted service.
program.pipe(Effect.provide(NodeTinkex.layerConfig()), NodeRuntime.runMain)
