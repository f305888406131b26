/** What follows when a checkpoint that was handed in is complete: it is noted, and what it makes superfluous is removed. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Future from "../client/Future.js"
import type * as RestClient from "../client/RestClient.js"
import type { SaveWeightsResponse } from "../protocol/Weights.js"
import type { TinkexError } from "../TinkexError.js"
import { type Checked, superfluous } from "./CheckpointPolicy.js"
import { jsonLine, type RunCore } from "./runCore.js"
import type { CheckpointRecord, Row } from "./RunDirectory.js"
import type { RunStorageError } from "./RunError.js"
import type { Saved } from "./runState.js"

/** A checkpoint that was handed in. */
export interface Save {
  readonly name: string
  readonly kind: "periodic" | "rolling" | "final"
  readonly updates: number
  readonly tokens: number
  readonly state: Future.Future<SaveWeightsResponse>
  readonly sampler: Future.Future<{ readonly path: string }> | undefined
  /** The row of the step before it. */
  readonly row: Deferred.Deferred<Row>
}

/** As the cookbook counts: the next batch, and its epoch. */
export const position = (updates: number, batchesPerEpoch: number | undefined) =>
  batchesPerEpoch === undefined
    ? { batch: updates, epoch: 0 }
    : { batch: updates % batchesPerEpoch, epoch: Math.floor(updates / batchesPerEpoch) }

export const recordOf = (saved: Saved, batchesPerEpoch: number | undefined): CheckpointRecord => ({
  name: saved.name,
  ...position(saved.updates, batchesPerEpoch),
  ...(saved.kind === "final" ? { final: true } : {}),
  state_path: saved.path,
  ...(saved.sampler === undefined ? {} : { sampler_path: saved.sampler }),
  elapsed_tokens: saved.tokens,
  updates: saved.updates,
  ...(saved.kind === "rolling" ? { rolling: true } : {}),
  ...(saved.score === undefined ? {} : { score: saved.score })
})

/** Removes a checkpoint at the service; one that is gone already is removed. */
const remove = (
  run: RunCore,
  rest: RestClient.Client,
  saved: Saved
): Effect.Effect<void, RunStorageError | TinkexError> =>
  Effect.gen(function*() {
    yield* run.record({ t: "removing", path: saved.path })
    for (const path of [saved.path, ...(saved.sampler === undefined ? [] : [saved.sampler])]) {
      yield* Effect.catchTag(rest.deleteCheckpoint(path), "NotFound", () => Effect.void)
    }
    yield* run.record({ t: "removed", path: saved.path })
    yield* run.emit({ _tag: "CheckpointRemoved", path: saved.path, updates: saved.updates })
  })

/** Sees a checkpoint through. One that fails is told of and forgotten, unless it is the final one. */
export const finish = <E>(
  run: RunCore,
  rest: RestClient.Client,
  policy: Checked,
  batchesPerEpoch: number | undefined,
  settled: (updates: number) => Effect.Effect<void, E>,
  rows: Effect.Effect<void, RunStorageError>,
  save: Save
): Effect.Effect<void, E | RunStorageError | TinkexError> =>
  Effect.gen(function*() {
    const outcome = yield* Effect.either(Effect.gen(function*() {
      const { path } = yield* Future.await(save.state)
      return { path, sampler: save.sampler === undefined ? undefined : (yield* Future.await(save.sampler)).path }
    }))
    if (outcome._tag === "Left") {
      yield* run.emit({ _tag: "CheckpointFailed", name: save.name, updates: save.updates, error: outcome.left })
      yield* Effect.logWarning(`checkpoint ${save.name} was not saved: ${outcome.left.message}`)
      return save.kind === "final" ? yield* outcome.left : undefined
    }
    // complete is what can be gone on from: the weights, the rows until then, and what older weights were sampled for
    yield* settled(save.updates)
    const row = yield* Deferred.await(save.row)
    yield* rows
    const score = policy.best === undefined ? undefined : row[policy.best.metric]
    const saved: Saved = {
      at: yield* Clock.currentTimeMillis,
      updates: save.updates,
      name: save.name,
      path: outcome.right.path,
      kind: save.kind,
      tokens: save.tokens,
      ...(outcome.right.sampler === undefined ? {} : { sampler: outcome.right.sampler }),
      ...(typeof score === "number" ? { score } : {})
    }
    yield* run.record({ t: "saved", ...saved })
    yield* run.checkpoints.append(jsonLine(recordOf(saved, batchesPerEpoch)))
    yield* run.emit({ _tag: "CheckpointSaved", path: saved.path, updates: saved.updates, kind: save.kind })
    for (const old of superfluous(policy, run.state.checkpoints)) {
      yield* Effect.catchAll(remove(run, rest, old), (error) =>
        error._tag === "RunStorageError"
          ? Effect.fail(error)
          : Effect.logWarning(`${old.path} was not removed: ${error.message}; tinkex run prune removes it later`))
    }
  })
