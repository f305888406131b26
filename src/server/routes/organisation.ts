/**
 * What concerns an organisation, on a server that has one user and sends no bills.
 *
 * @internal
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Model from "../../protocol/Model.js"
import type { SessionSearchRequest, SessionStatus } from "../../protocol/Session.js"
import { OrganisationGroup } from "../../protocol/TinkerApi.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import * as Weights from "../../protocol/Weights.js"
import { pathOf, stored } from "../checkpoints/checkpointPath.js"
import { CheckpointStore } from "../checkpoints/CheckpointStore.js"
import { Futures } from "../futures/Futures.js"
import * as Results from "../futures/results.js"
import { origin } from "../http/location.js"
import { attempt, badRequest, conflict, notFound } from "../http/refusal.js"
import { Tokens } from "../http/tokens.js"
import { uuid } from "../http/uuid.js"
import { Runs } from "../runs/Runs.js"
import { checkTtl, saving } from "../runs/saving.js"
import { submitOperation } from "../runs/submitOperation.js"
import { Samplers } from "../samplers/Samplers.js"
import { ServerConfig } from "../ServerConfig.js"
import { checkTexts } from "../sessions/metadata.js"
import { type Session, Sessions } from "../sessions/Sessions.js"
import { wall } from "../time.js"
import { traceOf } from "./files.js"
import { implement } from "./implement.js"

/** @internal */
export const routes = Effect.gen(function*() {
  const checkpoints = yield* CheckpointStore
  const config = yield* ServerConfig
  const futures = yield* Futures
  const runs = yield* Runs
  const samplers = yield* Samplers
  const sessions = yield* Sessions
  const tokens = yield* Tokens
  const submit = yield* submitOperation
  const save = yield* saving

  return implement(OrganisationGroup, {
    cancelFuture: ({ payload: { requestId } }) =>
      Effect.gen(function*() {
        if (yield* samplers.cancel(requestId)) return
        if (!(yield* futures.isKnown(requestId))) return yield* notFound("No request of that id is known here")
      }),
    joinSampling: ({ payload }) =>
      Effect.map(samplers.join(payload.samplingSessionId), (clientCounter) => ({ clientCounter })),
    searchSessions: ({ payload }) =>
      Effect.gen(function*() {
        const entries = yield* checkpoints.list
        const sessionOf = new Map((yield* runs.list).map(({ modelId, sessionId }) => [modelId, sessionId]))
        const found = (yield* sessions.list).filter(matches(payload)).sort(newestFirst)
        const start = payload.cursor === undefined
          ? 0
          : 1 + found.findIndex((session) => session.id === payload.cursor?.lastSessionId)
        const shown = found.slice(start, start + payload.limit)
        const last = shown.at(-1)
        return {
          sessions: shown.map((session) => {
            const own = entries.filter(({ path }) => sessionOf.get(path.trainingRunId) === session.id)
            return {
              sessionId: session.id,
              createdAt: DateTime.unsafeMake(session.createdAt),
              owner: "local",
              projectId: session.projectId ?? "local",
              status: statusOf(session),
              checkpointsCount: own.length,
              displayName: session.displayName,
              userMetadata: session.userMetadata,
              checkpointStorageBytes: own.reduce((n, entry) => n + entry.sizeBytes, 0)
            }
          }),
          nextCursor: last === undefined || start + payload.limit >= found.length
            ? undefined
            : { lastCreatedAt: DateTime.formatIso(DateTime.unsafeMake(last.createdAt)), lastSessionId: last.id }
        }
      }),
    setProject: ({ path, payload: { projectId } }) =>
      Effect.gen(function*() {
        yield* checkTexts({ project_id: projectId })
        const session = yield* sessions.get(path.id)
        const records = (yield* runs.list).filter((record) => record.sessionId === session.id)
        yield* Effect.forEach(records, (record) => stored(checkpoints.saveRun({ ...record, projectId })), {
          discard: true
        })
        session.projectId = projectId
      }),
    traceExport: ({ path }) =>
      Effect.zipRight(sessions.get(path.id), Effect.zip(tokens.link(traceOf(path.id)), origin(config.publicUrl))).pipe(
        Effect.map(([{ token }, base]) => ({ status: "ready", url: `${base}/api/v1/files/${token}/trace.json` }))
      ),
    saveExternal: ({ fingerprint, payload }) =>
      (payload.ageEncryptionRecipients ?? []).length > 0
        ? Effect.fail(badRequest("age_encryption_recipients: expected none, this server does not encrypt, got some"))
        : submit({
          modelId: payload.modelId,
          seqId: payload.seqId,
          endpoint: "save_weights_external",
          fingerprint,
          prepare: (run, now) =>
            save(
              run,
              { kind: "external_weights", name: payload.path, ttlSeconds: payload.ttlSeconds },
              now,
              ({ path, sizeBytes }) =>
                Results.json(Weights.SaveWeightsExternalResponse, { path: TinkerPath.format(path), sizeBytes })
            )
        }),
    externalUrls: ({ path }) =>
      Effect.gen(function*() {
        const self = yield* pathOf(path)
        if (self.kind !== "external_weights") {
          return yield* badRequest("checkpoint_id: expected external_weights/<name>, got another kind")
        }
        const entry = yield* stored(checkpoints.get(self))
        const { expires, token } = yield* tokens.link(TinkerPath.format(self))
        const base = `${yield* origin(config.publicUrl)}/api/v1/files/${token}`
        return {
          urls: Object.fromEntries(entry.files.map(({ name }) => [name, `${base}/${name}`])),
          expires: DateTime.unsafeMake(expires)
        }
      }),
    copyWeights: ({ payload }) =>
      Effect.gen(function*() {
        const source = yield* attempt(() => TinkerPath.unsafeParse(payload.sourcePath, "source_path"))
        yield* checkTtl(payload.ttlSeconds)
        yield* checkTexts({ destination_project_id: payload.destinationProjectId })
        const entry = yield* stored(checkpoints.get(source))
        const owner = yield* payload.sessionId === undefined
          ? Effect.map(uuid, (id) => ({ id, projectId: payload.destinationProjectId }))
          : sessions.active(payload.sessionId)
        const modelSeqId = payload.modelSeqId ?? 0
        if (modelSeqId < 0 || (payload.sessionId !== undefined && payload.modelSeqId === undefined)) {
          return yield* badRequest("model_seq_id: expected a whole number from 0 together with session_id, got another")
        }
        const modelId = Model.modelIdOf(owner.id, modelSeqId)
        if ((yield* runs.list).some((record) => record.modelId === modelId)) {
          return yield* conflict(`${modelId} is a training run already; take another model_seq_id`)
        }
        const state = yield* stored(checkpoints.load(source, { optimizer: true }))
        yield* stored(checkpoints.saveRun({
          modelId,
          sessionId: owner.id,
          baseModel: entry.baseModel,
          loraRank: entry.lora?.rank ?? null,
          createdAt: yield* wall,
          ...(owner.projectId === undefined ? {} : { projectId: owner.projectId })
        }))
        const copy = { ...source, trainingRunId: modelId }
        yield* stored(checkpoints.save(copy, state, {
          ttlSeconds: payload.ttlSeconds,
          userMetadata: entry.userMetadata
        }))
        return { tinkerPath: TinkerPath.format(copy) }
      }),
    // nothing is billed here
    billingUsage: () => Effect.succeed({ data: [], sessions: {} }),
    checkpointStorage: () =>
      Effect.map(checkpoints.list, (all) => {
        const sizeBytes = all.reduce((n, entry) => n + entry.sizeBytes, 0)
        return { data: [{ checkpointCount: all.length, sizeBytes, sizeGigabytes: sizeBytes / 1e9 }] }
      }),
    // nothing is recorded here
    audit: () => Effect.succeed({ entries: [] })
  })
})

