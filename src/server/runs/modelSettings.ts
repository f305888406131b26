/**
 * Settings with which a model is made, checked.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { LoraConfig } from "../../engine/Engine.js"
import type { CreateModelRequest } from "../../protocol/Model.js"
import type { OptimizerConfig } from "../../protocol/Training.js"
import { badRequest, type Refusal } from "../http/refusal.js"

const maxRank = 1024

/**
 * The adapter to train; every parameter is trained when the request names none.
 *
 * @internal
 */
export const loraOf = (
  config: CreateModelRequest["loraConfig"]
): Effect.Effect<LoraConfig | null, Refusal> => {
  if (config === undefined) return Effect.succeed(null)
  const { rank, trainAttn, trainMlp, trainUnembed } = config
  if (rank <= 0) return Effect.fail(badRequest(`lora_config.rank must be positive, got ${rank}`))
  if ((rank & (rank - 1)) !== 0 || rank > maxRank) {
    return Effect.fail(badRequest(`lora_config.rank must be a power of 2, at most ${maxRank}, got ${rank}`))
  }
  if (!trainAttn && !trainMlp && !trainUnembed) {
    return Effect.fail(
      badRequest("lora_config: At least one of train_unembed, train_mlp, or train_attn must be True")
    )
  }
  return config.seed === undefined
    ? Effect.map(Random.nextIntBetween(0, 2 ** 31), (seed) => ({ rank, seed, trainAttn, trainMlp, trainUnembed }))
    : Effect.succeed({ rank, seed: config.seed, trainAttn, trainMlp, trainUnembed })
}

/** @internal */
export const checkOptimizer = (config: OptimizerConfig | undefined): Effect.Effect<void, Refusal> =>
  config === undefined || config.type === "adamw" || config.type === "adam"
    ? Effect.void
    : Effect.fail(badRequest("optimizer_config.type: expected adamw, the one optimizer of this server, got another"))
