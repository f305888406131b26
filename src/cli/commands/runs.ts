/**
 * What `tinkex run` does.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type AccessScope, RestClient } from "../../client/RestClient.js"
import * as Protocol from "../../protocol/Checkpoint.js"
import { type Connection, rest } from "../terminal/connect.js"
import * as Show from "../terminal/show.js"
import { Terminal } from "../terminal/terminal.js"
import { checkPage } from "./checkpoints.js"

interface Output extends Connection {
  readonly json: boolean
  readonly format: "table" | "json"
  readonly accessScope: AccessScope
}

const encode = Schema.encode(Protocol.TrainingRun)

const lora = (run: Protocol.TrainingRun): string =>
  run.isLora ? (run.loraRank === undefined ? "Yes" : `Rank ${run.loraRank}`) : "No"

const status = (run: Protocol.TrainingRun): string => run.corrupted ? "Failed" : "OK"

export const list = (args: Output & { readonly limit: number; readonly offset: number }) =>
  Effect.gen(function*() {
    yield* checkPage(args)
    const client = yield* RestClient
    const terminal = yield* Terminal
    const { accessScope, limit, offset } = args
    const page = limit > 0 && limit <= 100
      ? yield* client.trainingRunsPage({ limit, offset, accessScope })
      : undefined
    const runs = page?.trainingRuns ?? Array.from(
      yield* Stream.runCollect(client.listTrainingRuns({ offset, accessScope, ...(limit === 0 ? {} : { limit }) }))
    )
    if (Show.wantsJson(args)) return yield* Show.json({ runs: yield* Effect.forEach(runs, (run) => encode(run)) })
    if (runs.length === 0) return yield* terminal.note("no training runs")
    const now = yield* Clock.currentTimeMillis
    yield* Show.table(
      ["Run ID", "Base Model", "LoRA", "Last Update", "Status"],
      runs.map((run) => [run.trainingRunId, run.baseModel, lora(run), Show.time(run.lastRequestTime, now), status(run)])
    )
    const more = (page?.cursor.totalCount ?? 0) - offset - runs.length
    if (more > 0) yield* terminal.note(`${more} more not shown, use --limit to see more`)
  }).pipe(Effect.provide(rest(args)))

export const info = (args: Output & { readonly runId: string }) =>
  Effect.gen(function*() {
    const client = yield* RestClient
    const run = yield* client.getTrainingRun(args.runId, { accessScope: args.accessScope })
    if (Show.wantsJson(args)) return yield* Show.json(yield* encode(run))
    const now = yield* Clock.currentTimeMillis
    yield* Show.properties([
      ["Run ID", run.trainingRunId],
      ["Base Model", run.baseModel],
      ["Owner", run.modelOwner],
      ["LoRA", lora(run)],
      ["Last Update", Show.time(run.lastRequestTime, now)],
      ["Status", status(run)],
      ["Last Checkpoint", run.lastCheckpoint?.tinkerPath ?? Show.none],
      ["Checkpoint Time", Show.time(run.lastCheckpoint?.time, now)],
      ["Last Sampler Checkpoint", run.lastSamplerCheckpoint?.tinkerPath ?? Show.none],
      ...Object.entries(run.userMetadata ?? {}).map(([key, value]) => [`Metadata ${key}`, value] as const)
    ])
  }).pipe(Effect.provide(rest(args)))