const statusOf = (session: Session): SessionStatus | undefined =>
  session.finished !== undefined
    ? {
      type: "client_finished",
      reason: session.finished.reason,
      ...(session.finished.detail === null ? {} : { detail: session.finished.detail })
    }
    : session.expired
    ? undefined
    : { type: "active" }

const newestFirst = (a: Session, b: Session): number => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1)

const matches = (request: SessionSearchRequest) => (session: Session): boolean => {
  const { displayName, owner, projectIds, sessionId, statuses, userMetadata } = request
  if (owner.type === "user") return false
  const words = displayName?.toLowerCase().split(/\s+/).filter((word) => word !== "") ?? []
  const named = displayName !== undefined && words.every((word) => session.displayName?.toLowerCase().includes(word))
  if (sessionId !== undefined || displayName !== undefined) {
    if (session.id !== sessionId && !named) return false
  }
  if (projectIds !== undefined && !projectIds.includes(session.projectId ?? "local")) return false
  for (const [key, value] of Object.entries(userMetadata)) if (session.userMetadata[key] !== value) return false
  return statuses === undefined || statuses.some(({ reasons, type }) =>
    type === statusOf(session)?.type &&
    (reasons === undefined || reasons.includes(session.finished?.reason.type ?? ""))
  )
}
