/** What a run can be restored from. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as RestClient from "../client/RestClient.js"
import type { TinkexError } from "../TinkexError.js"
import type * as Recovery from "../training/Recovery.js"
import type { Config } from "./Run.js"
import { jsonLine, type RunCore } from "./runCore.js"
import * as RunDirectory from "./RunDirectory.js"
import type { RunStorageError } from "./RunError.js"
import { candidates, type Saved } from "./runState.js"
import { recordOf } from "./saver.js"

/** Stands for the beginning, where a checkpoint has its path. */
const scratch = "scratch"

/** Renderer and run, for whoever looks at the model at the service. */
const metadataOf = (config: Config): Record<string, string> =>
  config.renderer === undefined ? {} : { renderer_name: config.renderer }

const fresh = (config: Config, seed: number): Recovery.Source => ({
  path: scratch,
  open: (service) => {
    const { baseModel, loadCheckpoint, rank, seed: own, trainAttn, trainMlp, trainUnembed } = config
    const userMetadata = metadataOf(config)
    return loadCheckpoint === undefined
      ? service.createLoraTrainingClient({
        baseModel,
        rank,
        seed: own ?? seed,
        trainAttn,
        trainMlp,
        trainUnembed,
        userMetadata
      })
      : service.createTrainingClientFromState(loadCheckpoint, { userMetadata })
  }
})

const resumed = (config: Config, saved: Saved): Recovery.Source => ({
  path: saved.path,
  open: (service) =>
    service.createTrainingClientFromStateWithOptimizer(saved.path, { userMetadata: metadataOf(config) })
})

/** Steps whose rows are in the file. */
const rowsThere = (run: RunCore) =>
  Effect.provideService(
    Stream.runFold(
      RunDirectory.lines(run.file(RunDirectory.files.metrics)),
      0,
      (steps, { step }) => typeof step === "number" ? Math.max(steps, step + 1) : steps
    ),
    FileSystem.FileSystem,
    run.fs
  )

/**
 * Asks after checkpoints that were handed in and never heard of again: one that the service has is complete, for it was handed in
 * directly behind the update that it holds. It is of use if what else belongs to it is there.
 */
const askAfter = (run: RunCore, rest: RestClient.Client, complete: (updates: number) => boolean) =>
  Effect.gen(function*() {
    const newest = candidates(run.state)[0]?.updates ?? 0
    const rows = run.state.unanswered.length === 0 ? 0 : yield* rowsThere(run)
    for (const { modelId, name, tokens, updates } of [...run.state.unanswered].reverse()) {
      if (updates <= newest || updates > rows || !complete(updates)) continue
      const path = `tinker://${modelId}/weights/${name}`
      const found = yield* Effect.catchTags(Effect.as(rest.getCheckpoint(path), true), {
        NotFound: () => Effect.succeed(false),
        PermissionDenied: () => Effect.succeed(false)
      })
      if (!found) continue
      const saved: Saved = {
        at: yield* Clock.currentTimeMillis,
        updates,
        name,
        path,
        kind: name === "final" ? "final" : "periodic",
        tokens
      }
      yield* run.record({ t: "saved", ...saved })
      return
    }
  })

/**
 * What a run goes on from, the best first: complete checkpoints from the newest, and the beginning only while there is none.
 */
export const sourcesOf = (
  run: RunCore,
  config: Config,
  complete: (updates: number) => boolean
) =>
(rest: RestClient.Client): Effect.Effect<ReadonlyArray<Recovery.Source>, TinkexError | RunStorageError> =>
  Effect.gen(function*() {
    yield* askAfter(run, rest, complete)
    const saved = candidates(run.state)
    return saved.length > 0 ? saved.map((one) => resumed(config, one)) : [fresh(config, run.seed)]
  })

/**
 * Brings `checkpoints.jsonl` and the journal together: what died between the two is added to the one, what somebody else wrote,
 * as Python's cookbook that went on with the run, to the other.
 */
export const reconcile = (run: RunCore, batchesPerEpoch: number | undefined) =>
  Effect.gen(function*() {
    const { known } = run.state
    const records = yield* RunDirectory.checkpoints(run.directory)
    const listed = new Set(records.map(({ state_path }) => state_path))
    for (const saved of run.state.checkpoints) {
      if (!listed.has(saved.path)) yield* run.checkpoints.append(jsonLine(recordOf(saved, batchesPerEpoch)))
    }
    for (const record of records) {
      const path = record.state_path
      if (path === undefined || known.has(path)) continue
      const given = record["updates"]
      const updates = typeof given === "number"
        ? given
        : (record.epoch ?? 0) * (batchesPerEpoch ?? 0) + (record.batch ?? 0)
      const tokens = record["elapsed_tokens"]
      yield* run.record({
        t: "saved",
        at: yield* Clock.currentTimeMillis,
        updates,
        name: record.name,
        path,
        kind: record.final === true ? "final" : "adopted",
        tokens: typeof tokens === "number" ? tokens : 0,
        ...(record.sampler_path === undefined ? {} : { sampler: record.sampler_path })
      })
    }
  })
