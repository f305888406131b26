/** Requests of the REST client. */
import * as HttpClient from "@effect/platform/HttpClient"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import { pipeArguments } from "effect/Pipeable"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { AuditLogResponse } from "../../protocol/Audit.js"
import { BillingUsageResponse, CheckpointStorageResponse } from "../../protocol/Billing.js"
import * as Protocol from "../../protocol/Checkpoint.js"
import { InvalidInput } from "../../protocol/InvalidInput.js"
import * as Routes from "../../protocol/Routes.js"
import * as Service from "../../protocol/Service.js"
import * as Session from "../../protocol/Session.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import * as Weights from "../../protocol/Weights.js"
import * as TinkexConfig from "../../TinkexConfig.js"
import {
  MalformedResponse,
  mayHaveArrived,
  NotFound,
  RequestFailed,
  requestIdOf,
  RequestTimeout,
  type TinkexError,
  type TransportError
} from "../../TinkexError.js"
import * as Monotonic from "../monotonic.js"
import * as Reports from "../reporting/reports.js"
import * as TelemetryReporter from "../reporting/telemetryReporter.js"
import type { Client, TypeId as RestClientTypeId } from "../RestClient.js"
import { claimsOf } from "../transport/credentials.js"
import { sdkVersion } from "../transport/headers.js"
import * as Json from "../transport/json.js"
import { archiveUrl, below, checkpointRoute, fetchSigned, sendUnfollowed, textOf } from "../transport/signedUrls.js"
import * as Transport from "../transport/transport.js"
import type { Request, Requirements, Transport as TransportService } from "../transport/types.js"
import { checkedOptions } from "./checkedOptions.js"
import * as Paging from "./paging.js"
import { checkCount, checkId, checkScope, refuse, secondsOf } from "./restChecks.js"

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

const traceWait = Duration.seconds(5)
const tracePatience = Duration.minutes(10)
const maxPage = 1000

const encodeWeightsInfo = Schema.encodeSync(Weights.WeightsInfoRequest)
const encodeTtl = Schema.encodeSync(Protocol.SetTtlRequest)
const encodeProject = Schema.encodeSync(Session.SetSessionProjectRequest)
const encodeSearch = Schema.encode(Session.SessionSearchRequest)
const encodeCopy = Schema.encodeSync(Weights.CopyWeightsRequest)

