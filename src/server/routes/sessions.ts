/**
 * Sessions and sampling sessions.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { SessionGroup } from "../../protocol/TinkerApi.js"
import { Samplers } from "../samplers/Samplers.js"
import { Sessions } from "../sessions/Sessions.js"
import { implement } from "./implement.js"

/** @internal */
export const routes = Effect.gen(function*() {
  const sessions = yield* Sessions
  const samplers = yield* Samplers
  return implement(SessionGroup, {
    create: ({ payload }) => Effect.map(sessions.create(payload), ({ id }) => ({ sessionId: id })),
    heartbeat: ({ payload }) => Effect.as(sessions.heartbeat(payload.sessionId), {}),
    finish: ({ path, payload }) => Effect.as(sessions.finish(path.id, payload), {}),
    createSampling: ({ payload }) => Effect.map(samplers.create(payload), ({ id }) => ({ samplingSessionId: id })),
    sampler: ({ path }) =>
      Effect.map(samplers.get(path.id), ({ baseModel, id, modelPath }) => ({ samplerId: id, baseModel, modelPath }))
  })
})
