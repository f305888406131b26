/**
 * Sessions: create, keep alive, finish, list.
 *
 * @internal
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Checkpoint from "../../protocol/Checkpoint.js"
import * as Protocol from "../../protocol/Session.js"
import { encoded, get, json, param, post, put, query } from "../internal/http.js"
import { Runs } from "../Runs.js"
import { Samplers } from "../Samplers.js"
import { Sessions } from "../Sessions.js"

/** @internal */
export const routes = Effect.gen(function*() {
  const sessions = yield* Sessions
  const runs = yield* Runs
  const samplers = yield* Samplers
  const created = encoded(Protocol.CreateSessionResponse)
  const listed = encoded(Protocol.ListSessionsResponse)
  const shown = encoded(Protocol.GetSessionResponse)
  const alive = encoded(Protocol.SessionHeartbeatResponse)
  const trace = encoded(Protocol.TraceExportResponse)
  const empty = HttpServerResponse.empty({ status: 204 })

  const runsOf = (sessionId: string) =>
    Effect.map(runs.list, (records) => records.filter((record) => record.sessionId === sessionId))

  return [
    post(
      "/create_session",
      Protocol.CreateSessionRequest,
      (payload) => Effect.flatMap(sessions.create(payload), (session) => created({ sessionId: session.id }))
    ),
    post(
      "/session_heartbeat",
      Protocol.SessionHeartbeatRequest,
      (payload) => Effect.zipRight(sessions.heartbeat(payload.sessionId), alive({}))
    ),
    post(
      "/sessions/:session/finish",
      Protocol.FinishSessionRequest,
      (payload) => Effect.flatMap(param("session"), (id) => Effect.as(sessions.finish(id, payload), json({})))
    ),
    get(
      "/sessions",
      Effect.gen(function*() {
        const { limit = 20, offset = 0 } = yield* query(Checkpoint.ListQuery)
        const all = yield* sessions.list
        return yield* listed({ sessions: all.slice(offset, offset + limit).map((session) => session.id) })
      })
    ),
    get(
      "/sessions/:session",
      Effect.gen(function*() {
        const session = yield* Effect.flatMap(param("session"), sessions.get)
        return yield* shown({
          trainingRunIds: (yield* runsOf(session.id)).map((record) => record.modelId).reverse(),
          samplerIds: yield* samplers.ofSession(session.id),
          userMetadata: session.userMetadata,
          displayName: session.displayName
        })
      })
    ),
    put(
      "/sessions/:session/project",
      Protocol.SetSessionProjectRequest,
      (payload) =>
        Effect.map(Effect.flatMap(param("session"), sessions.get), (session) => {
          session.projectId = payload.projectId
          return empty
        })
    ),
    get(
      "/sessions/:session/trace_export",
      Effect.zipRight(
        Effect.flatMap(param("session"), sessions.get),
        trace({ status: "failed", error: "This server records no traces to export" })
      )
    )
  ]
})
