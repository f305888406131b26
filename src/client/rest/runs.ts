/** Training runs. */
import * as Effect from "effect/Effect"
import * as Protocol from "../../protocol/Checkpoint.js"
import * as Routes from "../../protocol/Routes.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import type { Client } from "../RestClient.js"
import { below } from "../transport/signedUrls.js"
import { checkPage, type Get, paged } from "./requests.js"
import { checkId, checkScope } from "./restChecks.js"

type Methods = Pick<
  Client,
  | "getTrainingRun"
  | "getTrainingRunByPath"
  | "listTrainingRuns"
  | "trainingRunsPage"
>

export const make = (get: Get): Methods => {
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

  return {
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
      )
  }
}
