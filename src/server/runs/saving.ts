/**
 * Saving a run under a name.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { Engine } from "../../engine/Engine.js"
import type * as TinkerPath from "../../protocol/TinkerPath.js"
import { isName, takenText } from "../checkpoints/checkpointName.js"
import { CheckpointStore, type Entry } from "../checkpoints/CheckpointStore.js"
import type { Result } from "../futures/Futures.js"
import * as Results from "../futures/results.js"
import { badRequest, type Refusal } from "../http/refusal.js"
import { metadataOf } from "../sessions/metadata.js"
import type { Prepared } from "./OperationQueue.js"
import type { Run } from "./Runs.js"

/** @internal */
export interface Save {
  readonly kind: TinkerPath.Kind
  readonly name: string
  readonly overwrite?: boolean | undefined
  readonly ttlSeconds?: number | undefined
  readonly userMetadata?: Readonly<Record<string, string>> | undefined
}

/**
 * Plans a save. A name that is taken fails the future at once: clients repeat a 409 for minutes, but believe a future
 * (docs/protocol/checkpoints.md#saving).
 *
 * @internal
 */
export const saving = Effect.gen(function*() {
  const engine = yield* Engine
  const checkpoints = yield* CheckpointStore
  return (run: Run, save: Save, now: number, done: (entry: Entry) => Result): Prepared =>
    Either.flatMap(checkSave(save), (): Prepared => {
      const path = { trainingRunId: run.id, kind: save.kind, name: save.name }
      if (save.overwrite !== true && checkpoints.unsafeHas(path, now)) {
        return Either.left(Results.userFailure(takenText(path)))
      }
      return Either.right(
        engine.exportRun(run.id, { optimizer: save.kind === "weights" }).pipe(
          Effect.flatMap((state) =>
            checkpoints.save(path, state, {
              overwrite: save.overwrite,
              ttlSeconds: save.ttlSeconds,
              userMetadata: save.userMetadata
            })
          ),
          Effect.mapBoth({ onFailure: Results.failure, onSuccess: done })
        )
      )
    })
})

const tenYears = 10 * 366 * 24 * 3600

/** @internal */
export const checkTtl = (seconds: number | null | undefined): Either.Either<void, Refusal> =>
  typeof seconds === "number" && (seconds < 1 || seconds > tenYears)
    ? Either.left(
      badRequest(`ttl_seconds: expected seconds from 1 to ${tenYears} (10 years), or nothing, got ${seconds}`)
    )
    : Either.right(void 0)

const checkSave = (save: Save): Either.Either<unknown, Refusal> =>
  isName(save.name)
    ? Either.flatMap(checkTtl(save.ttlSeconds), () => metadataOf(save.userMetadata ?? {}))
    : Either.left(badRequest(
      "path: expected a name of 1 to 255 letters, digits, '_', '-' and '.' that does not begin with '-' or '.', got another text"
    ))
