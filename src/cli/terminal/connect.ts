/**
 * The clients of commands, from options and environment.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as HttpTransport from "../../client/HttpTransport.js"
import * as RestClient from "../../client/RestClient.js"
import * as NodeTinkex from "../../NodeTinkex.js"
import * as TinkexConfig from "../../TinkexConfig.js"

export interface Connection {
  readonly baseUrl: Option.Option<string>
  readonly apiKey: Option.Option<Redacted.Redacted>
}

/** Somebody waits at the terminal: a server that does not answer is given up soon. */
export const settings = ({ apiKey, baseUrl }: Connection) =>
  Effect.flatMap(
    NodeTinkex.withCredential<TinkexConfig.Options>({
      baseUrl: Option.getOrUndefined(baseUrl),
      apiKey: Option.getOrUndefined(apiKey),
      retry: { times: 2, base: "200 millis", cap: "2 seconds" }
    }),
    TinkexConfig.makeConfig
  )

/** A client without a session. */
export const rest = (connection: Connection) =>
  Layer.unwrapEffect(Effect.map(settings(connection), RestClient.layerConnect)).pipe(
    Layer.provide(HttpTransport.layerParts()),
    Layer.provideMerge(NodeTinkex.layerHttpClient())
  )
