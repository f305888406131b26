/**
 * Training runs, checkpoints and sessions, as listings and one by one.
 *
 * @internal
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Checkpoint, TrainingRun } from "../../protocol/Checkpoint.js"
import { CheckpointGroup } from "../../protocol/TinkerApi.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import { type CheckpointParams, pathOf, stored } from "../checkpoints/checkpointPath.js"
import { CheckpointStore, type Entry, type RunRecord } from "../checkpoints/CheckpointStore.js"
import { conflict, notFound } from "../http/refusal.js"
import { Runs } from "../runs/Runs.js"
import { checkTtl } from "../runs/saving.js"
import { Samplers } from "../samplers/Samplers.js"
import { Sessions } from "../sessions/Sessions.js"
import { wall } from "../time.js"
import { implement } from "./implement.js"

/** @internal */
export const routes = Effect.gen(function*() {
  const checkpoints = yield* CheckpointStore
  const runs = yield* Runs
  const samplers = yield* Samplers
  const sessions = yield* Sessions

  const describe = (record: RunRecord, entries: ReadonlyArray<Entry>): Effect.Effect<TrainingRun> =>
    Effect.map(runs.get(record.modelId), (run) => {
      const last = (kind: TinkerPath.Kind) => {
        const entry = entries.find(({ path }) => path.trainingRunId === record.modelId && path.kind === kind)
        return entry === undefined ? undefined : checkpointOf(entry)
      }
      return {
        trainingRunId: record.modelId,
        baseModel: record.baseModel,
        modelOwner: "local",
        isLora: record.loraRank !== null,
        corrupted: false,
        loraRank: record.loraRank ?? undefined,
        lastRequestTime: DateTime.unsafeMake(Option.match(run, {
          onNone: () => record.createdAt,
          onSome: ({ lastRequest }) => lastRequest
        })),
        lastCheckpoint: last("weights"),
        lastSamplerCheckpoint: last("sampler_weights"),
        userMetadata: record.userMetadata
      }
    })

  const recordOf = (modelId: string) =>
    Effect.flatMap(runs.list, (records) => {
      const record = records.find((_) => _.modelId === modelId)
      return record === undefined
        ? Effect.fail(notFound("No training run of that id is known here"))
        : Effect.succeed(record)
    })

  /** Sessions of this life of the server, and before them those that earlier lives made runs in. */
  const sessionIds = Effect.gen(function*() {
    const now = (yield* sessions.list).map(({ id }) => id)
    const before = (yield* runs.list).map(({ sessionId }) => sessionId)
    return [...new Set([...now, ...before])]
  })

  const setPublic = (path: CheckpointParams, value: boolean) =>
    Effect.gen(function*() {
      const self = yield* pathOf(path)
      const entry = yield* stored(checkpoints.get(self))
      if (entry.public === value) return yield* conflict(`The checkpoint is ${value ? "public" : "private"} already`)
      yield* stored(checkpoints.update(self, { public: value }))
    })

  return implement(CheckpointGroup, {
    runs: ({ urlParams: { limit = 20, offset = 0, projectId } }) =>
      Effect.gen(function*() {
        const all = (yield* runs.list).filter((record) => projectId === undefined || record.projectId === projectId)
        const entries = yield* checkpoints.list
        return {
          trainingRuns: yield* Effect.forEach(page(all, limit, offset), (record) => describe(record, entries)),
          cursor: { offset, limit, totalCount: all.length }
        }
      }),
    run: ({ path }) =>
      Effect.gen(function*() {
        const record = yield* recordOf(path.run)
        return yield* describe(record, yield* checkpoints.list)
      }),
    ofRun: ({ path }) =>
      Effect.gen(function*() {
        yield* recordOf(path.run)
        const all = yield* checkpoints.list
        return { checkpoints: all.filter((entry) => entry.path.trainingRunId === path.run).map(checkpointOf) }
      }),
    list: ({ urlParams: { limit = 100, offset = 0 } }) =>
      Effect.map(checkpoints.list, (all) => ({
        checkpoints: page(all, limit, offset).map(checkpointOf),
        cursor: { offset, limit, totalCount: all.length }
      })),
    delete: ({ path }) => Effect.flatMap(pathOf(path), (self) => stored(checkpoints.remove(self))),
    publish: ({ path }) => setPublic(path, true),
    unpublish: ({ path }) => setPublic(path, false),
    setTtl: ({ path, payload: { ttlSeconds } }) =>
      Effect.gen(function*() {
        const self = yield* pathOf(path)
        yield* checkTtl(ttlSeconds)
        const now = yield* wall
        yield* stored(
          checkpoints.update(self, { expiresAt: ttlSeconds === null ? undefined : now + ttlSeconds * 1000 })
        )
      }),
    sessions: ({ urlParams: { limit = 20, offset = 0 } }) =>
      Effect.map(sessionIds, (all) => ({ sessions: page(all, limit, offset) })),
    session: ({ path: { id } }) =>
      Effect.gen(function*() {
        const trainingRunIds = (yield* runs.list).filter((_) => _.sessionId === id).map((_) => _.modelId).reverse()
        const session = yield* sessions.get(id).pipe(
          Effect.map(Option.some),
          Effect.catchIf(() => trainingRunIds.length > 0, () => Effect.succeedNone)
        )
        return {
          trainingRunIds,
          samplerIds: yield* samplers.ofSession(id),
          ...Option.match(session, {
            onNone: () => ({}),
            onSome: ({ displayName, userMetadata }) => ({ displayName, userMetadata })
          })
        }
      })
  })
})

const page = <A>(all: ReadonlyArray<A>, limit: number, offset: number): ReadonlyArray<A> =>
  all.slice(offset, offset + limit)

const checkpointOf = (entry: Entry): Checkpoint => ({
  checkpointId: TinkerPath.checkpointId(entry.path),
  checkpointType: TinkerPath.checkpointType(entry.path),
  time: DateTime.unsafeMake(entry.createdAt),
  tinkerPath: TinkerPath.format(entry.path),
  sizeBytes: entry.sizeBytes,
  public: entry.public,
  userMetadata: entry.userMetadata,
  expiresAt: entry.expiresAt === undefined ? undefined : DateTime.unsafeMake(entry.expiresAt),
  baseModel: entry.baseModel
})
