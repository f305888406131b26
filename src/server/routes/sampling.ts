/**
 * Sampling.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { SampleRequest } from "../../protocol/Sampling.js"
import { post, promised } from "../http/http.js"
import { Samplers } from "../samplers/Samplers.js"

/** @internal */
export const routes = Effect.map(Samplers, (samplers) => [
  post(
    "/asample",
    SampleRequest,
    (payload, fingerprint) => Effect.flatMap(samplers.sample(payload, fingerprint), promised)
  )
])