export const over = (transport: TransportService): Effect.Effect<Client, never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (http) => {
    const get = <A, I>(
      request: Omit<Request, "method" | "pool">,
      schema: Schema.Schema<A, I>
    ): Effect.Effect<A, TransportError> => transport.json({ method: "GET", pool: "service", ...request }, schema)

    /** A request about a checkpoint whose answer says nothing more. */
    const change = (
      verb: string,
      method: Request["method"],
      path: string,
      action?: "publish" | "ttl",
      body?: unknown
    ): Effect.Effect<void, TinkexError> =>
      Effect.flatMap(TinkerPath.parse(path), (parsed) =>
        Effect.asVoid(transport.send({
          operation: `${verb} (${path})`,
          method,
          pool: "service",
          path: below(Routes.checkpoint(parsed, action)),
          route: checkpointRoute(action),
          ...(body === undefined ? {} : { body: Json.jsonBody(body) })
        })))

    const getTrainingRun: Client["getTrainingRun"] = Effect.fn("RestClient.getTrainingRun")(
      function*(runId, options = {}) {
        yield* checkId("runId", runId)
        yield* checkScope(options.accessScope)
        return yield* get({
          operation: `get training run (${runId})`,
          path: below(Routes.trainingRun(runId)),
          route: "training_runs/{training_run_id}",
          query: { access_scope: options.accessScope ?? "owned" }
        }, Protocol.TrainingRun)
      }
    )

    const runsPage = (
      limit: number,
      offset: number,
      options: { readonly accessScope?: string | undefined; readonly projectId?: string | undefined }
    ) =>
      get({
        operation: "list training runs",
        path: below(Routes.paths.trainingRuns),
        query: { limit, offset, access_scope: options.accessScope ?? "owned", project_id: options.projectId }
      }, Protocol.TrainingRunsResponse)

    const checkpointsPage = (limit: number, offset: number) =>
      get({
        operation: "list checkpoints",
        path: below(Routes.paths.checkpoints),
        query: { limit, offset }
      }, Protocol.CheckpointsResponse)

    const checkpointsOf = (runId: string) =>
      get({
        operation: `list checkpoints (${runId})`,
        path: below(Routes.trainingRun(runId, "checkpoints")),
        route: "training_runs/{training_run_id}/checkpoints"
      }, Protocol.CheckpointsResponse)

    const checkPage = (options: { readonly limit?: number | undefined; readonly offset?: number | undefined }) =>
      Effect.zipRight(
        checkCount("limit", options.limit, 0, Number.POSITIVE_INFINITY),
        checkCount("offset", options.offset, 0, Number.MAX_SAFE_INTEGER)
      )

    const paged = <A>(
      options: {
        readonly limit?: number | undefined
        readonly offset?: number | undefined
        readonly pageSize?: number | undefined
        readonly accessScope?: string | undefined
      },
      pageSize: number,
      id: (item: A) => string,
      fetch: (offset: number, limit: number) => Effect.Effect<Paging.Page<A>, TinkexError>
    ): Stream.Stream<A, TinkexError> =>
      Stream.unwrap(Effect.gen(function*() {
        yield* checkPage(options)
        yield* checkCount("pageSize", options.pageSize, 1, maxPage)
        yield* checkScope(options.accessScope)
        return Paging.byOffset(
          {
            offset: options.offset ?? 0,
            limit: options.limit ?? Number.POSITIVE_INFINITY,
            pageSize: options.pageSize ?? pageSize
          },
          id,
          fetch
        )
      }))

    const fields: Omit<Client, keyof typeof Proto> = {
      transport,
      getServerCapabilities: get({
        operation: "get_server_capabilities",
        path: below(Routes.paths.capabilities)
      }, Service.ServerCapabilities),
      whoami: Effect.gen(function*() {
        const operation = "whoami"
        const { jwt } = yield* transport.json({
          operation,
          method: "POST",
          pool: "service",
          path: below(Routes.paths.authToken),
          credential: transport.settings.apiKey ?? Redacted.make(""),
          body: Json.jsonBody({})
        }, Service.AuthTokenResponse)
        const { email, org_id: organization, sub: user } = claimsOf(jwt)
        if (typeof user !== "string" || typeof organization !== "string") {
          return yield* new MalformedResponse({ operation, detail: "the token does not say whose it is" })
        }
        return {
          userUrn: user,
          organizationUrn: `tml:organization:${organization}`,
          email: typeof email === "string" && email !== "" ? email : undefined
        }
      }),

      getTrainingRun,
      getTrainingRunByPath: (path, options) =>
        Effect.flatMap(TinkerPath.parse(path), ({ trainingRunId }) => getTrainingRun(trainingRunId, options)),
      listTrainingRuns: (options = {}) =>
        paged(
          options,
          100,
          (run) => run.trainingRunId,
          (offset, limit) =>
            Effect.map(runsPage(limit, offset, options), ({ cursor, trainingRuns }) => ({
              items: trainingRuns,
              total: cursor.totalCount
            }))
        ),
      trainingRunsPage: (options = {}) =>
        Effect.zipRight(
          Effect.zipRight(checkPage(options), checkScope(options.accessScope)),
          runsPage(options.limit ?? 20, options.offset ?? 0, options)
        ),

      listCheckpoints: (runId) =>
        Stream.unwrap(Effect.zipRight(
          checkId("runId", runId),
          Effect.map(checkpointsOf(runId), ({ checkpoints }) => Stream.fromIterable(checkpoints))
        )),
      listUserCheckpoints: (options = {}) =>
        paged(
          options,
          maxPage,
          (checkpoint) => checkpoint.tinkerPath,
          (offset, limit) =>
            Effect.map(checkpointsPage(limit, offset), ({ checkpoints, cursor }) => ({
              items: checkpoints,
              total: cursor?.totalCount
            }))
        ),
      userCheckpointsPage: (options = {}) =>
        Effect.zipRight(checkPage(options), checkpointsPage(options.limit ?? 100, options.offset ?? 0)),
      getCheckpoint: Effect.fn("RestClient.getCheckpoint")(function*(path) {
        const { trainingRunId } = yield* TinkerPath.parse(path)
        const { checkpoints } = yield* checkpointsOf(trainingRunId)
        const found = checkpoints.find(({ tinkerPath }) => tinkerPath === path)
        return found ?? (yield* new NotFound({
          operation: `get checkpoint (${path})`,
          status: 404,
          detail: "the training run has no such checkpoint"
        }))
      }),
      getWeightsInfo: (path) =>
        Effect.zipRight(
          TinkerPath.parse(path),
          transport.json({
            operation: `weights_info (${path})`,
            method: "POST",
            pool: "service",
            path: below(Routes.paths.weightsInfo),
            body: Json.jsonBody(encodeWeightsInfo({ tinkerPath: path }))
          }, Weights.WeightsInfoResponse)
        ),
      getCheckpointArchiveUrl: Effect.fn("RestClient.getCheckpointArchiveUrl")(function*(path) {
        return yield* archiveUrl(transport, path, yield* TinkerPath.parse(path))
      }),
      getExternalWeightsUrls: (path) =>
        Effect.flatMap(
          TinkerPath.parse(path),
          (parsed): Effect.Effect<Weights.ExternalWeightsUrlsResponse, TinkexError> =>
            parsed.kind === "external_weights"
              ? get({
                operation: `external_weights_urls (${path})`,
                path: below(Routes.checkpoint(parsed, "external_weights_urls")),
                route: checkpointRoute("external_weights_urls")
              }, Weights.ExternalWeightsUrlsResponse)
              : refuse("path", "tinker://<training run>/external_weights/<name>", `one of ${parsed.kind}`)
        ),
      deleteCheckpoint: (path) => change("delete checkpoint", "DELETE", path),
      publishCheckpoint: (path) => change("publish checkpoint", "POST", path, "publish"),
      unpublishCheckpoint: (path) => change("unpublish checkpoint", "DELETE", path, "publish"),
      setCheckpointTtl: (path, ttl) =>
        Effect.flatMap(
          ttl === null ? Effect.succeed(null) : secondsOf(ttl),
          (ttlSeconds) => change("set ttl", "PUT", path, "ttl", encodeTtl({ ttlSeconds }))
        ),
      copyWeights: Effect.fn("RestClient.copyWeights")(function*(path, options = {}) {
        yield* TinkerPath.parse(path)
        const projectId = options.projectId ?? transport.settings.projectId
        if (projectId === undefined) {
          return yield* refuse("projectId", "the project that will own the copy", "none, and none in the settings")
        }
        const ttlSeconds = options.ttl === undefined ? undefined : yield* secondsOf(options.ttl)
        const token = options.weightsAccessToken
        if (token !== undefined) transport.redact.learn(token)
        const { tinkerPath } = yield* transport.json({
          operation: `copy_weights (${path})`,
          method: "POST",
          pool: "service",
          path: below(Routes.paths.copyWeights),
          ...(token === undefined ? {} : { headers: { "x-tinker-weights-access-token": Redacted.value(token) } }),
          body: Json.jsonBody(encodeCopy({
            sourcePath: path,
            destinationProjectId: projectId,
            ...(ttlSeconds === undefined ? {} : { ttlSeconds })
          }))
        }, Weights.CopyWeightsResponse)
        return tinkerPath
      }),

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
                ...defined(conditions),
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
        ),

      getBillingUsage: (startingOn, endingBefore) =>
        DateTime.lessThan(startingOn, endingBefore)
          ? get({
            operation: "billing usage",
            path: below(Routes.paths.billingUsage),
            query: { starting_on: rfc3339(startingOn), ending_before: rfc3339(endingBefore) }
          }, BillingUsageResponse)
          : refuse("endingBefore", "a time after startingOn", "an earlier one"),
      getCheckpointStorage: (options = {}) =>
        get({
          operation: "checkpoint storage",
          path: below(Routes.paths.checkpointStorage),
          query: { project_id: options.projectId }
        }, CheckpointStorageResponse),
      getAuditLog: Effect.fn("RestClient.getAuditLog")(function*(options = {}) {
        const operation = "audit log"
        if (options.day !== undefined && !/^\d{4}-\d{2}-\d{2}$/.test(options.day)) {
          return yield* refuse("day", "YYYY-MM-DD", "another form")
        }
        const answer = yield* sendUnfollowed(transport, {
          operation,
          method: "GET",
          pool: "service",
          path: below(Routes.paths.audit),
          query: { event_type: options.eventType ?? "all", day: options.day }
        })
        const { location } = answer.headers
        const text = answer.status >= 300 && location !== undefined
          ? yield* fetchSigned(
            http,
            transport.redact,
            operation,
            new URL(location, `${transport.settings.baseUrl}/`).href
          )
          : textOf(answer)
        const requestId = requestIdOf(answer.headers, transport.redact)
        const body = yield* Json.parse(text, operation, requestId)
        const { entries } = yield* Json.decode(body, AuditLogResponse, operation, requestId, transport.redact)
        return entries
      })
    }
    return Object.assign(Object.create(Proto), checkedOptions(fields))
  })

/** RFC 3339 in whole seconds with `Z`, as the official SDK writes it. */
const rfc3339 = (time: DateTime.Utc): string => DateTime.formatIso(time).replace(/\.000Z$/, "Z")

const defined = <A extends object>(record: A): { [K in keyof A]: Exclude<A[K], undefined> } =>
  // only undefined values are taken out
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as never

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
