/** The REST client, by subject, and how it is connected. */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import { pipeArguments } from "effect/Pipeable"
import type * as Scope from "effect/Scope"
import * as Routes from "../../protocol/Routes.js"
import * as Service from "../../protocol/Service.js"
import * as TinkexConfig from "../../TinkexConfig.js"
import { mayHaveArrived, type TinkexError } from "../../TinkexError.js"
import * as Reports from "../reporting/reports.js"
import * as TelemetryReporter from "../reporting/telemetryReporter.js"
import type { Client, TypeId as RestClientTypeId } from "../RestClient.js"
import { sdkVersion } from "../transport/headers.js"
import * as Json from "../transport/json.js"
import { below } from "../transport/signedUrls.js"
import * as Transport from "../transport/transport.js"
import type { Requirements, Transport as TransportService } from "../transport/types.js"
import { checkedOptions } from "./checkedOptions.js"
import * as Checkpoints from "./checkpoints.js"
import * as Organisation from "./organisation.js"
import { getOver } from "./requests.js"
import * as Runs from "./runs.js"
import * as Sessions from "./sessions.js"

export const TypeId: RestClientTypeId = Symbol.for("tinkex/RestClient") as RestClientTypeId

const Proto = {
  ...Inspectable.BaseProto,
  [TypeId]: TypeId,
  pipe() {
    return pipeArguments(this, arguments)
  },
  toJSON(this: Client) {
    return { _id: "tinkex/RestClient", settings: this.transport.settings.toJSON() }
  }
}

export const over = (transport: TransportService): Effect.Effect<Client, never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (http) => {
    const get = getOver(transport)
    const fields: Omit<Client, keyof typeof Proto> = {
      transport,
      ...Organisation.make(http, transport, get),
      ...Runs.make(get),
      ...Checkpoints.make(transport, get),
      ...Sessions.make(transport, get)
    }
    return Object.assign(Object.create(Proto), checkedOptions(fields))
  })

export const connect = (
  given: TinkexConfig.Settings | TinkexConfig.Options
): Effect.Effect<Client, TinkexError, Requirements | Scope.Scope> =>
  Effect.gen(function*() {
    const settings = TinkexConfig.isSettings(given) ? given : yield* TinkexConfig.make(given)
    const transport = yield* Transport.make(settings)
    const config = yield* transport.json({
      operation: "client/config",
      method: "POST",
      pool: "service",
      path: below(Routes.paths.clientConfig),
      body: Json.jsonBody({ sdk_version: sdkVersion })
    }, Service.ClientConfig)
    yield* Effect.mapError(transport.adopt(config), mayHaveArrived)
    const reporter = yield* TelemetryReporter.make({ transport, sessionId: undefined })
    return yield* over(Reports.watched(transport, reporter))
  })
