/**
 * A client with a session, for commands that train or sample.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ServiceClient from "../../client/ServiceClient.js"
import * as NodeTinkex from "../../NodeTinkex.js"
import { type Connection, settings } from "./connect.js"

export const service = (connection: Connection) =>
  Layer.unwrapEffect(Effect.map(settings(connection), ServiceClient.layer)).pipe(
    Layer.provide(NodeTinkex.layerShared({ metrics: false }))
  )
