/** Checkpoints, and what is done with them. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Protocol from "../../protocol/Checkpoint.js"
import * as Routes from "../../protocol/Routes.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import * as Weights from "../../protocol/Weights.js"
import { NotFound, type TinkexError } from "../../TinkexError.js"
import type { Client } from "../RestClient.js"
import * as Json from "../transport/json.js"
import { archiveUrl, below, checkpointRoute } from "../transport/signedUrls.js"
import type { Request, Transport } from "../transport/types.js"
import { checkPage, type Get, maxPage, paged } from "./requests.js"
import { checkId, refuse, secondsOf } from "./restChecks.js"

const encodeWeightsInfo = Schema.encodeSync(Weights.WeightsInfoRequest)
const encodeTtl = Schema.encodeSync(Protocol.SetTtlRequest)
const encodeCopy = Schema.encodeSync(Weights.CopyWeightsRequest)

/** A request about a checkpoint whose answer says nothing more. */
const changeOver = (transport: Transport) =>
(
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

type Methods = Pick<
  Client,
  | "listCheckpoints"
  | "listUserCheckpoints"
  | "userCheckpointsPage"
  | "getCheckpoint"
  | "getWeightsInfo"
  | "getCheckpointArchiveUrl"
  | "getExternalWeightsUrls"
  | "deleteCheckpoint"
  | "publishCheckpoint"
  | "unpublishCheckpoint"
  | "setCheckpointTtl"
  | "copyWeights"
>

export const make = (transport: Transport, get: Get): Methods => {
  const change = changeOver(transport)
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

  return {
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
    })
  }
}
