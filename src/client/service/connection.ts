/** What a service says of itself when it is opened, and from time to time. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Protocol from "../../protocol/Service.js"
import { mayHaveArrived } from "../../TinkexError.js"
import { sdkVersion } from "../transport/headers.js"
import { decodeAnswer, jsonBody } from "../transport/json.js"
import type { InternalTransport } from "../transport/types.js"

const leastRefresh = 10
const refreshTimeout = Duration.seconds(10)

/** Config, credential and, from time to time, the flags that may change. */
export const connect = (transport: InternalTransport) =>
  Effect.gen(function*() {
    const body = jsonBody({ sdk_version: sdkVersion })
    const answer = yield* transport.send({
      operation: "client/config",
      method: "POST",
      path: "client/config",
      pool: "service",
      body
    })
    const config = yield* decodeAnswer(answer, Protocol.ClientConfig, "client/config", transport.redact)
    const limits = yield* decodeAnswer(answer, Protocol.ClientLimits, "client/config", transport.redact)
    yield* Effect.mapError(transport.adopt(config), mayHaveArrived)
    const fetchDynamic = transport.json({
      operation: "client/dynamic_config",
      method: "POST",
      path: "client/dynamic_config",
      pool: "session",
      // what becomes of it says nothing about sessions
      unguarded: true,
      times: 0,
      timeout: refreshTimeout,
      body
    }, Protocol.DynamicConfig)
    const dynamic = {
      // what is optional does not stop the start; it is asked for again later
      current: yield* Effect.catchAll(
        fetchDynamic,
        (error) => Effect.as(Effect.logDebug(error.message), Protocol.dynamicConfigDefaults)
      )
    }
    const refresh = Effect.suspend(() =>
      Effect.sleep(Duration.seconds(Math.max(leastRefresh, dynamic.current.refreshIntervalSec)))
    ).pipe(
      Effect.zipRight(Effect.matchEffect(fetchDynamic, {
        // the last known flags stay
        onFailure: (error) => Effect.logDebug(error.message),
        onSuccess: (flags) =>
          Effect.sync(() => {
            dynamic.current = flags
          })
      })),
      Effect.forever
    )
    yield* Effect.forkScoped(Effect.interruptible(refresh))
    return { config, limits, dynamic }
  })
