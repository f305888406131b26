/** Sessions and samplers. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { compact } from "../../protocol/compact.js"
import { InvalidInput } from "../../protocol/InvalidInput.js"
import * as Routes from "../../protocol/Routes.js"
import * as Session from "../../protocol/Session.js"
import { RequestFailed, RequestTimeout } from "../../TinkexError.js"
import * as Monotonic from "../monotonic.js"
import type { Client } from "../RestClient.js"
import * as Json from "../transport/json.js"
import { below } from "../transport/signedUrls.js"
import type { Transport } from "../transport/types.js"
import * as Paging from "./paging.js"
import { type Get, paged } from "./requests.js"
import { checkCount, checkId, checkScope } from "./restChecks.js"

const traceWait = Duration.seconds(5)
const tracePatience = Duration.minutes(10)

const encodeProject = Schema.encodeSync(Session.SetSessionProjectRequest)
const encodeSearch = Schema.encode(Session.SessionSearchRequest)

type Methods = Pick<
  Client,
  | "getSession"
  | "listSessions"
  | "searchSessions"
  | "assignSessionProject"
  | "exportSessionTrace"
  | "getSampler"
>

export const make = (transport: Transport, get: Get): Methods => {
  return {
    getSession: Effect.fn("RestClient.getSession")(function*(sessionId, options = {}) {
      yield* checkId("sessionId", sessionId)
      yield* checkScope(options.accessScope)
      return yield* get({
        operation: `get session (${sessionId})`,
        path: below(Routes.session(sessionId)),
        route: "sessions/{session_id}",
        query: { access_scope: options.accessScope ?? "owned" }
      }, Session.GetSessionResponse)
    }),
    listSessions: (options = {}) =>
      paged(options, 100, (id) => id, (offset, limit) =>
        Effect.map(
          get({
            operation: "list sessions",
            path: below(Routes.paths.sessions),
            query: { limit, offset, access_scope: options.accessScope ?? "owned" }
          }, Session.ListSessionsResponse),
          ({ sessions }) => ({ items: sessions })
        )),
    searchSessions: (options = {}) => {
      const { pageSize, ...conditions } = options
      return Paging.byCursor((cursor: Session.SessionSearchResponse["nextCursor"]) =>
        Effect.gen(function*() {
          yield* checkCount("pageSize", pageSize, 1, 200)
          const body = yield* Effect.mapError(
            encodeSearch({
              userMetadata: {},
              owner: { type: "own" },
              limit: pageSize ?? 50,
              ...compact(conditions),
              ...(cursor === undefined ? {} : { cursor })
            }),
            () => new InvalidInput({ field: "search", expected: "conditions in their ranges", actual: "others" })
          )
          const { nextCursor, sessions } = yield* transport.json({
            operation: "search sessions",
            method: "POST",
            pool: "service",
            path: below(Routes.paths.searchSessions),
            body: Json.jsonBody(body)
          }, Session.SessionSearchResponse)
          return { items: sessions, next: nextCursor }
        })
      )
    },
    assignSessionProject: Effect.fn("RestClient.assignSessionProject")(function*(sessionId, projectId) {
      yield* checkId("sessionId", sessionId)
      yield* checkId("projectId", projectId)
      yield* transport.send({
        operation: `assign project (${sessionId})`,
        method: "PUT",
        pool: "service",
        path: below(Routes.session(sessionId, "project")),
        route: "sessions/{session_id}/project",
        body: Json.jsonBody(encodeProject({ projectId }))
      })
    }),
    exportSessionTrace: Effect.fn("RestClient.exportSessionTrace")(function*(sessionId) {
      yield* checkId("sessionId", sessionId)
      const operation = `export trace (${sessionId})`
      const begun = yield* Monotonic.millis
      while (true) {
        const { error, status, url } = yield* get({
          operation,
          path: below(Routes.session(sessionId, "trace_export")),
          route: "sessions/{session_id}/trace_export"
        }, Session.TraceExportResponse)
        if (status === "ready" && url !== undefined) return url
        if (status !== "pending") {
          return yield* new RequestFailed({
            operation,
            requestId: sessionId,
            category: "server",
            detail: transport.redact(error ?? `the export is ${status}`)
          })
        }
        if ((yield* Monotonic.millis) - begun >= Duration.toMillis(tracePatience)) {
          return yield* new RequestTimeout({
            operation,
            detail: `the service has been exporting it for ${Duration.format(tracePatience)}`
          })
        }
        yield* Effect.sleep(traceWait)
      }
    }),
    getSampler: (samplerId) =>
      Effect.zipRight(
        checkId("samplerId", samplerId),
        get({
          operation: `get sampler (${samplerId})`,
          path: below(Routes.sampler(samplerId)),
          route: "samplers/{sampler_id}"
        }, Session.GetSamplerResponse)
      )
  }
}
