/**
 * Configuration, capabilities, health, telemetry.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Service from "../../protocol/Service.js"
import { encoded, get, json, post } from "../internal/http.js"
import { Models } from "../Models.js"
import { ServerConfig } from "../ServerConfig.js"

/** @internal */
export const routes = Effect.gen(function*() {
  const config = yield* ServerConfig
  const models = yield* Models
  const clientConfig = encoded(Service.ClientConfig)
  const dynamicConfig = encoded(Service.DynamicConfig)
  const capabilities = encoded(Service.ServerCapabilities)
  return [
    get("/healthz", Effect.sync(() => json({ status: "ok" }))),
    post("/client/config", Schema.Unknown, () => clientConfig(config.clientConfig)),
    post(
      "/client/dynamic_config",
      Schema.Unknown,
      () => dynamicConfig({ ...Service.dynamicConfigDefaults, sampleCancelEnabled: true })
    ),
    get("/get_server_capabilities", Effect.suspend(() => capabilities({ supportedModels: models.supported }))),
    // clients send a refused batch again every second for ever, so whatever comes is accepted (wire-protocol 5.12)
    post("/telemetry", Schema.Unknown, () => Effect.succeed(json({ status: "accepted" })))
  ]
})
