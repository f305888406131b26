/**
 * Sampling.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { RetrieveFuturesRequest, RetrieveFuturesResponse } from "../../protocol/Futures.js"
import { SampleRequest } from "../../protocol/Sampling.js"
import { Futures } from "../futures/Futures.js"
import { json, post, promised } from "../http/http.js"
import { Samplers } from "../samplers/Samplers.js"

/** @internal */
export const routes = Effect.map(Effect.all([Samplers, Futures]), ([samplers, futures]) => [
  post(
    "/asample",
    SampleRequest,
    (payload, fingerprint) => Effect.flatMap(samplers.sample(payload, fingerprint), promised)
  ),
  // what was retrieved is kept as long as anything else: an answer may have been lost
  post(
    "/retrieve_futures",
    RetrieveFuturesRequest,
    ({ prevCursor, target, timeout }) =>
      Effect.flatMap(samplers.get(target.samplingSessionId), ({ id }) =>
        Effect.map(
          futures.completed({ samplerId: id, clone: target.clonedSamplerId, cursor: prevCursor, hold: timeout !== 0 }),
          (answer) => json(encode(answer))
        ))
  )
])

const encode = Schema.encodeSync(RetrieveFuturesResponse)
