/**
 * Configuration, capabilities, health, telemetry, tokens.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { paths } from "../../protocol/Routes.js"
import * as Service from "../../protocol/Service.js"
import { ServiceGroup } from "../../protocol/TinkerApi.js"
import { json, open, post, route } from "../http/http.js"
import { notImplemented } from "../http/refusal.js"
import { Tokens } from "../http/tokens.js"
import { Models } from "../runs/Models.js"
import { ServerConfig } from "../ServerConfig.js"
import { implement } from "./implement.js"

/** @internal */
export const routes = Effect.gen(function*() {
  const config = yield* ServerConfig
  const models = yield* Models
  const tokens = yield* Tokens
  const telemetry = Effect.succeed(json({ status: "accepted" }))
  const described = implement(ServiceGroup, {
    clientConfig: () => Effect.succeed(config.clientConfig),
    dynamicConfig: () => Effect.succeed({ ...Service.dynamicConfigDefaults, sampleCancelEnabled: true }),
    authToken: () => Effect.map(tokens.jwt, (jwt) => ({ jwt: Redacted.make(jwt) })),
    healthz: () => Effect.succeed({ status: "ok" }),
    capabilities: () => Effect.succeed({ supportedModels: models.supported }),
    telemetry: () => telemetry
  })
  return [
    ...described.filter(({ path }) => path !== paths.telemetry).map((self) =>
      // those who watch over the server have no key
      self.path === paths.healthz ? open(self) : self
    ),
    // clients send a refused batch again every second for ever, so whatever comes is accepted (docs/protocol/sessions.md#reports)
    post(paths.telemetry, Schema.Unknown, () => telemetry),
    route(
      "GET",
      "/auth/apikey/me",
      Effect.succeed(json({
        key_id: 0,
        name: "local",
        note: "The key of an embedded server",
        details: { org_details: { name: "local" }, user_details: { email: "" } }
      }))
    ),
    route("DELETE", "/auth/apikey/me", notImplemented("The key of an embedded server is set where it is started")),
    // clients call these only when the configuration says so, and it does not
    route(
      "POST",
      "/create_custom_loss",
      notImplemented("This server runs no uploaded losses; compute the loss on the client")
    )
  ]
})
