/**
 * Sampling sessions and sampling.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { CancelFutureRequest } from "../../protocol/Futures.js"
import { SampleRequest } from "../../protocol/Sampling.js"
import * as Protocol from "../../protocol/Session.js"
import { encoded, get, json, param, post, promised } from "../internal/http.js"
import { Samplers } from "../Samplers.js"

/** @internal */
export const routes = Effect.gen(function*() {
  const samplers = yield* Samplers
  const created = encoded(Protocol.CreateSamplingSessionResponse)
  const joined = encoded(Protocol.JoinSamplingSessionResponse)
  const shown = encoded(Protocol.GetSamplerResponse)
  return [
    post(
      "/create_sampling_session",
      Protocol.CreateSamplingSessionRequest,
      (payload) => Effect.flatMap(samplers.create(payload), (sampler) => created({ samplingSessionId: sampler.id }))
    ),
    post(
      "/join_sampling_session",
      Protocol.JoinSamplingSessionRequest,
      (payload) =>
        Effect.flatMap(samplers.join(payload.samplingSessionId), (clientCounter) => joined({ clientCounter }))
    ),
    get(
      "/samplers/:sampler",
      Effect.flatMap(
        Effect.flatMap(param("sampler"), samplers.get),
        (sampler) => shown({ samplerId: sampler.id, baseModel: sampler.baseModel, modelPath: sampler.modelPath })
      )
    ),
    post(
      "/asample",
      SampleRequest,
      (payload, fingerprint) => Effect.flatMap(samplers.sample(payload, fingerprint), promised)
    ),
    post(
      "/cancel_future",
      CancelFutureRequest,
      (payload) => Effect.map(samplers.cancel(payload.requestId), (cancelled) => json({ cancelled }))
    )
  ]
})
