/**
 * Where a sampler's weights come from.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ModelInfo, RunState } from "../../engine/Engine.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import { CheckpointError } from "../checkpoints/CheckpointError.js"
import { named } from "../checkpoints/checkpointPath.js"
import { CheckpointStore } from "../checkpoints/CheckpointStore.js"
import { badRequest, type Refusal } from "../http/refusal.js"
import { Models } from "../runs/Models.js"

/** @internal */
export type Source =
  | { readonly _tag: "Base" }
  /** A checkpoint as it was when the sampler was made: one that was deleted and saved anew is another. */
  | { readonly _tag: "Checkpoint"; readonly path: TinkerPath.TinkerPath; readonly createdAt: number }
  /** Weights that were saved without a name. */
  | { readonly _tag: "Ephemeral"; readonly key: string }

/** @internal */
export interface Target {
  readonly model: ModelInfo
  readonly source: Source
}

/**
 * Samplers of the same weights have the same key.
 *
 * @internal
 */
export const keyOf = ({ model, source }: Target): string => {
  switch (source._tag) {
    case "Base":
      return `base:${model.name}`
    case "Checkpoint":
      return `${TinkerPath.format(source.path)}@${source.createdAt}`
    case "Ephemeral":
      return source.key
  }
}

/** @internal */
export const samplerWeights = Effect.gen(function*() {
  const checkpoints = yield* CheckpointStore
  const models = yield* Models

  const weights = (
    { model, source }: Target
  ): Effect.Effect<{ readonly baseModel: string } | { readonly state: RunState }, CheckpointError> => {
    switch (source._tag) {
      case "Base":
        return Effect.succeed({ baseModel: model.name })
      case "Ephemeral":
        return Effect.map(checkpoints.unspool(source.key), (state) => ({ state }))
      case "Checkpoint":
        return checkpoints.get(source.path).pipe(
          Effect.filterOrFail(({ createdAt }) => createdAt === source.createdAt),
          Effect.mapError(() =>
            new CheckpointError({
              reason: "NotFound",
              detail: `Checkpoint ${TinkerPath.format(source.path)} was deleted since the sampler was made`
            })
          ),
          Effect.zipRight(checkpoints.load(source.path, { optimizer: false })),
          Effect.map((state) => ({ state }))
        )
    }
  }

  /** What a request addresses: base model or checkpoint. */
  const resolve = (
    request: { readonly baseModel?: string | undefined; readonly modelPath?: string | undefined }
  ): Effect.Effect<
    Target & { readonly baseModel: string; readonly modelPath: string | undefined },
    Refusal
  > =>
    Effect.gen(function*() {
      if (request.modelPath === undefined) {
        if (request.baseModel === undefined) {
          return yield* badRequest("One of base_model and model_path is needed, neither was given")
        }
        const model = yield* models.require(request.baseModel)
        return { model, baseModel: request.baseModel, modelPath: undefined, source: { _tag: "Base" } }
      }
      const path = yield* Effect.mapError(TinkerPath.parse(request.modelPath, "model_path"), (error) =>
        badRequest(error.message))
      const entry = yield* named("model_path", checkpoints.get(path))
      const model = yield* models.require(entry.baseModel)
      if (request.baseModel !== undefined && Option.getOrUndefined(models.get(request.baseModel)) !== model) {
        return yield* badRequest(`base_model: expected ${model.name}, the base of the checkpoint, got another one`)
      }
      return {
        model,
        baseModel: request.baseModel ?? entry.baseModel,
        modelPath: request.modelPath,
        source: { _tag: "Checkpoint", path, createdAt: entry.createdAt }
      }
    })

  return { weights, resolve }
})
